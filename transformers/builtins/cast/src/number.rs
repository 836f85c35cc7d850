//! Numbers, decimals and booleans.

use builtin_kit::{Value, text_of};

const DIGITS_MAX: usize = 1_000;

/// An integer of 64 bits; `None` when a fraction or digits would be lost.
pub(crate) fn integer(value: &Value) -> Option<Value<'static>> {
    match value {
        Value::Boolean(value) => Some(Value::Integer(i64::from(*value))),
        Value::Integer(number) => Some(Value::Integer(*number)),
        Value::Unsigned(number) => Some(Value::Unsigned(*number)),
        Value::Float(number) => of_float(*number),
        Value::Text(text) | Value::Digits(text) => {
            let plain = Decimal::parse(text)?.scaled(Some(0))?;
            plain.parse().map(Value::Integer).ok().or_else(|| plain.parse().map(Value::Unsigned).ok())
        }
        _ => None,
    }
}

/// Beyond 2^53 a float stands for a range of integers.
fn of_float(number: f64) -> Option<Value<'static>> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX).then_some(Value::Integer(number as i64))
}

/// A float64, the nearest there is.
pub(crate) fn float(value: &Value) -> Option<Value<'static>> {
    let number = match value {
        Value::Float(number) => *number,
        Value::Integer(number) => *number as f64,
        Value::Unsigned(number) => *number as f64,
        Value::Text(text) | Value::Digits(text) => Decimal::parse(text).and_then(|_| text.trim().parse().ok())?,
        _ => return None,
    };
    Some(Value::Float(number))
}

/// A text of digits; with a `scale`, so many of them behind the point. `None` when digits other than 0 would be lost.
pub(crate) fn decimal(value: &Value, scale: Option<usize>) -> Option<Value<'static>> {
    if matches!(value, Value::Boolean(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)) {
        return None;
    }
    Decimal::parse(&text_of(value)?)?.scaled(scale).map(|text| Value::Text(text.into()))
}

/// By its usual words, or 0 and 1.
pub(crate) fn boolean(value: &Value) -> Option<Value<'static>> {
    let found = match value {
        Value::Boolean(value) => *value,
        Value::Integer(0) => false,
        Value::Integer(1) => true,
        Value::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "y" | "on" | "1" => true,
            "false" | "f" | "no" | "n" | "off" | "0" => false,
            _ => return None,
        },
        _ => return None,
    };
    Some(Value::Boolean(found))
}

/// A number by its digits: `-12.50`, `1e3`.
struct Decimal {
    is_negative: bool,
    digits: String,
    /// How many of them stand behind the point; a negative one stands for zeros before it.
    scale: i64,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (is_negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat();
        if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Decimal { is_negative, digits, scale: fraction.len() as i64 - i64::from(exponent) })
    }

    /// As text with so many digits behind the point, or as many as there are.
    fn scaled(mut self, scale: Option<usize>) -> Option<String> {
        let wanted = scale.map_or(self.scale.max(0), |scale| scale as i64);
        if wanted > DIGITS_MAX as i64 {
            return None;
        }
        while self.scale > wanted && !self.digits.is_empty() {
            if !self.digits.ends_with('0') {
                return None;
            }
            self.digits.pop();
            self.scale -= 1;
        }
        self.scale = self.scale.min(wanted); // nothing but zeros is left of it
        let missing = usize::try_from(wanted - self.scale).ok().filter(|missing| *missing <= DIGITS_MAX)?;
        self.digits.extend(std::iter::repeat_n('0', missing));
        Some(self.text(wanted as usize))
    }

    fn text(&self, scale: usize) -> String {
        let padded = format!("{:0>1$}", self.digits, scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        let whole = match whole.trim_start_matches('0') {
            "" => "0",
            digits => digits,
        };
        let is_zero = self.digits.bytes().all(|digit| digit == b'0');
        let sign = if self.is_negative && !is_zero { "-" } else { "" };
        let point = if scale == 0 { "" } else { "." };
        [sign, whole, point, fraction].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_every_digit_or_are_refused() {
        for (text, scale, expected) in [
            ("12.5", Some(2), Some("12.50")),
            ("12.50", None, Some("12.50")),
            ("12.500", Some(1), Some("12.5")),
            ("12.55", Some(1), None),
            ("-0.00", Some(0), Some("0")),
            ("1e3", Some(0), Some("1000")),
            ("1.5e-3", None, Some("0.0015")),
            ("+007", None, Some("7")),
            (".5", Some(1), Some("0.5")),
            ("1e999999", None, None),
            ("0e-2147483647", Some(2), Some("0.00")),
            ("0e-2147483647", None, None),
            ("1e-70000", None, None),
            ("1e-2147483648", Some(0), None),
            ("10e-1", Some(0), Some("1")),
            ("", None, None),
            (".", None, None),
            ("1.2.3", None, None),
            ("NaN", None, None),
        ] {
            assert_eq!(Decimal::parse(text).and_then(|one| one.scaled(scale)).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn integers_lose_nothing() {
        let text = |text: &'static str| Value::Text(text.into());
        assert_eq!(integer(&text("12.00")), Some(Value::Integer(12)));
        assert_eq!(integer(&text("12.01")), None);
        assert_eq!(integer(&text("18446744073709551615")), Some(Value::Unsigned(u64::MAX)));
        assert_eq!(integer(&text("18446744073709551616")), None);
        assert_eq!(integer(&Value::Digits("1.00".into())), Some(Value::Integer(1)));
        assert_eq!(float(&Value::Digits("1.10".into())), Some(Value::Float(1.1)));
        assert_eq!(integer(&Value::Float(3.0)), Some(Value::Integer(3)));
        assert_eq!(integer(&Value::Float(3.5)), None);
        assert_eq!(integer(&Value::Float(1e300)), None);
    }
}
