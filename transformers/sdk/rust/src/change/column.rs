//! Values of columns: as they came, and as they are set.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use super::Form;
use super::nested::Nested;
use crate::config::Error;
use crate::frame::{Reader, Scalar, Token};
use crate::json::{self, Kind, Raw};

/// A column's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// An integer of 64 bits.
    Integer(i64),
    /// An integer beyond `i64::MAX`, up to `u64::MAX`.
    Unsigned(u64),
    /// Any other number of a JSON text, with the digits it was written with.
    Number(&'a str),
    /// A floating-point number of a decoded event.
    Float(f64),
    /// A text. Decimals and integers beyond 64 bits are texts under `encoding: event`.
    Text(Cow<'a, str>),
    /// Bytes of a decoded event; in JSON they are text, in base64.
    Bytes(&'a [u8]),
    /// A large value that the change did not touch, so that the source did not send it.
    Unavailable,
    /// A list or a map.
    Nested(Nested<'a>),
}

/// Decodes a checked value.
pub(super) fn read<'a, T: Deserialize<'a>>(form: Form, bytes: &'a [u8]) -> Result<T, Error> {
    match form {
        Form::Json => T::deserialize(Raw::parse(json::text(bytes)?)?),
        Form::Packed => T::deserialize(&mut Reader::new(bytes)),
    }
}

impl<'a> Value<'a> {
    /// The value that these bytes of a decoded event are: all of [`Event::value`](crate::Event::value), to walk it as it came. `None`
    /// when they are no msgpack of the host's.
    pub fn of_decoded(bytes: &'a [u8]) -> Option<Self> {
        Self::of_packed(bytes)
    }

    /// The value that these bytes are; they were checked before.
    pub(super) fn of(form: Form, bytes: &'a [u8]) -> Self {
        let value = match form {
            Form::Json => json::text(bytes).ok().and_then(|text| Raw::parse(text).ok()).and_then(Self::of_json),
            Form::Packed => Self::of_packed(bytes),
        };
        value.expect("the row was checked when it was taken apart")
    }

    /// `None` for half of a surrogate pair, which is no text.
    pub(super) fn of_json(raw: Raw<'a>) -> Option<Self> {
        Some(match raw.kind() {
            Kind::Null => Value::Null,
            Kind::Boolean => Value::Boolean(raw.text() == "true"),
            Kind::Number => Self::of_number(raw.text()),
            Kind::String if raw.is_unavailable() => Value::Unavailable,
            Kind::String => Value::Text(raw.string().ok()??),
            Kind::Array | Kind::Object => Value::Nested(Nested { form: Form::Json, bytes: raw.text().as_bytes() }),
        })
    }

    fn of_number(text: &'a str) -> Self {
        match (text.parse(), text.parse()) {
            _ if text == "-0" => Value::Number(text),
            (Ok(integer), _) => Value::Integer(integer),
            (_, Ok(unsigned)) => Value::Unsigned(unsigned),
            _ => Value::Number(text),
        }
    }

    pub(super) fn of_packed(bytes: &'a [u8]) -> Option<Self> {
        Some(match Reader::new(bytes).token().ok()? {
            Token::Array(_) | Token::Map(_) => Value::Nested(Nested { form: Form::Packed, bytes }),
            Token::Scalar(scalar) => match scalar {
                Scalar::Nil => Value::Null,
                Scalar::Boolean(value) => Value::Boolean(value),
                Scalar::Signed(value) => Value::Integer(value),
                Scalar::Unsigned(value) => i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer),
                Scalar::Float(value) => Value::Float(value),
                Scalar::Text(value) => Value::Text(Cow::Borrowed(value)),
                Scalar::Bytes(value) => Value::Bytes(value),
                Scalar::Extension(_) => Value::Unavailable,
            },
        })
    }
}

/// The value for a message: cut when it is long.
impl fmt::Display for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Value::Null => formatter.write_str("null"),
            Value::Boolean(value) => write!(formatter, "{value}"),
            Value::Integer(value) => write!(formatter, "{value}"),
            Value::Unsigned(value) => write!(formatter, "{value}"),
            Value::Number(text) => formatter.write_str(cut(text)),
            // Printing the digits would bring 20 KB of code.
            Value::Float(_) => formatter.write_str("a floating-point number"),
            Value::Text(text) => write!(formatter, "{:?}", cut(text)),
            Value::Bytes(bytes) => write!(formatter, "{} bytes", bytes.len()),
            Value::Unavailable => formatter.write_str("not sent by the source (unchanged and large)"),
            Value::Nested(_) => formatter.write_str("a list or a map"),
        }
    }
}

