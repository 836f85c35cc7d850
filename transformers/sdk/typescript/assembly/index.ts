// Write a penstock transformer in TypeScript, in the dialect that AssemblyScript compiles. README.md begins with an example.
export { transformer, recordTransformer } from "./exports";
export { ChangeEvent, Operation } from "./change";
export { Row, Kind } from "./row";
export { Outcome, Record } from "./outcome";
export { Event, Bytes, Header } from "./record";
export { Settings } from "./settings";
export { abort } from "./host/fail";

// What a guest may ask of the host. Only what is used is imported, so the module asks for nothing it does not need.
export { Level, log, info, warning, error } from "./host/log";
export { nowMs, monotonicNs } from "./host/clock";
export { randomBytes } from "./host/random";
export { environmentVariable } from "./host/environment";
export { readFile, writeFile } from "./host/file";
export { kvGet, kvPut, kvDelete } from "./host/kv";
export { HttpRequest, HttpResponse, httpRequest } from "./host/http";
export { Scalar, Statement, lookup, lookupMany, query, execute, transaction } from "./host/database";
export { HostError, hostError } from "./host/call";
