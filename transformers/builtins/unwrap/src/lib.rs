//! The row alone, as JSON, without the envelope of the change event.

use std::borrow::Cow;

use builtin_kit::{Change, Row, Value, text_of, write_object};
use penstock_guest::{Decoded, NewHeaders, Outcome, Record, Rejection, Result, plain};
use serde::Deserialize;

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    deletes: Deletes,
    add_fields: Vec<Added>,
    add_headers: Vec<Added>,
    prefix: String,
    drop_columns: Vec<builtin_kit::Pattern>,
    unavailable: Unavailable,
}

/// Of a delete come a record of its own, the row with `__deleted`, and what Debezium's tombstone behind it becomes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Deletes {
    Drop,
    Tombstone,
    Rewrite,
    RewriteWithTombstone,
    DeleteToTombstone,
}

impl Deletes {
    fn rewrites(self) -> bool {
        matches!(self, Deletes::Rewrite | Deletes::RewriteWithTombstone)
    }

    fn keeps_tombstones(self) -> bool {
        matches!(self, Deletes::Tombstone | Deletes::RewriteWithTombstone)
    }
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Unavailable {
    Placeholder,
    Null,
    Omit,
}

/// A member of the event, and its name in the row or among the headers.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
struct Added {
    path: String,
    name: Option<String>,
}

impl From<String> for Added {
    fn from(text: String) -> Self {
        match text.split_once(':') {
            Some((path, name)) => Added { path: path.to_owned(), name: Some(name.to_owned()) },
            None => Added { path: text, name: None },
        }
    }
}

impl Added {
    fn name(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.name.clone().unwrap_or_else(|| self.path.replace('.', "_")))
    }

    /// `op`, `ts_ms`, `source.x`, `transaction.x`; any other name is looked for in `source`. Null when it is not there.
    fn value<'a>(&self, change: &Change<'a>) -> Value<'a> {
        let found = match self.path.split_once('.') {
            Some(("source", name)) => change.source_value(name),
            Some(("transaction", name)) => change.transaction_value(name),
            _ if self.path == "op" => Some(Value::Text(change.operation.to_string().into())),
            _ if self.path == "ts_ms" => Some(change.ts_ms.clone()),
            _ => change.source_value(&self.path),
        };
        found.unwrap_or(Value::Null)
    }
}

/// Unwraps one event.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let Some(value) = event.0.value else {
        return Ok(if config.deletes.keeps_tombstones() { Outcome::Unchanged } else { Outcome::Drop });
    };
    let mut change = Change::of(value)?;
    let (row, is_deleted) = match change.operation {
        'c' | 'u' | 'r' => (change.after.take(), false),
        'd' if config.deletes.rewrites() => (change.before.take(), true),
        'd' if config.deletes == Deletes::DeleteToTombstone => return Ok(emitted(event, &change, None, config)),
        _ => return Ok(Outcome::Drop),
    };
    let Some(row) = row else {
        let side = if is_deleted { "before" } else { "after" };
        let message = format!("the event's operation is {:?}, and it has no `{side}`", change.operation);
        return Err(Rejection::new("no-row", message));
    };
    let row = config.row(row, &change, is_deleted);
    let mut json = Vec::with_capacity(512);
    write_object(row.columns.iter().map(|(name, value)| (&**name, value)), &mut json);
    Ok(emitted(event, &change, Some(&json), config))
}

impl Config {
    fn row<'a>(&self, mut row: Row<'a>, change: &Change<'a>, is_deleted: bool) -> Row<'a> {
        row.columns.retain(|(name, _)| !self.drop_columns.iter().any(|pattern| pattern.matches(name)));
        if self.unavailable != Unavailable::Placeholder {
            self.without_unavailable(&mut row);
        }
        for added in &self.add_fields {
            row.set(added.name(&self.prefix), added.value(change));
        }
        if self.deletes.rewrites() {
            let text = if is_deleted { "true" } else { "false" };
            row.set(format!("{}deleted", self.prefix), Value::Text(text.into()));
        }
        row
    }

    fn without_unavailable(&self, row: &mut Row) {
        let is_unavailable = |value: &Value| matches!(value, Value::Span([0xc7, ..] | [0xd4..=0xd8, ..]));
        match self.unavailable {
            Unavailable::Omit => row.columns.retain(|(_, value)| !is_unavailable(value)),
            _ => row
                .columns
                .iter_mut()
                .filter(|(_, value)| is_unavailable(value))
                .for_each(|(_, value)| *value = Value::Null),
        }
    }
}

/// With the added headers when there are any; they stand behind the record's own.
fn emitted<'a>(event: &Decoded<'a>, change: &Change<'a>, json: Option<&[u8]>, config: &Config) -> Outcome<'a> {
    let value = json.map(plain).map(Cow::Owned);
    if config.add_headers.is_empty() {
        return Outcome::Emit(value);
    }
    let own = event.0.headers.map(|(name, value)| (Cow::Borrowed(name), value.map(Cow::Borrowed)));
    let mut headers: NewHeaders = own.collect();
    for added in &config.add_headers {
        let value = text_of(&added.value(change)).map(|text| Cow::Owned(text.into_owned().into_bytes()));
        headers.push((Cow::Owned(added.name(&config.prefix)), value));
    }
    let key = event.0.key.map(Cow::Borrowed);
    Outcome::EmitMany(vec![Record { topic: None, key, value, headers: Some(headers) }])
}
