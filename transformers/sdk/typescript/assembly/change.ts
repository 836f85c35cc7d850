// One change event, read and edited where it lies, whichever way the host hands it over.
import { Buffer, block, giveBack } from "./memory";
import { Reader, Token, writeBytes } from "./msgpack";
import { Bytes, Event } from "./record";
import { Outcome } from "./outcome";
import { Row } from "./row";
import { Problem, byteAt, checkUtf8, fault, problemAt, problemText, skipSpace } from "./json/scan";

/** What happened to the row. */
export enum Operation { None, Create, Update, Delete, Read, Truncate, Message }

/** What parsing came to. */
export const enum Parsed { Change, Tombstone, BadJson, NoEnvelope, BadEvent }

/**
 * What happened to one row of the source, lent from the batch frame.
 *
 * It reads the same under `encoding: raw`, where the value is Debezium's JSON, and under `encoding: event`, where the host has decoded
 * the source's format. Changes are spliced into the bytes the event came in: columns nobody touched keep their exact text.
 */
@final export class ChangeEvent {
  /** What happened. */
  operation: Operation = Operation.None;
  private rowBefore: Row = new Row("before");
  private rowAfter: Row = new Row("after");
  private sourceRow: Row = new Row("source");
  private transactionRow: Row = new Row("transaction");
  private top: Row = new Row("event");
  private hasBefore: bool = false;
  private hasAfter: bool = false;

  /** The record that brought it: topic, partition, offset, timestamp, key and headers. */
  constructor(readonly record: Event) {}

  /** The row before the change; `null` when there is none. */
  get before(): Row | null {
    if (!this.hasBefore) return null;
    if (!this.rowBefore.index()) this.rowBefore.wrong = "before is no row";
    return this.rowBefore;
  }
  /** The row after the change; `null` when there is none. */
  get after(): Row | null { return this.hasAfter ? this.rowAfter : null; }
  /** Where the change came from: `source!.text("table")`. */
  get source(): Row | null { return this.part("source", this.sourceRow); }
  get transaction(): Row | null { return this.part("transaction", this.transactionRow); }
  /** When the connector saw the change, in milliseconds since 1970; 0 when it does not say. */
  get tsMs(): i64 { return this.top.integer("ts_ms"); }
  /** Whether the row exists after it, so that there should be an `after`. */
  get leavesARow(): bool {
    return this.operation == Operation.Create || this.operation == Operation.Update || this.operation == Operation.Read;
  }

  get isChanged(): bool {
    return (this.hasBefore && this.rowBefore.isChanged) || (this.hasAfter && this.rowAfter.isChanged);
  }

  /** The first thing found wrong with a column, by a row's readers. */
  get wrong(): string | null {
    if (this.hasAfter && this.rowAfter.wrong !== null) return this.rowAfter.wrong;
    return this.hasBefore ? this.rowBefore.wrong : null;
  }

  /** Emits it: as it came when nothing was changed, else with the changes. */
  emit(): Outcome { return Outcome.change(this); }

  /** Its value with all changes made, as a `Record` takes it. */
  value(): Bytes {
    const out = new Buffer();
    this.splice(out);
    const start = block(out.size);
    memory.copy(start, out.start, out.size);
    const value = new Bytes(start, out.size);
    giveBack(out.start);
    return value;
  }

  /** Appends the value to the result frame. */
  write(out: Buffer): void {
    if (this.record.batch.decoded) return this.splice(out);
    const from = out.size;
    writeBytes(out, this.record.valueStart, 0);
    this.splice(out);
    store<u32>(out.start + from, bswap(<u32>(out.size - from - 5)), 1);
  }

  private splice(out: Buffer): void {
    const end = this.record.valueStart + this.record.valueSize;
    let first = this.rowBefore;
    let second = this.rowAfter;
    let hasFirst = this.hasBefore && first.isChanged;
    let hasSecond = this.hasAfter && second.isChanged;
    if (hasFirst && hasSecond && first.start > second.start) {
      first = this.rowAfter;
      second = this.rowBefore;
    }
    out.reserve(this.record.valueSize + (this.record.valueSize >> 2));
    let done = this.record.valueStart;
    if (hasFirst) done = replace(out, done, first);
    if (hasSecond) done = replace(out, done, second);
    out.bytes(done, end - done);
  }

