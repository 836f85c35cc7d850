//! What expressions compute with.

use std::borrow::Cow;
use std::rc::Rc;

use builtin_kit::number::{self, Number};
use penstock_guest::{Headers, Nested, Value as Sent};

/// A value of an expression.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Boolean(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    /// What `decimal()` made: the digits.
    Decimal(Cow<'a, str>),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// A list or a map of the event.
    Nested(Nested<'a>),
    /// A list of the expression.
    List(Rc<[Value<'a>]>),
    Headers(Headers<'a>),
    /// A column that the source did not send.
    Unavailable,
}

impl<'a> From<Sent<'a>> for Value<'a> {
    fn from(sent: Sent<'a>) -> Self {
        match sent {
            Sent::Null => Value::Null,
            Sent::Boolean(value) => Value::Boolean(value),
            Sent::Integer(value) => Value::Int(value),
            Sent::Unsigned(value) => Value::Uint(value),
            Sent::Number(digits) => Value::Decimal(Cow::Borrowed(digits)),
            Sent::Float(value) => Value::Double(value),
            Sent::Text(text) => Value::Text(text),
            Sent::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
            Sent::Unavailable => Value::Unavailable,
            Sent::Nested(nested) => Value::Nested(nested),
        }
    }
}

/// A header or a key: text where it is UTF-8.
pub(super) fn of_bytes(bytes: Option<&[u8]>) -> Value<'_> {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => Value::Null,
        Some((_, Ok(text))) => Value::Text(Cow::Borrowed(text)),
        Some((bytes, Err(_))) => Value::Bytes(Cow::Borrowed(bytes)),
    }
}

impl<'a> Value<'a> {
    /// Its type's name, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Boolean(_) => "a bool",
            Value::Int(_) => "an int",
            Value::Uint(_) => "a uint",
            Value::Double(_) => "a double",
            Value::Decimal(_) => "a decimal",
            Value::Text(_) => "a string",
            Value::Bytes(_) => "bytes",
            Value::Nested(nested) if nested.is_map() => "a map",
            Value::Headers(_) => "a map",
            Value::Nested(_) | Value::List(_) => "a list",
            Value::Unavailable => "a value that the source did not send",
        }
    }

    /// The number it is; a text is none.
    pub fn number(&self) -> Option<Number<'_>> {
        match self {
            Value::Int(value) => Some(Number::Int(*value)),
            Value::Uint(value) => Some(Number::Uint(*value)),
            Value::Double(value) => Some(Number::Double(*value)),
            Value::Decimal(digits) => Some(Number::Digits(digits)),
            _ => None,
        }
    }

    /// The number it is, or that its digits say.
    pub fn numeral(&self) -> Option<Number<'_>> {
        match self {
            Value::Text(text) if number::is_numeral(text) => Some(Number::Digits(text)),
            _ => self.number(),
        }
    }

    /// The elements of a list; `None` of anything else.
    pub fn elements(&self) -> Option<Vec<Value<'a>>> {
        match self {
            Value::Nested(nested) if !nested.is_map() => Some(nested.elements().map(Value::from).collect()),
            Value::List(items) => Some(items.to_vec()),
            _ => None,
        }
    }

    /// The names of a map; `None` of anything else.
    pub fn names(&self) -> Option<Vec<Value<'a>>> {
        match self {
            Value::Nested(nested) if nested.is_map() => {
                Some(nested.entries().map(|(name, _)| Value::Text(name)).collect())
            }
            Value::Headers(headers) => {
                let mut names: Vec<&str> = headers.map(|(name, _)| name).collect();
                names.sort_unstable();
                names.dedup();
                Some(names.into_iter().map(|name| Value::Text(Cow::Borrowed(name))).collect())
            }
            _ => None,
        }
    }

    /// A member of a map: `Err` when it is none.
    pub fn member(&self, name: &str) -> Result<Option<Value<'a>>, ()> {
        match self {
            Value::Nested(nested) if nested.is_map() => Ok(nested.get(name).map(Value::from)),
            Value::Headers(headers) => Ok(headers.value_of(name).map(of_bytes)),
            _ => Err(()),
        }
    }
}
