//! JSON strings: to text, and from text the way msgspec writes them.

use super::block::{BYTES, Block};
use super::bytes::push;

/// Where the plain stretch of a string that begins at `at` ends: at a quote, a backslash, a control character, or the end of `bytes`.
#[inline(always)]
pub fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BYTES>()) {
        let stops = Block::of(block).stops();
        if stops != 0 {
            return at + stops.trailing_zeros() as usize;
        }
        at += BYTES;
    }
    while bytes.get(at).is_some_and(|&byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        at += 1;
    }
    at
}

/// Whether it is UTF-8.
pub fn is_text(bytes: &[u8]) -> bool {
    let (fours, rest) = bytes.as_chunks::<{ 4 * BYTES }>();
    let is_ascii = |four: &[u8; 4 * BYTES]| {
        let (blocks, _) = four.as_chunks::<BYTES>();
        Block::are_ascii([Block::of(&blocks[0]), Block::of(&blocks[1]), Block::of(&blocks[2]), Block::of(&blocks[3])])
    };
    (fours.iter().all(is_ascii) && rest.is_ascii()) || core::str::from_utf8(bytes).is_ok()
}

/// Appends what the inside of a JSON string (without its quotes, ending where `plain_end` and escapes led) says.
pub fn unescape(out: &mut Vec<u8>, inside: &[u8]) -> Option<()> {
    let mut rest = inside;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            out.push(byte);
            rest = after;
            continue;
        }
        let (&kind, after) = after.split_first()?;
        rest = after;
        out.push(match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (character, after) = escaped_character(rest)?;
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
                continue;
            }
            _ => return None,
        });
    }
    Some(())
}

/// What stands behind `\u`; half of a pair is no character.
fn escaped_character(rest: &[u8]) -> Option<(char, &[u8])> {
    let (high, rest) = hexadecimal(rest)?;
    if !(0xd800..0xdc00).contains(&high) {
        return Some((char::from_u32(high)?, rest));
    }
    let (low, rest) = hexadecimal(rest.strip_prefix(b"\\u")?)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))?, rest))
}

fn hexadecimal(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = rest.split_first_chunk::<4>()?;
    let mut number = 0;
    for &digit in digits {
        number = number << 4 | char::from(digit).to_digit(16)?;
    }
    Some((number, rest))
}

/// Appends a text as JSON: only what must be is escaped, control characters in hexadecimal but for those that have a letter.
pub fn write(out: &mut Vec<u8>, text: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut at = 0;
    loop {
        let end = plain_end(text, at);
        push(out, text, at, end - at);
        let Some(&byte) = text.get(end) else { break };
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let low = DIGITS[usize::from(byte & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', DIGITS[usize::from(byte >> 4)], low]);
            }
        }
        at = end + 1;
    }
    out.push(b'"');
}

/// Appends bytes as a JSON string in base64.
pub fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    for three in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|place| u32::from(three.get(place).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        for place in 0..4_usize {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= three.len() { digit } else { b'=' });
        }
    }
    out.push(b'"');
}
