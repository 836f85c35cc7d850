// Variables that the operator lists. Capability `environment`.
import { Token, writeText } from "../msgpack";
import { ask, complete, reader, request } from "./call";

@external("penstock", "env_get")
declare function hostEnvGet(request: usize, size: usize, out: usize, room: usize): i32;

/** The variable's value; `null` when it is not set, or when `hostError` says more. */
export function environmentVariable(name: string): string | null {
  writeText(request, name);
  if (!ask(hostEnvGet) || reader.peek() == Token.Nil) return null;
  reader.text();
  const value = reader.string();
  return complete() ? value : null;
}
