// Rows of the tables that the operator lists. Capabilities `database-read` (look-ups), `database-query` (statements that only read),
// `database-write` (statements that change rows) and `database-transaction` (several that all happen or do not).
import { Row } from "../row";
import { writeArray, writeBoolean, writeFloat, writeInteger, writeNil, writeText } from "../msgpack";
import { rowHere } from "./answers";
import { ask, complete, reader, request } from "./call";

@external("penstock", "lookup")
declare function hostLookup(request: usize, size: usize, out: usize, room: usize): i32;
@external("penstock", "lookup_many")
declare function hostLookupMany(request: usize, size: usize, out: usize, room: usize): i32;
@external("penstock", "db_query")
declare function hostDbQuery(request: usize, size: usize, out: usize, room: usize): i32;
@external("penstock", "db_execute")
declare function hostDbExecute(request: usize, size: usize, out: usize, room: usize): i32;
@external("penstock", "db_transaction")
declare function hostDbTransaction(request: usize, size: usize, out: usize, room: usize): i32;

const enum Type { Null, Boolean, Integer, Float, Text }

/** A key or a parameter. */
@final export class Scalar {
  private type: i32 = Type.Null;
  private number: i64 = 0;
  private float: f64 = 0;
  private words: string = "";

  static none(): Scalar { return new Scalar(); }

  static boolean(value: bool): Scalar {
    const scalar = Scalar.integer(<i64>value);
    scalar.type = Type.Boolean;
    return scalar;
  }

  static integer(value: i64): Scalar {
    const scalar = new Scalar();
    scalar.type = Type.Integer;
    scalar.number = value;
    return scalar;
  }

  static float(value: f64): Scalar {
    const scalar = new Scalar();
    scalar.type = Type.Float;
    scalar.float = value;
    return scalar;
  }

  static text(value: string): Scalar {
    const scalar = new Scalar();
    scalar.type = Type.Text;
    scalar.words = value;
    return scalar;
  }

  write(): void {
    switch (this.type) {
      case Type.Boolean: return writeBoolean(request, this.number != 0);
      case Type.Integer: return writeInteger(request, this.number);
      case Type.Float: return writeFloat(request, this.float);
      case Type.Text: return writeText(request, this.words);
      default: return writeNil(request);
    }
  }
}

function about(subject: string): void {
  writeArray(request, 2);
  writeText(request, subject);
}

function all(scalars: Scalar[]): void {
  writeArray(request, scalars.length);
  for (let i = 0; i < scalars.length; i++) scalars[i].write();
}

/** The row of `table` with this key; `null` when there is none, or when `hostError` says more. */
export function lookup(table: string, key: Scalar): Row | null {
  about(table);
  key.write();
  if (!ask(hostLookup)) return null;
  const row = rowHere();
  return complete() ? row : null;
}

/** One row, or `null`, for each key, in order: one question for all of them. Empty when `hostError` says why. */
export function lookupMany(table: string, keys: Scalar[]): Array<Row | null> {
  const rows = new Array<Row | null>();
  about(table);
  all(keys);
  if (!ask(hostLookupMany)) return rows;
  for (let left = reader.array(); left && !reader.bad; left--) rows.push(rowHere());
  if (!complete()) rows.length = 0;
  return rows;
}

/** The rows that a statement answers with. Empty when `hostError` says why. */
export function query(statement: string, parameters: Scalar[]): Row[] {
  const rows = new Array<Row>();
  about(statement);
  all(parameters);
  if (!ask(hostDbQuery)) return rows;
  for (let left = reader.array(); left && !reader.bad; left--) {
    const row = rowHere();
    if (row === null) reader.bad = true;
    else rows.push(row);
  }
  if (!complete()) rows.length = 0;
  return rows;
}

/** Runs a statement; how many rows it changed, -1 when `hostError` says why it did not run. */
export function execute(statement: string, parameters: Scalar[]): i64 {
  about(statement);
  all(parameters);
  if (!ask(hostDbExecute)) return -1;
  const changed = reader.integer();
  return complete() ? changed : -1;
}

/** One statement of a transaction. */
@final export class Statement {
  constructor(public text: string, public parameters: Scalar[]) {}
}

/** Runs all of these statements, or none; how many rows each changed. Empty when `hostError` says why. */
export function transaction(statements: Statement[]): i64[] {
  const changed = new Array<i64>();
  writeArray(request, statements.length);
  for (let i = 0; i < statements.length; i++) {
    about(statements[i].text);
    all(statements[i].parameters);
  }
  if (!ask(hostDbTransaction)) return changed;
  for (let left = reader.array(); left && !reader.bad; left--) changed.push(reader.integer());
  if (!complete()) changed.length = 0;
  return changed;
}
