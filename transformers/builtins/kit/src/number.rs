//! Numbers of four kinds on one line: compared by what they are worth, never through a float that would round them.

use std::cmp::Ordering;

/// A number, whichever way it came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number<'v> {
    /// An integer.
    Int(i64),
    /// An integer that is not negative.
    Uint(u64),
    /// A float.
    Double(f64),
    /// A decimal, or an integer beyond 64 bits: its digits, as [`is_numeral`] takes them.
    Digits(&'v str),
}

/// How two numbers compare; `None` when one of them is NaN.
///
/// A float beside digits counts as the shortest decimal that means it, so that `0.1` in an expression equals a decimal `"0.10"`.
pub fn compare(one: Number, other: Number) -> Option<Ordering> {
    use Number::{Digits, Double, Int, Uint};
    match (one, other) {
        (Double(one), Double(other)) => one.partial_cmp(&other),
        (Int(_) | Uint(_), Int(_) | Uint(_)) => Some(whole(one).cmp(&whole(other))),
        (Int(_) | Uint(_), Double(double)) => with_double(whole(one), double),
        (Double(double), Int(_) | Uint(_)) => with_double(whole(other), double).map(Ordering::reverse),
        (Digits(one), Digits(other)) => Some(by_digits(one, other)),
        (Digits(digits), _) => with_digits(digits, other),
        (_, Digits(digits)) => with_digits(digits, one).map(Ordering::reverse),
    }
}

fn whole(number: Number) -> i128 {
    match number {
        Number::Int(number) => number.into(),
        Number::Uint(number) => number.into(),
        Number::Double(_) | Number::Digits(_) => unreachable!("only integers are asked for"),
    }
}

fn with_double(whole: i128, double: f64) -> Option<Ordering> {
    /// Integers of 64 bits are nearer to zero.
    const BEYOND: f64 = 1e20;
    match double {
        _ if double.is_nan() => None,
        _ if double >= BEYOND => Some(Ordering::Less),
        _ if double <= -BEYOND => Some(Ordering::Greater),
        _ => {
            let floor = double.floor();
            let below = if double > floor { Ordering::Less } else { Ordering::Equal };
            Some(whole.cmp(&(floor as i128)).then(below))
        }
    }
}

fn with_digits(digits: &str, other: Number) -> Option<Ordering> {
    match other {
        Number::Int(number) => Some(by_digits(digits, &number.to_string())),
        Number::Uint(number) => Some(by_digits(digits, &number.to_string())),
        Number::Double(double) if double.is_nan() => None,
        Number::Double(double) if double.is_infinite() => 0.0_f64.partial_cmp(&double),
        Number::Double(double) => Some(by_digits(digits, &format!("{double:?}"))),
        Number::Digits(other) => Some(by_digits(digits, other)),
    }
}

/// Whether a text is a number as JSON writes numbers: `12.30`, `-0`, `1E+3`; not `007`, `.5`, `+1` or `NaN`.
pub fn is_numeral(text: &str) -> bool {
    parts(text).is_some()
}

/// A numeral's sign, its digits before and behind the point, and its power of ten.
fn parts(text: &str) -> Option<(bool, &str, &str, i64)> {
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, power) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (mantissa, ""),
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_right = !whole.is_empty() && (whole == "0" || !whole.starts_with('0'));
    if !is_right || !are_digits(whole) || !are_digits(fraction) {
        return None;
    }
    Some((is_negative, whole, fraction, power.map_or(Some(0), power_of)?))
}

/// Powers beyond anything that is written are as good as the largest.
fn power_of(text: &str) -> Option<i64> {
    const POWER_MAX: i64 = 1 << 40;
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(sign * digits.parse().unwrap_or(POWER_MAX).min(POWER_MAX))
}

