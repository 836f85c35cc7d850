// Walks JSON text without building anything: checks the grammar of RFC 8259 and says where values begin and end.
//
// Positions are addresses, so 0 can mean a fault: `problem` then says which, and `problemAt` where. Strings are crossed sixteen
// bytes at a time where SIMD is on.

export const enum Problem { None, NoValue, NoString, NoColon, NoDigit, NoHexDigit, NoComma, NoEscape, Control, TooDeep, MoreText, NoObject, Ends, NotUtf8, Repeats }

export let problem: Problem = Problem.None;
export let problemAt: usize = 0;
/** Whether the last string that was crossed has an escape. */
export let escaped: bool = false;

/** How deep values may be nested; a bit per level says which kind it is. */
const DEPTH_MAX: u32 = 512;
const levels = memory.data(64);

export function fault(what: Problem, at: usize, end: usize): usize {
  problem = at >= end && what != Problem.NotUtf8 ? Problem.Ends : what;
  problemAt = at;
  return 0;
}

export function problemText(): string {
  switch (problem) {
    case Problem.NoValue: return "expected a value";
    case Problem.NoString: return "expected a string";
    case Problem.NoColon: return "expected a colon";
    case Problem.NoDigit: return "expected a digit";
    case Problem.NoHexDigit: return "expected a hexadecimal digit";
    case Problem.NoComma: return "expected a comma or the end of the list";
    case Problem.NoEscape: return "no such escape";
    case Problem.Control: return "a control character inside a string";
    case Problem.TooDeep: return "nested too deeply";
    case Problem.MoreText: return "more text after the value";
    case Problem.NoObject: return "expected an object";
    case Problem.NotUtf8: return "not UTF-8";
    case Problem.Repeats: return "a member of the envelope repeats";
    default: return "the text ends too early";
  }
}

/** The byte at a position; 0, which is allowed nowhere, at the end. */
@inline export function byteAt(at: usize, end: usize): u32 {
  return at < end ? load<u8>(at) : 0;
}

@inline export function skipSpace(at: usize, end: usize): usize {
  return at < end && load<u8>(at) <= 0x20 ? moreSpace(at, end) : at;
}

function moreSpace(at: usize, end: usize): usize {
  while (at < end) {
    const byte = load<u8>(at);
    if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) break;
    at++;
  }
  return at;
}

@inline function isDigit(byte: u32): bool {
  return byte - 0x30 <= 9;
}

/** Behind the string that begins at the quote `at`. */
export function skipString(at: usize, end: usize): usize {
  escaped = false;
  if (byteAt(at, end) != 0x22) return fault(Problem.NoString, at, end);
  at++;
  while (true) {
    at = skipPlain(at, end);
    const byte = byteAt(at, end);
    if (byte == 0x22) return at + 1;
    if (byte != 0x5c) return fault(Problem.Control, at, end);
    escaped = true;
    at = skipEscape(at + 1, end);
    if (!at) return 0;
  }
}

/** At the next quote, backslash or control character. */
@inline function skipPlain(at: usize, end: usize): usize {
  if (ASC_FEATURE_SIMD) {
    while (at + 16 <= end) {
      const found = stops(v128.load(at));
      if (found) return at + ctz(found);
      at += 16;
    }
  }
  while (at < end && isPlain(load<u8>(at))) at++;
  return at;
}

@inline function isPlain(byte: u32): bool {
  return byte >= 0x20 && byte != 0x22 && byte != 0x5c;
}

/** Which of sixteen bytes end a plain stretch: a quote, a backslash, a control character. */
@inline function stops(block: v128): i32 {
  const quotes = i8x16.eq(block, i8x16.splat(0x22));
  const backslashes = i8x16.eq(block, i8x16.splat(0x5c));
  const controls = i8x16.lt_u(block, i8x16.splat(0x20));
  return i8x16.bitmask(v128.or(v128.or(quotes, backslashes), controls));
}

function skipEscape(at: usize, end: usize): usize {
  switch (byteAt(at, end)) {
    case 0x22: case 0x5c: case 0x2f: case 0x62: case 0x66: case 0x6e: case 0x72: case 0x74:
      return at + 1;
    case 0x75: {
      at++;
      for (let i = 0; i < 4; i++, at++) {
        if (hexDigit(byteAt(at, end)) < 0) return fault(Problem.NoHexDigit, at, end);
      }
      return at;
    }
    default:
      return fault(Problem.NoEscape, at, end);
  }
}

