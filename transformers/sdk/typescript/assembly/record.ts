// One record as the guest sees it: its own bytes, lent from the batch frame.
import { block } from "./memory";
import { Reader } from "./msgpack";

/** A stretch of bytes that somebody else keeps: as long as the event is at work. */
@final export class Bytes {
  constructor(readonly start: usize, readonly size: usize) {}

  /** A text as UTF-8. */
  static of(text: string): Bytes {
    const size = <usize>String.UTF8.byteLength(text);
    const start = block(size);
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, start);
    return new Bytes(start, size);
  }

  /** A copy's bytes. */
  static from(bytes: Uint8Array): Bytes {
    const start = block(<usize>bytes.length);
    memory.copy(start, bytes.dataStart, <usize>bytes.length);
    return new Bytes(start, <usize>bytes.length);
  }

  /** The byte at this index. */
  at(index: i32): u8 {
    assert(<usize>index < this.size, "an index beyond the bytes");
    return load<u8>(this.start + index);
  }

  /** As text; what is no UTF-8 becomes U+FFFD. */
  toString(): string { return String.UTF8.decodeUnsafe(this.start, this.size); }

  /** A copy. */
  toArray(): Uint8Array {
    const copy = new Uint8Array(<i32>this.size);
    memory.copy(copy.dataStart, this.start, this.size);
    return copy;
  }
}

/** A record's header; names may repeat. */
@final export class Header {
  constructor(readonly name: string, readonly value: Bytes | null) {}
}

/** What holds for every record of a batch. */
@final export class Batch {
  topic: string = "";
  partition: i64 = 0;
  /** Values are change events that the host has decoded, not the records' own bytes. */
  decoded: bool = false;
}

const headers = new Reader();

/** One record of the batch. */
@final export class Event {
  offset: i64 = 0;
  /** Milliseconds since 1970, as the source record has it. */
  timestampMs: i64 = 0;
  keyStart: usize = 0;
  keySize: usize = 0;
  /** 0 for a tombstone. */
  valueStart: usize = 0;
  valueSize: usize = 0;
  headersStart: usize = 0;
  headersEnd: usize = 0;

  constructor(readonly batch: Batch) {}

  get topic(): string { return this.batch.topic; }
  get partition(): i64 { return this.batch.partition; }
  /** `null` when it has none. */
  get key(): Bytes | null { return this.keyStart ? new Bytes(this.keyStart, this.keySize) : null; }
  /** `null` is a tombstone. */
  get value(): Bytes | null { return this.valueStart ? new Bytes(this.valueStart, this.valueSize) : null; }

  /** The record's headers, in order. */
  get headers(): Header[] {
    const found = new Array<Header>();
    headers.set(this.headersStart, this.headersEnd);
    for (let left = headers.array(); left && !headers.bad; left--) {
      headers.array();
      headers.text();
      const name = headers.string();
      headers.bytes();
      found.push(new Header(name, headers.start ? new Bytes(headers.start, headers.size) : null));
    }
    return found;
  }

  /** Reads the next event of a frame. */
  read(frame: Reader): void {
    if (frame.array() != 5) frame.bad = true;
    this.offset = frame.integer();
    this.timestampMs = frame.integer();
    frame.bytes();
    this.keyStart = frame.start;
    this.keySize = frame.size;
    if (this.batch.decoded) {
      const start = frame.at;
      frame.skip();
      this.valueSize = frame.at - start;
      this.valueStart = this.valueSize == 1 && load<u8>(start) == 0xc0 ? 0 : start;
    } else {
      frame.bytes();
      this.valueStart = frame.start;
      this.valueSize = frame.size;
    }
    this.headersStart = frame.at;
    frame.skip();
    this.headersEnd = frame.at;
  }
}
