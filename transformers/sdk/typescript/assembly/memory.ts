// Buffers outside of the collected heap: what they hold is of use for one event or one batch, and their room is kept.
import { fail } from "./host/fail";

/** From this size on a block has pages of its own: the collected heap would end the guest where memory ends, without a word. */
const LARGE: usize = 32 << 10;
const PAGE: usize = 64 << 10;

/** Pages that were asked for, and whether somebody has them. */
@unmanaged class Extent {
  start: usize;
  size: usize;
  taken: bool;
}

const EXTENTS_MAX: i32 = 64;
const extents = memory.data(64 * 12, 4);
let extentCount = 0;

@inline function extent(index: i32): Extent {
  return changetype<Extent>(extents + <usize>index * offsetof<Extent>());
}

/** A block of bytes; 0 when there is no room. */
export function take(size: usize): usize {
  return size < LARGE ? heap.alloc(size) : takePages(size);
}

/** The smallest extent that does, else new pages. */
function takePages(size: usize): usize {
  let best = -1;
  for (let index = 0; index < extentCount; index++) {
    const one = extent(index);
    if (!one.taken && one.size >= size && (best < 0 || one.size < extent(best).size)) best = index;
  }
  if (best < 0) best = newPages(size);
  if (best < 0) return 0;
  extent(best).taken = true;
  return extent(best).start;
}

function newPages(size: usize): i32 {
  if (extentCount == EXTENTS_MAX) return -1;
  const pages = <i32>((<u64>size + PAGE - 1) >> 16);
  const before = memory.grow(pages);
  if (before < 0) return -1;
  const one = extent(extentCount);
  one.start = <usize>before << 16;
  one.size = <usize>pages << 16;
  return extentCount++;
}

/** Gives a block back. */
export function giveBack(start: usize): void {
  for (let index = 0; index < extentCount; index++) {
    if (extent(index).start != start) continue;
    extent(index).taken = false;
    return;
  }
  heap.free(start);
}

/** A block of bytes; ends the guest, with the reason, when there is no room. */
export function taken(size: usize): usize {
  const start = take(size);
  if (!start) fail("memory", "the guest's memory limit left no room for a buffer");
  return start;
}

/** A buffer that grows and is used again. */
@final export class Buffer {
  start: usize = 0;
  size: usize = 0;
  room: usize = 0;

  /** Room for `more` bytes behind what it holds; the address to write them at. */
  @inline reserve(more: usize): usize {
    if (this.size + more > this.room) this.grow(more);
    return this.start + this.size;
  }

  private grow(more: usize): void {
    const room = max(this.room + (this.room >> 1), this.size + more + 256);
    const start = taken(room);
    memory.copy(start, this.start, this.size);
    if (this.start) giveBack(this.start);
    this.start = start;
    this.room = room;
  }

  @inline byte(value: u32): void {
    store<u8>(this.reserve(1), value);
    this.size++;
  }

  @inline bytes(from: usize, size: usize): void {
    memory.copy(this.reserve(size), from, size);
    this.size += size;
  }

  /** A text as UTF-8. */
  text(text: string): void {
    this.size += String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, this.reserve((<usize>text.length) * 3));
  }

  /** Decimal digits. */
  integer(number: i64): void {
    let rest: u64 = number < 0 ? 0 - <u64>number : <u64>number;
    if (number < 0) this.byte(0x2d);
    this.natural(rest);
  }

  natural(number: u64): void {
    let digits: usize = 1;
    for (let left = number; left >= 10; left /= 10) digits++;
    let at = this.reserve(digits) + digits;
    this.size += digits;
    let rest = number;
    do {
      store<u8>(--at, <u8>(0x30 + rest % 10));
      rest /= 10;
    } while (rest);
  }
}

/** Texts and values made for one event; emptied before the next. Addresses into it move when it grows: keep offsets. */
export const scratch = new Buffer();
/** Blocks of bytes made for one event, which never move; freed before the next. */
const blocks = new Array<usize>();

/** A block that stays until the event is done with. */
export function block(size: usize): usize {
  const at = taken(size);
  blocks.push(at);
  return at;
}

/** Ends an event's use of all of it. */
export function forget(): void {
  scratch.size = 0;
  while (blocks.length) giveBack(blocks.pop());
}
