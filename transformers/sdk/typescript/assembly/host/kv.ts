// A store of keys and values that outlives the guest. Capability `key-value`.
import { Bytes } from "../record";
import { writeArray, writeBytes, writeText } from "../msgpack";
import { answered, nothing } from "./answers";
import { ask, request } from "./call";

@external("penstock", "kv_get")
declare function hostKvGet(request: usize, size: usize, out: usize, room: usize): i32;
@external("penstock", "kv_put")
declare function hostKvPut(request: usize, size: usize, out: usize, room: usize): i32;
@external("penstock", "kv_delete")
declare function hostKvDelete(request: usize, size: usize, out: usize, room: usize): i32;

/** The value; `null` when there is no such key, or when `hostError` says more. */
export function kvGet(key: string): Bytes | null {
  writeText(request, key);
  return ask(hostKvGet) ? answered() : null;
}

/** Sets a value. */
export function kvPut(key: string, value: Bytes): bool {
  writeArray(request, 2);
  writeText(request, key);
  writeBytes(request, value.start, value.size);
  return ask(hostKvPut) && nothing();
}

/** Removes a key, if it is there. */
export function kvDelete(key: string): bool {
  writeText(request, key);
  return ask(hostKvDelete) && nothing();
}
