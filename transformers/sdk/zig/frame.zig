//! What an event is, what becomes of it, and how both cross to and from the host.

const std = @import("std");
const host = @import("host.zig");
const json = @import("json.zig");
const memory = @import("memory.zig");
const msgpack = @import("msgpack.zig");
const ChangeEvent = @import("change.zig").ChangeEvent;

/// One record of the batch. All of it is borrowed until the batch ends.
pub const Event = struct {
    topic: []const u8,
    partition: i64,
    offset: i64,
    timestamp_ms: i64,
    key: ?[]const u8,
    /// Null is a tombstone. With `encoding: event` the change event's msgpack map: take a `ChangeEvent`.
    value: ?[]const u8,
    headers: Headers,
};

pub const Header = struct { name: []const u8, value: ?[]const u8 };

/// Headers still in their frame, read while they are walked.
pub const Headers = struct {
    count: u32,
    reader: msgpack.Reader,

    /// The next header, in order; names may repeat.
    pub fn next(headers: *Headers) ?Header {
        if (headers.count == 0) return null;
        headers.count -= 1;
        return headers.pair() catch badFrame();
    }

    fn pair(headers: *Headers) msgpack.Error!Header {
        if (try headers.reader.list() != 2) return error.BadMsgpack;
        const name = (try headers.reader.value()).asText() orelse return error.BadMsgpack;
        return .{ .name = name, .value = try headers.reader.binary() };
    }

    /// The last header of this name, which is the one that counts in Kafka.
    pub fn get(headers: Headers, name: []const u8) ?Header {
        var walk = headers;
        var found: ?Header = null;
        while (walk.next()) |header| {
            if (std.mem.eql(u8, header.name, name)) found = header;
        }
        return found;
    }
};

/// One record to emit. Null headers keep the event's own; a null topic is the route's destination.
pub const Record = struct {
    topic: ?[]const u8 = null,
    key: ?[]const u8,
    value: ?[]const u8,
    headers: ?[]const Header = null,
};

pub const Rejection = struct {
    /// Short and stable, for machines: `bad-amount`.
    code: []const u8,
    /// One sentence for people that names the value and the field.
    message: []const u8,
};

/// What becomes of one event.
pub const Outcome = union(enum) {
    /// It goes on as it came.
    unchanged,
    /// It ends here.
    drop,
    /// It goes on with this value; null makes it a tombstone.
    emit: ?[]const u8,
    /// It goes on with these changes to its JSON text: `emit` without a copy in between.
    edit: json.Edits,
    /// These records go on in its place, in this order; 10,000 at most.
    emit_many: []const Record,
    /// It goes to the dead letters.
    reject: Rejection,
};

/// The rejection that `error.Rejected` is about.
var rejection: Rejection = undefined;

/// `return penstock.reject("bad-amount", "after.amount is {s}", .{text});`
pub fn reject(comptime code: []const u8, comptime format: []const u8, arguments: anytype) error{Rejected} {
    const message = std.fmt.allocPrint(memory.allocator, format, arguments) catch outOfMemory();
    rejection = .{ .code = code, .message = message };
    return error.Rejected;
}

fn outOfMemory() noreturn {
    host.fail("memory", "the guest's memory limit left no room for an allocation");
}

/// The host wrote the frame, so no event is to blame.
fn badFrame() noreturn {
    host.fail("bad-frame", "the batch frame is not what guest ABI v1 says");
}

/// The cursor: index of the event at work.
pub var index: u32 = 0;

/// One result per event of the batch, in order; where the frame is, as the ABI wants it.
pub fn run(batch: []const u8, comptime transform: anytype, config: anytype) u64 {
    memory.spend();
    const start = memory.behind(batch);
    const size = results(batch, start, transform, config) catch badFrame();
    return @as(u64, start) << 32 | size;
}

fn results(batch: []const u8, start: usize, comptime transform: anytype, config: anytype) msgpack.Error!usize {
    const Given = @typeInfo(@TypeOf(transform)).@"fn".params[0].type.?;
    const is_event = Given == ChangeEvent;
    var reader: msgpack.Reader = .{ .rest = batch };
    if (try reader.list() != 2) return error.BadMsgpack;
    var event = try meta(&reader, is_event);
    const count = try reader.list();
    memory.need(start, 5);
    var out: msgpack.Writer = .{ .at = @ptrFromInt(start) };
    out.head(0xdd, count);
    for (0..count) |at| {
        index = @intCast(at);
        try next(&reader, &event, is_event);
        const from = begin(out, event);
        const outcome = outcomeOf(transform(if (is_event) ChangeEvent.of(event) catch badFrame() else event, config));
        answer(&out, outcome, from, is_event);
    }
    if (reader.rest.len > 0) return error.BadMsgpack;
    return @intFromPtr(out.at) - start;
}

/// Errors by what they are about; the rest are the guest's faults.
fn outcomeOf(result: anytype) Outcome {
    if (@typeInfo(@TypeOf(result)) != .error_union) return result;
    return result catch |err| switch (@as(anyerror, err)) {
        error.Rejected => .{ .reject = rejection },
        error.BadJson => .{ .reject = .{ .code = "bad-json", .message = badJson() } },
        error.OutOfMemory => outOfMemory(),
        else => host.fail("error", @errorName(err)),
    };
}

