// One row of a change event: its columns where they lie, and what becomes of them.
import { Buffer, giveBack, scratch, taken } from "./memory";
import { Reader, Token, head, writeBoolean, writeFloat, writeInteger, writeMap, writeNil, writeText } from "./msgpack";
import { Problem, byteAt, escaped, fault, skipColon, skipSpace, skipString, skipValue } from "./json/scan";
import { decode, encodeText } from "./json/text";

/** What a value is. */
export enum Kind { Missing, Null, Boolean, Number, Text, List, Map, Bytes, Unavailable }

/** What stands of a column in the table: addresses of the row's bytes, and offsets of names and values in `scratch`. */
@unmanaged class Column {
  /** The name as it reads: an address, or an offset in `scratch`. */
  name: usize;
  nameSize: u32;
  inScratch: bool;
  fate: i32;
  /** Name and value as they lie; 0 for a column that was added. */
  start: usize;
  value: usize;
  end: usize;
  /** In `scratch`. */
  newFrom: usize;
  newTo: usize;
}

const enum Fate { Kept, Set, Removed }

const reader = new Reader();

/** A row. Reading shows it as it came; changes are made when the event is emitted. */
@final export class Row {
  start: usize = 0;
  end: usize = 0;
  packed: bool = false;
  isChanged: bool = false;
  private count: i32 = 0;
  private table: usize = 0;
  private room: i32 = 0;
  private isIndexed: bool = false;
  private hasRemoved: bool = false;
  private setting: i32 = -1;
  /** The first thing found wrong with a column: the event is rejected with it, whatever the transformer answers. */
  wrong: string | null = null;

  /** `before`, `after`, or another word for messages. */
  constructor(readonly side: string) {}

  /** Makes it a row over these bytes. */
  over(start: usize, end: usize, packed: bool): this {
    this.start = start;
    this.end = end;
    this.packed = packed;
    this.count = 0;
    this.isIndexed = false;
    this.isChanged = false;
    this.hasRemoved = false;
    this.wrong = null;
    return this;
  }

  @inline private column(index: i32): Column {
    return changetype<Column>(this.table + <usize>index * offsetof<Column>());
  }

  private add(): Column {
    if (this.count == this.room) {
      const room = max(32, this.room * 2);
      const table = taken(<usize>room * offsetof<Column>());
      memory.copy(table, this.table, <usize>this.count * offsetof<Column>());
      if (this.table) giveBack(this.table);
      this.table = table;
      this.room = room;
    }
    const column = this.column(this.count++);
    column.inScratch = false;
    column.fate = Fate.Kept;
    column.start = 0;
    return column;
  }

  /** Takes the row apart; false when it is no object. */
  index(): bool {
    if (this.isIndexed) return true;
    this.isIndexed = this.packed ? this.indexPacked() : this.indexJson();
    return this.isIndexed;
  }

  private indexJson(): bool {
    const end = this.end;
    let at = this.start;
    if (byteAt(at, end) != 0x7b) return fault(Problem.NoObject, at, end) != 0;
    at = skipSpace(at + 1, end);
    if (byteAt(at, end) == 0x7d) return this.endAt(at + 1);
    while (true) {
      const column = this.add();
      column.start = at;
      if (!(at = skipString(at, end))) return false;
      column.name = column.start + 1;
      column.nameSize = <u32>(at - column.start - 2);
      if (escaped && !this.unescapeName(column)) return false;
      if (!(at = skipColon(at, end))) return false;
      column.value = at;
      if (!(at = skipValue(at, end))) return false;
      column.end = at;
      at = skipSpace(at, end);
      const next = byteAt(at, end);
      if (next == 0x7d) return this.endAt(at + 1);
      if (next != 0x2c) return fault(Problem.NoComma, at, end) != 0;
      at = skipSpace(at + 1, end);
    }
  }

  /** Where the text goes on behind the row. */
  private endAt(end: usize): bool {
    this.end = end;
    return true;
  }

  private unescapeName(column: Column): bool {
    const from = scratch.size;
    const isText = decode(column.name, column.name + column.nameSize, scratch);
    column.name = from;
    column.nameSize = <u32>(scratch.size - from);
    column.inScratch = true;
    return isText || fault(Problem.NoEscape, column.start, this.end) != 0;
  }

  private indexPacked(): bool {
    reader.set(this.start, this.end);
    for (let left = reader.map(); left && !reader.bad; left--) {
      const column = this.add();
      column.start = reader.at;
      reader.text();
      column.name = reader.start;
      column.nameSize = <u32>reader.size;
      column.value = reader.at;
      reader.skip();
      column.end = reader.at;
    }
    return reader.atEnd;
  }

