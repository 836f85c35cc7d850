// Enriches order rows: `full_name`, `amount_cents`, `total` and `currency` are added to `after`, in place.
//
// Rows whose `status` is listed in `drop_statuses` are dropped; rows without a usable `amount` are rejected; deletes, tombstones,
// truncates and messages pass unchanged.
import { Bytes, ChangeEvent, Kind, Operation, Outcome, Record, Row, Settings, transformer } from "../penstock/index";
import { Decimal, ParseError, textEnd } from "./decimal";

let currency: string | null = null;
let dropStatuses: string[] = [];
let flagTopic: string | null = null;
const flagAbove = new Decimal();

function configure(settings: Settings): void {
  currency = settings.text("currency");
  dropStatuses = settings.texts("drop_statuses");
  const above = settings.digits("flag_above");
  flagTopic = settings.text("flag_topic");
  if (currency !== null && !isCurrency(currency!)) {
    settings.refuse("currency", `${currency!} is no ISO 4217 code: write three capital letters, such as EUR`);
  }
  if (above === null && flagTopic !== null) settings.refuse("flag_topic", "needs flag_above: the total from which orders are flagged");
  if (above === null) return;
  const text = Bytes.of(above);
  if (flagAbove.parse(text.start, text.start + text.size) != ParseError.None) {
    settings.refuse("flag_above", `${above} is no decimal number in quotes, such as "10000.00"`);
  }
  if (flagTopic === null) settings.refuse("flag_above", "needs flag_topic: the topic for the flagged orders");
}

function isCurrency(code: string): bool {
  if (code.length != 3) return false;
  for (let i = 0; i < 3; i++) {
    const letter = code.charCodeAt(i);
    if (letter < 0x41 || letter > 0x5a) return false;
  }
  return true;
}

/** Why the event at work is rejected, when a function said so. */
let rejection: Outcome | null = null;

function reject(code: string, message: string): void {
  if (rejection === null) rejection = Outcome.reject(code, message);
}

const amount = new Decimal();
const cents = new Decimal();
const total = new Decimal();
const quantity = new Decimal();

function transform(event: ChangeEvent): Outcome {
  if (!event.leavesARow) return Outcome.unchanged();
  const row = event.after;
  if (row === null) return Outcome.reject("no-after", `${operationName(event.operation)} without \`after\`: there is no row to enrich`);
  if (isDropped(row)) return Outcome.drop();
  rejection = null;
  const amountAt = row.find("amount");
  if (amountAt < 0) return Outcome.reject("bad-amount", "after.amount is missing");
  read(amount, row, amountAt, "amount", "bad-amount");
  if (rejection !== null) return rejection!;
  cents.set(amount);
  if (!cents.toHundredths()) return Outcome.reject("overflow", `after.amount is ${amount.toString()}: its cents do not fit 64 bits`);
  const hasTotal = readTotal(row);
  const firstAt = name(row, "first_name");
  const lastAt = name(row, "last_name");
  if (rejection !== null) return rejection!;

  writeName(row, firstAt, lastAt);
  row.setInteger("amount_cents", cents.integer);
  if (hasTotal) writeTotal(row, load<u8>(row.valueStart(amountAt)) == 0x22);
  if (currency !== null) row.setText("currency", currency!);
  return emitted(event, hasTotal ? total : amount);
}

function operationName(operation: Operation): string {
  return operation == Operation.Create ? "Create" : operation == Operation.Update ? "Update" : "Read";
}

function isDropped(row: Row): bool {
  if (!dropStatuses.length || row.kind("status") != Kind.Text) return false;
  const status = row.text("status");
  return status !== null && dropStatuses.includes(status);
}

/** Reads a number, or a decimal that is written as text; rejects what is neither. */
function read(into: Decimal, row: Row, at: i32, column: string, code: string): void {
  let start = row.valueStart(at);
  let end = row.valueEnd(at);
  if (load<u8>(start) == 0x22) {
    start++;
    end--;
    for (let byte = start; byte < end; byte++) {
      if (load<u8>(byte) != 0x5c) continue;
      const text = row.text(column);
      const bytes = Bytes.of(text === null ? "" : text);
      start = bytes.start;
      end = start + bytes.size;
      break;
    }
  }
  const error = into.parse(start, end);
  if (error == ParseError.TooLarge) reject("overflow", `after.${column} is ${row.shown(at)}: too many digits`);
  if (error == ParseError.Invalid) {
    reject(
      code,
      `after.${column} is ${row.shown(at)}: a decimal number was expected (Debezium writes decimals as bytes unless decimal.handling.mode is string)`,
    );
  }
}

/** Amount × quantity; false when there is no quantity. */
function readTotal(row: Row): bool {
  const at = row.find("quantity");
  const kind = row.kindAt(at);
  if (kind == Kind.Missing || kind == Kind.Null) return false;
  read(quantity, row, at, "quantity", "bad-quantity");
  if (rejection !== null) return false;
  total.set(amount);
  if (!total.times(quantity)) reject("overflow", `${amount.toString()} × ${quantity.toString()} has too many digits`);
  return true;
}

/** The column's index when it is a text that is not empty, else -1; rejects what is neither a text nor null. */
function name(row: Row, column: string): i32 {
  const at = row.find(column);
  if (at < 0) return -1;
  const start = row.valueStart(at);
  const first = load<u8>(start);
  if (first == 0x22) return row.valueEnd(at) - start > 2 ? at : -1;
  if (first != 0x6e) reject("bad-name", `after.${column} is ${row.shown(at)}: a string or null was expected`);
  return -1;
}

/** The names as they stand between their quotes, escapes and all; `null` when there is neither. */
function writeName(row: Row, first: i32, last: i32): void {
  if (first < 0 && last < 0) return row.setNull("full_name");
  const out = row.open("full_name");
  out.byte(0x22);
  if (first >= 0) out.bytes(row.valueStart(first) + 1, row.valueEnd(first) - row.valueStart(first) - 2);
  if (first >= 0 && last >= 0) out.byte(0x20);
  if (last >= 0) out.bytes(row.valueStart(last) + 1, row.valueEnd(last) - row.valueStart(last) - 2);
  out.byte(0x22);
  row.close();
}

/** The way the amount is written: text stays text. */
function writeTotal(row: Row, isText: bool): void {
  const out = row.open("total");
  if (isText) out.byte(0x22);
  const start = total.text();
  out.bytes(start, textEnd - start);
  if (isText) out.byte(0x22);
  row.close();
}

function emitted(event: ChangeEvent, worth: Decimal): Outcome {
  if (flagTopic === null || !worth.exceeds(flagAbove)) return event.emit();
  const value = event.value();
  const flagged = new Record(event.record.key, value);
  flagged.topic = flagTopic;
  return Outcome.emitMany([new Record(event.record.key, value), flagged]);
}

transformer(transform, configure);
export * from "../penstock/exports";
