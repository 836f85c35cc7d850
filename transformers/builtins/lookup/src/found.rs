//! What the database answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use builtin_kit::Value;
use penstock_guest::host::Error;
use penstock_guest::host::database::lookup_many;
use serde::de::{Deserialize, Deserializer, Visitor};

use crate::key::Key;

/// A row that was looked up.
pub(crate) type Looked = BTreeMap<String, Cell>;

/// A row, or that there is none, or why nobody knows.
pub(crate) type Answer = Result<Option<Looked>, Error>;

/// Asks for all keys at once. When that is too much, or one of them is refused (a text where the table has numbers), for each half
/// alone, so that one key fails by itself only.
pub(crate) fn ask(table: &str, answers: &mut BTreeMap<Key, Answer>) {
    let keys: Vec<&Key> = answers.keys().collect();
    if keys.is_empty() {
        return;
    }
    let mut found = Vec::with_capacity(keys.len());
    ask_for(table, &keys, &mut found);
    answers.values_mut().zip(found).for_each(|(place, answer)| *place = answer);
}

fn ask_for(table: &str, keys: &[&Key], found: &mut Vec<Answer>) {
    let scalars: Vec<_> = keys.iter().map(|key| key.scalar()).collect();
    match lookup_many::<Looked>(table, &scalars) {
        Ok(rows) if rows.len() == keys.len() => found.extend(rows.into_iter().map(Ok)),
        Ok(_) => found.extend(keys.iter().map(|_| Err(Error::BadAnswer))),
        Err(Error::TooLarge | Error::Invalid) if keys.len() > 1 => {
            let (one, other) = keys.split_at(keys.len() / 2);
            ask_for(table, one, found);
            ask_for(table, other, found);
        }
        Err(error) => found.extend(keys.iter().map(|_| Err(error))),
    }
}

/// A value of a database.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    /// The same as a column's value.
    pub fn of<'a>(&self) -> Value<'a> {
        match self {
            Cell::Null => Value::Null,
            Cell::Boolean(value) => Value::Boolean(*value),
            Cell::Integer(number) => Value::Integer(*number),
            Cell::Float(number) => Value::Float(*number),
            Cell::Text(text) => Value::Text(Cow::Owned(text.clone())),
            Cell::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.clone())),
        }
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl Visitor<'_> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a value of a database")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell::Boolean(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Cell, E> {
        Ok(Cell::Integer(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Cell, E> {
        i64::try_from(number).map(Cell::Integer).map_err(|_| E::custom("an integer beyond 64 bits"))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Cell, E> {
        Ok(Cell::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Text(text.to_owned()))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Cell, E> {
        Ok(Cell::Bytes(bytes.to_vec()))
    }
}
