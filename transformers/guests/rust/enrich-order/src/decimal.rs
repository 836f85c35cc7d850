//! Exact decimal numbers, read from and written to text; nothing goes through a double.

use std::cmp::Ordering;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// `units × 10^-scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    units: i128,
    scale: u32,
}

/// Why a text is no [`Decimal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// It is not a decimal number.
    Invalid,
    /// It is one, with more digits than 128 bits hold.
    TooLarge,
}

/// Digits behind the point that are still exact: every power of ten up to it fits.
const SCALE_MAX: i64 = 38;

/// So many digits surely fit 64 bits, signed.
const SHORT_DIGITS: usize = 18;
/// 64-bit powers of ten.
const POWERS: [i64; SHORT_DIGITS + 1] = {
    let mut powers = [1; SHORT_DIGITS + 1];
    let mut at = 1;
    while at <= SHORT_DIGITS {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

impl Decimal {
    /// Reads `-12.50`, `12`, `1.25e3`. Keeps trailing zeros: they are the column's scale.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_short(text.as_bytes()).map_or_else(|| Self::parse_any(text), Ok)
    }

    /// What most amounts are, in one pass and without 128-bit arithmetic; `None` for all else, right or wrong.
    fn parse_short(text: &[u8]) -> Option<Self> {
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if !(1..=SHORT_DIGITS).contains(&digits.len()) {
            return None;
        }
        let (mut units, mut point) = (0_i64, None);
        for (at, byte) in digits.iter().enumerate() {
            match byte {
                b'0'..=b'9' => units = units * 10 + i64::from(byte - b'0'),
                b'.' if point.is_none() && at > 0 => point = Some(at),
                _ => return None,
            }
        }
        let scale = point.map_or(0, |point| digits.len() - 1 - point);
        if point.is_some() && scale == 0 {
            return None;
        }
        let units = if digits.len() < text.len() { -units } else { units };
        Some(Decimal { units: i128::from(units), scale: scale as u32 })
    }

    fn parse_any(text: &str) -> Result<Self, ParseError> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
            None => (text, 0),
        };
        let (is_negative, digits) = match mantissa.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, mantissa),
        };
        let (whole, fraction) = match digits.split_once('.') {
            Some((_, "")) => return Err(ParseError::Invalid),
            Some(parts) => parts,
            None => (digits, ""),
        };
        if whole.is_empty() {
            return Err(ParseError::Invalid);
        }
        let units = add_digits(add_digits(0, whole)?, fraction)?;
        let scale = fraction.len() as i64 - exponent;
        Self::scaled(if is_negative { -units } else { units }, scale)
    }

    fn scaled(units: i128, scale: i64) -> Result<Self, ParseError> {
        if units == 0 {
            return Ok(Decimal { units, scale: scale.clamp(0, SCALE_MAX) as u32 });
        }
        if scale > SCALE_MAX {
            return Err(ParseError::TooLarge);
        }
        if scale >= 0 {
            return Ok(Decimal { units, scale: scale as u32 });
        }
        let units = times_power(units, scale.unsigned_abs()).ok_or(ParseError::TooLarge)?;
        Ok(Decimal { units, scale: 0 })
    }

    /// The exact product; `None` when it has more digits than 128 bits hold.
    pub fn times(self, other: Self) -> Option<Self> {
        let units = match (i32::try_from(self.units), i32::try_from(other.units)) {
            (Ok(one), Ok(other)) => i128::from(i64::from(one) * i64::from(other)),
            _ => self.units.checked_mul(other.units)?,
        };
        Some(Decimal { units, scale: self.scale + other.scale })
    }

    /// Hundredths, halves rounded away from zero; `None` when they do not fit 64 bits.
    pub fn hundredths(self) -> Option<i64> {
        if self.scale <= 2 {
            return times_power(self.units, u64::from(2 - self.scale))?.try_into().ok();
        }
        if let (Ok(units), Some(divisor)) = (i64::try_from(self.units), POWERS.get(self.scale as usize - 2)) {
            let (whole, rest) = (units / divisor, (units % divisor).abs());
            return Some(whole + if rest >= divisor - rest { units.signum() } else { 0 });
        }
        let divisor = 10_i128.checked_pow(self.scale - 2)?;
        let (whole, rest) = (self.units / divisor, (self.units % divisor).abs());
        let is_half_or_more = rest >= divisor - rest;
        (whole + if is_half_or_more { self.units.signum() } else { 0 }).try_into().ok()
    }
}

