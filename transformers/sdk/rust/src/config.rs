//! Decodes the registry entry's `config` from msgpack with serde.
//!
//! Small on purpose (a general msgpack crate is a quarter of a guest's code), and its errors name the place:
//! `fields[1].action: unknown variant `hsh`, expected one of …`.

use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Expected, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use crate::frame::{BadFrame, Reader, Scalar, Token};

/// What is wrong with a configuration, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    path: String,
    problem: String,
}

impl Error {
    pub(crate) fn new(problem: String) -> Self {
        Error { path: String::new(), problem }
    }

    /// The same error, seen from one level further out.
    pub(crate) fn inside(mut self, step: &str) -> Self {
        let separator = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = [step, separator, &self.path].concat();
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(formatter, "{}{separator}{}", self.path, self.problem)
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Error::new(problem.to_string())
    }

    fn invalid_type(found: Unexpected, expected: &dyn Expected) -> Self {
        Error::new(format!("{} found where {expected} was expected", described(found)))
    }

    fn invalid_value(found: Unexpected, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }
}

/// Floats without their digits: printing one would bring 20 KB of code.
fn described(found: Unexpected) -> String {
    match found {
        Unexpected::Float(_) => "a floating-point number".into(),
        Unexpected::Unit => "null".into(),
        Unexpected::Bool(found) => found.to_string(),
        Unexpected::Unsigned(found) => found.to_string(),
        Unexpected::Signed(found) => found.to_string(),
        Unexpected::Str(found) => format!("{found:?}"),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        _ => "another value".into(),
    }
}

impl From<BadFrame> for Error {
    fn from(_: BadFrame) -> Self {
        Error::new("not msgpack as the host writes it".into())
    }
}

/// Decodes all of `config`.
pub(crate) fn decode<C: DeserializeOwned>(config: &[u8]) -> Result<C, Error> {
    let mut reader = Reader::new(config);
    let decoded = C::deserialize(&mut reader)?;
    if reader.is_at_end() { Ok(decoded) } else { Err(BadFrame.into()) }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Array(count) => complete(Items { reader: self, count, index: 0 }, visitor),
            Token::Map(count) => visitor.visit_map(Entries { reader: self, count, key: "" }),
            Token::Scalar(Scalar::Nil) => visitor.visit_unit(),
            Token::Scalar(Scalar::Boolean(value)) => visitor.visit_bool(value),
            Token::Scalar(Scalar::Unsigned(value)) => visitor.visit_u64(value),
            Token::Scalar(Scalar::Signed(value)) => visitor.visit_i64(value),
            Token::Scalar(Scalar::Float(value)) => visitor.visit_f64(value),
            Token::Scalar(Scalar::Text(value)) => visitor.visit_borrowed_str(value),
            Token::Scalar(Scalar::Bytes(value)) => visitor.visit_borrowed_bytes(value),
            Token::Scalar(Scalar::Extension(_)) => visitor.visit_unit(),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let mut ahead = *self;
        if let Token::Scalar(Scalar::Nil | Scalar::Extension(_)) = ahead.token()? {
            *self = ahead;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A unit variant is its name; one with data is a map from its name to the data.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.token()? {
            Token::Scalar(Scalar::Text(name)) => visitor.visit_enum(BorrowedStrDeserializer::new(name)),
            Token::Map(1) => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries { reader: self, count: 1, key: "" }))
            }
            _ => Err(Error::new("a name was expected".into())),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Visits the items and makes sure that all of them were taken.
fn complete<'de, V: Visitor<'de>>(mut items: Items<'_, 'de>, visitor: V) -> Result<V::Value, Error> {
    let value = visitor.visit_seq(&mut items)?;
    match items.count {
        0 => Ok(value),
        _ => Err(Error::new("the list is too long".into())),
    }
}

struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    count: u32,
    index: usize,
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(left) = self.count.checked_sub(1) else { return Ok(None) };
        self.count = left;
        let item = seed.deserialize(&mut *self.reader).map_err(|error| error.inside(&format!("[{}]", self.index)))?;
        self.index += 1;
        Ok(Some(item))
    }
}

struct Entries<'r, 'de> {
    reader: &'r mut Reader<'de>,
    count: u32,
    key: &'de str,
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(left) = self.count.checked_sub(1) else { return Ok(None) };
        self.count = left;
        let Token::Scalar(Scalar::Text(key)) = self.reader.token()? else {
            return Err(Error::new("a key is no text".into()));
        };
        self.key = key;
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(&mut *self.reader).map_err(|error| error.inside(self.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Config {
        list: Vec<Entry>,
        #[serde(default)]
        maybe: Option<i8>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Entry {
        Plain,
        WithData(u8),
    }

    fn error(config: &[u8]) -> String {
        decode::<Config>(config).unwrap_err().to_string()
    }

    #[test]
    fn decodes_lists_options_and_variants() {
        let config = [&b"\x82\xa4list\x92\xa5plain\x81\xa9with-data\x07"[..], b"\xa5maybe\xff"].concat();
        let expected = Config { list: vec![Entry::Plain, Entry::WithData(7)], maybe: Some(-1) };
        assert_eq!(decode::<Config>(&config).unwrap(), expected);
        assert_eq!(decode::<Config>(b"\x82\xa4list\x90\xa5maybe\xc0").unwrap(), Config { list: vec![], maybe: None });
    }

    #[test]
    fn errors_name_the_place() {
        assert_eq!(error(b"\x80"), "missing field `list`");
        assert!(error(b"\x81\xa3lst\x90").starts_with("unknown field `lst`"));
        assert!(error(b"\x81\xa4list\x92\xa5plain\xa3hsh").starts_with("list[1]: unknown variant `hsh`"));
        assert_eq!(error(b"\x82\xa4list\x90\xa5maybe\xa1x"), "maybe: \"x\" found where i8 was expected");
        assert!(error(b"\x82\xa4list\x90\xa5maybe\xcd\x01\x00").starts_with("maybe: 256 found"));
        assert!(error(b"\x81\xa4list\xcb\0\0\0\0\0\0\0\0").starts_with("list: a floating-point number found"));
        assert!(error(b"\x81\xa4list\x90\xc0").contains("msgpack"));
        assert!(error(b"\x81\xa4list").contains("msgpack"));
    }
}
