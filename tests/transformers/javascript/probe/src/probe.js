// Does what the event's value says: its first word is the name of a function below.
import {
  Rejection, UNAVAILABLE, clock, database, drop, emit, emitMany, env, fail, files, http, kv, log, random, reject, transformer, unchanged,
} from "penstock";

let kept = null;
const bytes = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));
const text = (data) => String.fromCharCode(...data);
const endless = (depth) => endless(depth + 1) + 1;

const deeds = {
  hi: (event, settings) => emit(settings.greeting ?? "hello"),
  unchanged: () => unchanged,
  drop: () => drop,
  reject: () => reject("code", "words"),
  rejection() {
    throw new Rejection("thrown", "from below");
  },
  nothing() {},
  throws() {
    throw new TypeError("out of luck");
  },
  string() {
    throw "just a text";
  },
  missing: () => undefined.member,
  recurse: () => emit(String(endless(0))),
  "recurse-json"() {
    const value = [];
    let inner = value;
    for (let depth = 0; depth < 5_000; depth++) inner = inner[0] = [];
    return emit(value);
  },
  hoard() {
    const all = [];
    for (;;) all.push("x".repeat(10_000 + all.length) + all.length);
  },
  huge: () => emit("x".repeat(100_000_000)),
  loop() {
    for (;;);
  },
  fail: () => fail("custom", "why not"),
  keep(event) {
    kept = event.after;
    return unchanged;
  },
  kept: () => emit(kept.get("x")),
  later: async () => emit(await Promise.resolve("later")),
  never: () => new Promise(() => {}),
  pollute() {
    Object.prototype.penstock_polluted = 1;
    return unchanged;
  },
  log() {
    console.log("to whom", { it: 1n }, "concerns");
    log("error", "x");
    return unchanged;
  },
  time: () => emit(`${clock.nowMs()} ${clock.monotonicNs()} ${Date.now()}`),
  random: () => emit(random(4)),
  env: (event, _, name) => emit(env.get(name)),
  read: (event, _, path) => emit(String(files.read(path).length)),
  write: (event, _, path, content) => emit(String(files.write(path, bytes(content)))),
  http(event, _, url) {
    const { status, headers, body } = http.request({ method: "POST", url, headers: [["a", "b"]], body: bytes("ping") });
    return emit(`${status} ${headers[0].join(" ")} ${text(body)}`);
  },
  get: (event, _, key) => emit(kv.get(key)),
  put: (event, _, key, value) => emit(String(kv.put(key, bytes(value)))),
  delete: (event, _, key) => emit(String(kv.delete(key))),
  lookup: (event, _, table, key) => emit(database.lookup(table, key)?.name ?? "none"),
  lookups: (event, _, table) => emit(String(database.lookupMany(table, [1, "two"]).length)),
  execute: (event, _, statement) => emit(String(database.execute(statement, [-5, 2.5, null, bytes("x"), true, 2n ** 63n]))),
  query: (event, _, statement) => emit(database.query(statement, [7, "two"]).map((row) => row.name).join(" ")),
  select: (event, _, statement) => emit(String(database.query(statement).length)),
  transaction: (event, _, first, second) => emit(database.transaction([[first, [1, bytes("x")]], [second]]).join(" ")),
  many: (event) =>
    emitMany([
      event,
      { value: null, key: null },
      { topic: "other", key: "k", value: { n: 2n ** 63n }, headers: [["a", "1"], ["b", null]] },
    ]),
  bad: (event) => emitMany([{ topic: 7n, value: "x", headers: "no" }]),
  about: (event) =>
    emit({
      topic: event.topic, partition: event.partition, offset: event.offset, timestamp: event.timestamp, key: event.keyText,
      headers: event.headers.map(([name, value]) => [name, value && text(value)]), last: event.header("h"), none: String(event.header("x")),
      date: Date.now(),
    }),
};

function row(event) {
  const { after } = event;
  switch (event.header("do") ?? "edit") {
    case "edit":
      after.set("name", `${after.get("name")}!`).set("big", after.get("big")).set("new", [1n, { a: null }]).set("new2", true);
      return emit(event);
    case "read":
      return emit({
        names: after.names(), row: after, digits: after.names().map((name) => after.text(name)),
        types: after.names().map((name) => typeof after.get(name)), source: event.source, op: event.operation,
      });
    case "json":
      return emit(event.json());
    case "value":
      return emit(event.value);
    case "half":
      return emit(after.set("name", "\ud800") && event);
    case "read-own":
      after.set("x", 1).setJson("y", "1.500").set("x", 2);
      return emit(`${after.get("x")} ${after.get("y")} ${after.text("y")} ${after.has("x")}`);
    case "bad-json":
      return emit(after.setJson("y", "1.") && event);
    default:
      after.set("gone", after.get("gone") === UNAVAILABLE && after.text("gone") === null ? "was unavailable" : "was sent");
      return emit(event);
  }
}

export default transformer({
  configure(config) {
    if (config.greeting !== undefined && typeof config.greeting !== "string") throw new TypeError("greeting is no text");
    return config;
  },
  transform(event, settings) {
    if (Object.prototype.penstock_polluted) return emit("polluted");
    if (event.value === null) return unchanged;
    if (!(event.value instanceof Uint8Array) || event.value[0] === 0x7b || event.text().startsWith("{")) {
      return event.keyText === "keep" ? deeds.keep(event) : row(event);
    }
    const [word, ...rest] = event.text().split(" ");
    return deeds[word](event, settings, ...rest);
  },
});