fn exponent_of(text: &str) -> Result<i64, ParseError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseError::Invalid);
    }
    text.parse::<i32>().map(i64::from).map_err(|_| ParseError::TooLarge)
}

/// Appends digits to a number, as many at a time as 64 bits hold: 128-bit arithmetic is slow in WebAssembly.
fn add_digits(units: i128, digits: &str) -> Result<i128, ParseError> {
    const CHUNK: usize = 18;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ParseError::Invalid);
    }
    digits.as_bytes().chunks(CHUNK).try_fold(units, |units, chunk| {
        let added = chunk.iter().fold(0, |number: u64, byte| number * 10 + u64::from(byte - b'0'));
        let shifted = times_power(units, chunk.len() as u64).ok_or(ParseError::TooLarge)?;
        shifted.checked_add(i128::from(added)).ok_or(ParseError::TooLarge)
    })
}

/// A power of ten that 31 bits hold.
fn short_power(power: u64) -> Option<i64> {
    POWERS.get(usize::try_from(power).ok()?).copied().filter(|power| *power < 1 << 31)
}

fn times_power(units: i128, power: u64) -> Option<i128> {
    if units == 0 || power == 0 {
        return Some(units);
    }
    if let (Ok(short), Some(power)) = (i32::try_from(units), short_power(power)) {
        return Some(i128::from(i64::from(short) * power));
    }
    units.checked_mul(10_i128.checked_pow(u32::try_from(power).ok()?)?)
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let scale = self.scale.max(other.scale);
        let left = times_power(self.units, u64::from(scale - self.scale));
        let right = times_power(other.units, u64::from(scale - other.scale));
        Some(match (left, right) {
            (Some(left), Some(right)) => left.cmp(&right),
            // Only the side with the smaller scale grows, and it outgrew 128 bits: its sign decides.
            (None, _) => self.units.cmp(&0),
            (_, None) => 0.cmp(&other.units),
        })
    }
}

impl Decimal {
    /// Appends the number's text: all digits of its scale, at least one before the point.
    pub fn write(self, out: &mut Vec<u8>) {
        if self.units < 0 {
            out.push(b'-');
        }
        let magnitude = self.units.unsigned_abs();
        match u64::try_from(magnitude) {
            Ok(short) => write_digits(out, short, self.scale as usize),
            Err(_) => self.write_long(out, &magnitude.to_string()),
        }
    }

    fn write_long(self, out: &mut Vec<u8>, digits: &str) {
        let scale = self.scale as usize;
        match digits.len().checked_sub(scale) {
            _ if scale == 0 => out.extend_from_slice(digits.as_bytes()),
            Some(whole @ 1..) => {
                [&digits[..whole], ".", &digits[whole..]].iter().for_each(|part| out.extend(part.bytes()))
            }
            _ => out.extend(format!("0.{digits:0>scale$}").bytes()),
        }
    }
}

/// The digits of `rest`, with a point before the last `scale` of them.
fn write_digits(out: &mut Vec<u8>, mut rest: u64, scale: usize) {
    // The largest scale is a product's; a digit before the point, and the point.
    let mut text = [0; 2 * SCALE_MAX as usize + 2];
    let mut start = text.len();
    let mut written = 0;
    while rest > 0 || written <= scale {
        if written == scale && scale > 0 {
            start -= 1;
            text[start] = b'.';
        }
        start -= 1;
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        written += 1;
    }
    out.extend_from_slice(&text[start..]);
}

