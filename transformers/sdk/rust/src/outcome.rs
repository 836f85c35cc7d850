//! What a transformer answers for one event, and how the answers become a result frame.

use std::borrow::Cow;

use crate::exports::fail;
use crate::frame::Encoding;
use crate::json::{self, Edits};

/// What becomes of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Emit the event as it came.
    Unchanged,
    /// End the event here.
    Drop,
    /// Emit it with a new value; `None` makes it a tombstone. Under `encoding: event` the bytes are a change event's msgpack
    /// map, as [`ChangeEvent::value`](crate::ChangeEvent::value) gives it.
    Emit(Option<Cow<'a, [u8]>>),
    /// Emit it with these changes to its JSON text: `Emit` without a copy of the value in between.
    Edit(Edits<'a>),
    /// Emit these records in its place, in this order.
    EmitMany(Vec<Record<'a>>),
    /// Send it to the dead-letter topic.
    Reject {
        /// Short and stable, for machines: `bad-amount`.
        code: Cow<'a, str>,
        /// One sentence for people that names the value and the field.
        message: Cow<'a, str>,
    },
}

impl<'a> Outcome<'a> {
    /// `Emit` of an owned value.
    pub fn emit(value: Vec<u8>) -> Self {
        Outcome::Emit(Some(Cow::Owned(value)))
    }

    /// `Reject` with a code and a message.
    pub fn reject(code: impl Into<Cow<'a, str>>, message: impl Into<Cow<'a, str>>) -> Self {
        Outcome::Reject { code: code.into(), message: message.into() }
    }
}

/// Why an event cannot be transformed: what `?` takes along in a transformer that returns [`Result`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Short and stable, for machines: `bad-amount`.
    pub code: Cow<'static, str>,
    /// One sentence for people that names the value and the field.
    pub message: Cow<'static, str>,
}

/// What a transformer that may reject with `?` returns.
pub type Result<'a> = std::result::Result<Outcome<'a>, Rejection>;

impl Rejection {
    /// A code and a message.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Rejection { code: code.into(), message: message.into() }
    }
}

impl From<Rejection> for Outcome<'_> {
    fn from(Rejection { code, message }: Rejection) -> Self {
        Outcome::Reject { code, message }
    }
}

impl From<json::Error> for Rejection {
    fn from(error: json::Error) -> Self {
        Rejection::new("bad-json", format!("the value is no JSON change event: {error}"))
    }
}

/// Headers that replace the source record's.
pub type NewHeaders<'a> = Vec<(Cow<'a, str>, Option<Cow<'a, [u8]>>)>;

/// One of several records that come of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// `None` is the route's destination; any other topic must be listed in the route's `also_to`.
    pub topic: Option<Cow<'a, str>>,
    /// The key; a changed one moves the record to the partition of its own.
    pub key: Option<Cow<'a, [u8]>>,
    /// The value; `None` is a tombstone.
    pub value: Option<Cow<'a, [u8]>>,
    /// `None` keeps the source record's headers.
    pub headers: Option<NewHeaders<'a>>,
}

/// Appends one result to the frame.
pub(crate) fn write(out: &mut Vec<u8>, outcome: Outcome, encoding: Encoding) {
    match outcome {
        Outcome::Unchanged => out.push(0xc0),
        Outcome::Drop => out.extend([0x91, 0]),
        Outcome::Emit(value) => {
            out.extend([0x92, 1]);
            write_value(out, value.as_deref(), encoding);
        }
        Outcome::Edit(_) if encoding == Encoding::Event => {
            fail("encoding", "json::Edits are of a JSON text, and the event came decoded: answer ChangeEvent::emit()")
        }
        Outcome::Edit(mut edits) => {
            out.extend([0x92, 1]);
            write_head(out, 0xc6, edits.length());
            edits.write(out);
        }
        Outcome::EmitMany(records) => {
            out.extend([0x92, 2]);
            write_count(out, records.len());
            records.iter().for_each(|record| write_record(out, record, encoding));
        }
        Outcome::Reject { code, message } => {
            out.extend([0x93, 3]);
            write_text(out, &code);
            write_text(out, &message);
        }
    }
}

