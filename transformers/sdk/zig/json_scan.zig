//! Walks JSON text without building anything: checks the grammar of RFC 8259 and says where values end.
//!
//! Strings and runs of digits are crossed sixteen bytes at a time, in words of eight. What is common (a short plain string, a single
//! space) is inline and without a loop: in a guest, each turn of a loop costs a look at the deadline.

const std = @import("std");

/// The text is not the JSON that was expected: `Scanner.problem` says why, and `Scanner.at` where.
pub const Error = error{BadJson};

/// How deep values may be nested. A bit per level is kept on the stack, so a text cannot make this cost anything.
pub const depth_max = 512;

const block_bytes = 16;

fn each(comptime byte: u8) u64 {
    return @as(u64, 0x0101010101010101) * byte;
}

/// Flags (in each byte's top bit) of the bytes that are zero; the lowest flag is exact, whatever the bytes above it do.
inline fn zeros(word: u64) u64 {
    return (word -% each(1)) & ~word;
}

inline fn stops(word: u64) u64 {
    const controls = (word -% each(0x20)) & ~word;
    return (zeros(word ^ each('"')) | zeros(word ^ each('\\')) | controls) & each(0x80);
}

inline fn others(word: u64) u64 {
    const above_zero = word ^ each('0');
    return (((above_zero & each(0x7f)) + each(0x80 - 10)) | above_zero) & each(0x80);
}

inline fn load(text: []const u8, at: usize) u64 {
    return std.mem.readInt(u64, text[at..][0..8], .little);
}

/// How many of the next sixteen bytes come before the first flag.
inline fn before(comptime flags: fn (u64) callconv(.@"inline") u64, text: []const u8, at: usize) usize {
    const low = flags(load(text, at));
    if (low != 0) return @ctz(low) / 8;
    const high = flags(load(text, at + 8));
    return if (high != 0) 8 + @as(usize, @ctz(high) / 8) else block_bytes;
}

