// What several kinds of answers have in common.
import { Bytes } from "../record";
import { Row } from "../row";
import { block } from "../memory";
import { Token } from "../msgpack";
import { complete, reader } from "./call";

/** A binary, copied out of the answer; `null` for nil. */
export function answered(): Bytes | null {
  reader.bytes();
  const bytes = reader.start ? copied(reader.start, reader.size) : null;
  return complete() ? bytes : null;
}

/** A copy that stays as long as the event is at work. */
export function copied(from: usize, size: usize): Bytes {
  const start = block(max(size, 1));
  memory.copy(start, from, size);
  return new Bytes(start, size);
}

/** An answer that says nothing. */
export function nothing(): bool {
  if (reader.peek() == Token.Nil) reader.skip();
  return complete();
}

/** A row, copied out of the answer; `null` for nil. */
export function rowHere(): Row | null {
  const from = reader.at;
  const isNil = reader.peek() == Token.Nil;
  reader.skip();
  if (isNil || reader.bad) return null;
  const bytes = copied(from, reader.at - from);
  const row = new Row("row").over(bytes.start, bytes.start + bytes.size, true);
  if (row.index()) return row;
  reader.bad = true;
  return null;
}
