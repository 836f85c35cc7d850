// Files below the folders that the operator lists. Capabilities `filesystem-read` and `filesystem-write`.
import { Bytes } from "../record";
import { writeArray, writeBytes, writeText } from "../msgpack";
import { answered, nothing } from "./answers";
import { ask, request } from "./call";

@external("penstock", "file_read")
declare function hostFileRead(request: usize, size: usize, out: usize, room: usize): i32;
@external("penstock", "file_write")
declare function hostFileWrite(request: usize, size: usize, out: usize, room: usize): i32;

/** A file's content; `null` when `hostError` says why. */
export function readFile(path: string): Bytes | null {
  writeText(request, path);
  return ask(hostFileRead) ? answered() : null;
}

/** Replaces a file's content. */
export function writeFile(path: string, content: Bytes): bool {
  writeArray(request, 2);
  writeText(request, path);
  writeBytes(request, content.start, content.size);
  return ask(hostFileWrite) && nothing();
}
