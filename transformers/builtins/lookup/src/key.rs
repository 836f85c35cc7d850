//! What is looked up.

use std::borrow::Cow;
use std::fmt;

use builtin_kit::{Row, Value, text_of};
use penstock_guest::Rejection;
use penstock_guest::host::Scalar;

use crate::Config;

/// A key as databases take it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key<'a> {
    Integer(i64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

impl Key<'_> {
    pub fn scalar(&self) -> Scalar<'_> {
        match self {
            Key::Integer(number) => Scalar::Integer(*number),
            Key::Text(text) => Scalar::Text(text),
            Key::Bytes(bytes) => Scalar::Bytes(bytes),
        }
    }
}

/// For messages: cut when it is long.
impl fmt::Display for Key<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Key::Integer(number) => write!(formatter, "{number}"),
            Key::Text(text) => write!(formatter, "{:?}", text.chars().take(80).collect::<String>()),
            Key::Bytes(bytes) => write!(formatter, "of {} bytes", bytes.len()),
        }
    }
}

/// The key that a row names; `None` when a part of it is null.
pub(crate) fn key_of<'a>(row: &Row<'a>, config: &Config) -> Result<Option<Key<'a>>, Rejection> {
    if let [name] = &config.key[..] {
        return match value_of(row, name)? {
            Value::Null => Ok(None),
            value => single(name, value).map(Some),
        };
    }
    let mut parts = Vec::with_capacity(config.key.len());
    for name in &config.key {
        match text_of(&value_of(row, name)?) {
            // else the keys ("a:b", "c") and ("a", "b:c") would be one
            Some(text) if !config.separator.is_empty() && text.contains(&config.separator) => {
                return Err(bad(format!("column {name:?} has the separator in it")));
            }
            Some(text) => parts.push(text.into_owned()),
            None => return Ok(None),
        }
    }
    Ok(Some(Key::Text(parts.join(&config.separator).into())))
}

fn value_of<'a>(row: &Row<'a>, name: &str) -> Result<Value<'a>, Rejection> {
    match row.get(name).map(|value| value.clone().opened()) {
        None => Err(bad(format!("the row has no column {name:?}"))),
        Some(Value::Unavailable) => Err(bad(format!("column {name:?} was not sent by the source"))),
        Some(value) => Ok(value),
    }
}

fn single<'a>(name: &str, value: Value<'a>) -> Result<Key<'a>, Rejection> {
    match value {
        Value::Integer(number) => Ok(Key::Integer(number)),
        Value::Unsigned(number) => Ok(Key::Text(number.to_string().into())),
        Value::Text(text) => Ok(Key::Text(text)),
        Value::Bytes(bytes) => Ok(Key::Bytes(bytes)),
        _ => Err(bad(format!("column {name:?} is no key: integers, texts and bytes are"))),
    }
}

fn bad(problem: String) -> Rejection {
    Rejection::new("lookup-key", problem)
}
