//! One change event, read and edited where it lies, whichever way the host hands it over.

mod column;
mod nested;
mod parse;
mod row;

use std::borrow::Cow;

use crate::debezium::Operation;
use crate::event::Event;
use crate::outcome::{Outcome, Rejection};

pub use column::{NewValue, Number, Value};
pub use nested::Nested;
pub use row::Row;

/// How a change event is written: what the source wrote, or what the host decoded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Debezium's JSON (`encoding: raw`).
    Json,
    /// A msgpack map (`encoding: event`).
    Packed,
}

/// What happened to one row of the source, borrowed from the batch frame.
///
/// It reads the same under `encoding: raw`, where the value is Debezium's JSON, and under `encoding: event`, where the host has
/// decoded the source's format. Changes are spliced into the bytes the event came in: columns nobody touched keep their exact
/// text, their order and every digit.
///
/// Tombstones never get here, they pass unchanged; take an [`Event`] to see them. Neither do values that are no change events: they
/// are rejected as `bad-json` or `no-envelope`.
///
/// ```
/// use penstock_guest::{ChangeEvent, Event, Outcome, Rejection};
///
/// let value = br#"{"op":"c","before":null,"after":{"first":"Ada","last":"Lovelace","paid":19.90}}"#;
/// let mut event = ChangeEvent::of(Event::of_value(value))?.expect("it is no tombstone");
/// let after = event.after()?;
/// let name = [after.text("first")?.unwrap_or_default(), after.text("last")?.unwrap_or_default()].join(" ");
/// after.set("full_name", name.as_str());
/// after.remove("last");
/// let expected = br#"{"op":"c","before":null,"after":{"first":"Ada","paid":19.90,"full_name":"Ada Lovelace"}}"#;
/// assert_eq!(event.emit(), Outcome::emit(expected.to_vec()));
/// # Ok::<(), Rejection>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEvent<'a> {
    /// The record that brought it: topic, partition, offset, timestamp, key and headers.
    pub record: Event<'a>,
    operation: Operation,
    form: Form,
    bytes: &'a [u8],
    before: Option<Row<'a>>,
    after: Option<Row<'a>>,
    source: Option<&'a [u8]>,
    transaction: Option<&'a [u8]>,
    ts_ms: Option<&'a [u8]>,
}

impl<'a> ChangeEvent<'a> {
    /// The change event in a record's raw value; `None` for a tombstone.
    pub fn of(record: Event<'a>) -> Result<Option<Self>, Rejection> {
        parse::parse(record, Form::Json)
    }

    /// The change event in a value that the host has decoded; `None` for a tombstone.
    pub fn of_decoded(record: Event<'a>) -> Result<Option<Self>, Rejection> {
        parse::parse(record, Form::Packed)
    }

    /// What happened.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The row before the change. Rejects the event as `no-before` when there is none.
    pub fn before(&mut self) -> Result<&mut Row<'a>, Rejection> {
        found(self.before.as_mut(), "before", self.operation)
    }

    /// The row after the change. Rejects the event as `no-after` when there is none.
    pub fn after(&mut self) -> Result<&mut Row<'a>, Rejection> {
        found(self.after.as_mut(), "after", self.operation)
    }

    /// The rows that there are: `before`, `after` or both.
    pub fn rows(&mut self) -> impl Iterator<Item = &mut Row<'a>> {
        [&mut self.before, &mut self.after].into_iter().flatten()
    }

    /// Where the change came from: a member of `source`, such as `table` or `lsn`.
    pub fn source(&self, name: &str) -> Option<Value<'a>> {
        self.member(self.source, name)
    }

    /// A member of `transaction`, such as `id`.
    pub fn transaction(&self, name: &str) -> Option<Value<'a>> {
        self.member(self.transaction, name)
    }

    /// When the connector saw the change, in milliseconds since 1970.
    pub fn ts_ms(&self) -> Option<i64> {
        match Value::of(self.form, self.ts_ms?) {
            Value::Integer(ts_ms) => Some(ts_ms),
            _ => None,
        }
    }

    /// Emits it: as it came when nothing was changed, else with the changes.
    pub fn emit(&self) -> Outcome<'a> {
        match self.value() {
            Cow::Borrowed(_) => Outcome::Unchanged,
            changed => Outcome::Emit(Some(changed)),
        }
    }

    /// Its value with all changes made, as a [`Record`](crate::Record) takes it.
    pub fn value(&self) -> Cow<'a, [u8]> {
        let mut changed: Vec<&Row> =
            [&self.before, &self.after].into_iter().flatten().filter(|row| row.is_changed()).collect();
        if changed.is_empty() {
            return Cow::Borrowed(self.bytes);
        }
        changed.sort_unstable_by_key(|row| row.start);
        let mut out = Vec::with_capacity(self.bytes.len() + self.bytes.len() / 4);
        let mut done = 0;
        for row in changed {
            out.extend_from_slice(&self.bytes[done..row.start]);
            row.write(&mut out);
            done = row.start + row.bytes.len();
        }
        out.extend_from_slice(&self.bytes[done..]);
        Cow::Owned(out)
    }

    fn member(&self, object: Option<&'a [u8]>, name: &str) -> Option<Value<'a>> {
        Row::of(self.form, "source", object?, 0).ok()?.get(name)
    }
}

fn found<'e, 'a>(
    row: Option<&'e mut Row<'a>>,
    name: &'static str,
    operation: Operation,
) -> Result<&'e mut Row<'a>, Rejection> {
    row.ok_or_else(|| {
        let code = if name == "after" { "no-after" } else { "no-before" };
        Rejection::new(code, format!("{operation:?} without `{name}`: there is no such row"))
    })
}
