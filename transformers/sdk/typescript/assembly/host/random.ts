// Chance. Capability `random`.
import { told } from "./call";

@external("penstock", "random")
declare function hostRandom(bytes: usize, size: usize): i32;

/** Fills the bytes with chance, at most 1 MiB at a time; false when the host refuses (`hostError` says why). */
export function randomBytes(into: Uint8Array): bool {
  return told(hostRandom(into.dataStart, <usize>into.length));
}
