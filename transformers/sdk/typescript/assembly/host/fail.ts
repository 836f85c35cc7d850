// Names the reason to the host before the guest traps.

@external("penstock", "fail")
declare function hostFail(code: usize, codeSize: usize, message: usize, messageSize: usize): void;

// Static memory: when there is none left, a message can still be written.
const TEXT_BYTES: i32 = 1024;
const codeText = memory.data(64);
const messageText = memory.data(TEXT_BYTES);

/** Ends the guest. `code` is short and stable, `message` one sentence. */
export function fail(code: string, message: string): void {
  const codeSize = put(codeText, 0, 64, code);
  const size = put(messageText, 0, TEXT_BYTES, message);
  hostFail(codeText, codeSize, messageText, size);
  unreachable();
}

/** What `throw`, a failed `assert` and the runtime's own checks come to: the text, and the file and line. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  let size = put(messageText, 0, TEXT_BYTES, message === null ? "aborted" : message);
  size = put(messageText, size, TEXT_BYTES, " (");
  size = put(messageText, size, TEXT_BYTES, file === null ? "unknown file" : file);
  size = put(messageText, size, TEXT_BYTES, ":");
  size = digits(size, line);
  size = put(messageText, size, TEXT_BYTES, ":");
  size = digits(size, column);
  size = put(messageText, size, TEXT_BYTES, ")");
  hostFail(codeText, put(codeText, 0, 64, "panic"), messageText, size);
  unreachable();
}

/** Appends a text without allocating, cut at the end of the room; the size behind it. */
function put(buffer: usize, size: usize, room: i32, text: string): usize {
  const left = (<usize>room - size) / 3;
  return size + String.UTF8.encodeUnsafe(changetype<usize>(text), <i32>min(<usize>text.length, left), buffer + size);
}

function digits(size: usize, number: u32): usize {
  let digits: usize = 1;
  for (let left = number; left >= 10; left /= 10) digits++;
  if (<i32>(size + digits) > TEXT_BYTES) return size;
  let at = messageText + size + digits;
  for (let i: usize = 0; i < digits; i++) {
    store<u8>(--at, <u8>(0x30 + number % 10));
    number /= 10;
  }
  return size + digits;
}
