//! The outbox pattern: a row that an application inserted into its outbox table becomes the message that it stands for.
//!
//! As Debezium's EventRouter does it: only inserts are messages; deletes and tombstones are the table being cleaned.

mod message;

use builtin_kit::{Change, Tables};
use penstock_guest::{Decoded, Outcome, Rejection, Result};
use serde::Deserialize;

use message::Template;

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    tables: Tables,
    topic: Template,
    topics: Vec<Named>,
    columns: Columns,
    headers: Vec<Named>,
    envelope: Vec<Named>,
    expand: bool,
    empty: Empty,
    updates: Updates,
}

/// Which column is which.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Columns {
    aggregate_type: String,
    aggregate_id: String,
    payload: String,
}

/// A column, or a value of one, and what is made of it.
#[derive(Debug, Deserialize)]
struct Named(String, String);

/// What becomes of a row without a payload.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Empty {
    Tombstone,
    Reject,
    Drop,
}

/// What becomes of an update, which an outbox should never see.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Updates {
    Drop,
    Reject,
}

/// Makes a message of one event.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let Some(value) = event.0.value else { return Ok(Outcome::Drop) };
    let change = Change::of(value)?;
    if !config.tables.matches(&change) {
        return Ok(Outcome::Unchanged);
    }
    match (change.operation, &change.after, config.updates) {
        ('c' | 'r', Some(row), _) => message::of(&event.0, row, config),
        ('d' | 't', ..) | ('u', _, Updates::Drop) => Ok(Outcome::Drop),
        ('u', _, Updates::Reject) => Err(Rejection::new(
            "outbox-update",
            "a row of the outbox was updated: it is to be inserted, and perhaps deleted",
        )),
        (operation, ..) => Err(bad(format!("an event of operation {operation:?} that brings no row"))),
    }
}

fn bad(problem: String) -> Rejection {
    Rejection::new("bad-outbox", problem)
}
