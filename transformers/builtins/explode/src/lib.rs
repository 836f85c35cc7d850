//! Makes many events of one: one for each item of a list.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use builtin_kit::{Change, Row, Tables, Value, of_json, write_object};
use penstock_guest::{Decoded, Outcome, Record, Rejection, Result};
use serde::Deserialize;

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    column: String,
    tables: Tables,
    into: String,
    index: String,
    key: Vec<String>,
    merge: bool,
    empty: Empty,
    unavailable: Empty,
}

/// What becomes of an event without a list.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Empty {
    Drop,
    Keep,
    Reject,
}

type Rejected<T> = std::result::Result<T, Rejection>;
/// An item's key, when it has one of its own, its row before and its row after.
type Pair<'a> = (Option<Vec<u8>>, Option<Row<'a>>, Option<Row<'a>>);

/// What a row has in the column.
enum List<'a> {
    Items(Vec<Value<'a>>),
    Missing,
    Unavailable,
}

/// Explodes one event.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let Some(value) = event.0.value else {
        return Ok(if config.key.is_empty() { Outcome::Unchanged } else { Outcome::Drop });
    };
    let change = Change::of(value)?;
    if !matches!(change.operation, 'c' | 'u' | 'd' | 'r') || !config.tables.matches(&change) {
        return Ok(Outcome::Unchanged);
    }
    let (before, after) = (config.side(change.before.as_ref())?, config.side(change.after.as_ref())?);
    let knows_before = change.before.is_some() && !matches!(before, List::Unavailable);
    match (before, after) {
        // Neither changed it: what one side has is what the other has.
        (List::Items(items), List::Unavailable) => {
            config.exploded(event, Exploding { change, knows_before }, items.clone(), items)
        }
        (_, List::Unavailable) => config.without(config.unavailable, "was not sent by the source"),
        (List::Unavailable, _) if change.operation == 'd' => {
            config.without(config.unavailable, "was not sent by the source")
        }
        (List::Missing | List::Unavailable, List::Missing) => config.without(config.empty, "has no list"),
        (before, after) => config.exploded(event, Exploding { change, knows_before }, before.items(), after.items()),
    }
}

/// An event on its way to become many.
struct Exploding<'a> {
    change: Change<'a>,
    /// Whether the source sent what the list was before: without it, nobody knows which items are new.
    knows_before: bool,
}

impl<'a> List<'a> {
    fn items(self) -> Vec<Value<'a>> {
        match self {
            List::Items(items) => items,
            _ => Vec::new(),
        }
    }
}