  /** The index of the last column of this name; -1 when there is none. */
  find(name: string): i32 {
    for (let index = this.count - 1; index >= 0; index--) {
      const column = this.column(index);
      if (same(nameAt(column), column.nameSize, name)) return index;
    }
    return -1;
  }

  /** Where the value of the column at this index lies; the column came with the row. */
  @inline valueStart(index: i32): usize { return this.column(index).value; }
  @inline valueEnd(index: i32): usize { return this.column(index).end; }

  /** What the column is, as it came. */
  kind(name: string): Kind { return this.kindAt(this.find(name)); }

  kindAt(index: i32): Kind {
    if (index < 0 || !this.column(index).start) return Kind.Missing;
    const column = this.column(index);
    if (this.packed) return packedKind(column.value, column.end);
    switch (<u32>load<u8>(column.value)) {
      case 0x6e: return Kind.Null;
      case 0x74: case 0x66: return Kind.Boolean;
      case 0x22: return isUnavailable(column.value, column.end) ? Kind.Unavailable : Kind.Text;
      case 0x5b: return Kind.List;
      case 0x7b: return Kind.Map;
      default: return Kind.Number;
    }
  }

  /** Whether a member of the envelope stands there twice: readers differ in which one they take. */
  repeats(): bool {
    const repeated = this.twice("op") || this.twice("before") || this.twice("after") || this.twice("schema") || this.twice("payload");
    return repeated && fault(Problem.Repeats, this.start, this.end) == 0;
  }

  private twice(name: string): bool {
    const last = this.find(name);
    for (let index = 0; index < last; index++) {
      const column = this.column(index);
      if (same(nameAt(column), column.nameSize, name)) return true;
    }
    return false;
  }

  /** The names of the columns that it came with, in order. */
  get names(): string[] {
    const names = new Array<string>();
    for (let index = 0; index < this.count; index++) {
      const column = this.column(index);
      if (column.start) names.push(String.UTF8.decodeUnsafe(nameAt(column), column.nameSize));
    }
    return names;
  }

  /** A text; `null` when the column is missing, null or was not sent. The event is rejected as `bad-column` when it is anything else. */
  text(name: string): string | null {
    const index = this.find(name);
    const kind = this.kindAt(index);
    if (isAbsent(kind)) return null;
    if (kind != Kind.Text) return this.bad(name, index, "a text");
    return this.string(name, index);
  }

  /** A number's digits, exactly, or the text of a decimal that is written as text; like `text` otherwise. */
  digits(name: string): string | null {
    const index = this.find(name);
    const kind = this.kindAt(index);
    if (isAbsent(kind)) return null;
    if (kind == Kind.Text) return this.string(name, index);
    if (kind != Kind.Number) return this.bad(name, index, "a number");
    const column = this.column(index);
    if (!this.packed) return String.UTF8.decodeUnsafe(column.value, column.end - column.value);
    reader.set(column.value, column.end);
    const token = reader.peek();
    if (token == Token.Float) return reader.float().toString();
    return token == Token.Unsigned ? (<u64>reader.integer()).toString() : reader.integer().toString();
  }

  /** An integer of 64 bits, `otherwise` where `text` gives null; like `text` otherwise. */
  integer(name: string, otherwise: i64 = 0): i64 {
    const index = this.find(name);
    const kind = this.kindAt(index);
    if (isAbsent(kind)) return otherwise;
    const column = this.column(index);
    if (kind == Kind.Number && this.packed) {
      reader.set(column.value, column.end);
      if (reader.peek() == Token.Integer) return reader.integer();
    } else if (kind == Kind.Number && readInteger(column.value, column.end)) return integerRead;
    this.bad(name, index, "an integer of 64 bits");
    return otherwise;
  }

  /** True or false, `otherwise` where `text` gives null; like `text` otherwise. */
  boolean(name: string, otherwise: bool = false): bool {
    const index = this.find(name);
    const kind = this.kindAt(index);
    if (isAbsent(kind)) return otherwise;
    if (kind != Kind.Boolean) this.bad(name, index, "true or false");
    return load<u8>(this.column(index).value) == (this.packed ? 0xc3 : 0x74);
  }

