// What a transformer answers for one event.
import { Bytes, Header } from "./record";
import { Buffer } from "./memory";
import { head, writeArray, writeBytes, writeText } from "./msgpack";
import { ChangeEvent } from "./change";

const enum Kind { Unchanged, Drop, Emit, Change, Many, Reject }

/** One of several records that come of one event. */
export class Record {
  /** The route's destination; any other topic must be listed in the route's `also_to`. */
  topic: string | null = null;
  /** The event's own headers when it is null. */
  headers: Header[] | null = null;

  /** A changed key moves the record to the partition of its own; a null value is a tombstone. */
  constructor(public key: Bytes | null, public value: Bytes | null) {}
}

/** What becomes of one event. */
@final export class Outcome {
  kind: i32 = Kind.Unchanged;
  value: Bytes | null = null;
  change: ChangeEvent | null = null;
  records: Record[] | null = null;
  code: string = "";
  message: string = "";

  /** Emit the event as it came. */
  static unchanged(): Outcome { return unchanged; }
  /** End the event here. */
  static drop(): Outcome { return dropped; }

  /** Emit it with a new value; `null` makes it a tombstone. Under `encoding: event` the bytes are a change event's msgpack map. */
  static emit(value: Bytes | null): Outcome {
    const outcome = new Outcome();
    outcome.kind = Kind.Emit;
    outcome.value = value;
    return outcome;
  }

  /** Emit the change event with its changes; as it came when there are none. */
  static change(change: ChangeEvent): Outcome {
    if (!change.isChanged) return unchanged;
    changed.change = change;
    return changed;
  }

  /** Emit these records in its place, in this order. */
  static emitMany(records: Record[]): Outcome {
    const outcome = new Outcome();
    outcome.kind = Kind.Many;
    outcome.records = records;
    return outcome;
  }

  /** Send it to the dead letters: a code for machines (`bad-amount`), and a sentence that names the value and the field. */
  static reject(code: string, message: string): Outcome {
    const outcome = new Outcome();
    outcome.kind = Kind.Reject;
    outcome.code = code;
    outcome.message = message;
    return outcome;
  }

  /** Appends it to the result frame. */
  write(out: Buffer, decoded: bool): void {
    switch (this.kind) {
      case Kind.Unchanged: return out.byte(0xc0);
      case Kind.Drop: return pair(out, 0x91, 0);
      case Kind.Emit: {
        pair(out, 0x92, 1);
        return writeValue(out, this.value, decoded);
      }
      case Kind.Change: {
        pair(out, 0x92, 1);
        return this.change!.write(out);
      }
      case Kind.Many: {
        pair(out, 0x92, 2);
        const records = this.records!;
        writeArray(out, records.length);
        for (let i = 0; i < records.length; i++) writeRecord(out, records[i], decoded);
        return;
      }
      default: {
        pair(out, 0x93, 3);
        writeText(out, this.code);
        writeText(out, this.message);
      }
    }
  }
}

const unchanged = new Outcome();
const dropped = new Outcome();
dropped.kind = Kind.Drop;
const changed = new Outcome();
changed.kind = Kind.Change;

function pair(out: Buffer, first: u32, second: u32): void {
  out.byte(first);
  out.byte(second);
}

function writeRecord(out: Buffer, record: Record, decoded: bool): void {
  out.byte(0x94);
  const topic = record.topic;
  if (topic === null) out.byte(0xc0);
  else writeText(out, topic);
  writeValue(out, record.key, false);
  writeValue(out, record.value, decoded);
  const headers = record.headers;
  if (headers === null) return out.byte(0xc0);
  writeArray(out, headers.length);
  for (let i = 0; i < headers.length; i++) {
    out.byte(0x92);
    writeText(out, headers[i].name);
    writeValue(out, headers[i].value, false);
  }
}

/** Under `encoding: event` a value is a map already. */
function writeValue(out: Buffer, value: Bytes | null, decoded: bool): void {
  if (value === null) return out.byte(0xc0);
  if (decoded) return out.bytes(value.start, value.size);
  writeBytes(out, value.start, value.size);
}
