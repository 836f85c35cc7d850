// Asks the host for everything there is, and tells what it answered.
import { recordTransformer, Event, Outcome, Bytes, info, nowMs, monotonicNs, randomBytes, environmentVariable, readFile, writeFile, kvGet, kvPut, kvDelete, HttpRequest, httpRequest, Scalar, Statement, lookup, lookupMany, query, execute, transaction, HostError, hostError } from "../penstock/index";
function hostErrorName(): string {
  return hostError == HostError.Denied ? "Denied" : "another";
}

function transform(event: Event): Outcome {
  const value = event.value;
  if (value === null) return Outcome.unchanged();
  info("saw " + value.toString());
  const chance = new Uint8Array(4);
  randomBytes(chance);
  const times = nowMs() > 0 && monotonicNs() > 0;
  const env = environmentVariable("TZ");
  kvPut("k", value);
  kvDelete("gone");
  const kept = kvGet("k");
  const content = readFile("/a");
  const why = hostErrorName();
  writeFile("/b", Bytes.of("bytes"));
  const request = new HttpRequest("GET", "http://x/");
  request.headers.push(["accept", "text/plain"]);
  const response = httpRequest(request);
  const row = lookup("t", Scalar.integer(7));
  const rows = lookupMany("t", [Scalar.text("a"), Scalar.none()]);
  const found = query("select", [Scalar.text("x")]);
  const all = transaction([new Statement("insert", [Scalar.integer(1)]), new Statement("delete", [])]);
  const changed = execute("delete", [Scalar.boolean(true), Scalar.float(0.5)]) + found.length + all[0] + all[1];
  return Outcome.emit(Bytes.of(`${times} ${env === null ? "?" : env} ${kept === null ? "?" : kept.toString()} ${content === null ? why : content.toString()} ${response === null ? "?" : response.body.toString()} ${row === null ? "?" : row.text("name")!} ${rows.length} ${changed} ${chance[0] as i32 >= 0}`));
}
recordTransformer(transform);
export * from "../penstock/exports";
