//! Reads msgpack values in every width the format knows, without copying, and writes them.

const std = @import("std");

/// These bytes are no msgpack, or end too early.
pub const Error = error{BadMsgpack};

/// One value. Lists and maps are read while they are walked.
pub const Value = union(enum) {
    nil,
    boolean: bool,
    integer: i64,
    /// From 2^63 on.
    unsigned: u64,
    float: f64,
    text: []const u8,
    bytes: []const u8,
    list: Items,
    /// `count` members: a name and a value each.
    map: Items,
    extension: Extension,
    /// A value as it is written already, for writing.
    written: []const u8,

    pub const Extension = struct { kind: i8, bytes: []const u8 };

    /// Values one after the other, as they are written.
    pub const Items = struct {
        count: u32,
        bytes: []const u8,

        pub fn reader(items: Items) Reader {
            return .{ .rest = items.bytes };
        }
    };

    /// The value of this name in a map; null when it has none, or is no map.
    pub fn get(value: Value, name: []const u8) ?Value {
        if (value != .map) return null;
        var reader = value.map.reader();
        for (0..value.map.count) |_| {
            const key = reader.value() catch return null;
            const found = reader.value() catch return null;
            if (key == .text and std.mem.eql(u8, key.text, name)) return found;
        }
        return null;
    }

    /// The text, or null for anything else.
    pub fn asText(value: Value) ?[]const u8 {
        return if (value == .text) value.text else null;
    }

    /// The bytes, or null for anything else.
    pub fn asBytes(value: Value) ?[]const u8 {
        return if (value == .bytes) value.bytes else null;
    }

    /// The integer, or null for anything else.
    pub fn asInteger(value: Value) ?i64 {
        return if (value == .integer) value.integer else null;
    }
};

