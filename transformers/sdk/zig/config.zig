//! Reads the registry entry's `config` into a type; what is wrong about it is said with its key.

const std = @import("std");
const host = @import("host.zig");
const memory = @import("memory.zig");
const msgpack = @import("msgpack.zig");
const Value = msgpack.Value;

/// Where a value stands: `fields[0].path`, from its end to its beginning.
const Path = struct {
    part: []const u8 = "",
    above: ?*const Path = null,

    fn text(path: *const Path) []const u8 {
        const above = path.above orelse return path.part;
        const start = above.text();
        return join(&.{ start, if (start.len > 0 and path.part[0] != '[') "." else "", path.part });
    }
};

fn join(parts: []const []const u8) []const u8 {
    return std.mem.concat(memory.allocator, u8, parts) catch
        host.fail("memory", "the guest's memory limit left no room for its config");
}

fn refuse(path: *const Path, problem: []const u8) noreturn {
    const place = path.text();
    host.fail("config", if (place.len > 0) join(&.{ place, ": ", problem }) else problem);
}

/// The config as a `T`, in memory that is kept. Fails with the reason when it will not do.
pub fn decode(comptime T: type, bytes: []const u8) T {
    // The host may write the next batch where the config stands now: texts are borrowed from a copy.
    var reader: msgpack.Reader = .{ .rest = join(&.{bytes}) };
    const value = reader.value() catch host.fail("config", "the config is no msgpack");
    return read(T, value, &.{});
}

fn read(comptime T: type, value: Value, path: *const Path) T {
    if (comptime hasOwn(T)) return T.fromConfig(value) orelse refuse(path, T.config_expects ++ " was expected");
    switch (@typeInfo(T)) {
        .optional => |optional| return if (value == .nil) null else read(optional.child, value, path),
        .bool => return if (value == .boolean) value.boolean else refuse(path, "true or false was expected"),
        .int => return integer(T, value, path),
        .float => return switch (value) {
            .float => |float| @floatCast(float),
            .integer => |whole| @floatFromInt(whole),
            else => refuse(path, "a number was expected"),
        },
        .@"enum" => return choice(T, value, path),
        .pointer => |pointer| {
            if (pointer.child == u8) return value.asText() orelse refuse(path, "a text was expected");
            return list(pointer.child, value, path);
        },
        .@"struct" => return object(T, value, path),
        else => @compileError("a config cannot hold a " ++ @typeName(T)),
    }
}

fn hasOwn(comptime T: type) bool {
    return switch (@typeInfo(T)) {
        .@"struct", .@"enum", .@"union" => @hasDecl(T, "fromConfig"),
        else => false,
    };
}

fn integer(comptime T: type, value: Value, path: *const Path) T {
    const found: ?T = switch (value) {
        .integer => |whole| std.math.cast(T, whole),
        .unsigned => |whole| std.math.cast(T, whole),
        else => refuse(path, "a whole number was expected"),
    };
    return found orelse refuse(path, "the number is out of range");
}

fn choice(comptime T: type, value: Value, path: *const Path) T {
    const text = value.asText() orelse refuse(path, "a text was expected");
    return std.meta.stringToEnum(T, text) orelse {
        comptime var names: []const u8 = "";
        inline for (std.meta.fieldNames(T)) |name| names = names ++ " " ++ name;
        refuse(path, join(&.{ "\"", text, "\" is none of" ++ names }));
    };
}

fn list(comptime T: type, value: Value, path: *const Path) []const T {
    if (value != .list) refuse(path, "a list was expected");
    const items = memory.allocator.alloc(T, value.list.count) catch refuse(path, "no room for the list");
    var reader = value.list.reader();
    for (items, 0..) |*item, at| {
        var digits: [20]u8 = undefined;
        const part = std.fmt.bufPrint(&digits, "[{d}]", .{at}) catch unreachable;
        item.* = read(T, reader.value() catch refuse(path, "bad msgpack"), &.{ .part = part, .above = path });
    }
    return items;
}

fn object(comptime T: type, value: Value, path: *const Path) T {
    if (value != .map) refuse(path, "a mapping of keys and values was expected");
    var found: T = undefined;
    onlyKnown(T, value, path);
    inline for (@typeInfo(T).@"struct".fields) |field| {
        const own: Path = .{ .part = field.name, .above = path };
        if (value.get(field.name)) |given| {
            @field(found, field.name) = read(field.type, given, &own);
        } else if (field.defaultValue()) |default| {
            @field(found, field.name) = default;
        } else refuse(&own, "is missing");
    }
    if (@hasDecl(T, "check")) {
        if (found.check()) |problem| refuse(path, problem);
    }
    return found;
}

/// A key that is spelt wrong would do nothing, and nobody would know.
fn onlyKnown(comptime T: type, value: Value, path: *const Path) void {
    var reader = value.map.reader();
    for (0..value.map.count) |_| {
        const name = (reader.value() catch refuse(path, "bad msgpack")).asText() orelse refuse(path, "a key is no text");
        _ = reader.skip(1) catch refuse(path, "bad msgpack");
        inline for (@typeInfo(T).@"struct".fields) |field| {
            if (std.mem.eql(u8, name, field.name)) break;
        } else refuse(&.{ .part = name, .above = path }, "there is no such key");
    }
}
