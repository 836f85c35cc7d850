// Write a penstock transformer in TypeScript, in the dialect that AssemblyScript compiles. README.md begins with an example.
export { transformer, recordTransformer } from "./exports";
export { ChangeEvent, Operation } from "./change";
export { Row, Kind } from "./row";
export { Outcome, Record } from "./outcome";
export { Event, Bytes, Header } from "./record";
export { Settings } from "./settings";
export { abort } from "./host/fail";
