//! Enriches order rows: `full_name`, `amount_cents`, `total` and `currency` are added to `after`, in place.
//!
//! Rows whose `status` is listed in `drop_statuses` are dropped; rows without a usable `amount` are rejected; deletes, tombstones,
//! truncates and messages pass unchanged. docs/guests.md has the configuration.

const std = @import("std");
const penstock = @import("penstock");
const json = penstock.json;
const Decimal = @import("decimal.zig").Decimal;

pub const panic = penstock.panic;

comptime {
    penstock.transformer(transform, Config);
}

const Config = struct {
    /// Added to each row as `currency`.
    currency: ?Currency = null,
    /// Rows in one of these states end here.
    drop_statuses: []const []const u8 = &.{},
    /// Orders whose total is above it are also emitted to `flag_topic`.
    flag_above: ?Limit = null,
    /// Must be listed in the route's `also_to`.
    flag_topic: ?[]const u8 = null,

    pub fn check(config: *const Config) ?[]const u8 {
        if (config.flag_above != null and config.flag_topic == null)
            return "flag_above needs flag_topic: the topic for the flagged orders";
        if (config.flag_topic != null and config.flag_above == null)
            return "flag_topic needs flag_above: the total from which orders are flagged";
        return null;
    }
};

const Currency = struct {
    code: []const u8,

    pub const config_expects = "an ISO 4217 code, three capital letters such as EUR,";

    pub fn fromConfig(value: penstock.msgpack.Value) ?Currency {
        const code = value.asText() orelse return null;
        for (code) |letter| if (!std.ascii.isUpper(letter)) return null;
        return if (code.len == 3) .{ .code = code } else null;
    }
};

const Limit = struct {
    decimal: Decimal,

    pub const config_expects = "a decimal number in quotes, such as \"10000.00\",";

    /// From an integer or a text. Floating-point numbers are refused: they may not be what was written.
    pub fn fromConfig(value: penstock.msgpack.Value) ?Limit {
        return switch (value) {
            .integer => |units| .{ .decimal = .{ .units = units, .scale = 0 } },
            .text => |text| .{ .decimal = Decimal.parse(text) catch return null },
            else => null,
        };
    }
};

/// The columns that matter, as they stand in the row; a column that repeats counts as its last.
const Row = struct {
    first_name: ?json.Raw = null,
    last_name: ?json.Raw = null,
    amount: ?json.Raw = null,
    quantity: ?json.Raw = null,
    status: ?json.Raw = null,
    full_name: ?json.Raw = null,
    amount_cents: ?json.Raw = null,
    total: ?json.Raw = null,
    currency: ?json.Raw = null,

    fn of(after: json.Raw) json.Error!Row {
        var row: Row = .{};
        var members = try json.membersOf(after.text);
        while (try members.next()) |member| {
            inline for (@typeInfo(Row).@"struct".fields) |column| {
                if (member.is(column.name)) @field(row, column.name) = member.value;
            }
        }
        return row;
    }

    fn isDropped(row: *const Row, config: *const Config) json.Error!bool {
        const status = row.status orelse return false;
        for (config.drop_statuses) |dropped| {
            if (try status.isText(dropped)) return true;
        }
        return false;
    }
};

fn transform(event: penstock.Event, config: *const Config) !penstock.Outcome {
    const value = event.value orelse return .unchanged;
    const change = switch (try penstock.debezium.parse(value)) {
        .null => return .unchanged,
        .change => |change| change,
        .other => return penstock.reject("no-envelope", "the value has no `op` of c, u, r, d, t or m: it is no Debezium change event", .{}),
    };
    if (!change.operation.leavesARow()) return .unchanged;
    const after = change.after orelse
        return penstock.reject("no-after", "{s} without `after`: there is no row to enrich", .{@tagName(change.operation)});
    const row = try Row.of(after);
    if (try row.isDropped(config)) return .drop;
    return enriched(event, value, after, &row, config);
}

