//! Lists and maps inside of a column, or around it: walked where they lie.

use std::borrow::Cow;

use serde::Deserialize;

use super::Form;
use super::column::{self, Value};
use crate::frame::{BadFrame, Reader};
use crate::json::{self, Raw};

/// A list or a map inside of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nested<'a> {
    pub(super) form: Form,
    pub(super) bytes: &'a [u8],
}

/// Half of a surrogate pair, which JSON can write and which is no text, reads as this.
const NO_TEXT: &str = "\u{fffd}";

impl<'a> Nested<'a> {
    /// Decodes it with serde. The error says where it does not fit.
    pub fn read<T: Deserialize<'a>>(self) -> Result<T, String> {
        column::read(self.form, self.bytes).map_err(|error| error.to_string())
    }

    /// Its bytes as they came: JSON text, or msgpack under `encoding: event`.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it is a map; else it is a list.
    pub fn is_map(self) -> bool {
        match self.form {
            Form::Json => self.bytes.starts_with(b"{"),
            Form::Packed => Reader::new(self.bytes).map().is_ok(),
        }
    }

    /// How many elements or entries it has.
    pub fn len(self) -> usize {
        match self.form {
            Form::Json if self.is_map() => self.entries().count(),
            Form::Json => self.elements().count(),
            Form::Packed => {
                let mut reader = Reader::new(self.bytes);
                let count = if self.is_map() { reader.map() } else { reader.array() };
                count.map_or(0, |count| count as usize)
            }
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of this name in a map; of one that repeats, the last. `None` when there is none, or in a list.
    pub fn get(self, name: &str) -> Option<Value<'a>> {
        match self.form {
            Form::Json => self.entries().filter(|(found, _)| found == name).last().map(|(_, value)| value),
            Form::Packed => {
                let mut reader = Reader::new(self.bytes);
                let mut found = None;
                for _ in 0..reader.map().ok()? {
                    let is_it = reader.text().ok()? == name;
                    let value = reader.span().ok()?;
                    if is_it {
                        found = Some(value);
                    }
                }
                found.and_then(Value::of_packed)
            }
        }
    }

    /// The entries of a map, in order; none of a list.
    pub fn entries(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        let mut read = Vec::new();
        let mut packed = (Reader::new(&[]), 0);
        match self.form {
            Form::Json if self.is_map() => {
                let text = json::text(self.bytes).unwrap_or_default();
                let _ = json::members_at(text, |name, _, value| read.push((name, of_json(value))));
            }
            Form::Json => (),
            Form::Packed => packed = items(self.bytes, Reader::map),
        }
        let (mut reader, count) = packed;
        let lie = (0..count).map_while(move |_| {
            let name = reader.text().ok()?;
            Some((Cow::Borrowed(name), Value::of_packed(reader.span().ok()?)?))
        });
        read.into_iter().chain(lie)
    }

    /// The elements of a list, in order; none of a map.
    pub fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let mut read = Vec::new();
        let mut packed = (Reader::new(&[]), 0);
        match self.form {
            Form::Json if !self.is_map() => {
                let text = json::text(self.bytes).unwrap_or_default();
                let _ = json::elements(text, &mut |value| read.push(of_json(value)));
            }
            Form::Json => (),
            Form::Packed => packed = items(self.bytes, Reader::array),
        }
        let (mut reader, count) = packed;
        read.into_iter().chain((0..count).map_while(move |_| Value::of_packed(reader.span().ok()?)))
    }
}

fn of_json(value: Raw<'_>) -> Value<'_> {
    Value::of_json(value).unwrap_or(Value::Text(Cow::Borrowed(NO_TEXT)))
}

/// What follows the head, and how much of it; nothing when the head is another.
fn items<'a>(bytes: &'a [u8], head: fn(&mut Reader<'a>) -> Result<u32, BadFrame>) -> (Reader<'a>, u32) {
    let mut reader = Reader::new(bytes);
    let count = head(&mut reader).unwrap_or(0);
    (reader, count)
}
