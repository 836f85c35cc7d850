//! Change events that the host decoded, whatever the source wrote: `encoding: event`.

const std = @import("std");
const memory = @import("memory.zig");
const msgpack = @import("msgpack.zig");
const frame = @import("frame.zig");
const Operation = @import("debezium.zig").Operation;
const Value = msgpack.Value;

/// A column of a row and its new value.
pub const Column = struct { name: []const u8, value: Value };

/// One record whose value the host decoded. Integers from -2^63 to 2^64-1 are integers; wider ones and decimals are texts with the
/// source's own digits; a column that the source did not send is an extension of type 1.
pub const ChangeEvent = struct {
    /// The record around it; `record.value` is the change event's map as it is written.
    record: frame.Event,
    /// Null for a tombstone.
    operation: ?Operation = null,
    /// Maps of columns, or null.
    before: ?Value = null,
    after: ?Value = null,
    source: ?Value = null,
    transaction: ?Value = null,
    ts_ms: ?i64 = null,

    pub fn of(record: frame.Event) msgpack.Error!ChangeEvent {
        var change: ChangeEvent = .{ .record = record };
        var members = try Members.of(record.value orelse return change);
        while (try members.next()) |member| {
            const value = if (member.value == .nil) null else member.value;
            if (std.mem.eql(u8, member.name, "op")) {
                change.operation = Operation.of(member.value.asText() orelse "");
            } else if (std.mem.eql(u8, member.name, "ts_ms")) {
                change.ts_ms = member.value.asInteger();
            } else inline for (.{ "before", "after", "source", "transaction" }) |name| {
                if (std.mem.eql(u8, member.name, name)) @field(change, name) = value;
            }
        }
        return change;
    }

    /// The column's value in `after`; null when there is no such column, or no row.
    pub fn column(change: *const ChangeEvent, name: []const u8) ?Value {
        return (change.after orelse return null).get(name);
    }

    /// The event's value with these columns of `after` set, in their place or at the end: `return .{ .emit = try event.with(&.{…}) };`.
    /// A column may be named once.
    pub fn with(change: *const ChangeEvent, columns: []const Column) (msgpack.Error || std.mem.Allocator.Error)![]const u8 {
        const value = change.record.value orelse return error.BadMsgpack;
        var size = 10 + value.len;
        for (columns) |one| size += 5 + one.name.len + msgpack.sizeOf(one.value);
        const room = try memory.allocator.alloc(u8, size);
        var out: msgpack.Writer = .{ .at = room.ptr };
        var members = try Members.of(value);
        out.head(0xdf, members.count);
        while (try members.next()) |member| {
            out.text(member.name);
            if (std.mem.eql(u8, member.name, "after")) {
                try writeRow(&out, member.written, columns);
            } else out.raw(member.written);
        }
        return room[0 .. @intFromPtr(out.at) - @intFromPtr(room.ptr)];
    }
};

fn writeRow(out: *msgpack.Writer, row: []const u8, columns: []const Column) msgpack.Error!void {
    var members: Members = if (row[0] == 0xc0) .{ .count = 0, .reader = .{ .rest = "" } } else try Members.of(row);
    var head = out.*;
    var count = members.count;
    out.at += 5;
    while (try members.next()) |member| {
        out.text(member.name);
        const new = find(columns, member.name);
        if (new) |value| out.value(value) else out.raw(member.written);
    }
    for (columns) |one| {
        if (row[0] != 0xc0 and try has(row, one.name)) continue;
        out.text(one.name);
        out.value(one.value);
        count += 1;
    }
    head.head(0xdf, count);
}

fn has(row: []const u8, name: []const u8) msgpack.Error!bool {
    var members = try Members.of(row);
    while (try members.next()) |member| {
        if (std.mem.eql(u8, member.name, name)) return true;
    }
    return false;
}

fn find(columns: []const Column, name: []const u8) ?Value {
    for (columns) |one| {
        if (std.mem.eql(u8, one.name, name)) return one.value;
    }
    return null;
}

/// A map's members, each value also as it is written.
const Members = struct {
    count: u32,
    reader: msgpack.Reader,
    done: u32 = 0,

    const Member = struct { name: []const u8, value: Value, written: []const u8 };

    fn of(bytes: []const u8) msgpack.Error!Members {
        var reader: msgpack.Reader = .{ .rest = bytes };
        const map = try reader.value();
        if (map != .map) return error.BadMsgpack;
        return .{ .count = map.map.count, .reader = map.map.reader() };
    }

    fn next(members: *Members) msgpack.Error!?Member {
        if (members.done == members.count) return null;
        members.done += 1;
        const name = (try members.reader.value()).asText() orelse return error.BadMsgpack;
        const start = members.reader.rest;
        const value = try members.reader.value();
        return .{ .name = name, .value = value, .written = start[0 .. start.len - members.reader.rest.len] };
    }
};
