//! One row of a change event: its columns where they lie, and what becomes of them.

use std::borrow::Cow;

use serde::Deserialize;

use super::Form;
use super::column::{self, NewValue, Value};
use crate::frame::{BadFrame, Reader};
use crate::json::{self, Raw};
use crate::outcome::Rejection;

/// Room for new values that is asked for at once.
const NEW_BYTES: usize = 96;
/// Columns that a transformer is expected to add, so that adding them moves nothing.
const ADDED: usize = 4;

/// A row. Reading shows it as it came; changes are made when the event is emitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Bytes of the event's value before it.
    pub(super) start: usize,
    pub(super) bytes: &'a [u8],
    form: Form,
    /// `before` or `after`.
    side: &'static str,
    columns: Vec<Column<'a>>,
    /// New values, one behind the other.
    new: Vec<u8>,
    is_changed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Column<'a> {
    name: Cow<'a, str>,
    /// Where name and value lie in the row; `None` for a column that was added.
    place: Option<Place>,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    start: usize,
    value: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Kept,
    Removed,
    /// `new[from..to]`
    Set(usize, usize),
}

impl<'a> Row<'a> {
    /// Takes a row apart, as far as its columns.
    pub(super) fn of(form: Form, side: &'static str, bytes: &'a [u8], start: usize) -> Result<Self, Rejection> {
        let columns = match form {
            Form::Json => json_columns(bytes)?,
            Form::Packed => packed_columns(bytes)
                .map_err(|_| Rejection::new("bad-event", format!("`{side}` is no map of columns")))?,
        };
        Ok(Row { start, bytes, form, side, columns, new: Vec::new(), is_changed: false })
    }

    /// The column's value as it came; `None` when there is no such column. Of one that repeats, the last.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let place = self.columns.iter().rev().find(|column| column.name == name)?.place?;
        Some(Value::of(self.form, &self.bytes[place.value..place.end]))
    }

    /// The names of the columns that it came with, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| column.place.is_some()).map(|column| &*column.name)
    }

    /// A text; `None` when the column is missing, null or was not sent. Rejects the event as `bad-column` when it is anything else.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(other) => Err(self.bad(name, &other, "a text")),
        }
    }

    /// An integer; like [`text`](Self::text) otherwise.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, Rejection> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::Integer(number)) => Ok(Some(number)),
            Some(other) => Err(self.bad(name, &other, "an integer of 64 bits")),
        }
    }

    /// A boolean; like [`text`](Self::text) otherwise.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, Rejection> {
        match self.present(name) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(other) => Err(self.bad(name, &other, "true or false")),
        }
    }

    /// The digits of a number or of a decimal written as text, exactly; like [`text`](Self::text) otherwise.
    pub fn digits(&self, name: &str) -> Result<Option<Cow<'a, str>>, Rejection> {
        let digits = match self.present(name) {
            None => return Ok(None),
            Some(Value::Integer(number)) => Some(number.to_string().into()),
            Some(Value::Unsigned(number)) => Some(number.to_string().into()),
            Some(Value::Number(digits)) => Some(Cow::Borrowed(digits)),
            Some(Value::Text(text)) if column::Number::of(&text).is_some() => Some(text),
            Some(_) => None,
        };
        let wrong = || self.bad(name, &self.get(name).unwrap_or(Value::Null), "a decimal number");
        digits.ok_or_else(wrong).map(Some)
    }

    /// Decodes the row as it came with serde. A column that was not sent is `None`. Rejects the event as `bad-row`, with the place.
    pub fn read<T: Deserialize<'a>>(&self) -> Result<T, Rejection> {
        column::read(self.form, self.bytes).map_err(|error| Rejection::new("bad-row", format!("{}.{error}", self.side)))
    }

    /// Sets a column: in its place when there is one of this name, else behind the others.
    pub fn set(&mut self, name: &str, value: impl NewValue) {
        if self.new.capacity() == 0 {
            self.new.reserve(NEW_BYTES);
        }
        let from = self.new.len();
        match self.form {
            Form::Json => value.write_json(&mut self.new),
            Form::Packed => value.write_packed(&mut self.new),
        }
        self.become_of(name, Fate::Set(from, self.new.len()));
    }

    /// Removes a column, if there is one of this name.
    pub fn remove(&mut self, name: &str) {
        self.columns.retain(|column| column.place.is_some() || column.name != name);
        if self.columns.iter().any(|column| column.name == name) {
            self.become_of(name, Fate::Removed);
        }
    }

    /// Of a name that repeats all are set or removed: a reader downstream may take any of them.
    fn become_of(&mut self, name: &str, fate: Fate) {
        self.is_changed = true;
        let mut is_new = true;
        for column in self.columns.iter_mut().filter(|column| column.name == name) {
            column.fate = fate;
            is_new = false;
        }
        if is_new {
            self.columns.push(Column { name: Cow::Owned(name.to_owned()), place: None, fate });
        }
    }

    pub(super) fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Null, missing and not sent are the same to the typed readers.
    fn present(&self, name: &str) -> Option<Value<'a>> {
        self.get(name).filter(|value| !matches!(value, Value::Null | Value::Unavailable))
    }

    fn bad(&self, name: &str, found: &Value, expected: &str) -> Rejection {
        Rejection::new("bad-column", format!("{}.{name} is {found}: {expected} was expected", self.side))
    }

    /// Appends the row with its changes.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self.form {
            Form::Json => self.write_json(out),
            Form::Packed => self.write_packed(out),
        }
    }

    /// Splices; only where a column is removed the row is put together anew.
    fn write_json(&self, out: &mut Vec<u8>) {
        if self.columns.iter().any(|column| column.fate == Fate::Removed) {
            return self.write_json_anew(out);
        }
        let mut done = 0;
        let mut is_first = true;
        for column in &self.columns {
            match column.place {
                Some(place) => {
                    out.extend_from_slice(&self.bytes[done..place.value]);
                    out.extend_from_slice(self.value(column));
                    done = place.end;
                }
                None => {
                    if is_first {
                        out.push(b'{');
                        done = 1;
                    }
                    self.write_added(out, column, is_first);
                }
            }
            is_first = false;
        }
        out.extend_from_slice(&self.bytes[done..]);
    }

    fn write_json_anew(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut is_first = true;
        for column in self.columns.iter().filter(|column| column.fate != Fate::Removed) {
            match column.place {
                Some(place) => {
                    if !is_first {
                        out.push(b',');
                    }
                    out.extend_from_slice(&self.bytes[place.start..place.value]);
                    out.extend_from_slice(self.value(column));
                }
                None => self.write_added(out, column, is_first),
            }
            is_first = false;
        }
        out.push(b'}');
    }

    fn write_added(&self, out: &mut Vec<u8>, column: &Column, is_first: bool) {
        if !is_first {
            out.push(b',');
        }
        json::write_text(out, &column.name);
        out.push(b':');
        out.extend_from_slice(self.value(column));
    }

    /// What stays and lies together is copied together.
    fn write_packed(&self, out: &mut Vec<u8>) {
        let kept = || self.columns.iter().filter(|column| column.fate != Fate::Removed);
        out.push(0xdf);
        out.extend_from_slice(&(kept().count() as u32).to_be_bytes());
        let mut run = 0..0;
        for column in kept() {
            let stays = match column.place {
                Some(place) if column.fate == Fate::Kept => place.start..place.end,
                Some(place) => place.start..place.value,
                None => run.end..run.end,
            };
            if stays.start != run.end {
                out.extend_from_slice(&self.bytes[run]);
                run = stays;
            } else {
                run.end = stays.end;
            }
            if let Fate::Set(from, to) = column.fate {
                out.extend_from_slice(&self.bytes[run.clone()]);
                run.start = run.end;
                if column.place.is_none() {
                    column::write_text(out, &column.name);
                }
                out.extend_from_slice(&self.new[from..to]);
            }
        }
        out.extend_from_slice(&self.bytes[run]);
    }

    fn value(&self, column: &Column) -> &[u8] {
        match (column.fate, column.place) {
            (Fate::Set(from, to), _) => &self.new[from..to],
            (_, Some(place)) => &self.bytes[place.value..place.end],
            (_, None) => &[],
        }
    }
}

