//! What a guest may ask of the host. Each function needs its capability in guest.toml and in the registry; only those that are called
//! are imported. Answers are lent until the event is answered.

const std = @import("std");
const memory = @import("memory.zig");
const msgpack = @import("msgpack.zig");
const Value = msgpack.Value;

const import = struct {
    extern "penstock" fn fail(code: [*]const u8, code_size: usize, message: [*]const u8, message_size: usize) noreturn;
    extern "penstock" fn log(level: u32, line: [*]const u8, size: usize) void;
    extern "penstock" fn now_ms() i64;
    extern "penstock" fn monotonic_ns() i64;
    extern "penstock" fn random(out: [*]u8, size: usize) i32;
    extern "penstock" fn env_get(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn file_read(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn file_write(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn http_request(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn kv_get(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn kv_put(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn kv_delete(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn lookup(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn lookup_many(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn db_query(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn db_execute(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
    extern "penstock" fn db_transaction(request: [*]const u8, size: usize, out: [*]u8, capacity: usize) i32;
};

/// Names the reason to the host, then traps: a short stable code, one sentence. Outside of WebAssembly there is no host to tell.
pub fn fail(code: []const u8, message: []const u8) noreturn {
    if (!@import("builtin").cpu.arch.isWasm()) std.debug.panic("{s}: {s}", .{ code, message });
    import.fail(code.ptr, code.len, message.ptr, message.len);
}

/// Fails with the place unless it holds: `penstock.assert(rows > 0, @src());`.
pub fn assert(ok: bool, comptime place: std.builtin.SourceLocation) void {
    if (!ok) fail("panic", comptime std.fmt.comptimePrint("assertion failed ({s}:{d})", .{ place.file, place.line }));
}

pub const Level = enum(u32) { trace, debug, info, warning, @"error" };

/// `log`: one line; the host cuts what goes beyond 4 KiB.
pub fn log(level: Level, line: []const u8) void {
    import.log(@intFromEnum(level), line.ptr, line.len);
}

/// `clock`: milliseconds since 1970.
pub fn nowMs() i64 {
    return import.now_ms();
}

/// `clock`: nanoseconds of a clock that never goes back.
pub fn monotonicNs() i64 {
    return import.monotonic_ns();
}

/// Why the host did not do it.
pub const Error = error{ Denied, BadRange, TooLarge, Unavailable, Deadline, Invalid, BadMsgpack, OutOfMemory };

fn errorOf(status: i32) Error {
    return switch (status) {
        -1 => error.Denied,
        -2 => error.BadRange,
        -3 => error.TooLarge,
        -5 => error.Deadline,
        -6 => error.Invalid, // the request is not what the ABI's table says
        else => error.Unavailable,
    };
}

/// `random`: fills the buffer, 1 MiB at most.
pub fn random(buffer: []u8) Error!void {
    const status = import.random(buffer.ptr, buffer.len);
    if (status < 0) return errorOf(status);
}

/// Calls the import; once more, with the room that it said it needs, when the answer did not fit.
fn ask(comptime call: anytype, request: Value) Error!Value {
    const written = try memory.allocator.alloc(u8, msgpack.sizeOf(request));
    var writer: msgpack.Writer = .{ .at = written.ptr };
    writer.value(request);
    var out: []u8 = try memory.allocator.alloc(u8, 4096);
    const size = @intFromPtr(writer.at) - @intFromPtr(written.ptr);
    var status = call(written.ptr, size, out.ptr, out.len);
    if (status == -3) {
        out = try memory.allocator.alloc(u8, @max(4, std.mem.readInt(u32, out[0..4], .little)));
        status = call(written.ptr, size, out.ptr, out.len);
    }
    if (status < 0) return errorOf(status);
    var reader: msgpack.Reader = .{ .rest = out[0..@intCast(status)] };
    return reader.value();
}

fn askWith(comptime call: anytype, arguments: []const Value) Error!Value {
    return ask(call, try msgpack.list(memory.allocator, arguments));
}

/// `environment`: a variable that the host lists; null when it is not set.
pub fn envGet(name: []const u8) Error!?[]const u8 {
    return (try ask(import.env_get, .{ .text = name })).asText();
}

/// `filesystem-read`
pub fn fileRead(path: []const u8) Error![]const u8 {
    return (try ask(import.file_read, .{ .text = path })).asBytes() orelse error.BadMsgpack;
}

/// `filesystem-write`
pub fn fileWrite(path: []const u8, content: []const u8) Error!void {
    _ = try askWith(import.file_write, &.{ .{ .text = path }, .{ .bytes = content } });
}

/// `key-value`: null when the key is not there.
pub fn kvGet(key: []const u8) Error!?[]const u8 {
    return (try ask(import.kv_get, .{ .text = key })).asBytes();
}

/// `key-value`
pub fn kvPut(key: []const u8, value: []const u8) Error!void {
    _ = try askWith(import.kv_put, &.{ .{ .text = key }, .{ .bytes = value } });
}

/// `key-value`
pub fn kvDelete(key: []const u8) Error!void {
    _ = try ask(import.kv_delete, .{ .text = key });
}

/// `database-read`: the row as a map; null when there is none.
pub fn lookup(table: []const u8, key: Value) Error!?Value {
    const row = try askWith(import.lookup, &.{ .{ .text = table }, key });
    return if (row == .nil) null else row;
}

/// `database-read`: one row, or nil, per key, in order.
pub fn lookupMany(table: []const u8, keys: []const Value) Error!Value.Items {
    const rows = try askWith(import.lookup_many, &.{ .{ .text = table }, try msgpack.list(memory.allocator, keys) });
    return if (rows == .list) rows.list else error.BadMsgpack;
}

/// `database-query`: rows as maps.
pub fn dbQuery(statement: []const u8, parameters: []const Value) Error!Value.Items {
    const list = try msgpack.list(memory.allocator, parameters);
    const rows = try askWith(import.db_query, &.{ .{ .text = statement }, list });
    return if (rows == .list) rows.list else error.BadMsgpack;
}

/// `database-write`: how many rows changed.
pub fn dbExecute(statement: []const u8, parameters: []const Value) Error!i64 {
    const list = try msgpack.list(memory.allocator, parameters);
    const changed = try askWith(import.db_execute, &.{ .{ .text = statement }, list });
    return changed.asInteger() orelse error.BadMsgpack;
}

pub const DbChange = struct { statement: []const u8, parameters: []const Value = &.{} };

/// `database-transaction`: all statements or none; how many rows each changed.
pub fn dbTransaction(changes: []const DbChange) Error!Value.Items {
    const pairs = try memory.allocator.alloc(Value, changes.len);
    for (pairs, changes) |*pair, change| {
        const list = try msgpack.list(memory.allocator, change.parameters);
        pair.* = try msgpack.list(memory.allocator, &.{ .{ .text = change.statement }, list });
    }
    const changed = try askWith(import.db_transaction, pairs);
    return if (changed == .list) changed.list else error.BadMsgpack;
}

pub const HttpHeader = struct { name: []const u8, value: []const u8 };
pub const HttpRequest = struct {
    method: []const u8 = "GET",
    url: []const u8,
    headers: []const HttpHeader = &.{},
    body: ?[]const u8 = null,
};
/// `headers` are pairs of texts.
pub const HttpResponse = struct { status: i64, headers: Value.Items, body: []const u8 };

/// `network-client`
pub fn httpRequest(request: HttpRequest) Error!HttpResponse {
    const pairs = try memory.allocator.alloc(Value, request.headers.len);
    for (pairs, request.headers) |*pair, header|
        pair.* = try msgpack.list(memory.allocator, &.{ .{ .text = header.name }, .{ .text = header.value } });
    const members = try msgpack.list(memory.allocator, &.{
        .{ .text = "method" },  .{ .text = request.method },
        .{ .text = "url" },     .{ .text = request.url },
        .{ .text = "headers" }, try msgpack.list(memory.allocator, pairs),
        .{ .text = "body" },    if (request.body) |body| .{ .bytes = body } else .nil,
    });
    const answer = try ask(import.http_request, .{ .map = .{ .count = 4, .bytes = members.list.bytes } });
    const headers = answer.get("headers") orelse return error.BadMsgpack;
    const body = answer.get("body") orelse return error.BadMsgpack;
    return .{
        .status = (answer.get("status") orelse return error.BadMsgpack).asInteger() orelse return error.BadMsgpack,
        .headers = if (headers == .list) headers.list else return error.BadMsgpack,
        .body = body.asBytes() orelse "",
    };
}
