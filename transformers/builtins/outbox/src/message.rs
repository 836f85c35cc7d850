//! One row as one message: topic, key, value and headers.

use std::borrow::Cow;

use builtin_kit::{Row, Value, json_of, of_json, text_of, write_json};
use penstock_guest::{Event, NewHeaders, NewValue, Outcome, Record, Rejection, Result, plain};
use serde::Deserialize;

use crate::{Config, Empty, Named, bad};

type Found<T> = std::result::Result<T, Rejection>;

/// A topic's name with columns in braces: `outbox.event.{aggregatetype}`.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug)]
enum Part {
    Text(String),
    Column(String),
}

impl From<String> for Template {
    fn from(text: String) -> Self {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, column, behind)) = split(rest) {
            parts.extend([Part::Text(before.to_owned()), Part::Column(column.to_owned())]);
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        Template(parts)
    }
}

fn split(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (column, behind) = rest.split_once('}')?;
    Some((before, column, behind))
}

/// The message that a row is.
pub(crate) fn of<'a>(event: &Event<'a>, row: &Row<'a>, config: &'a Config) -> Result<'a> {
    let Some(value) = value(row, config)? else { return empty(event, row, config) };
    emitted(event, row, config, Some(plain(&value)))
}

fn empty<'a>(event: &Event<'a>, row: &Row<'a>, config: &'a Config) -> Result<'a> {
    match config.empty {
        Empty::Drop => Ok(Outcome::Drop),
        Empty::Tombstone => emitted(event, row, config, None),
        Empty::Reject => {
            Err(Rejection::new("no-payload", format!("after.{} is null or empty", config.columns.payload)))
        }
    }
}

fn emitted<'a>(event: &Event<'a>, row: &Row<'a>, config: &'a Config, value: Option<Vec<u8>>) -> Result<'a> {
    let record = Record {
        topic: Some(topic(row, config)?.into()),
        key: key(event, row, config)?,
        value: value.map(Cow::Owned),
        headers: Some(headers(event, row, config)?),
    };
    Ok(Outcome::EmitMany(vec![record]))
}

/// A column's value; a row that lacks it is none of an outbox.
fn column<'a>(row: &Row<'a>, name: &str) -> Found<Value<'a>> {
    match row.get(name).map(|value| value.clone().opened()) {
        None => Err(bad(format!("the row has no column {name:?}: name yours in the config"))),
        Some(Value::Unavailable) => Err(bad(format!("after.{name} was not sent by the source"))),
        Some(value) => Ok(value),
    }
}

fn topic(row: &Row, config: &Config) -> Found<String> {
    let kind = column(row, &config.columns.aggregate_type)?;
    let kind = text_of(&kind);
    if let Some(Named(_, topic)) = config.topics.iter().find(|Named(of, _)| Some(of.as_str()) == kind.as_deref()) {
        return Ok(topic.clone());
    }
    let mut topic = String::new();
    for part in &config.topic.0 {
        match part {
            Part::Text(text) => topic.push_str(text),
            Part::Column(name) => match text_of(&column(row, name)?) {
                Some(text) => topic.push_str(&text),
                None => return Err(bad(format!("after.{name} is null: a topic is named by it"))),
            },
        }
    }
    if is_topic(&topic) { Ok(topic) } else { Err(bad(format!("{:?} can be no topic's name", cut(&topic)))) }
}

/// Kafka's rule.
fn is_topic(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(is_fit) && !matches!(name, "." | "..")
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The aggregate's id; the record's own key where that is null.
fn key<'a>(event: &Event<'a>, row: &Row, config: &Config) -> Found<Option<Cow<'a, [u8]>>> {
    let id = column(row, &config.columns.aggregate_id)?;
    Ok(bytes_of(&id).map(Cow::Owned).or(event.key.map(Cow::Borrowed)))
}

/// Bytes are themselves, everything else is text.
fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Bytes(bytes) => Some(bytes.to_vec()),
        value => text_of(value).map(|text| text.as_bytes().to_vec()),
    }
}

/// The record's own headers, then those that columns make; a null column is a header without a value.
fn headers<'a>(event: &Event<'a>, row: &Row, config: &'a Config) -> Found<NewHeaders<'a>> {
    let mut headers: NewHeaders = event.headers.map(|(name, value)| (name.into(), value.map(Cow::Borrowed))).collect();
    for Named(name, header) in &config.headers {
        headers.push((header.as_str().into(), bytes_of(&column(row, name)?).map(Cow::Owned)));
    }
    Ok(headers)
}

/// The message's value; `None` when there is no payload.
fn value(row: &Row, config: &Config) -> Found<Option<Vec<u8>>> {
    let payload = column(row, &config.columns.payload)?;
    if let Value::Null = payload {
        return Ok(None);
    }
    if bytes_of(&payload).is_some_and(|bytes| bytes.is_empty()) {
        return Ok(None);
    }
    match (config.envelope.is_empty(), config.expand) {
        (true, false) => Ok(bytes_of(&payload)),
        (true, true) => expanded(&payload, config).map(Some),
        (false, is_expanded) => {
            let inside = if is_expanded { expanded(&payload, config)? } else { json_of(&payload).into_bytes() };
            enveloped(&inside, row, config).map(Some)
        }
    }
}

/// A text that is JSON, as it is written; a list or a map of the source's, as JSON.
fn expanded(payload: &Value, config: &Config) -> Found<Vec<u8>> {
    let name = &config.columns.payload;
    match payload {
        Value::Text(text) if of_json(text).is_some() => Ok(text.trim_ascii().as_bytes().to_vec()),
        Value::Text(_) => Err(Rejection::new("bad-payload", format!("after.{name} is not JSON, and `expand` is set"))),
        Value::Bytes(_) => Err(Rejection::new("bad-payload", format!("after.{name} is bytes, and `expand` is set"))),
        other => Ok(json_of(other).into_bytes()),
    }
}

fn enveloped(payload: &[u8], row: &Row, config: &Config) -> Found<Vec<u8>> {
    let mut out = b"{\"payload\":".to_vec();
    out.extend_from_slice(payload);
    for Named(name, member) in &config.envelope {
        out.push(b',');
        member.write_json(&mut out);
        out.push(b':');
        write_json(&column(row, name)?, &mut out);
    }
    out.push(b'}');
    Ok(out)
}
