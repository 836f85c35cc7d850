// Buffers outside of the collected heap: what they hold is of use for one event or one batch, and their room is kept.

/** The block with another size, where it is now; 0 is none yet. */
export function resized(start: usize, size: usize): usize {
  return start ? heap.realloc(start, size) : heap.alloc(size);
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
    this.start = resized(this.start, room);
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
  const at = heap.alloc(size);
  blocks.push(at);
  return at;
}

/** Ends an event's use of all of it. */
export function forget(): void {
  scratch.size = 0;
  while (blocks.length) heap.free(blocks.pop());
}
