//! {{name}}: makes a to z in the value upper case. Tombstones pass, empty values are dropped, binary ones are rejected.

const std = @import("std");
const penstock = @import("penstock");

pub const panic = penstock.panic;

comptime {
    penstock.transformer(transform, Config);
}

/// The registry entry's `config`; unknown keys are refused, and so are missing ones without a default.
const Config = struct {};

fn transform(event: penstock.Event, _: *const Config) !penstock.Outcome {
    const value = event.value orelse return .unchanged;
    if (value.len == 0) return .drop;
    if (std.mem.indexOfScalar(u8, value, 0)) |at|
        return penstock.reject("not-text", "the value holds a zero byte at {d}", .{at});
    return .{ .emit = try std.ascii.allocUpperString(penstock.allocator, value) };
}