  private string(name: string, index: i32): string | null {
    const column = this.column(index);
    if (this.packed) {
      reader.set(column.value, column.end).text();
      return reader.string();
    }
    const from = scratch.size;
    if (!decode(column.value + 1, column.end - 1, scratch)) return this.bad(name, index, "a text without half of a surrogate pair");
    const text = String.UTF8.decodeUnsafe(scratch.start + from, scratch.size - from);
    scratch.size = from;
    return text;
  }

  private bad(name: string, index: i32, expected: string): string | null {
    if (this.wrong === null) this.wrong = `${this.side}.${name} is ${this.shown(index)}: ${expected} was expected`;
    return null;
  }

  /** A value for a message, cut when it is long. */
  shown(index: i32): string {
    const column = this.column(index);
    if (this.packed) return "of another type";
    let end = min(column.end, column.value + 80);
    while (end < column.end && (load<u8>(end) & 0xc0) == 0x80) end--;
    const text = String.UTF8.decodeUnsafe(column.value, end - column.value);
    return end < column.end ? text + "…" : text;
  }

  /** Sets a column: in its place when there is one of this name, else behind the others. */
  setText(name: string, value: string): void {
    this.open(name);
    if (this.packed) writeText(scratch, value);
    else encodeText(value, scratch);
    this.close();
  }

  setInteger(name: string, value: i64): void {
    this.open(name);
    if (this.packed) writeInteger(scratch, value);
    else scratch.integer(value);
    this.close();
  }

  /** A number by its digits, such as `"19.90"`; a text under `encoding: event`, as decimals are there. */
  setDigits(name: string, digits: string): void {
    this.open(name);
    if (this.packed) writeText(scratch, digits);
    else scratch.text(digits);
    this.close();
  }

  /** JSON has no NaN and no infinities: they are written as Debezium writes them, as texts. */
  setFloat(name: string, value: f64): void {
    this.open(name);
    if (this.packed) writeFloat(scratch, value);
    else if (isFinite(value)) scratch.text(value.toString());
    else encodeText(value.toString(), scratch);
    this.close();
  }

  setBoolean(name: string, value: bool): void {
    this.open(name);
    if (this.packed) writeBoolean(scratch, value);
    else scratch.text(value ? "true" : "false");
    this.close();
  }

  setNull(name: string): void {
    this.open(name);
    if (this.packed) writeNil(scratch);
    else scratch.text("null");
    this.close();
  }

  /** Begins a column's new value: append it to the buffer, as JSON text or msgpack as the row is, then `close`. */
  open(name: string): Buffer {
    this.isChanged = true;
    this.setting = this.find(name);
    if (this.setting < 0) {
      const column = this.add();
      column.inScratch = true;
      column.name = scratch.size;
      scratch.text(name);
      column.nameSize = <u32>(scratch.size - column.name);
      this.setting = this.count - 1;
    }
    this.column(this.setting).newFrom = scratch.size;
    return scratch;
  }

  /** Ends it. Of a name that repeats all are set: a reader downstream may take any of them. */
  close(): void {
    const set = this.column(this.setting);
    set.newTo = scratch.size;
    set.fate = Fate.Set;
    for (let index = this.setting - 1; index >= 0; index--) {
      const other = this.column(index);
      if (!sameName(other, set)) continue;
      other.fate = Fate.Set;
      other.newFrom = set.newFrom;
      other.newTo = set.newTo;
    }
  }

  /** Removes a column, if there is one of this name. */
  remove(name: string): void {
    for (let index = 0; index < this.count; index++) {
      const column = this.column(index);
      if (!same(nameAt(column), column.nameSize, name)) continue;
      column.fate = Fate.Removed;
      this.isChanged = true;
      this.hasRemoved = true;
    }
  }

  /** Appends the row with its changes. */
  write(out: Buffer): void {
    if (this.packed) this.writePacked(out);
    else if (this.hasRemoved) this.writeAnew(out);
    else this.splice(out);
  }

  private splice(out: Buffer): void {
    let done = this.start;
    let isFirst = true;
    for (let index = 0; index < this.count; index++) {
      const column = this.column(index);
      if (column.start) {
        if (column.fate == Fate.Set) {
          out.bytes(done, column.value - done);
          this.writeValue(out, column);
          done = column.end;
        }
      } else {
        const end = index ? this.lastEnd() : this.start + 1;
        if (end > done) {
          out.bytes(done, end - done);
          done = end;
        }
        this.writeAdded(out, column, isFirst);
      }
      isFirst = false;
    }
    out.bytes(done, this.end - done);
  }