impl fmt::Display for Decimal {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        formatter.write_str(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

impl<'de> Deserialize<'de> for Decimal {
    /// From an integer or a text. Floating-point numbers are refused: they may not be what was written.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalVisitor)
    }
}

struct DecimalVisitor;

impl Visitor<'_> for DecimalVisitor {
    type Value = Decimal;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a decimal number in quotes, such as \"10000.00\",")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Decimal, E> {
        Decimal::parse(text).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Decimal, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Decimal, E> {
        self.visit_str(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn text_goes_in_and_out() {
        for text in ["0", "-7", "12.50", "0.05", "-0.001", "170141183460469231731687303715884105727"] {
            assert_eq!(decimal(text).to_string(), text);
        }
        assert_eq!(decimal("1.25e3").to_string(), "1250");
        assert_eq!(decimal("125E-4").to_string(), "0.0125");
        assert_eq!(decimal("-0.0").to_string(), "0.0");
    }

    #[test]
    fn every_scale_and_length_is_written_in_full() {
        for scale in 0..=2 * SCALE_MAX as usize {
            for digits in ["0", "7", "42", "18446744073709551615", "18446744073709551616", "99999999999999999999999999"]
            {
                let units: i128 = digits.parse().unwrap();
                let padded = format!("{digits:0>width$}", width = scale + 1);
                let (whole, fraction) = padded.split_at(padded.len() - scale);
                let expected = if scale == 0 { whole.into() } else { format!("{whole}.{fraction}") };
                assert_eq!(Decimal { units, scale: scale as u32 }.to_string(), expected);
                let sign = if units == 0 { "" } else { "-" };
                assert_eq!(Decimal { units: -units, scale: scale as u32 }.to_string(), format!("{sign}{expected}"));
            }
        }
    }

    #[test]
    fn short_texts_are_read_as_any_other() {
        for text in "0 -0 00 7 -7 0.1 -0.10 00.50 1. .1 - -. 1..2 1.2.3 1-2 12345678901234567 123456789012345678 123456789012345.67"
            .split(' ')
            .chain([""])
        {
            let any = Decimal::parse_any(text);
            assert_eq!(Decimal::parse(text), any, "{text}");
            assert_eq!(Decimal::parse_short(text.as_bytes()).is_some(), any.is_ok(), "{text}");
        }
    }

    #[test]
    fn short_and_long_arithmetic_agree() {
        let long = |decimal: Decimal| Decimal { units: decimal.units * 10_i128.pow(20), scale: decimal.scale + 20 };
        for text in
            ["0", "0.004", "0.005", "-0.005", "99.995", "-1.2345", "214748.3647", "-21474836.48", "1234567890123.455"]
        {
            let number = decimal(text);
            assert_eq!(number.hundredths(), long(number).hundredths(), "{text}");
            let (short, exact) = (number.times(number).unwrap(), number.units.pow(2));
            assert_eq!((short.units, short.scale), (exact, 2 * number.scale), "{text}");
        }
    }

    #[test]
    fn what_is_no_decimal() {
        for text in ["", "-", ".5", "5.", "+5", "1e", "1e+", "0x1", "1_0", "NaN", " 1", "1,5", "1.2.3", "--1", "1e5e5"]
        {
            assert_eq!(Decimal::parse(text), Err(ParseError::Invalid), "{text}");
        }
        for text in ["1e39", "1e-39", "170141183460469231731687303715884105728", "1e99999999999"] {
            assert_eq!(Decimal::parse(text), Err(ParseError::TooLarge), "{text}");
        }
        assert_eq!(decimal("0e99").to_string(), "0");
    }

    #[test]
    fn halves_round_away_from_zero() {
        for (text, cents) in [
            ("1.005", 101),
            ("-1.005", -101),
            ("1.0049999999", 100),
            ("0.015", 2),
            ("3", 300),
            ("2.5", 250),
            ("1e-38", 0),
        ] {
            assert_eq!(decimal(text).hundredths(), Some(cents), "{text}");
        }
        assert_eq!(decimal("92233720368547758.07").hundredths(), Some(i64::MAX));
        assert_eq!(decimal("92233720368547758.08").hundredths(), None);
    }

    #[test]
    fn products_are_exact() {
        assert_eq!(decimal("0.1").times(decimal("3")).unwrap().to_string(), "0.3");
        assert_eq!(decimal("-19.90").times(decimal("2.5")).unwrap().to_string(), "-49.750");
        assert_eq!(decimal("1e20").times(decimal("1e20")), None);
    }

    #[test]
    fn order_is_by_value() {
        assert!(decimal("10.00") <= decimal("10") && decimal("10") <= decimal("10.00"));
        assert!(decimal("-1") < decimal("0.5"));
        assert!(decimal("1e38") > decimal("0.00000000000000000001"));
        assert!(decimal("-1e38") < decimal("0.00000000000000000001"));
        assert!(decimal("0.00000000000000000001") < decimal("1e38"));
    }
}
