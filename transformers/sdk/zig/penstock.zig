//! Write a penstock transformer in Zig: one function from an event and its configuration to an outcome.
//!
//!     const penstock = @import("penstock");
//!     pub const panic = penstock.panic;
//!
//!     const Config = struct { keep: u32 = 80 };
//!
//!     fn transform(event: penstock.Event, config: *const Config) !penstock.Outcome {
//!         const value = event.value orelse return .unchanged;
//!         if (value.len > config.keep) return penstock.reject("too-long", "the value has {d} bytes", .{value.len});
//!         return .unchanged;
//!     }
//!
//!     comptime {
//!         penstock.transformer(transform, Config);
//!     }
//!
//! What an event lends (key, value, headers) is borrowed from the batch; `penstock.allocator` lends until the event is answered, and
//! frees all of it then. `error.BadJson` and `penstock.reject` send the event to the dead letters; every other error, a panic and a
//! refused allocation are named to the host before the guest traps. A function that takes a `penstock.ChangeEvent` reads
//! `encoding: event`. The only import is `penstock.fail`, unless something of `penstock.host` is called.

const std = @import("std");
const config_of = @import("config.zig");
const frame = @import("frame.zig");
const memory = @import("memory.zig");

pub const host = @import("host.zig");
pub const json = @import("json.zig");
pub const msgpack = @import("msgpack.zig");
pub const debezium = @import("debezium.zig");
pub const ChangeEvent = @import("change.zig").ChangeEvent;

pub const Event = frame.Event;
pub const Headers = frame.Headers;
pub const Header = frame.Header;
pub const Outcome = frame.Outcome;
pub const Record = frame.Record;
pub const Rejection = frame.Rejection;
pub const reject = frame.reject;
pub const fail = host.fail;
pub const assert = host.assert;

/// Lends until the event is answered. While the configuration is read, what it lends is kept for good.
pub const allocator = memory.allocator;

/// For the root file: `pub const panic = penstock.panic;`. The host reads the panic's text, and the places from the backtrace.
pub const panic = std.debug.FullPanic(panicked);

fn panicked(text: []const u8, _: ?usize) noreturn {
    host.fail("panic", text);
}

/// Exports `transform` under guest ABI v1: `fn (penstock.Event, *const Config) !penstock.Outcome`, or with a `penstock.ChangeEvent`.
///
/// `Config` is a struct of texts, numbers, booleans, enums, optionals, slices and structs; a field without a default is required, and
/// unknown keys are refused. A type with `pub fn fromConfig(msgpack.Value) ?@This()` reads itself; a struct with
/// `pub fn check(*const @This()) ?[]const u8` has the last word.
pub fn transformer(comptime transform: anytype, comptime Config: type) void {
    const Exports = struct {
        var config: Config = undefined;
        var is_configured = false;

        fn alloc(size: u32) callconv(.c) u32 {
            return memory.block(size);
        }

        fn configure(at: [*]const u8, size: usize) callconv(.c) u32 {
            memory.lendFrom(memory.behind(at[0..size]));
            read(at[0..size]);
            memory.keep();
            return 0;
        }

        fn read(bytes: []const u8) void {
            config = config_of.decode(Config, bytes);
            is_configured = true;
        }

        fn run(at: [*]const u8, size: usize) callconv(.c) u64 {
            const batch = at[0..size];
            if (!is_configured) {
                memory.lendFrom(memory.behind(batch));
                const before = memory.lentTo();
                read("\x80");
                if (memory.lentTo() != before) memory.keep();
            }
            return frame.run(batch, transform, &config);
        }

        fn cursor() callconv(.c) *const u32 {
            return &frame.index;
        }
    };
    @export(&Exports.alloc, .{ .name = "penstock_v1_alloc" });
    @export(&Exports.configure, .{ .name = "penstock_v1_configure" });
    @export(&Exports.run, .{ .name = "penstock_v1_transform" });
    @export(&Exports.cursor, .{ .name = "penstock_v1_cursor" });
}

/// Who the guest is, in the module's section `penstock`. Not needed where `penstock build` makes the module: it takes it from guest.toml.
pub const Metadata = struct {
    name: []const u8,
    version: []const u8,
    encoding: enum { raw, event } = .raw,
    capabilities: []const []const u8 = &.{},
};

/// In the root file: `comptime { asm (penstock.metadata(.{ .name = "mask-names", .version = "0.1.0" })); }`
pub fn metadata(comptime about: Metadata) []const u8 {
    comptime var list: []const u8 = "";
    inline for (about.capabilities, 0..) |capability, at| list = list ++ (if (at > 0) "," else "") ++ "\"" ++ capability ++ "\"";
    const text = "{\"abi\":1,\"name\":\"" ++ about.name ++ "\",\"version\":\"" ++ about.version ++
        "\",\"sdk\":\"zig/0.1.0\",\"encoding\":\"" ++ @tagName(about.encoding) ++ "\",\"capabilities\":[" ++ list ++ "]}";
    comptime var escaped: []const u8 = "";
    inline for (text) |byte| escaped = escaped ++ (if (byte == '"') "\\\"" else &[_]u8{byte});
    return ".section .custom_section.penstock,\"\",@\n.ascii \"" ++ escaped ++ "\"\n";
}