/// A position in bytes that are msgpack.
pub const Reader = struct {
    rest: []const u8,

    pub fn take(reader: *Reader, size: usize) Error![]const u8 {
        if (size > reader.rest.len) return error.BadMsgpack;
        defer reader.rest = reader.rest[size..];
        return reader.rest[0..size];
    }

    fn tag(reader: *Reader) Error!u8 {
        return (try reader.take(1))[0];
    }

    fn number(reader: *Reader, T: type) Error!T {
        return std.mem.readInt(T, (try reader.take(@sizeOf(T)))[0..@sizeOf(T)], .big);
    }

    /// A length or count in one, two or four bytes.
    fn length(reader: *Reader, bytes: u3) Error!u32 {
        return switch (bytes) {
            1 => try reader.number(u8),
            2 => try reader.number(u16),
            else => try reader.number(u32),
        };
    }

    /// The next value; what is inside of it is taken too.
    pub fn value(reader: *Reader) Error!Value {
        const first = try reader.tag();
        return switch (first) {
            0x00...0x7f, 0xe0...0xff => .{ .integer = @as(i8, @bitCast(first)) },
            0x80...0x8f => .{ .map = try reader.items(first & 0x0f, 2) },
            0x90...0x9f => .{ .list = try reader.items(first & 0x0f, 1) },
            0xa0...0xbf => .{ .text = try reader.take(first & 0x1f) },
            0xc0 => .nil,
            0xc1 => error.BadMsgpack,
            0xc2, 0xc3 => .{ .boolean = first == 0xc3 },
            0xc4...0xc6 => .{ .bytes = try reader.take(try reader.length(width(first - 0xc4))) },
            0xc7...0xc9 => try reader.extension(try reader.length(width(first - 0xc7))),
            0xca => .{ .float = @as(f32, @bitCast(try reader.number(u32))) },
            0xcb => .{ .float = @bitCast(try reader.number(u64)) },
            0xcc...0xce => .{ .integer = try reader.length(width(first - 0xcc)) },
            0xcf => large(try reader.number(u64)),
            0xd0 => .{ .integer = try reader.number(i8) },
            0xd1 => .{ .integer = try reader.number(i16) },
            0xd2 => .{ .integer = try reader.number(i32) },
            0xd3 => .{ .integer = try reader.number(i64) },
            0xd4...0xd8 => try reader.extension(@as(u32, 1) << @intCast(first - 0xd4)),
            0xd9...0xdb => .{ .text = try reader.take(try reader.length(width(first - 0xd9))) },
            0xdc, 0xdd => .{ .list = try reader.items(try reader.length(width(first - 0xdc + 1)), 1) },
            0xde, 0xdf => .{ .map = try reader.items(try reader.length(width(first - 0xde + 1)), 2) },
        };
    }

    fn width(step: u8) u3 {
        return @intCast(@as(u8, 1) << @intCast(step));
    }

    fn large(found: u64) Value {
        return if (std.math.cast(i64, found)) |small| .{ .integer = small } else .{ .unsigned = found };
    }

    fn extension(reader: *Reader, bytes: u32) Error!Value {
        const kind: i8 = @bitCast(try reader.tag());
        return .{ .extension = .{ .kind = kind, .bytes = try reader.take(bytes) } };
    }

    fn items(reader: *Reader, count: u32, each: u64) Error!Value.Items {
        return .{ .count = count, .bytes = try reader.skip(count * each) };
    }

    /// Moves past so many values, however deep they are nested; their bytes.
    pub fn skip(reader: *Reader, values: u64) Error![]const u8 {
        const start = reader.rest;
        var pending = values;
        while (pending > 0) pending = pending - 1 + try reader.skipHead();
        return start[0 .. start.len - reader.rest.len];
    }

    /// Moves past one value's own bytes; how many values inside of it follow.
    fn skipHead(reader: *Reader) Error!u64 {
        const first = try reader.tag();
        const own: usize = switch (first) {
            0x80...0x8f => return 2 * @as(u64, first & 0x0f),
            0x90...0x9f => return first & 0x0f,
            0xdc, 0xdd => return try reader.length(width(first - 0xdc + 1)),
            0xde, 0xdf => return 2 * @as(u64, try reader.length(width(first - 0xde + 1))),
            0x00...0x7f, 0xe0...0xff, 0xc0...0xc3 => 0,
            0xa0...0xbf => first & 0x1f,
            0xc4...0xc6 => try reader.length(width(first - 0xc4)),
            0xc7...0xc9 => @as(usize, try reader.length(width(first - 0xc7))) + 1,
            0xca, 0xcb => @as(usize, 4) << @intCast(first - 0xca),
            0xcc...0xcf => @as(usize, 1) << @intCast(first - 0xcc),
            0xd0...0xd3 => @as(usize, 1) << @intCast(first - 0xd0),
            0xd4...0xd8 => (@as(usize, 1) << @intCast(first - 0xd4)) + 1,
            0xd9...0xdb => try reader.length(width(first - 0xd9)),
        };
        _ = try reader.take(own);
        return 0;
    }

    /// An array's head: how many values follow.
    pub fn list(reader: *Reader) Error!u32 {
        const first = try reader.tag();
        return switch (first) {
            0x90...0x9f => first & 0x0f,
            0xdc => try reader.number(u16),
            0xdd => try reader.number(u32),
            else => error.BadMsgpack,
        };
    }

    /// An integer that fits int64.
    pub fn integer(reader: *Reader) Error!i64 {
        return (try reader.value()).asInteger() orelse error.BadMsgpack;
    }

    /// Bytes, or null for nil.
    pub fn binary(reader: *Reader) Error!?[]const u8 {
        return switch (try reader.value()) {
            .nil => null,
            .bytes => |found| found,
            else => error.BadMsgpack,
        };
    }
};

/// Writes into memory that is known to be large enough: see `sizeOf`.
pub const Writer = struct {
    at: [*]u8,

    pub fn byte(writer: *Writer, one: u8) void {
        writer.at[0] = one;
        writer.at += 1;
    }

    pub fn raw(writer: *Writer, written: []const u8) void {
        @memcpy(writer.at, written);
        writer.at += written.len;
    }

    pub fn head(writer: *Writer, first: u8, count: usize) void {
        writer.byte(first);
        writer.number(u32, @intCast(count));
    }

    fn number(writer: *Writer, T: type, content: T) void {
        std.mem.writeInt(T, writer.at[0..@sizeOf(T)], content, .big);
        writer.at += @sizeOf(T);
    }

    pub fn text(writer: *Writer, content: []const u8) void {
        if (content.len < 32) writer.byte(0xa0 | @as(u8, @intCast(content.len))) else writer.head(0xdb, content.len);
        writer.raw(content);
    }

    /// Bytes, or nil for null.
    pub fn binary(writer: *Writer, content: ?[]const u8) void {
        const bytes = content orelse return writer.byte(0xc0);
        writer.head(0xc6, bytes.len);
        writer.raw(bytes);
    }

    pub fn value(writer: *Writer, content: Value) void {
        switch (content) {
            .nil => writer.byte(0xc0),
            .boolean => |boolean| writer.byte(if (boolean) 0xc3 else 0xc2),
            .integer => |integer| {
                if (integer >= -32 and integer < 128) return writer.byte(@bitCast(@as(i8, @intCast(integer))));
                writer.byte(0xd3);
                writer.number(i64, integer);
            },
            .unsigned => |unsigned| {
                writer.byte(0xcf);
                writer.number(u64, unsigned);
            },
            .float => |float| {
                writer.byte(0xcb);
                writer.number(u64, @bitCast(float));
            },
            .text => |content_text| writer.text(content_text),
            .bytes => |bytes| writer.binary(bytes),
            .list => |items| {
                writer.head(0xdd, items.count);
                writer.raw(items.bytes);
            },
            .map => |items| {
                writer.head(0xdf, items.count);
                writer.raw(items.bytes);
            },
            .extension => |extension| {
                writer.head(0xc9, extension.bytes.len);
                writer.byte(@bitCast(extension.kind));
                writer.raw(extension.bytes);
            },
            .written => |written| writer.raw(written),
        }
    }
};

