// Msgpack: read in every width the format knows, without copying; written in forms that are always right.
import { Buffer } from "./memory";
import { checkUtf8 } from "./json/scan";
import { fail } from "./host/fail";

/** What kind of value comes next. */
export const enum Token { Nil, Boolean, Integer, Unsigned, Float, Text, Bytes, Array, Map, Extension, Bad }

/** A position in a frame. After a mistake `bad` is set and all that is read is nothing. */
@final export class Reader {
  at: usize = 0;
  end: usize = 0;
  bad: bool = false;
  /** Of the last `bytes` or `text`: 0 for nil. */
  start: usize = 0;
  size: usize = 0;

  set(at: usize, end: usize): this {
    this.at = at;
    this.end = end;
    this.bad = false;
    return this;
  }

  @inline get atEnd(): bool { return this.at == this.end && !this.bad; }

  peek(): Token {
    if (this.at >= this.end) return Token.Bad;
    const tag = <u32>load<u8>(this.at);
    if (tag < 0x80 || tag >= 0xe0) return Token.Integer;
    if (tag < 0x90) return Token.Map;
    if (tag < 0xa0) return Token.Array;
    if (tag < 0xc0) return Token.Text;
    switch (tag) {
      case 0xc0: return Token.Nil;
      case 0xc2: case 0xc3: return Token.Boolean;
      case 0xc4: case 0xc5: case 0xc6: return Token.Bytes;
      case 0xca: case 0xcb: return Token.Float;
      case 0xcf: return this.at + 9 <= this.end && bswap(load<u64>(this.at, 1)) >> 63 ? Token.Unsigned : Token.Integer;
      case 0xcc: case 0xcd: case 0xce: case 0xd0: case 0xd1: case 0xd2: case 0xd3: return Token.Integer;
      case 0xd9: case 0xda: case 0xdb: return Token.Text;
      case 0xdc: case 0xdd: return Token.Array;
      case 0xde: case 0xdf: return Token.Map;
      case 0xc1: return Token.Bad;
      default: return Token.Extension;
    }
  }

  private wrong(): u32 {
    this.bad = true;
    this.at = this.end;
    this.start = 0;
    this.size = 0;
    return 0;
  }

  private tag(): u32 {
    return this.at < this.end ? <u32>load<u8>(this.at++) : this.wrong();
  }

  /** A big-endian number of 1, 2, 4 or 8 bytes. */
  private number(width: usize): u64 {
    if (this.at + width > this.end) return this.wrong();
    const at = this.at;
    this.at = at + width;
    switch (<u32>width) {
      case 1: return load<u8>(at);
      case 2: return bswap(load<u16>(at));
      case 4: return bswap(load<u32>(at));
      default: return bswap(load<u64>(at));
    }
  }

  array(): u32 {
    const tag = this.tag();
    if ((tag & 0xf0) == 0x90) return tag & 15;
    return tag == 0xdc ? <u32>this.number(2) : tag == 0xdd ? <u32>this.number(4) : this.wrong();
  }

  map(): u32 {
    const tag = this.tag();
    if ((tag & 0xf0) == 0x80) return tag & 15;
    return tag == 0xde ? <u32>this.number(2) : tag == 0xdf ? <u32>this.number(4) : this.wrong();
  }

  integer(): i64 {
    const tag = this.tag();
    if (tag < 0x80 || tag >= 0xe0) return <i64><i8>tag;
    switch (tag) {
      case 0xcc: return this.number(1);
      case 0xcd: return this.number(2);
      case 0xce: return this.number(4);
      case 0xcf: case 0xd3: return this.number(8);
      case 0xd0: return <i64><i8>this.number(1);
      case 0xd1: return <i64><i16>this.number(2);
      case 0xd2: return <i64><i32>this.number(4);
      default: return this.wrong();
    }
  }

