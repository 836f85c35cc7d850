//! Holds rows to a JSON Schema.

mod compile;
mod format;
mod json;
mod judge;
mod number;
mod said;
mod schema;
mod value;

use std::borrow::Cow;

use builtin_kit::{Change, Tables};
use penstock_guest::{Decoded, NewHeaders, Outcome, Record, Rejection, Result, Value};
use serde::Deserialize;

use json::Json;
use judge::judge;
use schema::Schemas;

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config {
    rules: Vec<Rule>,
    failure: Failure,
    header: String,
}

#[derive(Debug)]
struct Rule {
    tables: Tables,
    schemas: Schemas,
    before: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rules: Vec<WrittenRule>,
    failure: Failure,
    header: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    tables: Tables,
    schema: Json,
    before: bool,
}

/// What becomes of an event that breaks a schema.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Failure {
    Reject,
    Tag,
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        let mut rules = Vec::with_capacity(written.rules.len());
        for (at, WrittenRule { tables, schema, before }) in written.rules.into_iter().enumerate() {
            let schemas = Schemas::compile(&schema).map_err(|problem| format!("rules[{at}].schema: {problem}"))?;
            rules.push(Rule { tables, schemas, before });
        }
        Ok(Config { rules, failure: written.failure, header: written.header })
    }
}

/// Judges one event.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let Some(packed) = event.0.value else { return Ok(Outcome::Unchanged) };
    match (problem(packed, config)?, config.failure) {
        (None, _) => Ok(Outcome::Unchanged),
        (Some(problem), Failure::Reject) => Err(Rejection::new("invalid", problem)),
        (Some(problem), Failure::Tag) => Ok(tagged(event, packed, config, problem)),
    }
}

/// What is wrong with it, of all rules for its table the first thing.
fn problem(packed: &[u8], config: &Config) -> std::result::Result<Option<String>, Rejection> {
    let change = Change::of(packed)?;
    let Some(Value::Nested(map)) = Value::of_decoded(packed) else { return Ok(None) };
    for rule in config.rules.iter().filter(|rule| rule.tables.matches(&change)) {
        for side in ["after", "before"].into_iter().filter(|side| rule.before || *side == "after") {
            let Some(row) = map.get(side).filter(|row| *row != Value::Null) else { continue };
            match judge(&rule.schemas, side, &row) {
                Ok(None) => (),
                Ok(Some(found)) => return Ok(Some(format!("{}: {}: {}", found.path, found.keyword, found.problem))),
                Err(beyond) => return Err(Rejection::new("invalid", beyond.text())),
            }
        }
    }
    Ok(None)
}

/// The event as it came, with one header more.
fn tagged<'a>(event: &Decoded<'a>, packed: &'a [u8], config: &'a Config, problem: String) -> Outcome<'a> {
    let own = event.0.headers.filter(|(name, _)| *name != config.header);
    let mut headers: NewHeaders = own.map(|(name, value)| (name.into(), value.map(Cow::Borrowed))).collect();
    headers.push((config.header.as_str().into(), Some(Cow::Owned(problem.into_bytes()))));
    let key = event.0.key.map(Cow::Borrowed);
    Outcome::EmitMany(vec![Record { topic: None, key, value: Some(Cow::Borrowed(packed)), headers: Some(headers) }])
}
