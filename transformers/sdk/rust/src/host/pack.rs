//! Requests as msgpack, and what answers are read into.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::config;
use crate::outcome::{write_bytes, write_count, write_text};

/// A key or a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'v> {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Text(&'v str),
    /// Bytes.
    Bytes(&'v [u8]),
}

impl From<i64> for Scalar<'_> {
    fn from(value: i64) -> Self {
        Scalar::Integer(value)
    }
}

impl<'v> From<&'v str> for Scalar<'v> {
    fn from(value: &'v str) -> Self {
        Scalar::Text(value)
    }
}

/// A request on its way.
pub(super) struct Request(pub Vec<u8>);

impl Request {
    pub fn array(count: usize) -> Self {
        let mut request = Request(Vec::with_capacity(128));
        write_count(&mut request.0, count);
        request
    }

    pub fn map(count: u8) -> Self {
        Request(vec![0x80 | count])
    }

    /// An array of two, within the request.
    pub fn pair(mut self) -> Self {
        write_count(&mut self.0, 2);
        self
    }

    pub fn text(mut self, text: &str) -> Self {
        write_text(&mut self.0, text);
        self
    }

    pub fn bytes(mut self, bytes: Option<&[u8]>) -> Self {
        write_bytes(&mut self.0, bytes);
        self
    }

    pub fn scalar(mut self, scalar: Scalar) -> Self {
        match scalar {
            Scalar::Null => self.0.push(0xc0),
            Scalar::Boolean(value) => self.0.push(0xc2 + u8::from(value)),
            Scalar::Integer(value) => {
                self.0.push(0xd3);
                self.0.extend_from_slice(&value.to_be_bytes());
            }
            Scalar::Float(value) => {
                self.0.push(0xcb);
                self.0.extend_from_slice(&value.to_be_bytes());
            }
            Scalar::Text(text) => write_text(&mut self.0, text),
            Scalar::Bytes(bytes) => write_bytes(&mut self.0, Some(bytes)),
        }
        self
    }

    pub fn scalars(mut self, scalars: &[Scalar]) -> Self {
        write_count(&mut self.0, scalars.len());
        scalars.iter().fold(self, |request, scalar| request.scalar(*scalar))
    }
}

/// One text.
pub(super) fn text(text: &str) -> Vec<u8> {
    let mut request = Vec::with_capacity(text.len() + 5);
    write_text(&mut request, text);
    request
}

/// An answer, decoded.
pub(super) fn answer<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Error> {
    config::decode(answer).map_err(|_| Error::BadAnswer)
}

/// An answer that says nothing.
pub(super) fn nothing(answer_bytes: &[u8]) -> Result<(), Error> {
    answer(answer_bytes)
}

/// Bytes of an answer; serde would read a list of numbers into a `Vec<u8>`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bytes(pub Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BytesVisitor)
    }
}

struct BytesVisitor;

impl serde::de::Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_msgpack() {
        let request = Request::array(2).text("t").scalars(&[1.into(), "k".into(), Scalar::Null, Scalar::Boolean(true)]);
        let (table, keys): (String, Vec<Option<Key>>) = config::decode(&request.0).unwrap();
        assert_eq!((&*table, keys.len()), ("t", 4));
        assert_eq!(keys[..2], [Some(Key::Integer(1)), Some(Key::Text("k".into()))]);
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged)]
    enum Key {
        Integer(i64),
        Text(String),
        Boolean(bool),
    }

    #[test]
    fn answers_are_checked() {
        assert_eq!(answer::<Option<Bytes>>(&[0xc4, 1, 9]), Ok(Some(Bytes(vec![9]))));
        assert_eq!(answer::<Option<Bytes>>(&[0xc0]), Ok(None));
        assert_eq!(nothing(&[0xc0]), Ok(()));
        assert_eq!(nothing(&[7]), Err(Error::BadAnswer));
        assert_eq!(answer::<Option<Bytes>>(&[0xc0, 0xc0]), Err(Error::BadAnswer));
    }
}
