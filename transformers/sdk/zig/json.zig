//! Reads and edits JSON in place: checks all of a text, looks only at what is asked for, and splices new values into the original.
//!
//! Key order, white space and the exact digits of every number nobody touched stay as they came, which a parsed document would not
//! keep. The scanner is the SDK's own: `std.json`'s copies what it finds, and is several times as large.

const std = @import("std");
const scan = @import("json_scan.zig");
const Allocator = std.mem.Allocator;

pub const Error = scan.Error;
pub const Edits = @import("json_edits.zig").Edits;
pub const New = @import("json_edits.zig").New;

/// Why a text is not the JSON that was expected, and how many bytes lie before that.
pub const Fault = struct { problem: []const u8, at: usize };

/// The last fault: what `error.BadJson` is about. A transformer that returns the error rejects the event with it.
pub var fault: Fault = .{ .problem = "", .at = 0 };

pub fn fails(problem: []const u8, at: usize) Error {
    fault = .{ .problem = problem, .at = at };
    return error.BadJson;
}

fn failed(scanner: *const scan.Scanner) Error {
    return fails(scanner.problem, scanner.at);
}

pub const Kind = enum { null, boolean, number, string, array, object };

/// One value: its text, checked, without white space around it, borrowed from the text it was found in.
pub const Raw = struct {
    text: []const u8,

    /// The value that these bytes are, all of it checked: UTF-8, grammar, depth.
    pub fn parse(bytes: []const u8) Error!Raw {
        const valid = scan.validUtf8(bytes);
        if (valid < bytes.len) return fails("not UTF-8", valid);
        return parseText(bytes);
    }

    /// The same for bytes that are UTF-8 for sure.
    pub fn parseText(text: []const u8) Error!Raw {
        var scanner: scan.Scanner = .{ .text = text };
        scanner.space();
        const found = scanner.value() catch return failed(&scanner);
        scanner.end() catch return failed(&scanner);
        return .{ .text = found };
    }

    /// What the value is, told by its first byte.
    pub fn kind(value: Raw) Kind {
        return switch (value.text[0]) {
            'n' => .null,
            't', 'f' => .boolean,
            '"' => .string,
            '[' => .array,
            '{' => .object,
            else => .number,
        };
    }

    /// What stands between the quotes of a string, escapes and all; null for every other kind.
    pub fn inside(value: Raw) ?[]const u8 {
        return if (value.kind() == .string) value.text[1 .. value.text.len - 1] else null;
    }

    /// The text that a string stands for; null for every other kind. `error.BadJson` means half of a surrogate pair.
    pub fn string(value: Raw, allocator: Allocator) (Error || Allocator.Error)!?[]const u8 {
        return try decode(value.inside() orelse return null, allocator);
    }

    /// Whether this is a string that stands for `text`.
    pub fn isText(value: Raw, text: []const u8) Error!bool {
        const within = value.inside() orelse return false;
        return standsFor(within, text);
    }

    /// A walk over the members of an object, in order; names that repeat come repeatedly.
    pub fn members(value: Raw) Error!Members {
        return membersOf(value.text);
    }

    /// A walk over the elements of an array.
    pub fn elements(value: Raw) Error!Elements {
        return .{ .walk = try Walk.begin(value.text, '[', "expected an array") };
    }

    /// The last member of this name; null when there is none, or when this is no object.
    pub fn get(value: Raw, name: []const u8) Error!?Raw {
        if (value.kind() != .object) return null;
        var found: ?Raw = null;
        var walk = try value.members();
        while (try walk.next()) |member| {
            if (member.is(name)) found = member.value;
        }
        return found;
    }
};

/// A walk over the object that `text`, which is UTF-8, is; it checks what it walks over.
pub fn membersOf(text: []const u8) Error!Members {
    return .{ .walk = try Walk.begin(text, '{', "expected an object") };
}