export function hexDigit(byte: u32): i32 {
  if (isDigit(byte)) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

function skipNumber(at: usize, end: usize): usize {
  if (byteAt(at, end) == 0x2d) at++;
  if (byteAt(at, end) == 0x30) at++;
  else if (!(at = skipDigits(at, end))) return 0;
  if (byteAt(at, end) == 0x2e && !(at = skipDigits(at + 1, end))) return 0;
  if ((byteAt(at, end) | 0x20) == 0x65) {
    at++;
    const sign = byteAt(at, end);
    if (sign == 0x2b || sign == 0x2d) at++;
    at = skipDigits(at, end);
  }
  return at;
}

function skipDigits(at: usize, end: usize): usize {
  const start = at;
  while (at < end && isDigit(load<u8>(at))) at++;
  return at > start ? at : fault(Problem.NoDigit, at, end);
}

function skipScalar(at: usize, end: usize): usize {
  const byte = byteAt(at, end);
  if (byte == 0x22) return skipString(at, end);
  if (byte == 0x2d || isDigit(byte)) return skipNumber(at, end);
  if (byte == 0x74 && at + 4 <= end && load<u32>(at) == 0x65757274) return at + 4;
  if (byte == 0x6e && at + 4 <= end && load<u32>(at) == 0x6c6c756e) return at + 4;
  if (byte == 0x66 && at + 5 <= end && load<u32>(at + 1) == 0x65736c61) return at + 5;
  return fault(Problem.NoValue, at, end);
}

/** Behind the value that begins at `at`, where no space is. */
@inline export function skipValue(at: usize, end: usize): usize {
  const byte = byteAt(at, end);
  return byte == 0x7b || byte == 0x5b ? skipNested(at, end) : skipScalar(at, end);
}

/** The one loop over nested values: a turn is a member or an element. */
function skipNested(at: usize, end: usize): usize {
  let depth: u32 = 0;
  let close: u32 = 0;
  while (true) {
    const open = byteAt(at, end);
    if (open == 0x7b || open == 0x5b) {
      at = skipSpace(at + 1, end);
      if (byteAt(at, end) != open + 2) {
        if (depth == DEPTH_MAX) return fault(Problem.TooDeep, at, end);
        push(depth++, close == 0x7d);
        close = open + 2;
        if (close == 0x7d && !(at = skipName(at, end))) return 0;
        continue;
      }
      at++;
    } else if (!(at = skipScalar(at, end))) return 0;
    while (true) {
      if (!depth) return at;
      at = skipSpace(at, end);
      const next = byteAt(at, end);
      if (next == 0x2c) break;
      if (next != close) return fault(Problem.NoComma, at, end);
      at++;
      close = pop(--depth) ? 0x7d : 0x5d;
    }
    at = skipSpace(at + 1, end);
    if (close == 0x7d && !(at = skipName(at, end))) return 0;
  }
}

/** Behind a name and its colon, at the value. */
@inline function skipName(at: usize, end: usize): usize {
  at = skipString(at, end);
  return at ? skipColon(at, end) : 0;
}

/** Behind the colon that follows a name, at the value. */
@inline export function skipColon(at: usize, end: usize): usize {
  at = skipSpace(at, end);
  return byteAt(at, end) == 0x3a ? skipSpace(at + 1, end) : fault(Problem.NoColon, at, end);
}

@inline function push(depth: u32, isObject: bool): void {
  const at = levels + (depth >> 3);
  const bit = 1 << (depth & 7);
  store<u8>(at, isObject ? load<u8>(at) | bit : load<u8>(at) & ~bit);
}

@inline function pop(depth: u32): bool {
  return (load<u8>(levels + (depth >> 3)) >> (depth & 7) & 1) != 0;
}

/** Whether the bytes are UTF-8; where they stop being it is a fault. */
export function checkUtf8(at: usize, end: usize): bool {
  if (ASC_FEATURE_SIMD) {
    while (at + 16 <= end && !i8x16.bitmask(v128.load(at))) at += 16;
  }
  while (at < end) {
    const byte = <u32>load<u8>(at);
    const size: usize = byte < 0x80 ? 1 : sequence(byte, at, end);
    if (!size) {
      fault(Problem.NotUtf8, at, end);
      return false;
    }
    at += size;
  }
  return true;
}

/** The length of the sequence of several bytes at `at`; 0 when it is none: too long, a surrogate, beyond U+10FFFF, cut off. */
function sequence(byte: u32, at: usize, end: usize): usize {
  const size: usize = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
  if (byte < 0xc2 || byte > 0xf4 || at + size > end) return 0;
  for (let i: usize = 1; i < size; i++) {
    if ((load<u8>(at + i) & 0xc0) != 0x80) return 0;
  }
  const second = <u32>load<u8>(at, 1);
  if (byte == 0xe0 && second < 0xa0) return 0;
  if (byte == 0xed && second > 0x9f) return 0;
  if (byte == 0xf0 && second < 0x90) return 0;
  return byte == 0xf4 && second > 0x8f ? 0 : size;
}