/// Bytes that a value needs at most.
pub fn sizeOf(value: Value) usize {
    return switch (value) {
        .text, .bytes, .written => |bytes| 5 + bytes.len,
        .list, .map => |items| 5 + items.bytes.len,
        .extension => |extension| 6 + extension.bytes.len,
        else => 9,
    };
}

/// The values as one list, in memory of `allocator`.
pub fn list(allocator: std.mem.Allocator, values: []const Value) std.mem.Allocator.Error!Value {
    var size: usize = 0;
    for (values) |value| size += sizeOf(value);
    const room = try allocator.alloc(u8, size);
    var writer: Writer = .{ .at = room.ptr };
    for (values) |value| writer.value(value);
    const used = @intFromPtr(writer.at) - @intFromPtr(room.ptr);
    return .{ .list = .{ .count = @intCast(values.len), .bytes = room[0..used] } };
}

test "integers of every width" {
    const cases = [_]struct { []const u8, i64 }{
        .{ "\x7f", 127 },                         .{ "\xff", -1 },                                                   .{ "\xe0", -32 },                                                  .{ "\xcc\xff", 255 },
        .{ "\xcd\x01\x00", 256 },                 .{ "\xce\xff\xff\xff\xff", 4294967295 },                           .{ "\xd0\x80", -128 },                                             .{ "\xd1\x80\x00", -32768 },
        .{ "\xd2\x80\x00\x00\x00", -2147483648 }, .{ "\xd3\x80\x00\x00\x00\x00\x00\x00\x00", std.math.minInt(i64) }, .{ "\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", std.math.maxInt(i64) },
    };
    for (cases) |case| {
        var reader: Reader = .{ .rest = case[0] };
        try std.testing.expectEqual(case[1], try reader.integer());
        try std.testing.expectEqual(0, reader.rest.len);
        var short: Reader = .{ .rest = case[0][0 .. case[0].len - 1] };
        try std.testing.expectError(error.BadMsgpack, short.integer());
    }
}

test "every type is skipped as it is read, and what is written is read back" {
    const values = [_][]const u8{
        "\xc0",                 "\xc3",                                 "\x82\x01\x02\x03\x91\x04",             "\xa2hi",               "\xc4\x01\x00",
        "\xc5\x00\x01\x00",     "\xc6\x00\x00\x00\x01\x00",             "\xc7\x01\x09\x00",                     "\xc8\x00\x01\x09\x00", "\xc9\x00\x00\x00\x01\x09\x00",
        "\xca\x3f\x80\x00\x00", "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00", "\xd4\x01\x00",                         "\xd5\x01\x00\x00",     "\xd6\x01\x00\x00\x00\x00",
        "\xd9\x01x",            "\xda\x00\x01x",                        "\xdb\x00\x00\x00\x01x",                "\xdc\x00\x02\x01\x02", "\xdd\x00\x00\x00\x01\x01",
        "\xde\x00\x01\x01\x02", "\xdf\x00\x00\x00\x01\x01\x02",         "\xcf\xff\x00\x00\x00\x00\x00\x00\x00",
    };
    for (values) |bytes| {
        var skipped: Reader = .{ .rest = bytes };
        try std.testing.expectEqualStrings(bytes, try skipped.skip(1));
        var reader: Reader = .{ .rest = bytes };
        const value = try reader.value();
        try std.testing.expectEqual(0, reader.rest.len);
        var room: [64]u8 = undefined;
        var writer: Writer = .{ .at = &room };
        writer.value(value);
        const size = @intFromPtr(writer.at) - @intFromPtr(&room);
        try std.testing.expect(size <= sizeOf(value));
        var again: Reader = .{ .rest = room[0..size] };
        try std.testing.expectEqualDeep(value, try again.value());
        var short: Reader = .{ .rest = bytes[0 .. bytes.len - 1] };
        try std.testing.expectError(error.BadMsgpack, short.skip(1));
    }
}