const Walk = struct {
    scanner: scan.Scanner,
    close: u8,
    is_over: bool = false,

    fn begin(text: []const u8, open: u8, problem: []const u8) Error!Walk {
        var walk: Walk = .{ .scanner = .{ .text = text }, .close = open + 2 };
        const scanner = &walk.scanner;
        scanner.space();
        scanner.expect(open, problem) catch return failed(scanner);
        scanner.space();
        if (scanner.peek() == walk.close) walk.finish() catch return failed(scanner);
        return walk;
    }

    fn finish(walk: *Walk) Error!void {
        walk.scanner.at += 1;
        walk.is_over = true;
        try walk.scanner.end();
    }

    /// A value, and whatever stands between it and the next one.
    inline fn value(walk: *Walk) Error!Raw {
        const scanner = &walk.scanner;
        const found = try scanner.value();
        scanner.space();
        const next = scanner.peek();
        if (next == ',') {
            scanner.at += 1;
            scanner.space();
        } else if (next == walk.close) {
            try walk.finish();
        } else return scanner.fails("expected a comma or the end of the list");
        return .{ .text = found };
    }
};

pub const Member = struct {
    /// Between its quotes, escapes and all.
    name: []const u8,
    has_escapes: bool,
    value: Raw,

    /// Whether the member has this name.
    pub inline fn is(member: *const Member, comptime_name: []const u8) bool {
        if (member.has_escapes) return standsFor(member.name, comptime_name) catch false;
        return std.mem.eql(u8, member.name, comptime_name);
    }
};

pub const Members = struct {
    walk: Walk,

    pub fn next(members: *Members) Error!?Member {
        if (members.walk.is_over) return null;
        return members.member() catch return failed(&members.walk.scanner);
    }

    inline fn member(members: *Members) Error!Member {
        const scanner = &members.walk.scanner;
        const start = scanner.at;
        scanner.saw_escape = false;
        try scanner.string();
        const name = scanner.text[start + 1 .. scanner.at - 1];
        const has_escapes = scanner.saw_escape;
        if (has_escapes and decodedSize(name) == null) {
            scanner.at = start;
            return scanner.fails("half of a surrogate pair in a string");
        }
        try scanner.colon();
        return .{ .name = name, .has_escapes = has_escapes, .value = try members.walk.value() };
    }
};

pub const Elements = struct {
    walk: Walk,

    pub fn next(elements: *Elements) Error!?Raw {
        if (elements.walk.is_over) return null;
        return elements.walk.value() catch return failed(&elements.walk.scanner);
    }
};

// ---- Strings, from their JSON text and back. ----

/// Takes a checked string apart: stretches without escapes, and what each escape stands for.
const Parts = struct {
    rest: []const u8,
    character: [4]u8 = undefined,

    /// Null at the end. `error.BadJson` for half of a surrogate pair, which is no text.
    fn next(parts: *Parts) Error!?[]const u8 {
        if (parts.rest.len == 0) return null;
        const size = scan.plain(parts.rest);
        if (size > 0) {
            defer parts.rest = parts.rest[size..];
            return parts.rest[0..size];
        }
        const escape = parts.rest[1];
        const point: u21 = switch (escape) {
            'b' => 0x08,
            'f' => 0x0c,
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return try parts.unicode(),
            else => escape,
        };
        parts.rest = parts.rest[2..];
        parts.character[0] = @intCast(point);
        return parts.character[0..1];
    }

    /// `\u00e9`, or a pair of surrogates.
    fn unicode(parts: *Parts) Error![]const u8 {
        var point: u21 = hex(parts.rest[2..6]);
        parts.rest = parts.rest[6..];
        if (std.unicode.isSurrogateCodepoint(point)) {
            const rest = parts.rest;
            if (point > 0xdbff or rest.len < 6 or rest[0] != '\\' or rest[1] != 'u') return half();
            const low = hex(rest[2..6]);
            if (low < 0xdc00 or low > 0xdfff) return half();
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
            parts.rest = rest[6..];
        }
        const size = std.unicode.utf8Encode(point, &parts.character) catch unreachable;
        return parts.character[0..size];
    }

    fn half() Error {
        return fails("half of a surrogate pair in a string", 0);
    }

    fn hex(digits: []const u8) u21 {
        var point: u21 = 0;
        for (digits) |digit| point = point << 4 | (std.fmt.charToDigit(digit, 16) catch unreachable);
        return point;
    }
};

