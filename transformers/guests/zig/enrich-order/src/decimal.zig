//! Exact decimal numbers, read from and written to text; nothing goes through a double.

const std = @import("std");

/// Digits behind the point that are still exact: every power of ten up to it fits.
const scale_max = 38;
/// So many digits surely fit 64 bits, signed.
const short_digits = 18;

pub const ParseError = error{
    /// It is not a decimal number.
    Invalid,
    /// It is one, with more digits than 128 bits hold.
    TooLarge,
};

/// `units × 10^-scale`.
pub const Decimal = struct {
    units: i128,
    scale: u32,

    pub const text_bytes_max = 2 * scale_max + 3;

    /// Reads `-12.50`, `12`, `1.25e3`. Keeps zeros at the end: they are the column's scale.
    pub fn parse(text: []const u8) ParseError!Decimal {
        return parseShort(text) orelse parseAny(text);
    }

    /// What most amounts are, in one pass and without 128-bit arithmetic; null for all else, right or wrong.
    fn parseShort(text: []const u8) ?Decimal {
        const is_negative = text.len > 0 and text[0] == '-';
        const digits = if (is_negative) text[1..] else text;
        if (digits.len == 0 or digits.len > short_digits) return null;
        var units: i64 = 0;
        var point: ?usize = null;
        for (digits, 0..) |byte, at| switch (byte) {
            '0'...'9' => units = units * 10 + (byte - '0'),
            '.' => {
                if (point != null or at == 0 or at + 1 == digits.len) return null;
                point = at;
            },
            else => return null,
        };
        const scale = if (point) |at| digits.len - 1 - at else 0;
        return .{ .units = if (is_negative) -units else units, .scale = @intCast(scale) };
    }

    fn parseAny(text: []const u8) ParseError!Decimal {
        const e = std.mem.indexOfAny(u8, text, "eE");
        const exponent = if (e) |at| try exponentOf(text[at + 1 ..]) else 0;
        const mantissa = text[0 .. e orelse text.len];
        const is_negative = std.mem.startsWith(u8, mantissa, "-");
        const digits = if (is_negative) mantissa[1..] else mantissa;
        const point = std.mem.indexOfScalar(u8, digits, '.');
        const whole = digits[0 .. point orelse digits.len];
        const fraction = if (point) |at| digits[at + 1 ..] else "";
        if (whole.len == 0 or (point != null and fraction.len == 0)) return error.Invalid;
        for ([_][]const u8{ whole, fraction }) |part| {
            for (part) |byte| if (!std.ascii.isDigit(byte)) return error.Invalid;
        }
        const units = try addDigits(try addDigits(0, whole), fraction);
        return scaled(if (is_negative) -units else units, @as(i64, @intCast(fraction.len)) - exponent);
    }

    fn scaled(units: i128, scale: i64) ParseError!Decimal {
        if (units == 0) return .{ .units = 0, .scale = @intCast(std.math.clamp(scale, 0, scale_max)) };
        if (scale > scale_max) return error.TooLarge;
        if (scale >= 0) return .{ .units = units, .scale = @intCast(scale) };
        return .{ .units = timesPower(units, @intCast(-scale)) orelse return error.TooLarge, .scale = 0 };
    }

    /// The exact product; null when it has more digits than 128 bits hold.
    pub fn times(one: Decimal, other: Decimal) ?Decimal {
        const product: i128 = if (std.math.cast(i32, one.units)) |short| product: {
            const factor = std.math.cast(i32, other.units) orelse break :product multiplied(one.units, other.units) orelse return null;
            break :product @as(i64, short) * factor;
        } else multiplied(one.units, other.units) orelse return null;
        return .{ .units = product, .scale = one.scale + other.scale };
    }

    /// Hundredths, halves rounded away from zero; null when they do not fit 64 bits.
    pub fn hundredths(number: Decimal) ?i64 {
        if (number.scale <= 2) return std.math.cast(i64, timesPower(number.units, 2 - number.scale) orelse return null);
        if (std.math.cast(i64, number.units)) |short| {
            if (number.scale - 2 <= short_digits) return rounded(i64, short, powers[number.scale - 2]);
        }
        return std.math.cast(i64, rounded(i128, number.units, power(number.scale - 2) orelse return null));
    }

    fn rounded(comptime T: type, units: T, divisor: T) T {
        const whole = @divTrunc(units, divisor);
        const rest: T = @intCast(@abs(@rem(units, divisor)));
        if (rest < divisor - rest) return whole;
        return whole + std.math.sign(units);
    }

    pub fn exceeds(one: Decimal, other: Decimal) bool {
        const scale = @max(one.scale, other.scale);
        // Only the side with the smaller scale grows: when it outgrows its bits, its sign decides.
        const left = timesPower(one.units, scale - one.scale) orelse return one.units > 0;
        const right = timesPower(other.units, scale - other.scale) orelse return other.units < 0;
        return left > right;
    }

    /// The number's text, all digits of its scale, at least one before the point, at the end of `room`.
    pub fn write(number: Decimal, room: *[text_bytes_max]u8) []const u8 {
        var start: usize = room.len;
        var rest = @abs(number.units);
        var written: usize = 0;
        while (rest > 0 or written <= number.scale) : (written += 1) {
            if (written == number.scale and written > 0) {
                start -= 1;
                room[start] = '.';
            }
            start -= 1;
            room[start] = '0' + lastDigit(&rest);
        }
        if (number.units < 0) {
            start -= 1;
            room[start] = '-';
        }
        return room[start..];
    }
};

