//! Does what an event's value says, and emits what came of it as text: `../../c/probe` in Zig.

const std = @import("std");
const penstock = @import("penstock");
const host = penstock.host;

pub const panic = penstock.panic;

comptime {
    penstock.transformer(transform, Config);
    asm (penstock.metadata(.{ .name = "probe", .version = "0.1.0", .capabilities = &.{
            "log",            "clock",     "random",        "environment",    "filesystem-read", "filesystem-write",
            "network-client", "key-value", "database-read", "database-query", "database-write",  "database-transaction",
        } }));
}

const Config = struct {
    text: []const u8 = "",
    whole: i64 = -1,
    real: f64 = 0.5,
    flag: bool = true,
    list: []const []const u8 = &.{},
    inner: struct { text: ?[]const u8 = null } = .{},
};

const Wish = enum {
    config,
    records,
    header,
    large,
    tombstone,
    drop,
    reject,
    panic,
    memory,
    @"error",
    env,
    file_read,
    file_write,
    kv_get,
    kv_put,
    kv_delete,
    http,
    lookup,
    lookup_many,
    db,
    query,
    transaction,
    time,
};

fn print(comptime format: []const u8, arguments: anytype) !penstock.Outcome {
    return .{ .emit = try std.fmt.allocPrint(penstock.allocator, format, arguments) };
}

fn transform(event: penstock.Event, config: *const Config) !penstock.Outcome {
    const wish = std.meta.stringToEnum(Wish, event.value orelse "") orelse return .unchanged;
    return answer(wish, event, config) catch |err| switch (err) {
        error.Denied => print("status -1", .{}),
        error.Unavailable => print("status -4", .{}),
        error.Invalid => print("status -6", .{}),
        else => err,
    };
}

fn answer(wish: Wish, event: penstock.Event, config: *const Config) !penstock.Outcome {
    switch (wish) {
        .config => {
            const last = if (config.list.len > 0) config.list[config.list.len - 1] else "";
            const cents: i64 = @intFromFloat(config.real * 100);
            const inner = config.inner.text orelse last;
            return print("{s}|{d}|{d}|{}|{d}|{s}", .{ config.text, config.whole, cents, config.flag, config.list.len, inner });
        },
        .records => {
            const headers = try penstock.allocator.dupe(penstock.Header, &.{ .{ .name = "h", .value = "1" }, .{ .name = "n", .value = null } });
            const made = try std.mem.concat(penstock.allocator, u8, &.{ "made ", event.value.? });
            return .{ .emit_many = try penstock.allocator.dupe(penstock.Record, &.{
                .{ .topic = "flagged", .key = "k", .value = made, .headers = headers },
                .{ .key = event.key, .value = null },
                .{ .key = event.key, .value = "bare", .headers = &.{} },
            }) };
        },
        .header => {
            const value = if (event.headers.get("trace")) |header| header.value.? else "none";
            return print("{s}/{d}/{d}/{d}/{s}", .{ event.topic, event.partition, event.offset, event.timestamp_ms, value });
        },
        .large => {
            const text = try penstock.allocator.alloc(u8, 900_000);
            @memset(text, 'x');
            return .{ .emit = text };
        },
        .tombstone => return .{ .emit = null },
        .drop => return .drop,
        .reject => return penstock.reject("no-good", "after.x is {s}", .{event.value.?}),
        .panic => {
            const none: []const u8 = event.value.?[0..0];
            return print("{d}", .{none[event.value.?.len]});
        },
        .memory => return .{ .emit = try penstock.allocator.alloc(u8, 1 << 30) },
        .@"error" => return error.Strange,
        .env => return print("{s}", .{try host.envGet("HOME") orelse "nil"}),
        .file_read => return print("{s}", .{try host.fileRead("/a")}),
        .file_write => try host.fileWrite("/a", "c"),
        .kv_get => return print("{s}", .{try host.kvGet("k") orelse "nil"}),
        .kv_put => try host.kvPut("k", "v"),
        .kv_delete => try host.kvDelete("k"),
        .http => {
            const response = try host.httpRequest(.{ .method = "POST", .url = "http://x", .headers = &.{.{ .name = "a", .value = "b" }}, .body = "body" });
            return print("{d} {s}", .{ response.status, response.body });
        },
        .lookup => {
            const row = try host.lookup("people", .{ .float = 2.5 }) orelse return print("nil", .{});
            return print("{s}", .{row.get("name").?.text});
        },
        .lookup_many => {
            const rows = try host.lookupMany("people", &.{ .{ .integer = 1 }, .{ .text = "two" }, .{ .boolean = true } });
            return print("{d}", .{rows.count});
        },
        .db => return print("{d}", .{try host.dbExecute("delete", &.{ .{ .integer = -5000000000 }, .nil, .{ .bytes = "\x01\x02" } })}),
        .query => return print("{d}", .{(try host.dbQuery("select", &.{.{ .integer = 7 }})).count}),
        .transaction => {
            const changed = try host.dbTransaction(&.{ .{ .statement = "delete", .parameters = &.{.{ .integer = 7 }} }, .{ .statement = "update" } });
            return print("{d}", .{changed.count});
        },
        .time => {
            var chance: [4]u8 = undefined;
            host.log(.warning, "a line");
            try host.random(&chance);
            return print("{s}{d} {d}", .{ chance, host.nowMs(), host.monotonicNs() });
        },
    }
    return print("nil", .{});
}
