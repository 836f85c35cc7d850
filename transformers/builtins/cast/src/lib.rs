//! Gives values another type: dates and times between numbers and texts, decimals, numbers, booleans, and other words for codes.

mod number;
mod time;

use std::collections::BTreeMap;

use builtin_kit::{Change, Path, Tables, Value, text_of, visit, ways};
use penstock_guest::{Decoded, Outcome, Rejection, Result};
use serde::Deserialize;

use time::Unit;

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    columns: Vec<Path>,
    tables: Tables,
    to: To,
    unit: Option<Unit>,
    scale: Option<usize>,
    map: BTreeMap<String, Word>,
    otherwise: Otherwise,
    on_failure: OnFailure,
}

/// What a value becomes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum To {
    Text,
    Integer,
    Float,
    Decimal,
    Boolean,
    Date,
    Timestamp,
    Time,
    Epoch,
    Map,
}

/// What a code is replaced by.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Word {
    Boolean(bool),
    Integer(i64),
    Text(String),
    Null(()),
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Otherwise {
    Fail,
    Keep,
    Null,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum OnFailure {
    Reject,
    Null,
    Keep,
}

/// Casts in one event.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let Some(value) = event.0.value else { return Ok(Outcome::Unchanged) };
    let mut change = Change::of(value)?;
    let rules = config.rules.iter().filter(|rule| rule.tables.matches(&change));
    let ways = ways(rules.map(|rule| (rule, rule.columns.as_slice())));
    let mut is_changed = false;
    for row in change.rows() {
        visit(&mut row.columns, &ways, &mut |rule, value| {
            is_changed |= rule.apply(value)?;
            Ok::<_, Rejection>(())
        })?;
    }
    Ok(if is_changed { change.emit() } else { Outcome::Unchanged })
}

impl Rule {
    /// Null and what was not sent stay; of a list, each item is cast. Says whether anything was.
    fn apply(&self, value: &mut Value) -> std::result::Result<bool, Rejection> {
        match value.open() {
            Value::Null | Value::Unavailable => Ok(false),
            Value::List(items) if self.to != To::Text => {
                items.iter_mut().try_fold(false, |any, item| Ok(self.apply(item)? | any))
            }
            other => self.replace(other),
        }
    }

    fn replace(&self, value: &mut Value) -> std::result::Result<bool, Rejection> {
        if self.to == To::Map && self.otherwise == Otherwise::Keep && self.word(value).is_none() {
            return Ok(false);
        }
        let new = match (self.cast(value), self.on_failure) {
            (Some(new), _) => new,
            (None, OnFailure::Keep) => return Ok(false),
            (None, OnFailure::Null) => Value::Null,
            (None, OnFailure::Reject) => return Err(self.rejection(value)),
        };
        let is_changed = *value != new;
        *value = new;
        Ok(is_changed)
    }

    fn rejection(&self, value: &Value) -> Rejection {
        const CHARS_MAX: usize = 80;
        let text = text_of(value).unwrap_or_default();
        let shown: String = text.chars().take(CHARS_MAX).collect();
        let columns: Vec<String> = self.columns.iter().map(Path::to_string).collect();
        let message =
            format!("a value of {} cannot become {:?}: {shown:?}", columns.join(", "), self.to).to_lowercase();
        Rejection::new("bad-cast", message)
    }

    fn cast(&self, value: &Value) -> Option<Value<'static>> {
        match self.to {
            To::Text => text_of(value).map(|text| Value::Text(text.into_owned().into())),
            To::Integer => number::integer(value),
            To::Float => number::float(value),
            To::Decimal => number::decimal(value, self.scale),
            To::Boolean => number::boolean(value),
            To::Date => time::date(value, self.unit),
            To::Timestamp => time::timestamp(value, self.unit),
            To::Time => time::time(value, self.unit),
            To::Epoch => time::epoch(value, self.unit.unwrap_or(Unit::Millis)),
            To::Map => self.mapped(value),
        }
    }

    fn mapped(&self, value: &Value) -> Option<Value<'static>> {
        match self.word(value) {
            Some(word) => Some(word.value()),
            None => (self.otherwise == Otherwise::Null).then_some(Value::Null),
        }
    }

    fn word(&self, value: &Value) -> Option<&Word> {
        self.map.get(&*text_of(value)?)
    }
}

impl Word {
    fn value(&self) -> Value<'static> {
        match self {
            Word::Boolean(value) => Value::Boolean(*value),
            Word::Integer(number) => Value::Integer(*number),
            Word::Text(text) => Value::Text(text.clone().into()),
            Word::Null(()) => Value::Null,
        }
    }
}
