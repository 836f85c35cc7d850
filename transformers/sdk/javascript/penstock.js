// penstock.js: what a script imports from "penstock". Types and documentation are in penstock.d.ts.
import * as native from "penstock:native";

export { UNAVAILABLE, drop, emit, emitMany, fail, reject, unchanged } from "penstock:native";

const { declared } = native;

/** Thrown anywhere in `transform`, it sends the event to the dead letters. */
export class Rejection extends Error {
  constructor(code, message) {
    super(message);
    this.name = "Rejection";
    this.code = code;
  }
}
native.setRejection(Rejection);

/** A host function's refusal; `code` is one of the words below. */
export class HostError extends Error {
  constructor(status, what) {
    const words = { [-1]: "denied", [-2]: "bad-range", [-3]: "too-large", [-4]: "unavailable", [-5]: "deadline", [-6]: "invalid" };
    const code = words[status] ?? "unknown";
    super(`${what}: ${code}`);
    this.name = "HostError";
    this.code = code;
  }
}

export function transformer(definition) {
  const known = ["name", "configure", "transform"];
  for (const key of Object.keys(definition)) {
    if (!known.includes(key)) throw new TypeError(`a transformer has no '${key}': write ${known.join(", ")}`);
  }
  return definition;
}

function need(capability) {
  if (!declared.includes(capability)) {
    throw new TypeError(`this needs the capability '${capability}': add it to guest.toml: capabilities = ["${capability}"]`);
  }
}

function ask(capability, which, what, request) {
  need(capability);
  const answer = native.ask(which, request);
  if (typeof answer === "number") throw new HostError(answer, what);
  return answer[0];
}

const levels = ["trace", "debug", "info", "warning", "error"];

function shown(value) {
  if (typeof value === "string") return value;
  if (value instanceof Error) return value.stack ? `${value}\n${value.stack}` : String(value);
  try {
    return JSON.stringify(value, (_, inner) => (typeof inner === "bigint" ? String(inner) : inner)) ?? String(value);
  } catch {
    return String(value);
  }
}

export function log(level, ...values) {
  need("log");
  const number = levels.indexOf(level);
  if (number < 0) throw new TypeError(`'${level}' is no level: ${levels.join(", ")}`);
  native.logLine(number, values.map(shown).join(" "));
}

// Left-over calls of console do no harm: without the capability they say nothing.
const say = (level) => (declared.includes("log") ? (...values) => log(level, ...values) : () => {});
globalThis.console = { log: say("info"), info: say("info"), debug: say("debug"), trace: say("trace"), warn: say("warning"), error: say("error") };

export const clock = {
  nowMs() {
    need("clock");
    return native.nowMs();
  },
  monotonicNs() {
    need("clock");
    return native.monotonicNs();
  },
};

export function random(size) {
  need("random");
  const bytes = native.randomBytes(size);
  if (typeof bytes === "number") throw new HostError(bytes, `${size} random bytes`);
  return bytes;
}

export const env = { get: (name) => ask("environment", 0, `environment variable ${name}`, name) };

export const files = {
  read: (path) => ask("filesystem-read", 1, `reading ${path}`, path),
  write: (path, content) => ask("filesystem-write", 2, `writing ${path}`, [path, content]),
};

export const http = {
  request({ method = "GET", url, headers = [], body = null }) {
    return ask("network-client", 3, `${method} ${url}`, { method, url, headers, body });
  },
};

export const kv = {
  get: (key) => ask("key-value", 4, `the value of ${key}`, key),
  put: (key, value) => ask("key-value", 5, `the value of ${key}`, [key, value]),
  delete: (key) => ask("key-value", 6, `the value of ${key}`, key),
};

export const database = {
  lookup: (table, key) => ask("database-read", 7, `a row of ${table}`, [table, key]),
  lookupMany: (table, keys) => ask("database-read", 8, `rows of ${table}`, [table, keys]),
  execute: (statement, parameters = []) => ask("database-write", 9, "the statement", [statement, parameters]),
  query: (statement, parameters = []) => ask("database-query", 10, "the rows of the statement", [statement, parameters]),
  transaction: (changes) =>
    ask("database-transaction", 11, "the transaction", changes.map(([statement, parameters = []]) => [statement, parameters])),
};
