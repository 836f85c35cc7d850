//! Changes to a JSON text, spliced in where the values lie, all at once.

const std = @import("std");
const json = @import("json.zig");
const Allocator = std.mem.Allocator;

/// A new value for an edit.
pub const New = union(enum) {
    null,
    boolean: bool,
    integer: i64,
    /// A string; quotes and escapes are added. It must be UTF-8.
    text: []const u8,
    /// JSON text that is written as it is: it must be one value.
    raw: []const u8,

    fn size(new: New) usize {
        return switch (new) {
            .null, .boolean => 5,
            .integer => json.integer_bytes_max,
            .text => |text| json.quotedSize(text),
            .raw => |raw| raw.len,
        };
    }

    fn put(new: New, out: []u8) []u8 {
        return switch (new) {
            .null => copy(out, "null"),
            .boolean => |boolean| copy(out, if (boolean) "true" else "false"),
            .integer => |integer| json.putInteger(out, integer),
            .text => |text| json.quote(out, text),
            .raw => |raw| copy(out, raw),
        };
    }
};

fn copy(out: []u8, text: []const u8) []u8 {
    @memcpy(out[0..text.len], text);
    return out[0..text.len];
}

/// `source[start..end]` becomes `inserted[from..to]`.
const Edit = struct {
    start: usize,
    end: usize,
    from: usize,
    to: usize,

    fn isBefore(_: void, one: Edit, other: Edit) bool {
        return one.start < other.start or (one.start == other.start and one.end < other.end);
    }
};

/// Changes to one JSON text. Values are named by where they lie: pass what was lent from the very same text.
pub const Edits = struct {
    source: []const u8,
    allocator: Allocator,
    edits: std.ArrayList(Edit) = .empty,
    inserted: std.ArrayList(u8) = .empty,

    /// No changes to `source` yet; what is inserted takes room from `allocator`.
    pub fn init(source: []const u8, allocator: Allocator) Allocator.Error!Edits {
        var edits: Edits = .{ .source = source, .allocator = allocator };
        try edits.edits.ensureTotalCapacityPrecise(allocator, 8);
        try edits.inserted.ensureTotalCapacityPrecise(allocator, 256);
        return edits;
    }

    pub fn deinit(edits: *Edits) void {
        edits.edits.deinit(edits.allocator);
        edits.inserted.deinit(edits.allocator);
    }

    /// Replaces a value; what was put in its place before is forgotten.
    pub fn replace(edits: *Edits, value: json.Raw, new: New) Allocator.Error!void {
        const start = edits.position(value);
        const end = start + value.text.len;
        const from = edits.inserted.items.len;
        try edits.insert(new);
        const edit: Edit = .{ .start = start, .end = end, .from = from, .to = edits.inserted.items.len };
        for (edits.edits.items) |*earlier| {
            if (earlier.start == start and earlier.end == end) {
                earlier.* = edit;
                return;
            }
        }
        try edits.edits.append(edits.allocator, edit);
    }

    /// Adds a member at the end of an object, behind those appended before.
    pub fn append(edits: *Edits, object: json.Raw, name: []const u8, new: New) Allocator.Error!void {
        if (object.kind() != .object) @panic("only objects have members");
        const inside = std.mem.trimEnd(u8, object.text[0 .. object.text.len - 1], " \n\r\t");
        const at = edits.position(object) + inside.len;
        var is_first = inside.len == 1;
        for (edits.edits.items) |edit| is_first = is_first and (edit.start != at or edit.end != at);
        const from = edits.inserted.items.len;
        if (!is_first) try edits.inserted.append(edits.allocator, ',');
        try edits.insert(.{ .text = name });
        try edits.inserted.append(edits.allocator, ':');
        try edits.insert(new);
        const to = edits.inserted.items.len;
        const last: ?*Edit = if (edits.edits.items.len > 0) &edits.edits.items[edits.edits.items.len - 1] else null;
        if (last) |edit| {
            if (edit.start == at and edit.end == at and edit.to == from) {
                edit.to = to;
                return;
            }
        }
        try edits.edits.append(edits.allocator, .{ .start = at, .end = at, .from = from, .to = to });
    }

    /// Replaces the member's value where there is one, else appends the member.
    pub fn set(edits: *Edits, object: json.Raw, existing: ?json.Raw, name: []const u8, new: New) Allocator.Error!void {
        if (existing) |value| try edits.replace(value, new) else try edits.append(object, name, new);
    }

    fn insert(edits: *Edits, new: New) Allocator.Error!void {
        try edits.inserted.ensureUnusedCapacity(edits.allocator, new.size());
        edits.inserted.items.len += new.put(edits.inserted.unusedCapacitySlice()).len;
    }

    /// Where the value lies in the source.
    fn position(edits: *const Edits, value: json.Raw) usize {
        const start = @intFromPtr(value.text.ptr) -% @intFromPtr(edits.source.ptr);
        if (start > edits.source.len or value.text.len > edits.source.len - start)
            @panic("the value is not of the text that is edited");
        return start;
    }

    /// Bytes of the text with all changes made, which are put in order here. Two that change the same text are a panic.
    pub fn finishedSize(edits: *Edits) usize {
        std.sort.insertion(Edit, edits.edits.items, {}, Edit.isBefore);
        var size = edits.source.len;
        var done: usize = 0;
        for (edits.edits.items) |edit| {
            if (edit.start < done) @panic("two edits change the same text");
            size = size - (edit.end - edit.start) + (edit.to - edit.from);
            done = edit.end;
        }
        return size;
    }

    /// Writes the text with all changes made into `finishedSize()` bytes.
    pub fn write(edits: *const Edits, out: []u8) void {
        var rest = out;
        var done: usize = 0;
        for (edits.edits.items) |edit| {
            rest = rest[copy(rest, edits.source[done..edit.start]).len..];
            rest = rest[copy(rest, edits.inserted.items[edit.from..edit.to]).len..];
            done = edit.end;
        }
        _ = copy(rest, edits.source[done..]);
    }

    /// The text with all changes made, in memory of the allocator.
    pub fn finish(edits: *Edits) Allocator.Error![]const u8 {
        const out = try edits.allocator.alloc(u8, edits.finishedSize());
        edits.write(out);
        return out;
    }
};
