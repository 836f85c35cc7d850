//! Answers questions about JSON with the Zig SDK, on stdin and stdout, as `../c/json_driver.c` does with C's: a byte that says which,
//! a length, a text; back comes a length and a text.

const std = @import("std");
const penstock = @import("penstock");
const json = penstock.json;
const debezium = penstock.debezium;

const Output = std.ArrayList(u8);
const gpa = std.heap.page_allocator;
var answer: Output = .empty;

fn say(text: []const u8) void {
    answer.appendSlice(gpa, text) catch @panic("memory");
}

fn sayQuoted(text: []const u8) void {
    const size = json.quotedSize(text);
    const room = gpa.alloc(u8, size) catch @panic("memory");
    defer gpa.free(room);
    if (json.quote(room, text).len != size) @panic("another size");
    say(room);
}

fn sayFault() void {
    answer.print(gpa, "{{\"error\":\"{s}\",\"at\":{d}}}", .{ json.fault.problem, json.fault.at }) catch @panic("memory");
}

/// A string's text, or null for half of a surrogate pair.
fn sayString(inside: []const u8, arena: std.mem.Allocator) void {
    const text = json.decode(inside, arena) catch return say("null");
    if (!(json.standsFor(inside, text) catch false)) @panic("it does not stand for itself");
    sayQuoted(text);
}

fn sayValue(value: json.Raw, arena: std.mem.Allocator) json.Error!void {
    switch (value.kind()) {
        .number => {
            say("[\"number\",");
            sayQuoted(value.text);
        },
        .string => {
            say("[\"string\",");
            sayString(value.inside().?, arena);
        },
        .array => {
            say("[\"array\"");
            var walk = try value.elements();
            while (try walk.next()) |element| {
                say(",");
                try sayValue(element, arena);
            }
        },
        .object => {
            say("[\"object\"");
            var walk = try value.members();
            while (walk.next() catch {
                say(",\"a name that is no text\"]");
                return;
            }) |member| {
                say(",");
                sayString(member.name, arena);
                say(",");
                try sayValue(member.value, arena);
            }
        },
        else => return say(value.text),
    }
    say("]");
}

fn parse(text: []const u8, arena: std.mem.Allocator) !void {
    const value = json.Raw.parse(text) catch return sayFault();
    try sayValue(value, arena);
}

fn envelope(text: []const u8, arena: std.mem.Allocator) !void {
    switch (debezium.parse(text) catch return sayFault()) {
        .null => say("[\"null\",\"\",null,null]"),
        .other => say("[\"other\",\"\",null,null]"),
        .change => |change| {
            say("[\"change\",\"");
            say(&.{@intFromEnum(change.operation)});
            say("\",");
            try sayValue(change.before orelse .{ .text = "null" }, arena);
            say(",");
            try sayValue(change.after orelse .{ .text = "null" }, arena);
            say("]");
        },
    }
}

fn overlap(edits: *const json.Edits) bool {
    for (edits.edits.items, 0..) |one, at| {
        for (edits.edits.items[at + 1 ..]) |other| {
            if (one.start < other.end and other.start < one.end) return true;
            if (other.start == other.end and one.start < other.start and other.start < one.end) return true;
        }
    }
    return false;
}

/// `{"text": json, "edits": [{"path": [name, …], "name": name, "to": value}, …]}` → the edited text.
fn edit(request: []const u8, arena: std.mem.Allocator) !void {
    const wishes = try json.Raw.parse(request);
    const text = (try (try wishes.get("text")).?.string(arena)).?;
    const root = try json.Raw.parse(text);
    var edits = try json.Edits.init(text, arena);
    var each = try (try wishes.get("edits")).?.elements();
    while (try each.next()) |wish| {
        var object = root;
        var path = try (try wish.get("path")).?.elements();
        while (try path.next()) |step| object = (try object.get((try step.string(arena)).?)).?;
        const name = (try (try wish.get("name")).?.string(arena)).?;
        const to = (try wish.get("to")).?;
        const new: json.New = if (try to.string(arena)) |string| .{ .text = string } else .{ .raw = to.text };
        try edits.set(object, try object.get(name), name, new);
    }
    if (overlap(&edits)) {
        json.fault = .{ .problem = "two edits change the same text", .at = 0 };
        return sayFault();
    }
    say(try edits.finish());
}

pub fn main() !void {
    var in_room: [4096]u8 = undefined;
    var out_room: [4096]u8 = undefined;
    var stdin = std.fs.File.stdin().reader(&in_room);
    var stdout = std.fs.File.stdout().writer(&out_room);
    var arena = std.heap.ArenaAllocator.init(gpa);
    while (true) {
        const what = stdin.interface.takeByte() catch |err| return if (err == error.EndOfStream) {} else err;
        const size = try stdin.interface.takeInt(u32, .little);
        const text = try stdin.interface.readAlloc(arena.allocator(), size);
        answer.clearRetainingCapacity();
        switch (what) {
            'p' => try parse(text, arena.allocator()),
            'd' => try envelope(text, arena.allocator()),
            else => try edit(text, arena.allocator()),
        }
        try stdout.interface.writeInt(u32, @intCast(answer.items.len), .little);
        try stdout.interface.writeAll(answer.items);
        try stdout.interface.flush();
        _ = arena.reset(.retain_capacity);
    }
}
