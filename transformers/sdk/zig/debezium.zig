//! Debezium's JSON envelope, with the embedded schema (`{"schema": …, "payload": …}`) or without.

const std = @import("std");
const json = @import("json.zig");
const scan = @import("json_scan.zig");

/// What happened to the row.
pub const Operation = enum(u8) {
    create = 'c',
    update = 'u',
    delete = 'd',
    /// Read by a snapshot.
    read = 'r',
    truncate = 't',
    /// A message of the source's log, about no row.
    message = 'm',

    /// Null for anything else than one of the letters.
    pub fn of(text: []const u8) ?Operation {
        if (text.len != 1) return null;
        return std.enums.fromInt(Operation, text[0]);
    }

    /// True when the row exists after it, so that there should be an `after`.
    pub fn leavesARow(operation: Operation) bool {
        return operation == .create or operation == .update or operation == .read;
    }
};

/// The parts of a change event, borrowed from its text; absent and null ones are null.
pub const Envelope = struct {
    operation: Operation,
    before: ?json.Raw,
    after: ?json.Raw,
    source: ?json.Raw,
};

/// What a JSON value is in Debezium's terms.
pub const Value = union(enum) {
    change: Envelope,
    /// Any other object: a flattened row, a heartbeat, a transaction's boundary.
    other,
    /// A null payload, or a plain `null`: a tombstone.
    null,
};

const Parts = struct {
    schema: ?json.Raw = null,
    payload: ?json.Raw = null,
    op: ?json.Raw = null,
    before: ?json.Raw = null,
    after: ?json.Raw = null,
    source: ?json.Raw = null,

    fn of(text: []const u8) json.Error!Parts {
        var parts: Parts = .{};
        var repeats = false;
        var walk = try json.membersOf(text);
        while (try walk.next()) |member| {
            inline for (@typeInfo(Parts).@"struct".fields) |field| {
                if (member.is(field.name)) {
                    const part = &@field(parts, field.name);
                    repeats = repeats or part.* != null;
                    part.* = member.value;
                }
            }
        }
        // Readers differ in which one they take: a guest that looks at one would let the other pass.
        if (repeats) return json.fails("a member of the envelope repeats", 0);
        return parts;
    }

    fn value(parts: *const Parts) Value {
        const op = parts.op orelse return .other;
        const operation = Operation.of(op.inside() orelse return .other) orelse return .other;
        return .{ .change = .{
            .operation = operation,
            .before = present(parts.before),
            .after = present(parts.after),
            .source = present(parts.source),
        } };
    }
};

fn present(part: ?json.Raw) ?json.Raw {
    return if (part) |value| (if (value.kind() == .null) null else value) else null;
}

/// Reads a record's value as far as its envelope; all of it is checked. `error.BadJson`: not UTF-8, no JSON object (nor `null`), or a
/// member of the envelope repeats.
pub fn parse(bytes: []const u8) json.Error!Value {
    const valid = scan.validUtf8(bytes);
    if (valid < bytes.len) return json.fails("not UTF-8", valid);
    if (std.mem.eql(u8, std.mem.trim(u8, bytes, " \n\r\t"), "null")) return .null;
    const outer = try Parts.of(bytes);
    const payload = outer.payload orelse return outer.value();
    if (outer.schema == null) return outer.value();
    if (payload.kind() == .null) return .null;
    const inner = Parts.of(payload.text) catch |err| {
        json.fault.at += @intFromPtr(payload.text.ptr) - @intFromPtr(bytes.ptr);
        return err;
    };
    return inner.value();
}

test "with and without the schema" {
    for ([_][]const u8{
        "{\"before\":null,\"after\":{\"id\":1},\"op\":\"c\"}",
        "{\"schema\":{},\"payload\":{\"after\":{\"id\":1},\"op\":\"c\"}}",
    }) |text| {
        const change = (try parse(text)).change;
        try std.testing.expectEqual(.create, change.operation);
        try std.testing.expectEqual(null, change.before);
        try std.testing.expectEqualStrings("{\"id\":1}", change.after.?.text);
    }
    try std.testing.expectEqual(.null, try parse(" null"));
    try std.testing.expectEqual(.other, try parse("{\"op\":\"x\"}"));
    try std.testing.expectError(error.BadJson, parse("{\"op\":\"c\",\"after\":1,\"after\":2}"));
}
