//! A change event taken apart as far as its columns.

use std::borrow::Cow;

use penstock_guest::msgpack::{BadFrame, Reader};
use penstock_guest::{Outcome, Rejection};

use crate::value::{self, Value};

/// A change event. Members that no built-in changes are the bytes they came in.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// `c`, `u`, `d`, `r`, `t` or `m`.
    pub operation: char,
    /// The row before the change.
    pub before: Option<Row<'a>>,
    /// The row after the change.
    pub after: Option<Row<'a>>,
    /// Where the change came from.
    pub source: Value<'a>,
    /// When the connector saw it, in milliseconds since 1970, or null.
    pub ts_ms: Value<'a>,
    /// The source's transaction, or null.
    pub transaction: Value<'a>,
}

/// A row: its columns in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row<'a> {
    /// Names and values.
    pub columns: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Change<'a> {
    /// The change event that these bytes are. Rejects what the host would never send.
    pub fn of(bytes: &'a [u8]) -> Result<Self, Rejection> {
        parse(bytes).map_err(|_| Rejection::new("bad-event", "the decoded value is no change event map"))
    }

    /// Its rows: `before`, `after` or both.
    pub fn rows(&mut self) -> impl Iterator<Item = &mut Row<'a>> {
        [&mut self.before, &mut self.after].into_iter().flatten()
    }

    /// A text member of `source`, such as `table`.
    pub fn source_text(&self, name: &str) -> Option<Cow<'a, str>> {
        match self.source_value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A member of `source`, looked at one level deep.
    pub fn source_value(&self, name: &str) -> Option<Value<'a>> {
        member(&self.source, name)
    }

    /// A member of `transaction`, looked at one level deep.
    pub fn transaction_value(&self, name: &str) -> Option<Value<'a>> {
        member(&self.transaction, name)
    }

    /// Its msgpack.
    pub fn packed(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.push(0x86);
        value::write_text(&mut out, "op");
        value::write_text(&mut out, self.operation.encode_utf8(&mut [0; 4]));
        for (name, row) in [("before", &self.before), ("after", &self.after)] {
            value::write_text(&mut out, name);
            match row {
                Some(row) => value::write_map(&mut out, &row.columns),
                None => out.push(0xc0),
            }
        }
        for (name, member) in [("source", &self.source), ("ts_ms", &self.ts_ms), ("transaction", &self.transaction)] {
            value::write_text(&mut out, name);
            member.write(&mut out);
        }
        out
    }

    /// Emits it in place of the event it came in.
    pub fn emit(&self) -> Outcome<'a> {
        Outcome::emit(self.packed())
    }
}

/// A member of a map, looked at one level deep.
fn member<'a>(map: &Value<'a>, name: &str) -> Option<Value<'a>> {
    match map {
        Value::Span(bytes) => {
            let mut reader = Reader::new(bytes);
            for _ in 0..reader.map().ok()? {
                let found = reader.text().ok()?;
                let span = reader.span().ok()?;
                if found == name {
                    return Value::of(span).ok();
                }
            }
            None
        }
        Value::Map(entries) => entries.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone().opened()),
        _ => None,
    }
}

impl<'a> Row<'a> {
    /// The column of this name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.columns.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// Sets a column: in its place when there is one of this name, else behind the others.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) {
        let name = name.into();
        match self.columns.iter_mut().find(|(found, _)| *found == name) {
            Some((_, place)) => *place = value,
            None => self.columns.push((name, value)),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Change<'_>, BadFrame> {
    let mut reader = Reader::new(bytes);
    let mut change = Change {
        operation: ' ',
        before: None,
        after: None,
        source: Value::Null,
        ts_ms: Value::Null,
        transaction: Value::Null,
    };
    for _ in 0..reader.map()? {
        let name = reader.text()?;
        let span = reader.span()?;
        match name {
            "op" => change.operation = operation(span)?,
            "before" => change.before = row(span)?,
            "after" => change.after = row(span)?,
            "source" => change.source = Value::Span(span),
            "ts_ms" => change.ts_ms = Value::Span(span),
            "transaction" => change.transaction = Value::Span(span),
            _ => return Err(BadFrame),
        }
    }
    if reader.is_at_end() && change.operation != ' ' { Ok(change) } else { Err(BadFrame) }
}

fn operation(span: &[u8]) -> Result<char, BadFrame> {
    let text = Reader::new(span).text()?;
    text.chars().next().filter(|_| text.len() == 1).ok_or(BadFrame)
}

fn row(span: &[u8]) -> Result<Option<Row<'_>>, BadFrame> {
    match Value::of(span)? {
        Value::Null => Ok(None),
        Value::Map(columns) => Ok(Some(Row { columns })),
        _ => Err(BadFrame),
    }
}