fn decodedSize(inside: []const u8) ?usize {
    var parts: Parts = .{ .rest = inside };
    var size: usize = 0;
    while (parts.next() catch return null) |part| size += part.len;
    return size;
}

/// The text that the inside of a checked string stands for: itself when it has no escapes.
pub fn decode(inside: []const u8, allocator: Allocator) (Error || Allocator.Error)![]const u8 {
    if (scan.plain(inside) == inside.len) return inside;
    const decoded = try allocator.alloc(u8, inside.len);
    var size: usize = 0;
    var parts: Parts = .{ .rest = inside };
    while (try parts.next()) |part| {
        @memcpy(decoded[size..][0..part.len], part);
        size += part.len;
    }
    return decoded[0..size];
}

/// Whether the inside of a checked string stands for this text.
pub fn standsFor(inside: []const u8, text: []const u8) Error!bool {
    var parts: Parts = .{ .rest = inside };
    var rest = text;
    while (try parts.next()) |part| {
        if (!std.mem.startsWith(u8, rest, part)) return false;
        rest = rest[part.len..];
    }
    return rest.len == 0;
}

/// Bytes of `text` as a JSON string, quotes included.
pub fn quotedSize(text: []const u8) usize {
    const same = scan.plain(text);
    var size = same + 2;
    for (text[same..]) |byte| size += escaped(byte);
    return size;
}

fn escaped(byte: u8) usize {
    return switch (byte) {
        '"', '\\', '\n', '\r', '\t' => 2,
        0...0x08, 0x0b, 0x0c, 0x0e...0x1f => 6,
        else => 1,
    };
}

/// Writes `text` as a JSON string into `quotedSize(text)` bytes of `out`; what of `out` was used.
pub fn quote(out: []u8, text: []const u8) []u8 {
    const same = scan.plain(text);
    var at: usize = same + 1;
    out[0] = '"';
    @memcpy(out[1..at], text[0..same]);
    for (text[same..]) |byte| {
        const size = escaped(byte);
        switch (size) {
            1 => out[at] = byte,
            2 => {
                out[at] = '\\';
                out[at + 1] = switch (byte) {
                    '\n' => 'n',
                    '\r' => 'r',
                    '\t' => 't',
                    else => byte,
                };
            },
            else => {
                @memcpy(out[at..][0..4], "\\u00");
                @memcpy(out[at + 4 ..][0..2], &std.fmt.hex(byte));
            },
        }
        at += size;
    }
    out[at] = '"';
    return out[0 .. at + 1];
}

pub const integer_bytes_max = 20;

/// Writes an integer into at most 20 bytes; what of `out` was used.
pub fn putInteger(out: []u8, number: i64) []u8 {
    var digits: [integer_bytes_max]u8 = undefined;
    var start: usize = digits.len;
    var rest = @abs(number);
    while (true) {
        start -= 1;
        digits[start] = '0' + @as(u8, @intCast(rest % 10));
        rest /= 10;
        if (rest == 0) break;
    }
    if (number < 0) {
        start -= 1;
        digits[start] = '-';
    }
    const text = digits[start..];
    @memcpy(out[0..text.len], text);
    return out[0..text.len];
}

test "errors say what and where" {
    for ([_]struct { []const u8, []const u8, usize }{
        .{ "{\"a\":}", "expected a value", 5 },
        .{ "[1 2]", "expected a comma or the end of the list", 3 },
        .{ "a\xff", "not UTF-8", 1 },
        .{ "{", "the text ends too early", 1 },
    }) |case| {
        try std.testing.expectError(error.BadJson, Raw.parse(case[0]));
        try std.testing.expectEqualStrings(case[1], fault.problem);
        try std.testing.expectEqual(case[2], fault.at);
    }
}

test "escaped names are found, and repeated ones seen" {
    const root = try Raw.parse("{\"\\u0061\":1,\"a\": 2 }");
    var walk = try root.members();
    try std.testing.expect((try walk.next()).?.is("a"));
    try std.testing.expectEqualStrings("2", (try walk.next()).?.value.text);
    try std.testing.expectEqual(null, try walk.next());
    try std.testing.expectEqualStrings("2", (try root.get("a")).?.text);
}
