//! Makes columns of what is inside of objects: `address: {city: …}` becomes `address_city`.

use std::borrow::Cow;

use builtin_kit::{Change, Pattern, Row, Tables, Value, json_of, looks_like_json, of_json};
use penstock_guest::{Decoded, Outcome, Rejection, Result};
use serde::Deserialize;

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    columns: Vec<Pattern>,
    tables: Tables,
    separator: String,
    depth: u32,
    rest: Rest,
    json: bool,
}

/// What becomes of lists, and of objects deeper than `depth`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Rest {
    Keep,
    Json,
    Drop,
}

/// Flattens one event.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let Some(value) = event.0.value else { return Ok(Outcome::Unchanged) };
    let mut change = Change::of(value)?;
    if !config.tables.matches(&change) {
        return Ok(Outcome::Unchanged);
    }
    let mut is_changed = false;
    for row in change.rows() {
        is_changed |= config.flatten(row)?;
    }
    Ok(if is_changed { change.emit() } else { Outcome::Unchanged })
}

impl Config {
    fn flatten(&self, row: &mut Row) -> std::result::Result<bool, Rejection> {
        let mut flat = Flat { config: self, columns: Vec::with_capacity(row.columns.len() * 2), is_changed: false };
        for (name, value) in std::mem::take(&mut row.columns) {
            if self.columns.iter().any(|pattern| pattern.matches(&name)) {
                flat.put(name, value, 0);
            } else {
                flat.columns.push((name, value));
            }
        }
        if flat.is_changed {
            unique(&flat.columns)?;
        }
        row.columns = flat.columns;
        Ok(flat.is_changed)
    }
}

struct Flat<'a, 'c> {
    config: &'c Config,
    columns: Vec<(Cow<'a, str>, Value<'a>)>,
    is_changed: bool,
}

impl<'a> Flat<'a, '_> {
    fn put(&mut self, name: Cow<'a, str>, mut value: Value<'a>, depth: u32) {
        if let (true, Value::Text(text)) = (self.config.json, value.open())
            && looks_like_json(text)
            && let Some(read @ Value::Map(_)) = of_json(text)
        {
            value = read;
        }
        match value.open() {
            Value::Map(entries) if entries.is_empty() => self.replace(name, Value::Null),
            Value::Map(entries) if depth < self.config.depth => {
                self.is_changed = true;
                for (inner, value) in std::mem::take(entries) {
                    let name = [&name, self.config.separator.as_str(), &inner].concat();
                    self.put(Cow::Owned(name), value, depth + 1);
                }
            }
            Value::Map(_) | Value::List(_) => match self.config.rest {
                Rest::Keep => self.columns.push((name, value)),
                Rest::Json => self.replace(name, Value::Text(json_of(&value).into())),
                Rest::Drop => self.is_changed = true,
            },
            _ => self.columns.push((name, value)),
        }
    }

    fn replace(&mut self, name: Cow<'a, str>, value: Value<'a>) {
        self.is_changed = true;
        self.columns.push((name, value));
    }
}

fn unique(columns: &[(Cow<str>, Value)]) -> std::result::Result<(), Rejection> {
    let mut names: Vec<&str> = columns.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Rejection::new("collision", format!("two columns would be called {:?}", pair[0]))),
        None => Ok(()),
    }
}