fn badJson() []const u8 {
    const parts = .{ json.fault.problem, json.fault.at };
    return std.fmt.allocPrint(memory.allocator, "the value is not the JSON that was expected: {s} (at byte {d})", parts) catch
        outOfMemory();
}

/// Topic and partition, which all events of a batch have in common.
fn meta(reader: *msgpack.Reader, comptime is_event: bool) msgpack.Error!Event {
    const wanted = if (is_event) "event" else "raw";
    const map = try reader.value();
    const encoding = part(map, "encoding").asText() orelse wanted;
    if (!std.mem.eql(u8, encoding, wanted))
        host.fail("encoding", "this guest reads `encoding: " ++ wanted ++ "`: set that in its registry entry");
    var event: Event = undefined;
    event.topic = part(map, "topic").asText() orelse "";
    event.partition = part(map, "partition").asInteger() orelse 0;
    return event;
}

fn part(map: msgpack.Value, name: []const u8) msgpack.Value {
    return map.get(name) orelse .nil;
}

fn next(reader: *msgpack.Reader, event: *Event, comptime is_event: bool) msgpack.Error!void {
    if (try reader.list() != 5) return error.BadMsgpack;
    event.offset = try reader.integer();
    event.timestamp_ms = try reader.integer();
    event.key = try reader.binary();
    if (is_event) {
        const value = try reader.skip(1);
        event.value = if (value[0] == 0xc0) null else value;
    } else event.value = try reader.binary();
    const count = try reader.list();
    event.headers = .{ .count = count, .reader = .{ .rest = try reader.skip(count) } };
}

/// What the event's allocator lends begins far enough behind the frame's end for the answer that is most likely: a little longer than
/// the value. Where it begins.
fn begin(out: msgpack.Writer, event: Event) usize {
    const longer = 512;
    const value = event.value orelse "";
    memory.lendFrom(@intFromPtr(out.at) + value.len + longer);
    return memory.lentTo();
}

/// Writes the answer at its place in the frame, or, where it might run over what it is made of, behind that, and moves it then.
fn answer(out: *msgpack.Writer, outcome: Outcome, lent_from: usize, comptime is_event: bool) void {
    const size = sizeOf(outcome);
    const place = @intFromPtr(out.at);
    const is_free = memory.lentTo() == lent_from or size <= lent_from - place;
    const start = if (is_free) place else memory.lentTo();
    memory.need(start, size);
    var writer: msgpack.Writer = .{ .at = @ptrFromInt(start) };
    write(&writer, outcome, is_event);
    const written = @intFromPtr(writer.at) - start;
    if (!is_free) std.mem.copyForwards(u8, out.at[0..written], @as([*]const u8, @ptrFromInt(start))[0..written]);
    out.at += written;
}

fn sizeOf(outcome: Outcome) usize {
    return switch (outcome) {
        .unchanged, .drop => 2,
        .emit => |value| 7 + (value orelse "").len,
        .edit => |edits| 7 + sizeOfEdited(edits),
        .emit_many => |records| sizeOfRecords(records),
        .reject => |why| 12 + why.code.len + why.message.len,
    };
}

fn sizeOfEdited(edits: json.Edits) usize {
    var ordered = edits;
    return ordered.finishedSize();
}

fn sizeOfRecords(records: []const Record) usize {
    var size: usize = 7;
    for (records) |record| {
        size += 21 + (record.topic orelse "").len + (record.key orelse "").len + (record.value orelse "").len;
        for (record.headers orelse &.{}) |header| size += 11 + header.name.len + (header.value orelse "").len;
    }
    return size;
}

fn write(out: *msgpack.Writer, outcome: Outcome, comptime is_event: bool) void {
    switch (outcome) {
        .unchanged => out.byte(0xc0),
        .drop => out.raw(&.{ 0x91, 0 }),
        .emit => |value| {
            out.raw(&.{ 0x92, 1 });
            writeValue(out, value, is_event);
        },
        .edit => |edits| {
            const size = sizeOfEdited(edits);
            out.raw(&.{ 0x92, 1 });
            out.head(0xc6, size);
            edits.write(out.at[0..size]);
            out.at += size;
        },
        .emit_many => |records| {
            out.raw(&.{ 0x92, 2 });
            out.head(0xdd, records.len);
            for (records) |record| writeRecord(out, record, is_event);
        },
        .reject => |why| {
            out.raw(&.{ 0x93, 3 });
            out.text(why.code);
            out.text(why.message);
        },
    }
}

/// A change event is msgpack already.
fn writeValue(out: *msgpack.Writer, value: ?[]const u8, comptime is_event: bool) void {
    if (is_event and value != null) out.raw(value.?) else out.binary(value);
}

fn writeRecord(out: *msgpack.Writer, record: Record, comptime is_event: bool) void {
    out.byte(0x94);
    if (record.topic) |topic| out.text(topic) else out.byte(0xc0);
    out.binary(record.key);
    writeValue(out, record.value, is_event);
    const headers = record.headers orelse return out.byte(0xc0);
    out.head(0xdd, headers.len);
    for (headers) |header| {
        out.byte(0x92);
        out.text(header.name);
        out.binary(header.value);
    }
}