/// Compares two numerals.
fn by_digits(one: &str, other: &str) -> Ordering {
    match (Decimal::of(one), Decimal::of(other)) {
        (Some(one), Some(other)) => one.cmp(&other),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

/// A numeral without the zeros around its digits.
struct Decimal<'v> {
    /// -1, 0 or 1
    sign: i8,
    /// Digits before the point; negative for zeros behind it.
    magnitude: i64,
    whole: &'v str,
    fraction: &'v str,
}

impl<'v> Decimal<'v> {
    fn of(text: &'v str) -> Option<Self> {
        let (is_negative, whole, fraction, power) = parts(text)?;
        let whole = whole.trim_start_matches('0');
        let (whole, fraction, magnitude) = if whole.is_empty() {
            let digits = fraction.trim_start_matches('0');
            ("", digits, -((fraction.len() - digits.len()) as i64))
        } else {
            (whole, fraction, whole.len() as i64)
        };
        let is_zero = whole.is_empty() && fraction.is_empty();
        let sign = if is_zero { 0 } else { 1 - 2 * i8::from(is_negative) };
        Some(Decimal { sign, magnitude: magnitude + power, whole, fraction })
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.bytes().chain(self.fraction.bytes())
    }

    fn cmp(&self, other: &Self) -> Ordering {
        let by_sign = self.sign.cmp(&other.sign);
        if by_sign != Ordering::Equal || self.sign == 0 {
            return by_sign;
        }
        let length = (self.whole.len() + self.fraction.len()).max(other.whole.len() + other.fraction.len());
        let padded = |digits: &Self| digits.digits().chain(std::iter::repeat(b'0')).take(length).collect::<Vec<_>>();
        let by_size = self.magnitude.cmp(&other.magnitude).then_with(|| padded(self).cmp(&padded(other)));
        if self.sign < 0 { by_size.reverse() } else { by_size }
    }
}

#[cfg(test)]
mod tests {
    use super::Number::{Digits, Double, Int, Uint};
    use super::*;

    #[test]
    fn numerals_are_as_json_writes_numbers() {
        for text in ["0", "-0", "12.30", "1E+3", "0e-8", "99999999999999999999999999", "-0.5"] {
            assert!(is_numeral(text), "{text}");
        }
        for text in ["", "-", "007", ".5", "1.", "+1", "NaN", "1e", "1e+", "0x1", "1_000", "١", "1e1.5", " 1"] {
            assert!(!is_numeral(text), "{text}");
        }
    }

    #[test]
    fn every_kind_is_on_one_line() {
        let line = [
            Digits("-1e400"),
            Double(-1e300),
            Int(i64::MIN),
            Digits("-1.50"),
            Int(-1),
            Digits("-0.001"),
            Double(0.0),
            Digits("1e-400"),
            Double(0.1),
            Digits("0.11"),
            Int(1),
            Digits("9.90"),
            Digits("10.00"),
            Digits("9007199254740992"),
            Int(9007199254740993),
            Digits("9007199254740993.5"),
            Int(i64::MAX),
            Double(9223372036854775808.0),
            Uint(u64::MAX),
            Digits("18446744073709551616"),
            Double(1e20),
            Digits("1e999999999999999999999"),
            Double(f64::INFINITY),
        ];
        for (at, one) in line.iter().enumerate() {
            for (to, other) in line.iter().enumerate() {
                assert_eq!(compare(*one, *other), Some(at.cmp(&to)), "{one:?} {other:?}");
            }
        }
    }

    #[test]
    fn what_is_worth_the_same_is_equal() {
        for (one, other) in [
            (Digits("0.10"), Double(0.1)),
            (Digits("1e2"), Int(100)),
            (Digits("0E-8"), Digits("-0.000")),
            (Digits("100"), Double(100.0)),
            (Uint(7), Int(7)),
            (Int(7), Double(7.0)),
            (Double(-0.0), Int(0)),
        ] {
            assert_eq!(compare(one, other), Some(Ordering::Equal), "{one:?} {other:?}");
            assert_eq!(compare(other, one), Some(Ordering::Equal), "{one:?} {other:?}");
        }
        assert_eq!(compare(Digits("1"), Double(f64::NAN)), None);
        assert_eq!(compare(Int(1), Double(f64::NAN)), None);
    }
}
