//! Numbers: from JSON to msgpack without a detour over floats, and floats to JSON with the fewest digits that mean the same.

use super::packed::{put_float, put_text, put_unsigned};
use crate::frame::put_int;

/// Of one number; the reference has a limit too, in the thousands.
const BYTES_MAX: usize = 1000;
/// Decimal digits that fit 64 bits whatever they are.
const DIGITS_SAFE: usize = 18;

/// Appends the JSON number at `at` as msgpack; where it ends. Integers wider than 64 bits and numbers beyond float64 are
/// texts with their own digits.
pub fn read(out: &mut Vec<u8>, bytes: &[u8], at: usize) -> Option<usize> {
    let negative = bytes.get(at) == Some(&b'-');
    let from = at + usize::from(negative);
    let mut end = from;
    let mut value = 0_u64;
    while let Some(digit) = bytes.get(end).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        end += 1;
    }
    let digits = end - from;
    if digits == 0 || (digits > 1 && bytes[from] == b'0') || digits > BYTES_MAX {
        return None;
    }
    if matches!(bytes.get(end), Some(b'.' | b'e' | b'E')) {
        return read_float(out, bytes, at, end);
    }
    if digits > DIGITS_SAFE {
        put_wide(out, &bytes[at..end])?;
    } else {
        put_int(out, if negative { -value.cast_signed() } else { value.cast_signed() });
    }
    Some(end)
}

fn put_wide(out: &mut Vec<u8>, digits: &[u8]) -> Option<()> {
    let text = core::str::from_utf8(digits).ok()?;
    match (text.parse::<i64>(), text.parse::<u64>()) {
        (Ok(value), _) => put_int(out, value),
        (_, Ok(value)) => put_unsigned(out, value),
        _ => put_text(out, digits),
    }
    Some(())
}

/// `at` is the number's beginning, `end` its point or exponent.
fn read_float(out: &mut Vec<u8>, bytes: &[u8], at: usize, mut end: usize) -> Option<usize> {
    let digits_from = |from: usize| {
        let count = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    if bytes.get(end) == Some(&b'.') {
        end = digits_from(end + 1)?;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        end += 1;
        end = digits_from(end + usize::from(matches!(bytes.get(end), Some(b'+' | b'-'))))?;
    }
    if end - at > BYTES_MAX {
        return None;
    }
    let digits = &bytes[at..end];
    let value: f64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    if value.is_finite() {
        put_float(out, value);
    } else {
        put_text(out, digits);
    }
    Some(end)
}

/// Whether all of it is one number as JSON writes them; `None` when it is too long to be looked at.
pub fn is_number(text: &[u8]) -> Option<bool> {
    (text.len() <= BYTES_MAX).then(|| read(&mut Vec::new(), text, 0) == Some(text.len()))
}

/// Appends an integer.
pub fn write_integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    write_unsigned(out, value.unsigned_abs());
}

/// Appends an integer.
pub fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

/// Appends a float: `1.0`, `0.00001`, `1.5e300`. NaN and infinities are texts. `None` for one that lies in the middle between two
/// texts of fewest digits: there is no telling which of them the host takes.
pub fn write_float(out: &mut Vec<u8>, value: f64) -> Option<()> {
    if !value.is_finite() {
        let name: &[u8] = if value.is_nan() { b"NaN" } else if value > 0.0 { b"Infinity" } else { b"-Infinity" };
        out.push(b'"');
        out.extend_from_slice(name);
        out.push(b'"');
        return Some(());
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    if value == 0.0 {
        out.extend_from_slice(b"0.0");
        return Some(());
    }
    let (digits, exponent) = digits_of(format!("{:e}", value.abs()).as_bytes())?;
    let (exact, _) = digits_of(format!("{:.40e}", value.abs()).as_bytes())?;
    if exact[digits.len()..].starts_with(b"500000000") {
        return None;
    }
    lay_out(out, &digits, exponent);
    Some(())
}

/// Of `1.25e-7`: the digits, and ten to which power the first of them is.
fn digits_of(scientific: &[u8]) -> Option<(Vec<u8>, i32)> {
    let at = scientific.iter().position(|&byte| byte == b'e')?;
    let exponent = core::str::from_utf8(&scientific[at + 1..]).ok()?.parse().ok()?;
    Some((scientific[..at].iter().copied().filter(u8::is_ascii_digit).collect(), exponent))
}

/// `digits` with a point behind the first, times ten to the `exponent`.
fn lay_out(out: &mut Vec<u8>, digits: &[u8], exponent: i32) {
    let count = digits.len() as i32;
    let point = exponent + 1;
    if point > 16 || point <= -5 {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        write_integer(out, i64::from(exponent));
    } else if point <= 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + point.unsigned_abs() as usize, b'0');
        out.extend_from_slice(digits);
    } else if count <= point {
        out.extend_from_slice(digits);
        out.resize(out.len() + (point - count) as usize, b'0');
        out.extend_from_slice(b".0");
    } else {
        out.extend_from_slice(&digits[..point as usize]);
        out.push(b'.');
        out.extend_from_slice(&digits[point as usize..]);
    }
}
