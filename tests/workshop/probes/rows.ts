// Does to each row what its column `do` says, and fails in the ways a guest can.
import { ChangeEvent, Kind, Outcome, Row, transformer } from "../penstock/index";

function transform(event: ChangeEvent): Outcome {
  const row = event.after;
  if (row === null) return Outcome.reject("none", event.before === null ? "neither row" : "before only");
  const todo = row.text("do");
  if (todo === null) return Outcome.unchanged();
  if (todo == "throw") throw new Error("thrown on purpose");
  if (todo == "index") return Outcome.reject("never", [1, 2][todo.length].toString());
  if (todo == "hoard") hoard();
  if (todo == "read") return Outcome.reject("told", told(row, event));
  if (todo == "set") set(row);
  if (todo == "remove") {
    row.remove("first");
    row.remove("last");
    row.remove("never there");
    row.setInteger("added", 1);
  }
  return event.emit();
}

function set(row: Row): void {
  row.setText("text", "q\" \\ \n é 😀 \u0001");
  row.setText("text", "q\" \\ \n é 😀 \u0001 again");
  row.setInteger("least", i64.MIN_VALUE);
  row.setFloat("half", 0.5);
  row.setDigits("amount", "19.90");
  row.setBoolean("yes", true);
  row.setNull("none");
  row.setText("ключ \"1\"", "set");
}

function told(row: Row, event: ChangeEvent): string {
  const source = event.source;
  const table = source === null ? "?" : source.text("table")!;
  return `${row.text("text")!} ${row.integer("least")} ${row.digits("amount")!} ${row.boolean("yes")} ${row.kind("none") == Kind.Null} ` +
    `${row.kind("big") == Kind.Unavailable} ${row.integer("absent", 7)} ${row.text("ключ")!} ${table} ${event.tsMs}`;
}

function hoard(): void {
  const kept = new Array<Uint8Array>();
  while (true) kept.push(new Uint8Array(10_000));
}

transformer(transform);
export * from "../penstock/exports";