  float(): f64 {
    const tag = this.tag();
    if (tag == 0xcb) return reinterpret<f64>(this.number(8));
    return tag == 0xca ? <f64>reinterpret<f32>(<u32>this.number(4)) : <f64>this.wrong();
  }

  boolean(): bool {
    const tag = this.tag();
    return (tag == 0xc2 || tag == 0xc3 ? tag : this.wrong()) == 0xc3;
  }

  /** A binary or nil: `start` and `size`. */
  bytes(): void {
    const tag = this.tag();
    this.start = 0;
    this.size = 0;
    if (tag == 0xc0) return;
    if (tag < 0xc4 || tag > 0xc6) this.wrong();
    else this.take(<usize>this.number(1 << (tag - 0xc4)));
  }

  /** A text: `start` and `size`; it is UTF-8. */
  text(): void {
    const tag = this.tag();
    if ((tag & 0xe0) == 0xa0) this.take(tag & 31);
    else if (tag >= 0xd9 && tag <= 0xdb) this.take(<usize>this.number(1 << (tag - 0xd9)));
    else this.wrong();
    if (!checkUtf8(this.start, this.start + this.size)) this.wrong();
  }

  private take(size: usize): void {
    if (this.bad || size > this.end - this.at) {
      this.wrong();
      return;
    }
    this.start = this.at;
    this.size = size;
    this.at += size;
  }

  /** Moves past one value, however deep it is nested. */
  skip(): void {
    for (let left: u64 = 1; left && !this.bad; left--) {
      switch (this.peek()) {
        case Token.Nil: case Token.Boolean: this.at++; break;
        case Token.Integer: case Token.Unsigned: this.integer(); break;
        case Token.Float: this.float(); break;
        case Token.Text: this.text(); break;
        case Token.Bytes: this.bytes(); break;
        case Token.Array: left += this.array(); break;
        case Token.Map: left += <u64>this.map() * 2; break;
        case Token.Extension: this.extension(); break;
        default: this.wrong();
      }
    }
  }

  private extension(): void {
    const tag = this.tag();
    this.take(<usize>(tag >= 0xd4 && tag <= 0xd8 ? 1 << (tag - 0xd4) : this.number(1 << (tag - 0xc7))) + 1);
  }

  /** `start` and `size` as a string. */
  string(): string {
    return String.UTF8.decodeUnsafe(this.start, this.size);
  }
}

export function writeArray(out: Buffer, count: u32): void { head(out, 0xdd, count); }
export function writeMap(out: Buffer, count: u32): void { head(out, 0xdf, count); }
export function writeNil(out: Buffer): void { out.byte(0xc0); }
export function writeBoolean(out: Buffer, value: bool): void { out.byte(0xc2 + <u32>value); }

@inline export function head(out: Buffer, tag: u32, count: u32): void {
  const at = out.reserve(5);
  store<u8>(at, tag);
  store<u32>(at, bswap(count), 1);
  out.size += 5;
}

export function writeInteger(out: Buffer, value: i64): void {
  const at = out.reserve(9);
  store<u8>(at, 0xd3);
  store<u64>(at, bswap(<u64>value), 1);
  out.size += 9;
}

export function writeFloat(out: Buffer, value: f64): void {
  const at = out.reserve(9);
  store<u8>(at, 0xcb);
  store<u64>(at, bswap(reinterpret<u64>(value)), 1);
  out.size += 9;
}

export function writeText(out: Buffer, text: string): void {
  const from = out.size;
  head(out, 0xdb, 0);
  out.text(text);
  store<u32>(out.start + from, bswap(<u32>(out.size - from - 5)), 1);
}

/** A binary; nil when `at` is 0. */
export function writeBytes(out: Buffer, at: usize, size: usize): void {
  if (!at) return out.byte(0xc0);
  if (size > 0xffffffff - 5) fail("memory", "a value is larger than msgpack's largest");
  head(out, 0xc6, <u32>size);
  out.bytes(at, size);
}
