//! Debezium's envelope, with the embedded schema (`{"schema": …, "payload": …}`) or without.

use crate::json::{self, Kind, Raw, is};

/// What happened to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `c`: inserted.
    Create,
    /// `u`: updated.
    Update,
    /// `d`: deleted.
    Delete,
    /// `r`: read by a snapshot.
    Read,
    /// `t`: the table was truncated.
    Truncate,
    /// `m`: a message of the source's log, about no row.
    Message,
}

impl Operation {
    fn of(value: Raw) -> Option<Self> {
        match value.text().as_bytes() {
            [b'"', letter, b'"'] => Self::of_letter(*letter),
            _ => None,
        }
    }

    pub(crate) fn of_letter(letter: u8) -> Option<Self> {
        match letter {
            b'c' => Some(Operation::Create),
            b'u' => Some(Operation::Update),
            b'd' => Some(Operation::Delete),
            b'r' => Some(Operation::Read),
            b't' => Some(Operation::Truncate),
            b'm' => Some(Operation::Message),
            _ => None,
        }
    }

    /// True when the row exists after it, so that there should be an `after`.
    pub fn leaves_a_row(self) -> bool {
        matches!(self, Operation::Create | Operation::Update | Operation::Read)
    }
}

/// The parts of a change event that transformers look at, borrowed from its text.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// What happened.
    pub operation: Operation,
    /// The row before the change; `None` when absent or null.
    pub before: Option<Raw<'a>>,
    /// The row after the change; `None` when absent or null.
    pub after: Option<Raw<'a>>,
}

/// What a JSON value is in Debezium's terms.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// A change event.
    Change(Envelope<'a>),
    /// Any other object: a flattened row, a heartbeat, a transaction's boundary. It is the payload when a schema is embedded.
    Other(Raw<'a>),
    /// An embedded schema with a null payload, or a plain `null`: a tombstone.
    Null,
}

#[derive(Clone, Copy, Default)]
struct Parts<'a> {
    schema: Option<Raw<'a>>,
    payload: Option<Raw<'a>>,
    operation: Option<Raw<'a>>,
    before: Option<Raw<'a>>,
    after: Option<Raw<'a>>,
}

impl<'a> Parts<'a> {
    fn of(object: &'a str) -> Result<Self, json::Error> {
        let mut parts = Parts::default();
        let mut repeats = false;
        json::members(object, |name, value| {
            let part = match name {
                _ if is(name, "op") => &mut parts.operation,
                _ if is(name, "after") => &mut parts.after,
                _ if is(name, "before") => &mut parts.before,
                _ if is(name, "schema") => &mut parts.schema,
                _ if is(name, "payload") => &mut parts.payload,
                _ => return,
            };
            repeats |= part.replace(value).is_some();
        })?;
        if repeats {
            // Readers differ in which one they take: a transformer that looks at one would let the other pass.
            return Err(json::Error::new("a member of the envelope repeats"));
        }
        Ok(parts)
    }

    fn envelope(&self) -> Option<Envelope<'a>> {
        let operation = Operation::of(self.operation?)?;
        let present = |row: Option<Raw<'a>>| row.filter(|row| row.kind() != Kind::Null);
        Some(Envelope { operation, before: present(self.before), after: present(self.after) })
    }
}

/// Parses an event's value as far as its envelope. An error means that `text` is no JSON object (nor `null`), or that a
/// member of the envelope repeats.
pub fn parse(text: &str) -> Result<Value<'_>, json::Error> {
    if !text.starts_with('{') && text.trim_ascii() == "null" {
        return Ok(Value::Null);
    }
    let outer = Parts::of(text)?;
    let (Some(payload), Some(_)) = (outer.payload, outer.schema) else {
        return match outer.envelope() {
            Some(envelope) => Ok(Value::Change(envelope)),
            None => Ok(Value::Other(Raw::parse(text)?)),
        };
    };
    if payload.kind() == Kind::Null {
        return Ok(Value::Null);
    }
    Ok(Parts::of(payload.text())?.envelope().map_or(Value::Other(payload), Value::Change))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(text: &str) -> Envelope<'_> {
        match parse(text).unwrap() {
            Value::Change(envelope) => envelope,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn with_and_without_the_schema() {
        for text in [
            r#"{"before":null,"after":{"id":1},"op":"c"}"#,
            r#"{"schema":{"type":"struct"},"payload":{"before":null,"after":{"id":1},"op":"c"}}"#,
        ] {
            let envelope = change(text);
            assert_eq!(envelope.operation, Operation::Create);
            assert!(envelope.before.is_none());
            assert_eq!(envelope.after.unwrap().text(), r#"{"id":1}"#);
        }
    }

    #[test]
    fn what_is_no_change_event() {
        assert!(matches!(parse("null"), Ok(Value::Null)));
        assert!(matches!(parse(r#"{"schema":null,"payload":null}"#), Ok(Value::Null)));
        assert!(matches!(parse(r#"{"op":"x","after":{}}"#), Ok(Value::Other(_))));
        assert!(matches!(parse(r#"{"payload":1,"op":"d"}"#), Ok(Value::Change(_))));
        assert!(parse("[1]").is_err());
        assert!(parse(r#"{"op":"c","after":{},"after":{}}"#).is_err());
        assert!(parse(r#"{"schema":{},"payload":[1]}"#).is_err());
    }
}