fn enriched(event: penstock.Event, text: []const u8, after: json.Raw, row: *const Row, config: *const Config) !penstock.Outcome {
    const raw_amount = row.amount orelse return penstock.reject("bad-amount", "after.amount is missing", .{});
    const amount = try numberOf("amount", "bad-amount", raw_amount);
    const cents = amount.hundredths() orelse
        return penstock.reject("overflow", "after.amount is {s}: its cents do not fit 64 bits", .{shown(raw_amount)});
    const total = try totalOf(raw_amount, amount, row.quantity);
    const first = try nameOf("first_name", row.first_name);
    const last = try nameOf("last_name", row.last_name);

    var edits = try json.Edits.init(text, penstock.allocator);
    try edits.set(after, row.full_name, "full_name", .{ .raw = try fullName(first, last) });
    try edits.set(after, row.amount_cents, "amount_cents", .{ .integer = cents });
    if (total) |number| {
        var room: [Decimal.text_bytes_max]u8 = undefined;
        const digits = number.write(&room);
        const new: json.New = if (raw_amount.kind() == .string) .{ .text = digits } else .{ .raw = digits };
        try edits.set(after, row.total, "total", new);
    }
    if (config.currency) |currency| try edits.set(after, row.currency, "currency", .{ .text = currency.code });

    const limit = config.flag_above orelse return .{ .edit = edits };
    if (!(total orelse amount).exceeds(limit.decimal)) return .{ .edit = edits };
    const value = try edits.finish();
    return .{ .emit_many = try penstock.allocator.dupe(penstock.Record, &.{
        .{ .key = event.key, .value = value },
        .{ .key = event.key, .value = value, .topic = config.flag_topic },
    }) };
}

/// Amount × quantity; null when there is no quantity.
fn totalOf(raw_amount: json.Raw, amount: Decimal, quantity: ?json.Raw) !?Decimal {
    const raw = quantity orelse return null;
    if (raw.kind() == .null) return null;
    const factor = try numberOf("quantity", "bad-quantity", raw);
    return amount.times(factor) orelse
        penstock.reject("overflow", "after.amount is {s}: times {s} it has too many digits", .{ shown(raw_amount), shown(raw) });
}

fn numberOf(comptime column: []const u8, comptime code: []const u8, value: json.Raw) !Decimal {
    const text = try value.string(penstock.allocator) orelse value.text;
    return Decimal.parse(text) catch |err| switch (err) {
        error.TooLarge => penstock.reject("overflow", "after." ++ column ++ " is {s}: too many digits", .{shown(value)}),
        error.Invalid => penstock.reject(code, "after." ++ column ++ " is {s}: a decimal number was expected (Debezium writes " ++
            "decimals as bytes unless decimal.handling.mode is string)", .{shown(value)}),
    };
}

/// What stands between the quotes, escapes and all; empty for null and for a missing column.
fn nameOf(comptime column: []const u8, value: ?json.Raw) ![]const u8 {
    const raw = value orelse return "";
    return switch (raw.kind()) {
        .null => "",
        .string => raw.inside().?,
        else => penstock.reject("bad-name", "after." ++ column ++ " is {s}: a string or null was expected", .{shown(raw)}),
    };
}

/// First and last name in one JSON string, empty ones skipped; null when there is neither.
fn fullName(first: []const u8, last: []const u8) ![]const u8 {
    if (first.len + last.len == 0) return "null";
    const space = if (first.len == 0 or last.len == 0) "" else " ";
    return std.mem.concat(penstock.allocator, u8, &.{ "\"", first, space, last, "\"" });
}

/// A value for a message: its JSON text, cut at a character when it is long.
fn shown(value: json.Raw) []const u8 {
    var size: usize = @min(value.text.len, 80);
    while (size < value.text.len and value.text[size] & 0xc0 == 0x80) size -= 1;
    return value.text[0..size];
}
