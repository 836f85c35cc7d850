//! Hides personal data in `before` and `after`: redacted, hashed, cut to its last characters, or replaced by a token of its own form.

mod secret;

use builtin_kit::{Change, Path, Tables, Value, text_of, visit, ways};
use penstock_guest::{Decoded, Outcome, Rejection, Result};
use serde::Deserialize;

use secret::Secrets;

penstock_guest::transformer!(transform, Config, encoding: "event");

/// What the operator chose; the host fills in what was left out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    salt: String,
    key: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    columns: Vec<Path>,
    tables: Tables,
    action: Action,
    keep: usize,
    with: With,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Action {
    Redact,
    Hash,
    Hmac,
    KeepLast,
    Tokenize,
}

/// What stands in place of a redacted value.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum With {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Null(()),
}

/// Masks one event.
pub fn transform<'a>(event: &Decoded<'a>, config: &'a Config) -> Result<'a> {
    let Some(value) = event.0.value else { return Ok(Outcome::Unchanged) };
    let mut change = Change::of(value)?;
    let rules = config.rules.iter().filter(|rule| rule.tables.matches(&change));
    let ways = ways(rules.map(|rule| (rule, rule.columns.as_slice())));
    let secrets = Secrets { salt: &config.salt, key: &config.key };
    let mut is_changed = false;
    for row in change.rows() {
        visit(&mut row.columns, &ways, &mut |rule, value| {
            is_changed |= rule.mask(&secrets, value);
            Ok::<_, Rejection>(())
        })?;
    }
    Ok(if is_changed { change.emit() } else { Outcome::Unchanged })
}

impl Rule {
    /// Null and what was not sent stay; of a list or a map, everything inside is masked. Says whether anything was.
    fn mask(&self, secrets: &Secrets, value: &mut Value) -> bool {
        match value.open() {
            Value::Null | Value::Unavailable => false,
            Value::List(items) => items.iter_mut().fold(false, |any, item| self.mask(secrets, item) | any),
            Value::Map(entries) => entries.iter_mut().fold(false, |any, (_, item)| self.mask(secrets, item) | any),
            leaf => {
                *leaf = self.masked(secrets, leaf);
                true
            }
        }
    }

    fn masked(&self, secrets: &Secrets, leaf: &Value) -> Value<'static> {
        match self.action {
            Action::Redact => self.with.value(leaf),
            Action::Hash => Value::Text(secrets.hash(&secret::bytes_of(leaf)).into()),
            Action::Hmac => Value::Text(secrets.hmac_hex(&secret::bytes_of(leaf)).into()),
            Action::KeepLast => Value::Text(keep_last(&text_of(leaf).unwrap_or_default(), self.keep).into()),
            Action::Tokenize => secrets.token(leaf),
        }
    }
}

impl With {
    /// A text stands in for texts only: other columns would have a value that is not of their type, so they become null.
    fn value(&self, leaf: &Value) -> Value<'static> {
        match self {
            With::Text(text) if matches!(leaf, Value::Text(_)) => Value::Text(text.clone().into()),
            With::Text(_) | With::Null(()) => Value::Null,
            With::Integer(number) => Value::Integer(*number),
            With::Boolean(value) => Value::Boolean(*value),
        }
    }
}

/// `*` for each character but the last ones; for all of them when there are no more than that.
fn keep_last(text: &str, keep: usize) -> String {
    let count = text.chars().count();
    let hidden = if count <= keep { count } else { count - keep };
    text.chars().enumerate().map(|(at, character)| if at < hidden { '*' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_keep_nothing() {
        for (text, masked) in [("", ""), ("1234", "****"), ("12345", "*2345"), ("ä€😀bcdef", "****cdef")] {
            assert_eq!(keep_last(text, 4), masked);
        }
    }
}
