//! Strings: from their JSON text and back.

use std::borrow::Cow;

use super::block::{BYTES, Block};
use super::scan::Problem;
use crate::bytes::{append, padded};

/// What a checked JSON string, quotes included, stands for. Raises an error for half of a surrogate pair, which is no text.
pub(super) fn decode(json: &str) -> Result<Cow<'_, str>, Problem> {
    let inside = &json[1..json.len() - 1];
    if is_plain(inside.as_bytes()) {
        return Ok(Cow::Borrowed(inside));
    }
    let mut decoded = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        decoded.push_str(plain);
        let (character, length) = escape(escaped)?;
        decoded.push(character);
        rest = &escaped[length..];
    }
    decoded.push_str(rest);
    Ok(Cow::Owned(decoded))
}

/// The character that an escape (without its backslash) stands for, and the escape's length.
fn escape(escaped: &str) -> Result<(char, usize), Problem> {
    let character = match escaped.as_bytes()[0] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(escaped),
        itself => char::from(itself),
    };
    Ok((character, 1))
}

/// `u00e9`, or a pair of surrogates: `ud83d\ude00`.
fn unicode(escaped: &str) -> Result<(char, usize), Problem> {
    let unit = |at: usize| escaped.get(at..at + 4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let first = unit(1).into_iter();
    let second = escaped.get(5..7).filter(|next| *next == "\\u").and_then(|_| unit(7));
    match char::decode_utf16(first.chain(second)).next() {
        Some(Ok(character)) => Ok((character, if character.len_utf16() == 2 { 11 } else { 5 })),
        _ => Err(Problem::Surrogate),
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn write(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if is_plain(text.as_bytes()) {
        append(out, text.as_bytes());
    } else {
        write_escaped(out, text.as_bytes());
    }
    out.push(b'"');
}

/// Whether nothing in it needs an escape. (In a JSON string's text: whether there is none.)
#[inline(always)]
fn is_plain(text: &[u8]) -> bool {
    let (blocks, rest) = text.as_chunks::<BYTES>();
    Block::of(&padded(rest)).stops() == 0 && (blocks.is_empty() || are_plain(blocks))
}

#[inline(never)]
fn are_plain(blocks: &[[u8; BYTES]]) -> bool {
    blocks.iter().all(|block| Block::of(block).stops() == 0)
}

fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend(b"\\u00");
                out.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_serde_json() {
        for json in [
            r#""""#,
            r#""plain é😀""#,
            r#""\"\\\/\b\f\n\r\t""#,
            r#""a\u0041\u00e9\u20AC\ud83d\ude00z""#,
            r#""\ud83d\ude00\ud83d\ude00""#,
        ] {
            assert_eq!(decode(json).unwrap(), serde_json::from_str::<String>(json).unwrap());
        }
        for json in
            [r#""\ud83d""#, r#""\ud83dx""#, r#""\ud83d\n""#, r#""\ude00""#, r#""\ud83d\u0041""#, r#""\ud83d\ud83d""#]
        {
            assert!(decode(json).is_err() && serde_json::from_str::<String>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text: String = (0..0x250_u32).filter_map(char::from_u32).chain("😀\u{2028}\u{7f}".chars()).collect();
        let mut out = Vec::new();
        write(&mut out, &text);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }
}
