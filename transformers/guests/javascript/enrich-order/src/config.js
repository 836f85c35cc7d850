// The registry entry's `config`, checked.
import { parse } from "./decimal.js";

const KEYS = ["currency", "drop_statuses", "flag_above", "flag_topic"];

export function configure(config) {
  for (const key of Object.keys(config)) {
    if (!KEYS.includes(key)) throw new Error(`there is no key '${key}': write ${KEYS.join(", ")}`);
  }
  const { currency = null, drop_statuses: dropped = [], flag_above: above = null, flag_topic: topic = null } = config;
  if (currency !== null && !(typeof currency === "string" && /^[A-Z]{3}$/.test(currency))) {
    throw new Error(`currency ${JSON.stringify(currency)} is no ISO 4217 code: write three capital letters, such as EUR`);
  }
  if (!Array.isArray(dropped) || !dropped.every((status) => typeof status === "string")) {
    throw new Error("drop_statuses must be a list of texts");
  }
  return { currency, dropped: new Set(dropped), flag: flag(above, topic) };
}

function flag(above, topic) {
  if (above === null && topic === null) return null;
  if (topic === null) throw new Error("flag_above needs flag_topic: the topic for the flagged orders");
  if (above === null) throw new Error("flag_topic needs flag_above: the total from which orders are flagged");
  if (typeof topic !== "string") throw new Error("flag_topic must be a topic's name");
  const isExact = typeof above === "string" || typeof above === "bigint" || Number.isSafeInteger(above);
  const limit = isExact ? parse(String(above)) : null;
  if (limit === null || limit === "overflow") {
    throw new Error(`flag_above is ${above}: a decimal number in quotes was expected, such as "10000.00"`);
  }
  return { above: limit, topic };
}
