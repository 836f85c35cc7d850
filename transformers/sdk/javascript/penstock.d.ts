/** What a transformer in JavaScript imports from "penstock". */
declare module "penstock" {
  /** JSON: what `get`, `json` and `source` return. Whole numbers beyond ±(2^53 - 1) are BigInts, so that every int64 is exact. */
  export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };
  /** With `encoding: event`, columns may also hold bytes, or not have been sent by the source. */
  export type Column = Json | Uint8Array | typeof UNAVAILABLE;

  /** A column that the source left out because its large value did not change (`encoding: event`). */
  export const UNAVAILABLE: unique symbol;

  /**
   * One record. It is there until `transform` returns; nothing of it is read before it is asked for.
   *
   * `operation`, `before`, `after` and `source` read a change event: Debezium's JSON, with the embedded schema or without, or what the
   * host decoded. A value that is none is rejected as `bad-json` or `no-envelope` when one of them is first read.
   */
  export interface Event {
    readonly topic: string;
    readonly partition: number;
    readonly offset: number | bigint;
    /** Milliseconds since 1970. */
    readonly timestamp: number;
    /** A copy of the key's bytes. */
    readonly key: Uint8Array | null;
    /** Rejects as `bad-text` when it is not UTF-8; so does `text()`. */
    readonly keyText: string | null;
    /** A copy of the value's bytes, null for a tombstone; with `encoding: event`, the change event as an object. */
    readonly value: Uint8Array | null | { [name: string]: Column };
    readonly headers: [name: string, value: Uint8Array | null][];
    /** c inserted, u updated, d deleted, r read by a snapshot, t truncated, m a message; null for a tombstone. */
    readonly operation: "c" | "u" | "d" | "r" | "t" | "m" | null;
    readonly before: Row | null;
    readonly after: Row | null;
    readonly source: { [name: string]: Json } | null;
    /** The value as text. */
    text(): string | null;
    /** The value, parsed. Fractions become doubles: for exact decimals use `after`. Rejects as `bad-json`. */
    json(): Json;
    /** The last header of this name; undefined when there is none. */
    header(name: string): string | null | undefined;
  }

  /** A row in place: what is not set stays as it came, byte for byte. */
  export interface Row {
    /** A column's value; undefined when there is none. Fractions are doubles, see `text`. */
    get(column: string): Column | undefined;
    has(column: string): boolean;
    /** A text, or a number's digits as they were written; JSON of anything else; null for null and where there is no column. */
    text(column: string): string | null;
    names(): string[];
    /** Replaces the column, or adds it at the end. */
    set(column: string, value: Column): Row;
    /** The same with JSON that is written as it is: `row.setJson("total", "59.970")`. Not with `encoding: event`. */
    setJson(column: string, json: string): Row;
    toJSON(): { [column: string]: Column };
  }

  /** What becomes of an event. */
  export interface Outcome {
    readonly __outcome: never;
  }

  /** The event goes on as it came. */
  export const unchanged: Outcome;
  /** The event ends here. */
  export const drop: Outcome;

  /**
   * The event goes on with another value: the event itself as its rows were edited, bytes, a text, null for a tombstone, or anything
   * else as JSON (with `encoding: event`: a change event as an object).
   */
  export function emit(value: Event | Uint8Array | string | null | Json | { [name: string]: Column }): Outcome;

  export interface OutputRecord {
    /** Null: the route's destination. Any other must be that or in the route's `also_to`. */
    topic?: string | null;
    /** Without it, the event's own. */
    key?: Uint8Array | string | null;
    value: Parameters<typeof emit>[0];
    /** Without them, the event's own. */
    headers?: [name: string, value: Uint8Array | string | null][] | null;
  }

  /** These go on in the event's place, in this order; 10,000 at most. The event stands for itself as edited. */
  export function emitMany(records: (OutputRecord | Event)[]): Outcome;

  /** The event goes to the dead letters: a short stable code, and a sentence for people. */
  export function reject(code: string, message: string): Outcome;

  /** The same from any depth: `throw new Rejection("bad-amount", "after.amount is null")`. */
  export class Rejection extends Error {
    constructor(code: string, message: string);
    readonly code: string;
  }

  /** The guest gives up: this is its own fault, or the host's. Any exception that `transform` lets out does the same. */
  export function fail(code: string, message: string): never;

  export interface Transformer<Settings> {
    name?: string;
    /** Checks and prepares the registry's `config`, once per instance. What it throws refuses the config. Without it, settings are the config. */
    configure?(config: { [key: string]: Json }): Settings;
    transform(event: Event, settings: Settings): Outcome | Promise<Outcome>;
  }

  /** `export default transformer({ transform(event) { … } })` */
  export function transformer<Settings = { [key: string]: Json }>(definition: Transformer<Settings>): Transformer<Settings>;

  // Capabilities: each needs to be in guest.toml, and granted by the registry. Without it, calling one throws a TypeError.

  /** A host function's refusal. */
  export class HostError extends Error {
    readonly code: "denied" | "bad-range" | "too-large" | "unavailable" | "deadline" | "invalid" | "unknown";
  }
  /** `log`. A line is cut at 4 KiB. `console` does the same, and nothing without the capability. */
  export function log(level: "trace" | "debug" | "info" | "warning" | "error", ...values: unknown[]): void;
  /** `clock`. Without it, `Date.now()` is the timestamp of the event at work. */
  export const clock: { nowMs(): number; monotonicNs(): bigint };
  /** `random`: so many bytes, 1 MiB at most. `Math.random()` is the same sequence in every instance. */
  export function random(size: number): Uint8Array;
  /** `environment` */
  export const env: { get(name: string): string | null };
  /** `filesystem-read` and `filesystem-write` */
  export const files: { read(path: string): Uint8Array; write(path: string, content: Uint8Array): void };
  /** `network-client` */
  export const http: {
    request(request: { method?: string; url: string; headers?: [string, string][]; body?: Uint8Array | null }): {
      status: number;
      headers: [string, string][];
      body: Uint8Array;
    };
  };
  /** `key-value` */
  export const kv: { get(key: string): Uint8Array | null; put(key: string, value: Uint8Array): void; delete(key: string): void };
  /**
   * `database-read`; `execute` needs `database-write` and returns how many rows changed, `query` needs `database-query` and returns the
   * rows, `transaction` needs `database-transaction`: all its statements happen, or none; it returns how many rows each changed.
   */
  export const database: {
    lookup(table: string, key: Json): { [column: string]: Column } | null;
    lookupMany(table: string, keys: Json[]): ({ [column: string]: Column } | null)[];
    execute(statement: string, parameters?: Column[]): number;
    query(statement: string, parameters?: Column[]): { [column: string]: Column }[];
    transaction(changes: [statement: string, parameters?: Column[]][]): number[];
  };
}
