//! Values as text, and as JSON.

use std::borrow::Cow;

use penstock_guest::NewValue;
use penstock_guest::json::{self, Kind, Raw};

use crate::value::Value;

/// What Debezium writes for a large value that did not change.
pub const UNAVAILABLE: &str = "__debezium_unavailable_value";
const DEPTH_MAX: u32 = 64;

/// A scalar as text: numbers and booleans as JSON writes them, bytes in hex; of a list or a map its JSON. `None` for null and for what
/// was not sent.
pub fn text_of<'v>(value: &'v Value) -> Option<Cow<'v, str>> {
    Some(match value {
        Value::Null | Value::Unavailable => return None,
        Value::Text(text) | Value::Digits(text) => Cow::Borrowed(text),
        Value::Boolean(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Value::Integer(number) => number.to_string().into(),
        Value::Unsigned(number) => number.to_string().into(),
        Value::Bytes(bytes) => hex(bytes).into(),
        Value::Float(_) => json_of(value).trim_matches('"').to_owned().into(),
        Value::List(_) | Value::Map(_) => json_of(value).into(),
        Value::Span(bytes) => return text_of(&Value::of(bytes).ok()?).map(|text| text.into_owned().into()),
    })
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// A value as JSON text.
pub fn json_of(value: &Value) -> String {
    let mut out = Vec::new();
    write_json(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends a value as JSON: bytes in base64, NaN and infinities as texts, what was not sent as Debezium's placeholder.
pub fn write_json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Boolean(value) => value.write_json(out),
        Value::Integer(number) => number.write_json(out),
        Value::Unsigned(number) => number.write_json(out),
        Value::Float(number) => number.write_json(out),
        Value::Text(text) => text.write_json(out),
        Value::Digits(digits) => out.extend_from_slice(digits.as_bytes()),
        Value::Bytes(bytes) => write_base64(out, bytes),
        Value::Unavailable => UNAVAILABLE.write_json(out),
        Value::List(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_json(item, out);
            }
            out.push(b']');
        }
        Value::Map(entries) => write_object(entries.iter().map(|(name, value)| (&**name, value)), out),
        Value::Span(bytes) => write_json(&Value::of(bytes).unwrap_or(Value::Null), out),
    }
}

/// Appends a JSON object.
pub fn write_object<'v, 'a: 'v>(entries: impl Iterator<Item = (&'v str, &'v Value<'a>)>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, (name, value)) in entries.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        name.write_json(out);
        out.push(b':');
        write_json(value, out);
    }
    out.push(b'}');
}

/// RFC 4648, with padding.
fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    for chunk in bytes.chunks(3) {
        let sum = chunk.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = DIGITS[(sum >> (18 - 6 * at)) as usize & 63];
            out.push(if at <= chunk.len() { digit } else { b'=' });
        }
    }
    out.push(b'"');
}

/// Whether a text begins as an object or a list in JSON does: the source writes columns of type JSON so.
pub fn looks_like_json(text: &str) -> bool {
    text.trim_ascii_start().starts_with(['{', '['])
}

/// The value that a JSON text says; `None` for one that is none, or is nested too deeply. Numbers keep their digits.
pub fn of_json(text: &str) -> Option<Value<'static>> {
    of_raw(Raw::parse(text).ok()?, DEPTH_MAX)
}

fn of_raw(raw: Raw, depth: u32) -> Option<Value<'static>> {
    let below = depth.checked_sub(1)?;
    Some(match raw.kind() {
        Kind::Null => Value::Null,
        Kind::Boolean => Value::Boolean(raw.text() == "true"),
        Kind::Number => of_number(raw.text()),
        Kind::String => Value::Text(raw.string().ok()??.into_owned().into()),
        Kind::Array => {
            let mut items = Some(Vec::new());
            json::elements(raw.text(), &mut |item| push(&mut items, of_raw(item, below))).ok()?;
            Value::List(items?)
        }
        Kind::Object => {
            let mut entries = Some(Vec::new());
            json::members(raw.text(), |name, value| {
                let value = of_raw(value, below).map(|value| (Cow::Owned(name.to_owned()), value));
                push(&mut entries, value);
            })
            .ok()?;
            Value::Map(entries?)
        }
    })
}

/// One item that is none makes the whole list none.
fn push<T>(list: &mut Option<Vec<T>>, item: Option<T>) {
    match (list.as_mut(), item) {
        (Some(items), Some(item)) => items.push(item),
        _ => *list = None,
    }
}

fn of_number(text: &str) -> Value<'static> {
    if text == "-0" {
        return Value::Digits("-0".into());
    }
    if let Ok(number) = text.parse() {
        return Value::Integer(number);
    }
    if let Ok(number) = text.parse() {
        return Value::Unsigned(number);
    }
    match text.parse::<f64>() {
        Ok(number) if json_of(&Value::Float(number)) == text => Value::Float(number),
        _ => Value::Digits(text.to_owned().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_there_and_back() {
        for text in [
            r#"{"a":[1,-2.5,"x\"y",null,true,{}],"b":{"c":[]}}"#,
            "18446744073709551615",
            "[1.10,1e2,-0,12345678901234567890123]",
            "[]",
            r#""""#,
        ] {
            assert_eq!(json_of(&of_json(text).unwrap()), text);
        }
        assert_eq!(of_json("{"), None);
        assert_eq!(of_json(&("[".repeat(99) + &"]".repeat(99))), None);
    }

    #[test]
    fn bytes_are_base64_and_hex() {
        for (bytes, expected) in
            [(&b""[..], "\"\""), (b"f", "\"Zg==\""), (b"fo", "\"Zm8=\""), (b"foo\xff", "\"Zm9v/w==\"")]
        {
            assert_eq!(json_of(&Value::Bytes(bytes.into())), expected);
        }
        assert_eq!(hex(b"\x00\xfe"), "00fe");
    }
}