  /** Behind the last column that came with the row. */
  private lastEnd(): usize {
    for (let index = this.count - 1; index >= 0; index--) {
      if (this.column(index).start) return this.column(index).end;
    }
    return this.start + 1;
  }

  private writeAnew(out: Buffer): void {
    out.byte(0x7b);
    let isFirst = true;
    for (let index = 0; index < this.count; index++) {
      const column = this.column(index);
      if (column.fate == Fate.Removed) continue;
      if (column.start) {
        if (!isFirst) out.byte(0x2c);
        out.bytes(column.start, column.value - column.start);
        this.writeValue(out, column);
      } else this.writeAdded(out, column, isFirst);
      isFirst = false;
    }
    out.byte(0x7d);
  }

  private writeAdded(out: Buffer, column: Column, isFirst: bool): void {
    if (!isFirst) out.byte(0x2c);
    const at = nameAt(column);
    let isPlain = true;
    for (let i: usize = 0; i < column.nameSize; i++) {
      const byte = load<u8>(at + i);
      if (byte < 0x20 || byte == 0x22 || byte == 0x5c) isPlain = false;
    }
    if (isPlain) {
      out.byte(0x22);
      out.bytes(at, column.nameSize);
      out.byte(0x22);
    } else encodeText(String.UTF8.decodeUnsafe(at, column.nameSize), out);
    out.byte(0x3a);
    this.writeValue(out, column);
  }

  @inline private writeValue(out: Buffer, column: Column): void {
    if (column.fate == Fate.Set) out.bytes(scratch.start + column.newFrom, column.newTo - column.newFrom);
    else out.bytes(column.value, column.end - column.value);
  }

  private writePacked(out: Buffer): void {
    let kept = 0;
    for (let index = 0; index < this.count; index++) kept += <i32>(this.column(index).fate != Fate.Removed);
    writeMap(out, kept);
    for (let index = 0; index < this.count; index++) {
      const column = this.column(index);
      if (column.fate == Fate.Removed) continue;
      if (column.start) out.bytes(column.start, column.value - column.start);
      else {
        head(out, 0xdb, column.nameSize);
        out.bytes(nameAt(column), column.nameSize);
      }
      this.writeValue(out, column);
    }
  }
}

@inline function nameAt(column: Column): usize {
  return column.inScratch ? scratch.start + column.name : column.name;
}

function sameName(one: Column, other: Column): bool {
  return one.nameSize == other.nameSize && !memory.compare(nameAt(one), nameAt(other), one.nameSize);
}

/** Whether UTF-8 bytes are this text. */
@inline export function same(at: usize, size: u32, text: string): bool {
  return size >= <u32>text.length && isSame(at, size, text);
}

function isSame(at: usize, size: u32, text: string): bool {
  const length = <u32>text.length;
  const from = changetype<usize>(text);
  for (let i: usize = 0; i < length; i++) {
    const unit = <u32>load<u16>(from + (i << 1));
    if (unit >= 0x80) return String.UTF8.decodeUnsafe(at, size) == text;
    if (unit != <u32>load<u8>(at + i)) return false;
  }
  return size == length;
}

@inline function isAbsent(kind: Kind): bool {
  return kind == Kind.Missing || kind == Kind.Null || kind == Kind.Unavailable;
}

function packedKind(start: usize, end: usize): Kind {
  switch (reader.set(start, end).peek()) {
    case Token.Nil: return Kind.Null;
    case Token.Boolean: return Kind.Boolean;
    case Token.Text: return Kind.Text;
    case Token.Bytes: return Kind.Bytes;
    case Token.Array: return Kind.List;
    case Token.Map: return Kind.Map;
    case Token.Extension: return Kind.Unavailable;
    default: return Kind.Number;
  }
}

/** What Debezium writes in place of a large value that the change did not touch. */
function isUnavailable(start: usize, end: usize): bool {
  return end - start == 30 && same(start + 1, 28, "__debezium_unavailable_value");
}

let integerRead: i64 = 0;

function readInteger(at: usize, end: usize): bool {
  const isNegative = load<u8>(at) == 0x2d;
  if (isNegative) at++;
  if (end - at > 19) return false;
  let number: u64 = 0;
  for (; at < end; at++) {
    const digit = <u64>load<u8>(at) - 0x30;
    if (digit > 9) return false;
    number = number * 10 + digit;
  }
  if (number > <u64>i64.MAX_VALUE + <u64>isNegative) return false;
  integerRead = isNegative ? <i64>(0 - number) : <i64>number;
  return true;
}
