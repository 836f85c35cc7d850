// Strings: from their JSON text and back.
import { Buffer } from "../memory";
import { hexDigit } from "./scan";

/** Appends what a checked string (the text between its quotes) stands for; false for half of a surrogate pair, which is no text. */
export function decode(at: usize, end: usize, out: Buffer): bool {
  out.reserve(end - at);
  while (at < end) {
    const byte = <u32>load<u8>(at++);
    if (byte != 0x5c) {
      out.byte(byte);
      continue;
    }
    const escape = <u32>load<u8>(at++);
    switch (escape) {
      case 0x62: out.byte(0x08); break;
      case 0x66: out.byte(0x0c); break;
      case 0x6e: out.byte(0x0a); break;
      case 0x72: out.byte(0x0d); break;
      case 0x74: out.byte(0x09); break;
      case 0x75: {
        let character = unit(at);
        at += 4;
        if (character >= 0xdc00 && character < 0xe000) return false;
        if (character >= 0xd800 && character < 0xdc00) {
          if (at + 6 > end || load<u16>(at) != 0x755c) return false;
          const low = unit(at + 2);
          if (low < 0xdc00 || low > 0xdfff) return false;
          character = 0x10000 + ((character - 0xd800) << 10) + (low - 0xdc00);
          at += 6;
        }
        write(character, out);
        break;
      }
      default: out.byte(escape);
    }
  }
  return true;
}

function unit(at: usize): u32 {
  let value: u32 = 0;
  for (let i: usize = 0; i < 4; i++) value = value << 4 | hexDigit(load<u8>(at + i));
  return value;
}

/** Appends a character as UTF-8. */
function write(character: u32, out: Buffer): void {
  if (character < 0x80) return out.byte(character);
  if (character < 0x800) {
    out.byte(0xc0 | character >> 6);
  } else {
    if (character < 0x10000) {
      out.byte(0xe0 | character >> 12);
    } else {
      out.byte(0xf0 | character >> 18);
      out.byte(0x80 | (character >> 12 & 0x3f));
    }
    out.byte(0x80 | (character >> 6 & 0x3f));
  }
  out.byte(0x80 | (character & 0x3f));
}

/** Appends UTF-8 as what stands between the quotes of a string. */
export function encode(at: usize, end: usize, out: Buffer): void {
  for (; at < end; at++) {
    const byte = <u32>load<u8>(at);
    if (byte >= 0x20 && byte != 0x22 && byte != 0x5c) {
      out.byte(byte);
      continue;
    }
    out.byte(0x5c);
    switch (byte) {
      case 0x22: case 0x5c: out.byte(byte); break;
      case 0x0a: out.byte(0x6e); break;
      case 0x0d: out.byte(0x72); break;
      case 0x09: out.byte(0x74); break;
      default: {
        out.text("u00");
        out.byte(0x30 + (byte >> 4));
        out.byte((byte & 15) < 10 ? 0x30 + (byte & 15) : 0x57 + (byte & 15));
      }
    }
  }
}

/** Appends a text as a JSON string. */
export function encodeText(text: string, out: Buffer): void {
  const from = out.size;
  out.byte(0x22);
  out.text(text);
  let plain = true;
  for (let at = out.start + from + 1, end = out.start + out.size; at < end; at++) {
    const byte = load<u8>(at);
    if (byte < 0x20 || byte == 0x22 || byte == 0x5c) plain = false;
  }
  if (!plain) {
    out.size = from + 1;
    const utf8 = String.UTF8.encode(text);
    const start = changetype<usize>(utf8);
    encode(start, start + utf8.byteLength, out);
  }
  out.byte(0x22);
}
