//! Numbers, texts and bytes as they stand in an expression.

use super::Fault;
use super::ast::Literal;
use super::lexer::Token;

/// The number at `at`, and its length.
pub(super) fn number(text: &str, at: usize) -> Result<(Token, usize), Fault> {
    let rest = &text[at..];
    if let Some(digits) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
        let length = run(digits, |next| next.is_ascii_hexdigit());
        return integer(at, &digits[..length], 16, &digits[length..], 2 + length);
    }
    let whole = run(rest, |next| next.is_ascii_digit());
    let mut length = whole;
    if let Some(fraction) = rest[length..].strip_prefix('.') {
        let digits = run(fraction, |next| next.is_ascii_digit());
        length += if digits > 0 { 1 + digits } else { 0 };
    }
    if let Some(power) = rest[length..].strip_prefix(['e', 'E']) {
        let sign = usize::from(power.starts_with(['+', '-']));
        let digits = run(&power[sign..], |next| next.is_ascii_digit());
        length += if digits > 0 { 1 + sign + digits } else { 0 };
    }
    if length == whole {
        return integer(at, &rest[..length], 10, &rest[length..], length);
    }
    ends(at, &rest[length..])?;
    let number: f64 = rest[..length].parse().map_err(|_| Fault::new(at, "no number"))?;
    match number.is_finite() {
        true => Ok((Token::Literal(Literal::Double(number)), length)),
        false => Err(Fault::new(at, "beyond the range of a float")),
    }
}

fn run(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|next| !is_part(next)).unwrap_or(text.len())
}

fn integer(at: usize, digits: &str, radix: u32, rest: &str, length: usize) -> Result<(Token, usize), Fault> {
    let is_unsigned = rest.starts_with(['u', 'U']);
    ends(at, &rest[usize::from(is_unsigned)..])?;
    let number = u64::from_str_radix(digits, radix).map_err(|_| Fault::new(at, "no integer of 64 bits"))?;
    let literal = match (is_unsigned, i64::try_from(number)) {
        (true, _) => Literal::Uint(number),
        (false, Ok(number)) => Literal::Int(number),
        (false, Err(_)) if number == 1 << 63 => Literal::Smallest,
        (false, Err(_)) => return Err(beyond(at, number)),
    };
    Ok((Token::Literal(literal), length + usize::from(is_unsigned)))
}

/// What to write for an integer that is no int.
pub(super) fn beyond(at: usize, number: u64) -> Fault {
    Fault::new(at, format!("beyond the range of an int: write {number}u"))
}

fn ends(at: usize, rest: &str) -> Result<(), Fault> {
    match rest.chars().next() {
        Some(next) if next.is_alphanumeric() || next == '_' => {
            Err(Fault::new(at, format!("a number that ends in {next:?}")))
        }
        _ => Ok(()),
    }
}

/// Whether these letters may stand before a quote.
pub(super) fn is_prefix(letters: &str) -> bool {
    matches!(letters.to_ascii_lowercase().as_str(), "r" | "b" | "rb" | "br")
}

/// The text or the bytes at `at`, with prefix and quotes, and the length of all that.
pub(super) fn quoted(text: &str, at: usize) -> Result<(Token, usize), Fault> {
    let rest = &text[at..];
    let prefix = rest.find(['"', '\'']).unwrap_or(0);
    let letters = rest[..prefix].to_ascii_lowercase();
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest[prefix..].starts_with(quote));
    let quote = quote.ok_or_else(|| Fault::new(at, "no text"))?;
    let (is_raw, is_bytes) = (letters.contains('r'), letters.contains('b'));
    let mut made = Vec::new();
    let mut here = prefix + quote.len();
    loop {
        let left = &rest[here..];
        let Some(next) = left.chars().next().filter(|next| quote.len() == 3 || !matches!(next, '\n' | '\r')) else {
            return Err(Fault::new(at, format!("a text without its closing {quote}")));
        };
        if left.starts_with(quote) {
            break;
        }
        if next == '\\' && !is_raw {
            here += escaped(left, is_bytes, &mut made).map_err(|problem| Fault::new(at + here, problem))?;
        } else {
            made.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
            here += next.len_utf8();
        }
    }
    let literal = if is_bytes {
        Literal::Bytes(made)
    } else {
        Literal::Text(String::from_utf8(made).map_err(|_| Fault::new(at, "no text"))?)
    };
    Ok((Token::Literal(literal), here + quote.len()))
}

/// Appends what an escape stands for; its length.
fn escaped(left: &str, is_bytes: bool, made: &mut Vec<u8>) -> Result<usize, &'static str> {
    const WRONG: &str = "an escape that means nothing: write `\\\\` for a backslash";
    let letter = *left.as_bytes().get(1).ok_or(WRONG)?;
    let plain = match letter {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' | b'?' | b'"' | b'\'' | b'`' => letter,
        _ => return coded(left, letter, is_bytes, made).ok_or(WRONG),
    };
    made.push(plain);
    Ok(2)
}

/// `\xHH`, `\ooo`, `\uHHHH`, `\UHHHHHHHH`: code points in a text; in bytes the first two are bytes, and the others are not allowed.
fn coded(left: &str, letter: u8, is_bytes: bool, made: &mut Vec<u8>) -> Option<usize> {
    let (from, digits, radix) = match letter {
        b'x' | b'X' => (2, 2, 16),
        b'0'..=b'3' => (1, 3, 8),
        b'u' if !is_bytes => (2, 4, 16),
        b'U' if !is_bytes => (2, 8, 16),
        _ => return None,
    };
    let written = left.get(from..from + digits)?;
    let number = u32::from_str_radix(written, radix).ok().filter(|_| !written.starts_with('+'))?;
    match is_bytes {
        true => made.push(u8::try_from(number).ok()?),
        false => made.extend_from_slice(char::from_u32(number)?.encode_utf8(&mut [0; 4]).as_bytes()),
    }
    Some(from + digits)
}
