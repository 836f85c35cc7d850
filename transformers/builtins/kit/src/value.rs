//! Values as trees whose untouched parts are still bytes.

use std::borrow::Cow;

use penstock_guest::msgpack::{BadFrame, Reader, Scalar, Token};

/// A value of a change event.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean(bool),
    /// An integer of 64 bits.
    Integer(i64),
    /// An integer beyond `i64::MAX`.
    Unsigned(u64),
    /// A floating-point number.
    Float(f64),
    /// A number of a JSON text that a float would not keep, by its digits. In a change event it is a float all the same, or a text where
    /// it is an integer beyond 64 bits, as the host decodes them.
    Digits(Cow<'a, str>),
    /// A text; decimals are texts too.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// A large value that the change did not touch, so that the source did not send it.
    Unavailable,
    /// A list.
    List(Vec<Value<'a>>),
    /// A map, in its order.
    Map(Vec<(Cow<'a, str>, Value<'a>)>),
    /// A value nobody has looked at: its msgpack.
    Span(&'a [u8]),
}

impl<'a> Value<'a> {
    /// One level of what these bytes are: what is inside of a list or a map stays a [`Span`](Value::Span).
    pub fn of(bytes: &'a [u8]) -> Result<Self, BadFrame> {
        let mut reader = Reader::new(bytes);
        Ok(match reader.token()? {
            Token::Scalar(scalar) => Self::of_scalar(scalar),
            Token::Array(count) => {
                let mut items = Vec::with_capacity(count.min(1024) as usize);
                for _ in 0..count {
                    items.push(Value::Span(reader.span()?));
                }
                Value::List(items)
            }
            Token::Map(count) => Value::Map(entries(&mut reader, count)?),
        })
    }

    fn of_scalar(scalar: Scalar<'a>) -> Self {
        match scalar {
            Scalar::Nil => Value::Null,
            Scalar::Boolean(value) => Value::Boolean(value),
            Scalar::Signed(value) => Value::Integer(value),
            Scalar::Unsigned(value) => i64::try_from(value).map_or(Value::Unsigned(value), Value::Integer),
            Scalar::Float(value) => Value::Float(value),
            Scalar::Text(value) => Value::Text(Cow::Borrowed(value)),
            Scalar::Bytes(value) => Value::Bytes(Cow::Borrowed(value)),
            Scalar::Extension(_) => Value::Unavailable,
        }
    }

    /// The same value with one level of it looked at.
    pub fn opened(self) -> Self {
        match self {
            Value::Span(bytes) => Value::of(bytes).unwrap_or(Value::Null),
            value => value,
        }
    }

    /// Looks at one level of it, in place.
    pub fn open(&mut self) -> &mut Self {
        if let Value::Span(bytes) = self {
            *self = Value::of(bytes).unwrap_or(Value::Null);
        }
        self
    }

    /// Whether it is `null`, without opening it.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::Span([0xc0]))
    }

    /// Appends its msgpack.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.push(0xc0),
            Value::Boolean(value) => out.push(0xc2 + u8::from(*value)),
            Value::Integer(value) => write_integer(out, *value),
            Value::Unsigned(value) => {
                out.push(0xcf);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Value::Float(value) => {
                out.push(0xcb);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Value::Text(text) => write_text(out, text),
            Value::Digits(digits) => write_digits(out, digits),
            Value::Bytes(bytes) => {
                write_head(out, 0xc6, bytes.len());
                out.extend_from_slice(bytes);
            }
            Value::Unavailable => out.extend([0xc7, 0, 1]),
            Value::List(items) => {
                write_head(out, 0xdd, items.len());
                items.iter().for_each(|item| item.write(out));
            }
            Value::Map(entries) => write_map(out, entries),
            Value::Span(bytes) => out.extend_from_slice(bytes),
        }
    }
}

fn entries<'a>(reader: &mut Reader<'a>, count: u32) -> Result<Vec<(Cow<'a, str>, Value<'a>)>, BadFrame> {
    let mut entries = Vec::with_capacity(count.min(1024) as usize);
    for _ in 0..count {
        let name = Cow::Borrowed(reader.text()?);
        entries.push((name, Value::Span(reader.span()?)));
    }
    Ok(entries)
}

/// Appends a map.
pub(crate) fn write_map(out: &mut Vec<u8>, entries: &[(Cow<str>, Value)]) {
    write_head(out, 0xdf, entries.len());
    for (name, value) in entries {
        write_text(out, name);
        value.write(out);
    }
}

/// Appends a text.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ 0..32 => out.push(0xa0 | length as u8),
        length => write_head(out, 0xdb, length),
    }
    out.extend_from_slice(text.as_bytes());
}

fn write_digits(out: &mut Vec<u8>, digits: &str) {
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() && (digits == "-0" || digits.contains(['.', 'e', 'E'])) => {
            Value::Float(number).write(out)
        }
        _ => write_text(out, digits),
    }
}

fn write_integer(out: &mut Vec<u8>, value: i64) {
    match i8::try_from(value) {
        Ok(small @ -32..=127) => out.push(small as u8),
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

fn write_head(out: &mut Vec<u8>, tag: u8, count: usize) {
    let count = u32::try_from(count).expect("a guest's memory is smaller than 4 GiB").to_be_bytes();
    out.extend([tag, count[0], count[1], count[2], count[3]]);
}