fn cut(text: &str) -> &str {
    const CHARS_MAX: usize = 80;
    text.char_indices().nth(CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

/// A number by its digits, such as `"19.90"`: a decimal that is written exactly so.
///
/// Under `encoding: event` it is a text, as decimals are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number<'v>(&'v str);

impl<'v> Number<'v> {
    /// The number that these digits are, as JSON writes numbers; `None` when they are none.
    pub fn of(digits: &'v str) -> Option<Self> {
        let raw = Raw::parse(digits).ok()?;
        (raw.kind() == Kind::Number && raw.text().len() == digits.len()).then_some(Number(digits))
    }
}

/// What a column can be set to: texts, numbers, booleans, bytes, `()` for null, and `Option`s of them.
pub trait NewValue {
    /// Appends it as JSON text.
    fn write_json(&self, out: &mut Vec<u8>);
    /// Appends it as msgpack.
    fn write_packed(&self, out: &mut Vec<u8>);
}

impl<T: NewValue + ?Sized> NewValue for &T {
    fn write_json(&self, out: &mut Vec<u8>) {
        (**self).write_json(out);
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        (**self).write_packed(out);
    }
}

impl<T: NewValue> NewValue for Option<T> {
    fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write_json(out),
            None => ().write_json(out),
        }
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        match self {
            Some(value) => value.write_packed(out),
            None => ().write_packed(out),
        }
    }
}

impl NewValue for () {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"null");
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        out.push(0xc0);
    }
}

impl NewValue for bool {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if *self { b"true" } else { b"false" });
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        out.push(0xc2 + u8::from(*self));
    }
}

impl NewValue for i64 {
    fn write_json(&self, out: &mut Vec<u8>) {
        json::write_integer(out, *self);
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        out.push(0xd3);
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl NewValue for u64 {
    fn write_json(&self, out: &mut Vec<u8>) {
        match i64::try_from(*self) {
            Ok(number) => json::write_integer(out, number),
            Err(_) => out.extend_from_slice(self.to_string().as_bytes()),
        }
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        out.push(0xcf);
        out.extend_from_slice(&self.to_be_bytes());
    }
}

macro_rules! small_integers {
    ($($integer:ty),*) => {
        $(impl NewValue for $integer {
            fn write_json(&self, out: &mut Vec<u8>) {
                i64::from(*self).write_json(out);
            }

            fn write_packed(&self, out: &mut Vec<u8>) {
                i64::from(*self).write_packed(out);
            }
        })*
    };
}
small_integers!(i8, i16, i32, u8, u16, u32);

/// JSON has no NaN and no infinities: they are written as Debezium writes them, as texts.
impl NewValue for f64 {
    fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            number if number.is_nan() => out.extend_from_slice(b"\"NaN\""),
            number if number.is_infinite() => {
                out.extend_from_slice(if *number > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" })
            }
            number => out.extend_from_slice(format!("{number:?}").as_bytes()),
        }
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        out.push(0xcb);
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl NewValue for str {
    fn write_json(&self, out: &mut Vec<u8>) {
        json::write_text(out, self);
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        write_text(out, self);
    }
}

impl NewValue for String {
    fn write_json(&self, out: &mut Vec<u8>) {
        self.as_str().write_json(out);
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        self.as_str().write_packed(out);
    }
}

impl NewValue for Cow<'_, str> {
    fn write_json(&self, out: &mut Vec<u8>) {
        (**self).write_json(out);
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        (**self).write_packed(out);
    }
}

impl NewValue for Number<'_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }

    fn write_packed(&self, out: &mut Vec<u8>) {
        write_text(out, self.0);
    }
}

/// Appends a msgpack text.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..32 => out.push(0xa0 | length as u8),
        length => {
            out.push(0xdb);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}