/// Appends an array's head.
pub(crate) fn write_count(out: &mut Vec<u8>, count: usize) {
    write_head(out, 0xdd, count);
}

fn write_record(out: &mut Vec<u8>, record: &Record, encoding: Encoding) {
    out.push(0x94);
    match &record.topic {
        Some(topic) => write_text(out, topic),
        None => out.push(0xc0),
    }
    write_bytes(out, record.key.as_deref());
    write_value(out, record.value.as_deref(), encoding);
    let Some(headers) = &record.headers else { return out.push(0xc0) };
    write_count(out, headers.len());
    for (name, value) in headers {
        out.push(0x92);
        write_text(out, name);
        write_bytes(out, value.as_deref());
    }
}

pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_head(out, 0xdb, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Under `encoding: event` a value is a map already.
fn write_value(out: &mut Vec<u8>, value: Option<&[u8]>, encoding: Encoding) {
    match (value, encoding) {
        (Some(map), Encoding::Event) => out.extend_from_slice(map),
        _ => write_bytes(out, value),
    }
}

pub(crate) fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return out.push(0xc0) };
    write_head(out, 0xc6, bytes.len());
    out.extend_from_slice(bytes);
}

/// The widest form of each type: it is always right, and four bytes cost less than choosing.
fn write_head(out: &mut Vec<u8>, tag: u8, count: usize) {
    let count = u32::try_from(count).expect("a guest's memory is smaller than 4 GiB").to_be_bytes();
    out.extend([tag, count[0], count[1], count[2], count[3]]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{New, Raw};

    fn written(outcome: Outcome) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, outcome, Encoding::Raw);
        out
    }

    #[test]
    fn each_answer_has_its_shape() {
        assert_eq!(written(Outcome::Unchanged), [0xc0]);
        assert_eq!(written(Outcome::Drop), [0x91, 0]);
        assert_eq!(written(Outcome::Emit(None)), [0x92, 1, 0xc0]);
        assert_eq!(written(Outcome::emit(vec![7])), [0x92, 1, 0xc6, 0, 0, 0, 1, 7]);
        assert_eq!(written(Outcome::reject("c", "m")), [0x93, 3, 0xdb, 0, 0, 0, 1, b'c', 0xdb, 0, 0, 0, 1, b'm']);
    }

    #[test]
    fn an_edit_is_an_emitted_value() {
        let mut edits = Edits::new("{}");
        edits.append(Raw::parse("{}").unwrap(), "a", New::Integer(1));
        let emitted = Outcome::emit(edits.clone().finish());
        assert_eq!(written(Outcome::Edit(edits)), written(emitted));
    }

    #[test]
    fn a_decoded_value_is_written_as_it_is() {
        let record = Record { topic: None, key: None, value: Some(Cow::Borrowed(&[0x80])), headers: None };
        for (outcome, expected) in [
            (Outcome::emit(vec![0x80]), &[0x92, 1, 0x80][..]),
            (Outcome::Emit(None), &[0x92, 1, 0xc0]),
            (Outcome::EmitMany(vec![record]), &[0x92, 2, 0xdd, 0, 0, 0, 1, 0x94, 0xc0, 0xc0, 0x80, 0xc0]),
        ] {
            let mut out = Vec::new();
            write(&mut out, outcome, Encoding::Event);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn a_record_keeps_or_replaces_headers() {
        let mut record = Record { topic: None, key: None, value: None, headers: None };
        let kept = written(Outcome::EmitMany(vec![record.clone()]));
        assert_eq!(kept, [0x92, 2, 0xdd, 0, 0, 0, 1, 0x94, 0xc0, 0xc0, 0xc0, 0xc0]);
        record.headers = Some(vec![("h".into(), None)]);
        let replaced = written(Outcome::EmitMany(vec![record]));
        assert_eq!(replaced[11..], [0xdd, 0, 0, 0, 1, 0x92, 0xdb, 0, 0, 0, 1, b'h', 0xc0]);
    }
}