fn json_columns(bytes: &[u8]) -> Result<Vec<Column<'_>>, json::Error> {
    let text = json::text(bytes)?;
    let mut columns = Vec::with_capacity(16);
    let mut fault = Ok(());
    json::members_at(text, |name, start, value: Raw| {
        if let Err(error) = value.string() {
            fault = Err(error);
        }
        let at = value.text().as_ptr() as usize - text.as_ptr() as usize;
        let place = Place { start, value: at, end: at + value.text().len() };
        columns.push(Column { name, place: Some(place), fate: Fate::Kept });
    })?;
    fault.map(|()| columns)
}

fn packed_columns(bytes: &[u8]) -> Result<Vec<Column<'_>>, BadFrame> {
    let mut reader = Reader::new(bytes);
    let count = reader.map()?;
    let mut columns = Vec::with_capacity(count.min(1024) as usize + ADDED);
    for _ in 0..count {
        let start = bytes.len() - reader.left();
        let name = Cow::Borrowed(text(reader.span()?).ok_or(BadFrame)?);
        let value = bytes.len() - reader.left();
        check(reader.span()?)?;
        let place = Place { start, value, end: bytes.len() - reader.left() };
        columns.push(Column { name, place: Some(place), fate: Fate::Kept });
    }
    Ok(columns)
}

/// Texts must be UTF-8 before anybody reads them.
fn check(value: &[u8]) -> Result<(), BadFrame> {
    match value[0] {
        0xa0..=0xbf | 0xd9..=0xdb => text(value).map(|_| ()).ok_or(BadFrame),
        _ => Reader::new(value).token().map(|_| ()),
    }
}

/// What a msgpack text says; `None` for any other value.
#[inline(always)]
fn text(value: &[u8]) -> Option<&str> {
    let head = match value[0] {
        0xa0..=0xbf => 1,
        0xd9 => 2,
        0xda => 3,
        0xdb => 5,
        _ => return None,
    };
    json::text(&value[head..]).ok()
}
