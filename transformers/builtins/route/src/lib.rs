//! Sends events to topics by what they are about: their table, their operation, what is in them.

mod condition;
mod template;

use std::borrow::Cow;

use builtin_kit::{Change, Tables};
use penstock_guest::{Decoded, Outcome, Record, Rejection, Result};
use serde::Deserialize;

use condition::Condition;
use template::Template;

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    rules: Vec<Rule>,
    every: bool,
    otherwise: Otherwise,
    tombstones: Tombstones,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    to: Vec<Template>,
    tables: Tables,
    operations: String,
    when: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Otherwise {
    Destination,
    Drop,
    Reject,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Tombstones {
    Everywhere,
    Destination,
    Drop,
}

impl Rule {
    fn fits(&self, change: &Change) -> bool {
        (self.operations.is_empty() || self.operations.contains(change.operation))
            && self.tables.matches(change)
            && self.when.iter().all(|condition| condition.holds(change))
    }
}

/// Where one event goes.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let Some(value) = event.0.value else { return Ok(tombstone(event, config)) };
    let change = Change::of(value)?;
    let mut topics: Vec<Cow<'a, str>> = Vec::new();
    for rule in config.rules.iter().filter(|rule| rule.fits(&change)) {
        for template in &rule.to {
            let topic = template.filled(&change)?;
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        if !config.every {
            break;
        }
    }
    if !topics.is_empty() {
        return Ok(Outcome::EmitMany(topics.into_iter().map(|topic| record(event, Some(topic))).collect()));
    }
    match config.otherwise {
        Otherwise::Destination => Ok(Outcome::Unchanged),
        Otherwise::Drop => Ok(Outcome::Drop),
        Otherwise::Reject => Err(Rejection::new("no-route", "no rule says where this event goes")),
    }
}

fn record<'a>(event: &Decoded<'a>, topic: Option<Cow<'a, str>>) -> Record<'a> {
    let Decoded(event) = event;
    Record { topic, key: event.key.map(Cow::Borrowed), value: event.value.map(Cow::Borrowed), headers: None }
}

/// It has no row to look at: nothing says where the deleted row was.
fn tombstone<'a>(event: &Decoded<'a>, config: &'a Config) -> Outcome<'a> {
    match config.tombstones {
        Tombstones::Drop => Outcome::Drop,
        Tombstones::Destination => Outcome::Unchanged,
        Tombstones::Everywhere => {
            let own = (config.otherwise == Otherwise::Destination).then_some(None);
            let mut topics: Vec<Option<&str>> = own.into_iter().collect();
            for topic in config.rules.iter().flat_map(|rule| &rule.to).filter_map(Template::literal) {
                if !topics.contains(&Some(topic)) {
                    topics.push(Some(topic));
                }
            }
            Outcome::EmitMany(topics.into_iter().map(|topic| record(event, topic.map(Cow::Borrowed))).collect())
        }
    }
}