fn lastDigit(rest: *u128) u8 {
    if (std.math.cast(u64, rest.*)) |short| {
        rest.* = short / 10;
        return @intCast(short % 10);
    }
    defer rest.* /= 10;
    return @intCast(rest.* % 10);
}

/// 64-bit powers of ten.
const powers = powers: {
    var all: [short_digits + 1]i64 = undefined;
    for (&all, 0..) |*one, at| one.* = std.math.pow(i64, 10, at);
    break :powers all;
};

fn power(exponent: u64) ?i128 {
    if (exponent > scale_max) return null;
    return std.math.powi(i128, 10, @intCast(exponent)) catch null;
}

fn multiplied(one: i128, other: i128) ?i128 {
    return std.math.mul(i128, one, other) catch null;
}

fn timesPower(units: i128, exponent: u64) ?i128 {
    if (units == 0 or exponent == 0) return units;
    if (exponent < 10) {
        if (std.math.cast(i32, units)) |short| return @as(i64, short) * powers[@intCast(exponent)];
    }
    return multiplied(units, power(exponent) orelse return null);
}

fn exponentOf(text: []const u8) ParseError!i64 {
    const digits = if (text.len > 0 and (text[0] == '+' or text[0] == '-')) text[1..] else text;
    if (digits.len == 0) return error.Invalid;
    for (digits) |byte| if (!std.ascii.isDigit(byte)) return error.Invalid;
    return std.fmt.parseInt(i32, text, 10) catch error.TooLarge;
}

fn addDigits(start: i128, digits: []const u8) ParseError!i128 {
    var units = start;
    for (digits) |byte| {
        const shifted = timesPower(units, 1) orelse return error.TooLarge;
        units = std.math.add(i128, shifted, byte - '0') catch return error.TooLarge;
    }
    return units;
}

fn expectText(expected: []const u8, number: Decimal) !void {
    var room: [Decimal.text_bytes_max]u8 = undefined;
    try std.testing.expectEqualStrings(expected, number.write(&room));
}

test "text goes in and out" {
    for ([_][]const u8{ "0", "-7", "12.50", "0.05", "-0.001", "170141183460469231731687303715884105727" }) |text|
        try expectText(text, try Decimal.parse(text));
    try expectText("1250", try Decimal.parse("1.25e3"));
    try expectText("0.0125", try Decimal.parse("125E-4"));
    try expectText("0.0", try Decimal.parse("-0.0"));
}

test "what is no decimal" {
    for ([_][]const u8{ "", "-", ".5", "5.", "+5", "1e", "1e+", "0x1", "1_0", "NaN", " 1", "1,5", "1.2.3", "--1", "1e5e5", "1e1_0" }) |text|
        try std.testing.expectError(error.Invalid, Decimal.parse(text));
    for ([_][]const u8{ "1e39", "1e-39", "170141183460469231731687303715884105728", "1e99999999999" }) |text|
        try std.testing.expectError(error.TooLarge, Decimal.parse(text));
}

test "halves round away from zero, and products are exact" {
    const cases = [_]struct { []const u8, ?i64 }{
        .{ "1.005", 101 },                                 .{ "-1.005", -101 },               .{ "1.0049999999", 100 },
        .{ "0.015", 2 },                                   .{ "3", 300 },                     .{ "1e-38", 0 },
        .{ "92233720368547758.07", std.math.maxInt(i64) }, .{ "92233720368547758.08", null },
    };
    for (cases) |case| try std.testing.expectEqual(case[1], (try Decimal.parse(case[0])).hundredths());
    try expectText("-49.750", (try Decimal.parse("-19.90")).times(try Decimal.parse("2.5")).?);
    const large = try Decimal.parse("1e20");
    try std.testing.expectEqual(null, large.times(large));
    try std.testing.expect((try Decimal.parse("1e38")).exceeds(try Decimal.parse("0.00000000000000000001")));
    try std.testing.expect(!(try Decimal.parse("10")).exceeds(try Decimal.parse("10.00")));
}
