//! Joins events with a table of a database: one question for all keys of a batch, answered under the transformer's `database` grant.

mod found;
mod key;

use std::collections::BTreeMap;

use builtin_kit::{Change, Row, Tables, Value};
use penstock_guest::host::Error;
use penstock_guest::{Batch, Encoding, Event, Outcome, Rejection};
use serde::Deserialize;

use found::{Answer, Looked, ask};
use key::{Key, key_of};

penstock_guest::transformer!(transform, Config, encoding: "event", capabilities: ["database-read"]);

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    table: String,
    key: Vec<String>,
    separator: String,
    columns: Option<Vec<(String, String)>>,
    prefix: String,
    missing: Missing,
    deletes: bool,
    tables: Tables,
}

/// What becomes of an event for which there is no row.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Missing {
    Null,
    Keep,
    Reject,
    Drop,
}

/// One event on its way: decided already, or waiting for a row.
enum Plan<'a> {
    Decided(Outcome<'a>),
    Waiting(Box<Change<'a>>, Option<Key<'a>>),
}

/// Joins a batch.
pub fn transform<'a>(batch: &Batch<'a>, config: &'a Config) -> Vec<Outcome<'a>> {
    let plans: Vec<Plan> = batch.events.iter().map(|event| plan(event, batch.encoding, config)).collect();
    let keys = plans.iter().filter_map(|plan| match plan {
        Plan::Waiting(_, key) => key.as_ref(),
        Plan::Decided(_) => None,
    });
    let mut answers: BTreeMap<Key, Answer> = keys.cloned().map(|key| (key, Ok(None))).collect();
    ask(&config.table, &mut answers);
    plans.into_iter().map(|plan| joined(plan, &answers, config)).collect()
}

fn plan<'a>(event: &Event<'a>, encoding: Encoding, config: &Config) -> Plan<'a> {
    let Some(value) = event.value else { return Plan::Decided(Outcome::Unchanged) };
    let waiting = match encoding {
        Encoding::Event => waiting(value, config),
        Encoding::Raw => Err(Rejection::new("bad-event", "this transformer reads change events, not raw bytes")),
    };
    match waiting {
        Ok(Some((change, key))) => Plan::Waiting(Box::new(change), key),
        Ok(None) => Plan::Decided(Outcome::Unchanged),
        Err(rejection) => Plan::Decided(rejection.into()),
    }
}

type Waiting<'a> = Option<(Change<'a>, Option<Key<'a>>)>;

fn waiting<'a>(value: &'a [u8], config: &Config) -> Result<Waiting<'a>, Rejection> {
    let mut change = Change::of(value)?;
    if !config.tables.matches(&change) {
        return Ok(None);
    }
    let Some(row) = row_of(&mut change, config) else { return Ok(None) };
    let key = key_of(row, config)?;
    Ok(Some((change, key)))
}

/// The row to be joined: what there is now, or what there was.
fn row_of<'c, 'a>(change: &'c mut Change<'a>, config: &Config) -> Option<&'c mut Row<'a>> {
    match change.operation {
        'd' if config.deletes => change.before.as_mut(),
        _ => change.after.as_mut(),
    }
}

fn joined<'a>(plan: Plan<'a>, answers: &BTreeMap<Key<'a>, Answer>, config: &'a Config) -> Outcome<'a> {
    let (mut change, key) = match plan {
        Plan::Decided(outcome) => return outcome,
        Plan::Waiting(change, key) => (change, key),
    };
    let answer = key.as_ref().map_or(&Ok(None), |key| &answers[key]);
    let row = row_of(&mut change, config).expect("an event without a row waits for none");
    match answer {
        Err(error) => return failed(error, config),
        Ok(Some(found)) => {
            if let Err(column) = add(row, found, config) {
                let problem = format!("a row of `{}` has no column {column:?}", config.table);
                return Outcome::reject("lookup-failed", problem);
            }
        }
        Ok(None) => match config.missing {
            Missing::Null => add_nulls(row, config),
            Missing::Keep => return Outcome::Unchanged,
            Missing::Drop => return Outcome::Drop,
            Missing::Reject => {
                let of = key.map_or("a key that is null".into(), |key| format!("the key {key}"));
                return Outcome::reject("lookup-missing", format!("`{}` has no row for {of}", config.table));
            }
        },
    }
    change.emit()
}

fn failed<'a>(error: &Error, config: &Config) -> Outcome<'a> {
    let code = match error {
        Error::Unavailable | Error::Deadline => "lookup-unavailable",
        _ => "lookup-failed",
    };
    Outcome::reject(code, format!("`{}` could not be asked: {error}", config.table))
}

/// Adds what was found; `Err` is a column that it lacks.
fn add<'a>(row: &mut Row<'a>, found: &Looked, config: &'a Config) -> Result<(), &'a str> {
    match &config.columns {
        Some(columns) => columns.iter().try_for_each(|(from, to)| {
            let value = found.get(from).ok_or(from.as_str())?;
            row.set(to.as_str(), value.of());
            Ok(())
        }),
        None => {
            found.iter().for_each(|(name, value)| row.set(config.prefix.clone() + name, value.of()));
            Ok(())
        }
    }
}

fn add_nulls<'a>(row: &mut Row<'a>, config: &'a Config) {
    let columns = config.columns.iter().flatten();
    columns.for_each(|(_, to)| row.set(to.as_str(), Value::Null));
}
