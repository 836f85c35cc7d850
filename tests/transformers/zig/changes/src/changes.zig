//! Sets `name` in place and adds `seen`; deletes are dropped; a large name is said to be unavailable: `../../c/changes` in Zig.

const std = @import("std");
const penstock = @import("penstock");

pub const panic = penstock.panic;

comptime {
    penstock.transformer(transform, struct {});
}

fn transform(event: penstock.ChangeEvent, _: anytype) !penstock.Outcome {
    const operation = event.operation orelse return .unchanged;
    if (operation == .delete) return .drop;
    const name = event.column("name") orelse .nil;
    if (name == .extension and name.extension.kind == 1) return penstock.reject("unavailable", "after.name did not come", .{});
    const loud = try std.mem.concat(penstock.allocator, u8, &.{ name.asText() orelse "", "!" });
    const value = try event.with(&.{ .{ .name = "name", .value = .{ .text = loud } }, .{ .name = "seen", .value = .{ .integer = 7 } } });
    if (operation != .read) return .{ .emit = value };
    return .{ .emit_many = try penstock.allocator.dupe(penstock.Record, &.{
        .{ .key = event.record.key, .value = value },
        .{ .key = event.record.key, .value = null },
    }) };
}
