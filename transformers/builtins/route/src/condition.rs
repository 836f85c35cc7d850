//! What must be in an event for a rule to fit.

use builtin_kit::{Change, Pattern, Value, looks_like_json, of_json, text_of};
use serde::Deserialize;

/// A member of the event, and the values that it may have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    member: Member,
    is: Vec<Wanted>,
}

/// A value that a member may have.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Wanted {
    Boolean(bool),
    Integer(i64),
    Text(Pattern),
    Null(()),
}

impl Condition {
    pub fn holds(&self, change: &Change) -> bool {
        let found = self.member.value(change);
        self.is.iter().any(|wanted| wanted.fits(&found))
    }
}

impl Wanted {
    /// Numbers and booleans also fit texts that say the same: decimals are texts. What was not sent fits nothing.
    fn fits(&self, found: &Value) -> bool {
        match self {
            Wanted::Null(()) => matches!(found, Value::Null),
            Wanted::Boolean(wanted) => text_of(found).as_deref() == Some(if *wanted { "true" } else { "false" }),
            Wanted::Integer(wanted) => text_of(found).is_some_and(|text| text == wanted.to_string()),
            Wanted::Text(pattern) => text_of(found).is_some_and(|text| pattern.matches(&text)),
        }
    }
}

/// The way to a member of the event: `op`, `source.table`, `before.x`; any other is a column of the row, and leads into objects.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Member {
    part: Part,
    steps: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Operation,
    Source,
    Before,
    After,
    Row,
}

impl From<String> for Member {
    fn from(text: String) -> Self {
        let (first, rest) = text.split_once('.').unwrap_or((&text, ""));
        let (part, way) = match first {
            "op" if rest.is_empty() => (Part::Operation, ""),
            "source" => (Part::Source, rest),
            "before" => (Part::Before, rest),
            "after" => (Part::After, rest),
            _ => (Part::Row, &*text),
        };
        Member { part, steps: way.split('.').filter(|step| !step.is_empty()).map(str::to_owned).collect() }
    }
}

impl Member {
    /// The value there; null when there is none.
    pub fn value<'a>(&self, change: &Change<'a>) -> Value<'a> {
        self.found(change).unwrap_or(Value::Null)
    }

    fn found<'a>(&self, change: &Change<'a>) -> Option<Value<'a>> {
        let row = match self.part {
            Part::Operation => return Some(Value::Text(change.operation.to_string().into())),
            Part::Source => return inside(change.source.clone().opened(), &self.steps),
            Part::Before => change.before.as_ref(),
            Part::After => change.after.as_ref(),
            Part::Row => change.after.as_ref().or(change.before.as_ref()),
        };
        let (column, rest) = self.steps.split_first()?;
        inside(row?.get(column)?.clone().opened(), rest)
    }
}

fn inside<'a>(mut value: Value<'a>, steps: &[String]) -> Option<Value<'a>> {
    for step in steps {
        if let Value::Text(text) = &value {
            value = of_json(text).filter(|_| looks_like_json(text))?;
        }
        let Value::Map(entries) = value else { return None };
        value = entries.into_iter().find(|(name, _)| name == step)?.1.opened();
    }
    Some(value)
}
