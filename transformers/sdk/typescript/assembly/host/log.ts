// Log lines. Capability `log`.
import { scratch } from "../memory";

@external("penstock", "log")
declare function hostLog(level: i32, line: usize, size: usize): void;

/** How much a line matters. */
export enum Level { Trace, Debug, Info, Warning, Error }

/** Writes one line. The host cuts it at 4 KiB, and drops what goes beyond `log_bytes_per_batch`. */
export function log(level: Level, line: string): void {
  const from = scratch.size;
  scratch.text(line);
  hostLog(level, scratch.start + from, scratch.size - from);
  scratch.size = from;
}

/** A line for operators. */
export function info(line: string): void { log(Level.Info, line); }
/** A line about something odd. */
export function warning(line: string): void { log(Level.Warning, line); }
/** A line about something wrong. */
export function error(line: string): void { log(Level.Error, line); }