impl Config {
    /// The list of one side; a text may be a list in JSON, as Debezium writes such columns.
    fn side<'a>(&self, row: Option<&Row<'a>>) -> Rejected<List<'a>> {
        let Some(value) = row.and_then(|row| row.get(&self.column)) else { return Ok(List::Missing) };
        match value.clone().opened() {
            Value::Null => Ok(List::Missing),
            Value::Unavailable => Ok(List::Unavailable),
            Value::List(items) => Ok(List::Items(items)),
            Value::Text(text) => match of_json(&text) {
                Some(Value::List(items)) => Ok(List::Items(items)),
                Some(Value::Null) => Ok(List::Missing),
                _ => Err(self.no_list()),
            },
            _ => Err(self.no_list()),
        }
    }

    fn no_list(&self) -> Rejection {
        Rejection::new("no-list", format!("column {:?} is neither a list nor a text that is one in JSON", self.column))
    }

    fn without<'a>(&self, choice: Empty, why: &str) -> Result<'a> {
        match choice {
            Empty::Drop => Ok(Outcome::Drop),
            Empty::Keep => Ok(Outcome::Unchanged),
            Empty::Reject => Err(Rejection::new("no-list", format!("column {:?} {why}", self.column))),
        }
    }

    /// Items are the same by their key, without keys of their own by their place: one that there was and is not any more is deleted, a
    /// further one is created.
    fn exploded<'a>(
        &self,
        event: &Decoded<'a>,
        exploding: Exploding<'a>,
        before: Vec<Value<'a>>,
        after: Vec<Value<'a>>,
    ) -> Result<'a> {
        let Exploding { change, knows_before } = exploding;
        let count = before.len().max(after.len());
        if count == 0 {
            return self.without(self.empty, "is an empty list");
        }
        let before = self.rows(change.before.as_ref(), before)?;
        let after = self.rows(change.after.as_ref(), after)?;
        let mut records = Vec::with_capacity(count);
        for (key, before, after) in self.pairs(before, after)? {
            let key = key.map(Cow::Owned).or(event.0.key.map(Cow::Borrowed));
            self.put(&mut records, key, Change { before, after, ..change.clone() }, knows_before);
        }
        Ok(Outcome::EmitMany(records))
    }

    /// One side's rows, an item in each.
    fn rows<'a>(&self, row: Option<&Row<'a>>, items: Vec<Value<'a>>) -> Rejected<Vec<Row<'a>>> {
        let Some(row) = row else { return Ok(Vec::new()) };
        items.into_iter().enumerate().map(|(at, item)| self.row(row, item, at)).collect()
    }

    /// What was and what is of each item, and its key when it has one of its own.
    fn pairs<'a>(&self, before: Vec<Row<'a>>, after: Vec<Row<'a>>) -> Rejected<Vec<Pair<'a>>> {
        if self.key.is_empty() {
            let (mut before, mut after) = (before.into_iter(), after.into_iter());
            let both = std::iter::from_fn(|| match (before.next(), after.next()) {
                (None, None) => None,
                (before, after) => Some((None, before, after)),
            });
            return Ok(both.collect());
        }
        // a row that has no key now had none then: it never was a record
        let (mut gone, mut keyless) = (BTreeMap::<Vec<u8>, VecDeque<(usize, Row<'a>)>>::new(), None);
        for (at, row) in before.into_iter().enumerate() {
            match self.key_of(&row) {
                Ok(key) => gone.entry(key).or_default().push_back((at, row)),
                Err(rejection) => keyless = Some(rejection),
            }
        }
        let mut pairs = Vec::with_capacity(after.len());
        let mut live = BTreeSet::new();
        for row in after {
            let key = self.key_of(&row)?;
            let was = gone.get_mut(&key).and_then(VecDeque::pop_front).map(|(_, row)| row);
            live.insert(key.clone());
            pairs.push((Some(key), was, Some(row)));
        }
        gone.retain(|key, _| !live.contains(key)); // of several items with one key, the others go on under it
        let mut deleted: Vec<_> = gone
            .into_iter()
            .flat_map(|(key, rows)| rows.into_iter().map(move |(at, row)| (at, key.clone(), row)))
            .collect();
        deleted.sort_by_key(|(at, _, _)| *at);
        pairs.extend(deleted.into_iter().map(|(_, key, row)| (Some(key), Some(row), None)));
        match keyless {
            Some(rejection) if pairs.is_empty() => Err(rejection),
            _ => Ok(pairs),
        }
    }

    /// With keys of its own, a deleted item gets the tombstone that the source sends for the whole row.
    fn put<'a>(
        &self,
        records: &mut Vec<Record<'a>>,
        key: Option<Cow<'a, [u8]>>,
        mut change: Change<'a>,
        knows_before: bool,
    ) {
        change.operation = match (&change.before, &change.after, change.operation) {
            (Some(_), None, _) => 'd',
            (None, Some(_), 'u') if knows_before => 'c',
            (_, _, operation) => operation,
        };
        let is_deleted = change.operation == 'd' && !self.key.is_empty();
        let record = |value| Record { topic: None, key: key.clone(), value, headers: None };
        records.push(record(Some(Cow::Owned(change.packed()))));
        if is_deleted {
            records.push(record(None));
        }
    }

    /// The row with one item in place of the list.
    fn row<'a>(&self, row: &Row<'a>, item: Value<'a>, at: usize) -> Rejected<Row<'a>> {
        let mut made = Row { columns: Vec::with_capacity(row.columns.len() + 8) };
        made.columns.extend(row.columns.iter().filter(|(name, _)| *name != self.column).cloned());
        match item.opened() {
            Value::Map(entries) if self.merge => {
                for (name, value) in entries {
                    self.add(&mut made, Cow::Owned(format!("{}{name}", self.into)), value)?;
                }
            }
            item => {
                let name = if self.merge || self.into.is_empty() { &self.column } else { &self.into };
                self.add(&mut made, Cow::Owned(name.clone()), item)?;
            }
        }
        if !self.index.is_empty() {
            self.add(&mut made, Cow::Owned(self.index.clone()), Value::Integer(at as i64))?;
        }
        Ok(made)
    }

    fn add<'a>(&self, row: &mut Row<'a>, name: Cow<'a, str>, value: Value<'a>) -> Rejected<()> {
        if row.get(&name).is_some() {
            return Err(Rejection::new("collision", format!("two columns would be called {name:?}")));
        }
        row.columns.push((name, value));
        Ok(())
    }

    /// JSON, in the order of the config.
    fn key_of(&self, row: &Row) -> Rejected<Vec<u8>> {
        let mut members = Vec::with_capacity(self.key.len());
        for name in &self.key {
            match row.get(name) {
                Some(value) => members.push((name.as_str(), value)),
                None => {
                    return Err(Rejection::new("no-key", format!("the key needs column {name:?}, which is missing")));
                }
            }
        }
        let mut out = Vec::new();
        write_object(members.into_iter(), &mut out);
        Ok(out)
    }
}
