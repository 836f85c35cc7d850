//! Keeps or drops change events by expressions in a subset of CEL.

mod cel;

use penstock_guest::{Decoded, Outcome, Rejection, Result};
use serde::Deserialize;

use cel::{Expression, Scope};

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config {
    keep: Option<Expression>,
    drop: Option<Expression>,
    on_error: OnError,
    tombstones: Tombstones,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    keep: Option<String>,
    drop: Option<String>,
    on_error: OnError,
    tombstones: Tombstones,
}

/// What becomes of an event of which an expression cannot be told.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum OnError {
    #[default]
    Reject,
    Keep,
    Drop,
}

/// What becomes of records without a value.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Tombstones {
    #[default]
    Keep,
    Drop,
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        let Written { keep, drop, on_error, tombstones } = written;
        if keep.is_none() && drop.is_none() {
            return Err("neither `keep` nor `drop`: say which events are meant".into());
        }
        let compiled = |name, text: Option<String>| {
            text.map(|text| Expression::compile(&text).map_err(|error| format!("{name}: {error}"))).transpose()
        };
        Ok(Config { keep: compiled("keep", keep)?, drop: compiled("drop", drop)?, on_error, tombstones })
    }
}

/// Keeps or drops one event.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let Some(packed) = event.0.value else { return Ok(outcome(config.tombstones == Tombstones::Keep)) };
    let Some(scope) = Scope::of(&event.0, packed) else {
        return Err(Rejection::new("bad-event", "the decoded value is no change event map"));
    };
    match (is_kept(config, &scope), config.on_error) {
        (Ok(is_kept), _) => Ok(outcome(is_kept)),
        (Err(problem), OnError::Reject) => Err(Rejection::new("filter-failed", problem)),
        (Err(_), on_error) => Ok(outcome(on_error == OnError::Keep)),
    }
}

fn outcome<'a>(is_kept: bool) -> Outcome<'a> {
    if is_kept { Outcome::Unchanged } else { Outcome::Drop }
}

fn is_kept<'a>(config: &'a Config, scope: &Scope<'_, 'a>) -> std::result::Result<bool, String> {
    let told = |name, expression: &'a Option<Expression>, silent| match expression {
        Some(expression) => expression.is_true(scope).map_err(|problem| format!("{name}: {problem}")),
        None => Ok(silent),
    };
    Ok(told("keep", &config.keep, true)? && !told("drop", &config.drop, false)?)
}
