//! Numbers of a schema, and whether a value is a multiple of one: by decimal digits, so that 19.99 is a multiple of 0.01.

use std::borrow::Cow;

use builtin_kit::number::{Number, is_numeral};
use penstock_guest::Value;

use crate::json::Json;

/// A number that a schema says.
#[derive(Clone, Debug)]
pub(crate) enum Amount {
    Integer(i64),
    Unsigned(u64),
    Float(f64),
}

impl Amount {
    pub fn of(said: &Json) -> Result<Self, String> {
        match said {
            Json::Integer(number) => Ok(Amount::Integer(*number)),
            Json::Unsigned(number) => Ok(Amount::Unsigned(*number)),
            Json::Float(number) if number.is_finite() => Ok(Amount::Float(*number)),
            _ => Err("write a number".into()),
        }
    }

    /// One above zero, of no more digits than can be divided by.
    pub fn of_step(said: &Json) -> Result<Self, String> {
        let amount = Self::of(said)?;
        match exact(amount.number()) {
            Some((digits, _)) if digits > 0 => Ok(amount),
            _ => Err("write a number above zero of up to 30 digits".into()),
        }
    }

    pub fn number(&self) -> Number<'_> {
        match self {
            Amount::Integer(number) => Number::Int(*number),
            Amount::Unsigned(number) => Number::Uint(*number),
            Amount::Float(number) => Number::Double(*number),
        }
    }
}

/// The number that a value is; with `decimal`, that a text of digits is, too.
pub(crate) fn number_of<'v>(value: &'v Value, decimal: bool) -> Option<Number<'v>> {
    match value {
        Value::Integer(number) => Some(Number::Int(*number)),
        Value::Unsigned(number) => Some(Number::Uint(*number)),
        Value::Float(number) => Some(Number::Double(*number)),
        Value::Number(digits) => Some(Number::Digits(digits)),
        Value::Text(text) if decimal && is_numeral(text) => Some(Number::Digits(text)),
        _ => None,
    }
}

/// Whether a number has nothing behind the point.
pub(crate) fn is_whole(number: Number) -> bool {
    match number {
        Number::Int(_) | Number::Uint(_) => true,
        Number::Double(number) => number.fract() == 0.0,
        Number::Digits(digits) => decimal(digits).is_none_or(|(_, power)| power >= 0),
    }
}

/// Whether `number` is `step` times a whole number. Of numbers that have too many digits to tell, none is.
pub(crate) fn is_multiple(number: Number, step: Number) -> bool {
    /// No step of 30 digits has more factors of ten to be taken away.
    const TENS_MAX: i64 = 128;
    let (Some((digits, power)), Some((step, step_power))) = (exact(number), exact(step)) else { return false };
    let tens = power.saturating_sub(step_power);
    match digits {
        0 => true,
        _ if tens < 0 => false, // its digits do not end in a zero
        _ => (0..tens.min(TENS_MAX)).fold(digits % step, |rest, _| rest * 10 % step) == 0,
    }
}

/// Digits and a power of ten, without zeros at the end; `None` for NaN, infinities and more than 30 digits.
fn exact(number: Number) -> Option<(i128, i64)> {
    let text: Cow<str> = match number {
        Number::Int(number) => number.to_string().into(),
        Number::Uint(number) => number.to_string().into(),
        Number::Double(number) if number.is_finite() => format!("{number:?}").into(),
        Number::Double(_) => return None,
        Number::Digits(digits) => digits.into(),
    };
    decimal(&text)
}

fn decimal(text: &str) -> Option<(i128, i64)> {
    const DIGITS_MAX: usize = 30;
    let (mantissa, power) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let joined = [whole, fraction].concat();
    let kept = joined.trim_end_matches('0');
    let zeros = joined.len() - kept.len();
    if kept.is_empty() || kept == "-" {
        return Some((0, 0));
    }
    if kept.trim_start_matches('-').trim_start_matches('0').len() > DIGITS_MAX {
        return None;
    }
    let power: i64 = power.parse().ok()?;
    Some((kept.parse().ok()?, power.checked_add(zeros as i64 - fraction.len() as i64)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use builtin_kit::number::Number::{Digits, Double, Int, Uint};

    #[test]
    fn multiples_are_of_decimal_digits() {
        for (number, step) in [
            (Double(19.99), Double(0.01)),
            (Int(0), Int(7)),
            (Int(-14), Int(7)),
            (Digits("12.30"), Double(0.1)),
            (Digits("1E+3"), Int(250)),
            (Uint(u64::MAX), Int(5)),
            (Double(1e300), Int(1)),
            (Digits("0.000"), Double(0.7)),
        ] {
            assert!(is_multiple(number, step), "{number:?} {step:?}");
        }
        for (number, step) in [
            (Double(19.999), Double(0.01)),
            (Int(15), Int(7)),
            (Digits("12.34"), Double(0.1)),
            (Double(1e-300), Int(1)),
            (Double(f64::NAN), Int(1)),
            (Digits("1234567890123456789012345678901234567890.5"), Double(0.5)),
        ] {
            assert!(!is_multiple(number, step), "{number:?} {step:?}");
        }
    }

    #[test]
    fn whole_numbers() {
        for number in [Int(1), Double(2.0), Digits("3.00"), Digits("1.5e1"), Double(1e300)] {
            assert!(is_whole(number), "{number:?}");
        }
        for number in [Double(2.5), Digits("3.10"), Digits("15e-1"), Double(f64::NAN), Double(f64::INFINITY)] {
            assert!(!is_whole(number), "{number:?}");
        }
    }
}