  private part(name: string, row: Row): Row | null {
    const index = this.top.find(name);
    const start: usize = index < 0 ? 0 : this.top.valueStart(index);
    if (!start || isNull(start)) return null;
    row.over(start, this.top.valueEnd(index), this.top.packed);
    return row.index() ? row : null;
  }

  /** Finds the parts. */
  parse(): Parsed {
    this.hasBefore = this.hasAfter = false;
    const start = this.record.valueStart;
    if (!start) return Parsed.Tombstone;
    const end = start + this.record.valueSize;
    if (!this.record.batch.decoded) return this.parseJson(start, end);
    this.top.over(start, end, true);
    if (!this.top.index()) return Parsed.BadEvent;
    return this.parts(Parsed.BadEvent);
  }

  private parseJson(start: usize, end: usize): Parsed {
    if (!checkUtf8(start, end)) return Parsed.BadJson;
    const from = skipSpace(start, end);
    if (byteAt(from, end) != 0x7b) return this.isTombstone(from, end) ? Parsed.Tombstone : Parsed.BadJson;
    this.top.over(from, end, false);
    if (!this.indexTop(end)) return Parsed.BadJson;
    const payload = this.top.find("payload");
    if (payload >= 0 && this.top.find("schema") >= 0) {
      const at = this.top.valueStart(payload);
      if (load<u8>(at) == 0x6e) return Parsed.Tombstone;
      this.top.over(at, this.top.valueEnd(payload), false);
      if (!this.indexTop(this.top.end)) return Parsed.BadJson;
    }
    return this.parts(Parsed.BadJson);
  }

  /** The object that `top` is, with nothing but space behind it, and no member of the envelope twice. */
  private indexTop(end: usize): bool {
    if (!this.top.index()) return false;
    const behind = skipSpace(this.top.end, end);
    if (behind != end) return fault(Problem.MoreText, behind, end) != 0;
    return !this.top.repeats();
  }

  private isTombstone(from: usize, end: usize): bool {
    if (from + 4 <= end && load<u32>(from) == 0x6c6c756e && skipSpace(from + 4, end) == end) return true;
    fault(Problem.NoObject, from, end);
    return false;
  }

  private parts(bad: Parsed): Parsed {
    const top = this.top;
    this.operation = operationOf(top);
    if (this.operation == Operation.None) return Parsed.NoEnvelope;
    this.hasBefore = this.row("before", this.rowBefore);
    this.hasAfter = this.row("after", this.rowAfter);
    return this.hasAfter && !this.rowAfter.index() ? bad : Parsed.Change;
  }

  private row(name: string, row: Row): bool {
    const index = this.top.find(name);
    const start: usize = index < 0 ? 0 : this.top.valueStart(index);
    if (!start || isNull(start)) return false;
    row.over(start, this.top.valueEnd(index), this.top.packed);
    return true;
  }

  /** The fault of the JSON, for a message. */
  get fault(): string {
    const at = problemAt > this.record.valueStart ? problemAt - this.record.valueStart : 0;
    return `${problemText()} (at byte ${at})`;
  }
}

function replace(out: Buffer, done: usize, row: Row): usize {
  out.bytes(done, row.start - done);
  row.write(out);
  return row.end;
}

function isNull(start: usize): bool {
  const byte = load<u8>(start);
  return byte == 0x6e || byte == 0xc0;
}

function operationOf(top: Row): Operation {
  const index = top.find("op");
  if (index < 0) return Operation.None;
  const start = top.valueStart(index);
  return operationNamed(top.packed ? packedLetter(start, top.valueEnd(index)) : jsonLetter(start, top.valueEnd(index)));
}

/** The one letter of a text; 0 for any other value. */
function packedLetter(start: usize, end: usize): u32 {
  letters.set(start, end);
  if (letters.peek() != Token.Text) return 0;
  letters.text();
  return letters.size == 1 ? load<u8>(letters.start) : 0;
}

function jsonLetter(start: usize, end: usize): u32 {
  return end - start == 3 && load<u8>(start) == 0x22 ? load<u8>(start, 1) : 0;
}

const letters = new Reader();

function operationNamed(letter: u32): Operation {
  switch (letter) {
    case 0x63: return Operation.Create;
    case 0x75: return Operation.Update;
    case 0x64: return Operation.Delete;
    case 0x72: return Operation.Read;
    case 0x74: return Operation.Truncate;
    case 0x6d: return Operation.Message;
    default: return Operation.None;
  }
}
