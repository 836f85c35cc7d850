// One request and its answer, both msgpack, with as much room as the answer turns out to need.
import { Buffer } from "../memory";
import { Reader } from "../msgpack";

/** Why the host did not do what it was asked. */
export enum HostError { None, Denied, BadPointer, TooLarge, Unavailable, Deadline, Invalid, BadAnswer }

/** What the last question came to: look at it when an answer is null. */
export let hostError: HostError = HostError.None;

const TOO_LARGE = -3;
/** Room for most answers, so that the host is asked once. */
const ANSWER_BYTES: usize = 4096;

export const request = new Buffer();
export const answer = new Buffer();
export const reader = new Reader();

/** What asks the host: request and its size, room for the answer and how much. */
type Ask = (request: usize, size: usize, out: usize, room: usize) => i32;

/** Asks with the request that was written; true when there is an answer, which `reader` then stands before. */
export function ask(host: Ask): bool {
  answer.size = 0;
  let room = ANSWER_BYTES;
  let code = host(request.start, request.size, answer.reserve(room), room);
  if (code == TOO_LARGE) {
    const needed = <usize>load<u32>(answer.start);
    if (needed > room) {
      room = needed;
      code = host(request.start, request.size, answer.reserve(room), room);
    }
  }
  request.size = 0;
  if (code < 0) hostError = code >= -6 ? <HostError>-code : HostError.BadAnswer;
  else hostError = <usize>code > room ? HostError.BadAnswer : HostError.None;
  if (hostError != HostError.None) return false;
  reader.set(answer.start, answer.start + <usize>code);
  return true;
}

/** Whether all of the answer was read and was what was expected. */
export function complete(): bool {
  if (!reader.atEnd) hostError = HostError.BadAnswer;
  return hostError == HostError.None;
}

/** For functions whose host's answer is one number. */
export function told(code: i32): bool {
  hostError = code == 0 ? HostError.None : code < 0 && code >= -6 ? <HostError>-code : HostError.BadAnswer;
  return code == 0;
}
