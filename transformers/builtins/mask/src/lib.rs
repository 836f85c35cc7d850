//! Hides personal data in `before` and `after`: redacted, hashed, cut to its last characters, or replaced by a token of its own form.

mod secret;

use builtin_kit::{Change, Path, Tables, Value};
use penstock_guest::{Decoded, Outcome, Result};
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
    let rules: Vec<&Rule> = config.rules.iter().filter(|rule| rule.tables.matches(&change)).collect();
    let mut masking = Masking { secrets: Secrets { salt: &config.salt, key: &config.key }, is_changed: false };
    for row in change.rows() {
        for (name, value) in &mut row.columns {
            let inside = rules.iter().flat_map(|rule| rule.columns.iter().map(move |path| (*rule, path.0.as_slice())));
            masking.entry(inside, name, value);
        }
    }
    Ok(if masking.is_changed { change.emit() } else { Outcome::Unchanged })
}

type Way<'r> = (&'r Rule, &'r [builtin_kit::Pattern]);

struct Masking<'s> {
    secrets: Secrets<'s>,
    is_changed: bool,
}

impl Masking<'_> {
    /// The first rule whose path ends here masks; those that go on are followed into the value.
    fn entry<'r>(&mut self, ways: impl Iterator<Item = Way<'r>>, name: &str, value: &mut Value) {
        let mut further = Vec::new();
        for (rule, path) in ways {
            match path {
                [last] if last.matches(name) => return self.mask(rule, value),
                [step, rest @ ..] if !rest.is_empty() && step.matches(name) => further.push((rule, rest)),
                _ => (),
            }
        }
        if !further.is_empty() {
            self.inside(&further, value);
        }
    }

    fn inside(&mut self, ways: &[Way], value: &mut Value) {
        let mut opened = std::mem::replace(value, Value::Null).opened();
        match &mut opened {
            Value::Map(entries) => {
                entries.iter_mut().for_each(|(name, value)| self.entry(ways.iter().copied(), name, value));
            }
            Value::List(items) => items.iter_mut().for_each(|item| self.inside(ways, item)),
            _ => (),
        }
        *value = opened;
    }

    /// Null and what was not sent stay; of a list or a map, everything inside is masked.
    fn mask(&mut self, rule: &Rule, value: &mut Value) {
        let mut opened = std::mem::replace(value, Value::Null).opened();
        match &mut opened {
            Value::Null | Value::Unavailable => (),
            Value::List(items) => items.iter_mut().for_each(|item| self.mask(rule, item)),
            Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| self.mask(rule, value)),
            leaf => {
                self.is_changed = true;
                *leaf = rule.masked(&self.secrets, leaf);
            }
        }
        *value = opened;
    }
}

impl Rule {
    fn masked(&self, secrets: &Secrets, leaf: &Value) -> Value<'static> {
        match self.action {
            Action::Redact => self.with.value(leaf),
            Action::Hash => Value::Text(secrets.hash(&secret::bytes_of(leaf)).into()),
            Action::Hmac => Value::Text(secrets.hmac_hex(&secret::bytes_of(leaf)).into()),
            Action::KeepLast => Value::Text(keep_last(&secret::text_of(leaf), self.keep).into()),
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
