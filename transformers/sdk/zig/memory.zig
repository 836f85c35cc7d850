//! The guest's memory: one arena behind `__heap_base`. What the configuration kept comes first, then the host's blocks, then the
//! result frame, and above it what the event's allocator lends until the event is answered.
//!
//! The first `alloc` after a batch starts over, so a guest that is kept for many batches does not grow.

const std = @import("std");
const host = @import("host.zig");

extern var __heap_base: u8;

const page_bytes = 64 * 1024;
const alignment = 8;

/// First address behind what is kept for good; 0 before the first block.
var base: usize = 0;
/// First address behind the host's blocks.
var top: usize = 0;
/// The blocks so far were used up by a batch.
var spent = false;
/// Where the event's allocator goes on.
var lent: usize = 0;

/// Grows the memory until `end` lies inside of it; false when the host refuses.
fn reach(end: usize) bool {
    const have = @wasmMemorySize(0) * page_bytes;
    if (end <= have) return true;
    return @wasmMemoryGrow(0, (end - have + page_bytes - 1) / page_bytes) >= 0;
}

fn aligned(address: usize) usize {
    return std.mem.alignForward(usize, address, alignment);
}

/// `penstock_v1_alloc`: a block for the host to write into; 0 when there is no room.
pub fn block(size: u32) u32 {
    if (base == 0) {
        base = aligned(@intFromPtr(&__heap_base));
        top = base;
    }
    if (spent) top = base;
    spent = false;
    const start = top;
    if (size > std.math.maxInt(u32) - alignment - start or !reach(start + size)) return 0;
    top = aligned(start + size);
    return start;
}

/// What was lent since `lendFrom(blocks())` is kept for good, and so are the blocks before it.
pub fn keep() void {
    base = lent;
    top = @max(top, lent);
}

/// The first address behind the blocks, and behind `frame` too.
pub fn behind(frame: []const u8) usize {
    return @max(top, aligned(@intFromPtr(frame.ptr) + frame.len));
}

/// The batch is being worked on: the next block is the first of another one.
pub fn spend() void {
    spent = true;
}

/// The event's allocator begins here; whatever it lent before is gone.
pub fn lendFrom(address: usize) void {
    lent = aligned(address);
}

/// Where the event's allocator goes on.
pub fn lentTo() usize {
    return lent;
}

/// Makes sure that so many bytes can be written at an address above everything else.
pub fn need(address: usize, size: usize) void {
    const end = @addWithOverflow(address, size);
    if (end[1] != 0 or !reach(end[0])) host.fail("memory", "the guest's memory limit left no room for what it writes");
}

/// Lends until the event is answered; freeing gives back what was lent last.
pub const allocator: std.mem.Allocator = .{ .ptr = undefined, .vtable = &.{
    .alloc = lend,
    .resize = resize,
    .remap = remap,
    .free = giveBack,
} };

fn lend(_: *anyopaque, size: usize, wanted: std.mem.Alignment, _: usize) ?[*]u8 {
    const start = wanted.forward(lent);
    const end = @addWithOverflow(start, size);
    if (end[1] != 0 or end[0] > std.math.maxInt(u32) - alignment or !reach(end[0])) return null;
    lent = aligned(end[0]);
    return @ptrFromInt(start);
}

fn resize(_: *anyopaque, memory: []u8, _: std.mem.Alignment, size: usize, _: usize) bool {
    const start = @intFromPtr(memory.ptr);
    if (size <= memory.len) return true;
    if (aligned(start + memory.len) != lent or !reach(start + size)) return false;
    lent = aligned(start + size);
    return true;
}

fn remap(context: *anyopaque, memory: []u8, wanted: std.mem.Alignment, size: usize, place: usize) ?[*]u8 {
    return if (resize(context, memory, wanted, size, place)) memory.ptr else null;
}

fn giveBack(_: *anyopaque, memory: []u8, _: std.mem.Alignment, _: usize) void {
    const start = @intFromPtr(memory.ptr);
    if (aligned(start + memory.len) == lent) lent = aligned(start);
}
