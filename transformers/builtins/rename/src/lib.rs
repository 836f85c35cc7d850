//! Gives columns, tables and topics other names.

use std::borrow::Cow;

use builtin_kit::{Change, Pattern, Row, Tables, Value};
use penstock_guest::{Decoded, Outcome, Record, Rejection, Result};
use serde::Deserialize;

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    columns: Vec<Columns>,
    tables: Vec<Names>,
    topics: Vec<Names>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    from: Pattern,
    to: Pattern,
    tables: Tables,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    from: Pattern,
    to: Pattern,
}

/// The new name by the first rule that fits.
fn renamed<'r>(name: &str, mut rules: impl Iterator<Item = (&'r Pattern, &'r Pattern)>) -> Option<String> {
    rules.find_map(|(from, to)| from.captures(name).map(|found| to.filled(&found))).filter(|new| new != name)
}

/// Renames in one event.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let topic = renamed(event.0.topic, config.topics.iter().map(|one| (&one.from, &one.to)));
    let value = match event.0.value {
        Some(value) => changed(value, config)?,
        None => None,
    };
    let Some(topic) = topic else {
        return Ok(value.map_or(Outcome::Unchanged, Outcome::emit));
    };
    let value = value.map(Cow::Owned).or(event.0.value.map(Cow::Borrowed));
    let record = Record { topic: Some(Cow::Owned(topic)), key: event.0.key.map(Cow::Borrowed), value, headers: None };
    Ok(Outcome::EmitMany(vec![record]))
}

/// `None` when nothing has another name.
fn changed(value: &[u8], config: &Config) -> std::result::Result<Option<Vec<u8>>, Rejection> {
    let mut change = Change::of(value)?;
    let rules: Vec<&Columns> = config.columns.iter().filter(|rule| rule.tables.matches(&change)).collect();
    let mut is_changed = false;
    for row in change.rows() {
        is_changed |= columns(row, &rules)?;
    }
    is_changed |= table(&mut change, &config.tables);
    Ok(is_changed.then(|| change.packed()))
}

fn columns(row: &mut Row, rules: &[&Columns]) -> std::result::Result<bool, Rejection> {
    let mut is_changed = false;
    for (name, _) in &mut row.columns {
        if let Some(new) = renamed(name, rules.iter().map(|rule| (&rule.from, &rule.to))) {
            *name = Cow::Owned(new);
            is_changed = true;
        }
    }
    if is_changed {
        unique(row)?;
    }
    Ok(is_changed)
}

/// A row that has a name twice, or an empty one, is read differently by everybody.
fn unique(row: &Row) -> std::result::Result<(), Rejection> {
    for (at, (name, _)) in row.columns.iter().enumerate() {
        if name.is_empty() {
            return Err(Rejection::new("collision", "a column would have an empty name"));
        }
        if row.columns[..at].iter().any(|(other, _)| other == name) {
            return Err(Rejection::new("collision", format!("two columns would be called {name:?}")));
        }
    }
    Ok(())
}

fn table(change: &mut Change, rules: &[Names]) -> bool {
    if rules.is_empty() {
        return false;
    }
    let Some(new) =
        change.source_text("table").and_then(|old| renamed(&old, rules.iter().map(|one| (&one.from, &one.to))))
    else {
        return false;
    };
    let Value::Map(members) = change.source.open() else { return false };
    for (_, value) in members.iter_mut().filter(|(name, _)| name == "table") {
        *value = Value::Text(Cow::Owned(new.clone()));
    }
    true
}
