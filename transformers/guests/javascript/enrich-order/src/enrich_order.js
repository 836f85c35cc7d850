// Enriches order rows: full_name, amount_cents, total and currency are added to `after`, in place. See docs/guests.md.
import { Rejection, drop, emit, emitMany, transformer, unchanged } from "penstock";
import { configure } from "./config.js";
import { exceeds, format, hundredths, parse, times } from "./decimal.js";

export default transformer({
  name: "enrich-order",
  configure,
  transform(event, config) {
    const { operation } = event;
    if (operation !== "c" && operation !== "u" && operation !== "r") return unchanged;
    const row = event.after;
    if (!row) throw new Rejection("no-after", `operation ${operation} without \`after\`: there is no row to enrich`);
    if (config.dropped.size && config.dropped.has(row.get("status"))) return drop;

    const amount = decimal(row, "amount", "bad-amount");
    const cents = hundredths(amount);
    if (cents === null) throw new Rejection("overflow", `after.amount is ${format(amount)}: its cents do not fit 64 bits`);
    const total = totalOf(row, amount);
    row.set("full_name", fullName(row)).set("amount_cents", cents);
    if (total) {
      if (typeof row.get("amount") === "string") row.set("total", format(total));
      else row.setJson("total", format(total));
    }
    if (config.currency) row.set("currency", config.currency);

    if (!config.flag || !exceeds(total ?? amount, config.flag.above)) return emit(event);
    return emitMany([event, { topic: config.flag.topic, value: event }]);
  },
});

function decimal(row, column, code) {
  const text = row.text(column);
  if (text === null && !row.has(column)) throw new Rejection(code, `after.${column} is missing`);
  const number = text === null ? null : parse(text);
  if (number === "overflow") throw new Rejection("overflow", `after.${column} is ${shown(text)}: too many digits`);
  if (number === null) {
    throw new Rejection(
      code,
      `after.${column} is ${shown(text)}: a decimal number was expected (Debezium writes decimals as bytes unless ` +
        "decimal.handling.mode is string)",
    );
  }
  return number;
}

/** Amount × quantity; null when there is no quantity. */
function totalOf(row, amount) {
  if (row.text("quantity") === null) return null;
  const quantity = decimal(row, "quantity", "bad-quantity");
  const total = times(amount, quantity);
  if (!total) throw new Rejection("overflow", `${format(amount)} × ${format(quantity)} has too many digits`);
  return total;
}

function fullName(row) {
  const first = nameIn(row, "first_name");
  const last = nameIn(row, "last_name");
  return first && last ? `${first} ${last}` : first || last || null;
}

function nameIn(row, column) {
  const name = row.get(column);
  if (name === undefined || name === null) return "";
  if (typeof name !== "string") throw new Rejection("bad-name", `after.${column} is ${shown(row.text(column))}: a text or null was expected`);
  return name;
}

function shown(text) {
  return text !== null && text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