/// A position in a text, which must be UTF-8: see `validUtf8`.
pub const Scanner = struct {
    text: []const u8,
    at: usize = 0,
    problem: []const u8 = "",
    /// Set by every string with a backslash; whoever asks clears it before.
    saw_escape: bool = false,

    pub fn fails(scanner: *Scanner, problem: []const u8) Error {
        @branchHint(.cold);
        scanner.problem = if (scanner.at >= scanner.text.len) "the text ends too early" else problem;
        return error.BadJson;
    }

    /// The next byte; 0, which is allowed nowhere, at the end.
    pub inline fn peek(scanner: *const Scanner) u8 {
        return if (scanner.at < scanner.text.len) scanner.text[scanner.at] else 0;
    }

    inline fn hasBlock(scanner: *const Scanner) bool {
        return scanner.text.len - scanner.at >= block_bytes;
    }

    /// Mostly there is none, or one.
    pub inline fn space(scanner: *Scanner) void {
        if (scanner.peek() > ' ') return;
        scanner.moreSpace();
    }

    noinline fn moreSpace(scanner: *Scanner) void {
        while (true) switch (scanner.peek()) {
            ' ', '\n', '\r', '\t' => scanner.at += 1,
            else => return,
        };
    }

    pub inline fn expect(scanner: *Scanner, byte: u8, problem: []const u8) Error!void {
        if (scanner.peek() != byte) return scanner.fails(problem);
        scanner.at += 1;
    }

    /// Any value, which must begin here; its text.
    pub fn value(scanner: *Scanner) Error![]const u8 {
        const start = scanner.at;
        switch (scanner.peek()) {
            '{', '[' => try scanner.nested(),
            else => try scanner.scalar(),
        }
        return scanner.text[start..scanner.at];
    }

    /// Nothing but white space may follow.
    pub fn end(scanner: *Scanner) Error!void {
        scanner.space();
        if (scanner.at != scanner.text.len) return scanner.fails("more text after the value");
    }

    /// The one loop over nested values: a turn is a member or an element.
    noinline fn nested(scanner: *Scanner) Error!void {
        var in_object: [depth_max / 64]u64 = undefined; // by level: whether what encloses it is an object
        var depth: usize = 0;
        var close: u8 = 0;
        while (true) {
            const open = scanner.peek();
            if (open == '{' or open == '[') {
                scanner.at += 1;
                scanner.space();
                if (scanner.peek() != open + 2) {
                    if (depth == depth_max) return scanner.fails("nested too deeply");
                    const bit = @as(u64, 1) << @intCast(depth % 64);
                    const rest = if (depth % 64 == 0) 0 else in_object[depth / 64] & (bit - 1);
                    in_object[depth / 64] = if (close == '}') rest | bit else rest;
                    depth += 1;
                    close = open + 2;
                    if (close == '}') try scanner.name();
                    continue;
                }
                scanner.at += 1;
            } else try scanner.scalar();

            while (true) { // leave all levels that end here
                if (depth == 0) return;
                scanner.space();
                const next = scanner.peek();
                if (next == ',') break;
                if (next != close) return scanner.fails("expected a comma or the end of the list");
                scanner.at += 1;
                depth -= 1;
                close = if (in_object[depth / 64] >> @intCast(depth % 64) & 1 == 1) '}' else ']';
            }
            scanner.at += 1;
            scanner.space();
            if (close == '}') try scanner.name();
        }
    }

    fn name(scanner: *Scanner) Error!void {
        try scanner.string();
        try scanner.colon();
    }

    /// The colon behind a name, and the space around it.
    pub inline fn colon(scanner: *Scanner) Error!void {
        scanner.space();
        try scanner.expect(':', "expected a colon");
        scanner.space();
    }

    inline fn scalar(scanner: *Scanner) Error!void {
        switch (scanner.peek()) {
            '"' => try scanner.string(),
            '-', '0'...'9' => try scanner.number(),
            't' => try scanner.literal("true"),
            'f' => try scanner.literal("false"),
            'n' => try scanner.literal("null"),
            else => return scanner.fails("expected a value"),
        }
    }

    inline fn literal(scanner: *Scanner, comptime text: []const u8) Error!void {
        const rest = scanner.text[scanner.at..];
        if (rest.len < text.len or !std.mem.eql(u8, rest[0..text.len], text)) return scanner.fails("expected a value");
        scanner.at += text.len;
    }

    inline fn number(scanner: *Scanner) Error!void {
        if (scanner.peek() == '-') scanner.at += 1;
        if (scanner.peek() == '0') scanner.at += 1 else try scanner.digits();
        if (scanner.peek() == '.') {
            scanner.at += 1;
            try scanner.digits();
        }
        if (scanner.peek() | 0x20 == 'e') try scanner.exponent();
    }

    noinline fn exponent(scanner: *Scanner) Error!void {
        scanner.at += 1;
        if (scanner.peek() == '+' or scanner.peek() == '-') scanner.at += 1;
        try scanner.moreDigits();
    }

    /// At least one digit.
    inline fn digits(scanner: *Scanner) Error!void {
        if (scanner.hasBlock()) {
            const found = before(others, scanner.text, scanner.at);
            if (found > 0 and found < block_bytes) {
                scanner.at += found;
                return;
            }
        }
        try scanner.moreDigits();
    }

    noinline fn moreDigits(scanner: *Scanner) Error!void {
        if (!std.ascii.isDigit(scanner.peek())) return scanner.fails("expected a digit");
        while (std.ascii.isDigit(scanner.peek())) scanner.at += 1;
    }

    pub inline fn string(scanner: *Scanner) Error!void {
        try scanner.expect('"', "expected a string");
        if (scanner.hasBlock()) {
            const stop = scanner.at + before(stops, scanner.text, scanner.at);
            if (stop < scanner.text.len and scanner.text[stop] == '"') {
                scanner.at = stop + 1;
                return;
            }
        }
        try scanner.moreString();
    }

    noinline fn moreString(scanner: *Scanner) Error!void {
        while (true) {
            scanner.at += plain(scanner.text[scanner.at..]);
            switch (scanner.peek()) {
                '"' => {
                    scanner.at += 1;
                    return;
                },
                '\\' => try scanner.escape(),
                else => return scanner.fails("a control character inside a string"),
            }
        }
    }

    fn escape(scanner: *Scanner) Error!void {
        scanner.saw_escape = true;
        scanner.at += 1;
        switch (scanner.peek()) {
            '"', '\\', '/', 'b', 'f', 'n', 'r', 't' => scanner.at += 1,
            'u' => {
                scanner.at += 1;
                for (0..4) |_| {
                    if (!std.ascii.isHex(scanner.peek())) return scanner.fails("expected a hexadecimal digit");
                    scanner.at += 1;
                }
            },
            else => return scanner.fails("no such escape"),
        }
    }
};

/// The bytes before the first quote, backslash or control character.
pub fn plain(text: []const u8) usize {
    var at: usize = 0;
    while (text.len - at >= block_bytes) {
        const found = before(stops, text, at);
        at += found;
        if (found < block_bytes) return at;
    }
    while (at < text.len and text[at] >= 0x20 and text[at] != '"' and text[at] != '\\') at += 1;
    return at;
}

/// Bytes before the first that is no UTF-8 (RFC 3629), which is the length when all of it is.
pub fn validUtf8(text: []const u8) usize {
    var at: usize = 0;
    while (at < text.len) {
        if (text.len - at >= block_bytes and (load(text, at) | load(text, at + 8)) & each(0x80) == 0) {
            at += block_bytes;
            continue;
        }
        const stop = @min(text.len, at + block_bytes);
        while (at < stop) {
            const size = character(text[at..]) orelse return at;
            at += size;
        }
    }
    return at;
}

fn character(text: []const u8) ?usize {
    const size = std.unicode.utf8ByteSequenceLength(text[0]) catch return null;
    if (size > text.len) return null;
    _ = std.unicode.utf8Decode(text[0..size]) catch return null;
    return size;
}
