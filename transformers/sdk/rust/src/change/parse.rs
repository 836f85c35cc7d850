//! Finds the parts of a change event, in either form.

use super::{ChangeEvent, Form, Row};
use crate::debezium::Operation;
use crate::event::Event;
use crate::frame::{BadFrame, Reader};
use crate::json::{self, Raw};
use crate::outcome::Rejection;

pub(super) fn parse<'a>(record: Event<'a>, form: Form) -> Result<Option<ChangeEvent<'a>>, Rejection> {
    let Some(bytes) = record.value else { return Ok(None) };
    let parts = match form {
        Form::Json => json_parts(bytes)?,
        Form::Packed => packed_parts(bytes).map_err(|_| no_map())?,
    };
    let Some(parts) = parts else { return Ok(None) };
    let Some(operation) = parts.operation.and_then(|written| operation(form, written)) else {
        let message = "the value has no `op` of c, u, r, d, t or m: it is no change event";
        return Err(Rejection::new("no-envelope", message));
    };
    let row = |name, part: Option<&'a [u8]>| match part {
        Some(part) if !is_null(part) => Row::of(form, name, part, offset(bytes, part)).map(Some),
        _ => Ok(None),
    };
    Ok(Some(ChangeEvent {
        record,
        operation,
        form,
        bytes,
        before: row("before", parts.before)?,
        after: row("after", parts.after)?,
        source: parts.source.filter(|part| !is_null(part)),
        transaction: parts.transaction.filter(|part| !is_null(part)),
        ts_ms: parts.ts_ms,
    }))
}

fn no_map() -> Rejection {
    Rejection::new("bad-event", "the decoded value is no change event map")
}

fn is_null(part: &[u8]) -> bool {
    part == b"null" || part == [0xc0]
}

/// Where `part` lies in `whole`.
fn offset(whole: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

fn operation(form: Form, written: &[u8]) -> Option<Operation> {
    let letter = match form {
        Form::Json => written.strip_prefix(b"\"")?.strip_suffix(b"\"")?,
        Form::Packed => Reader::new(written).text().ok()?.as_bytes(),
    };
    match letter {
        [letter] => Operation::of_letter(*letter),
        _ => None,
    }
}

/// The parts as they lie in the value.
#[derive(Default)]
struct Parts<'a> {
    operation: Option<&'a [u8]>,
    before: Option<&'a [u8]>,
    after: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    transaction: Option<&'a [u8]>,
    ts_ms: Option<&'a [u8]>,
    schema: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn place(&mut self, name: &str) -> Option<&mut Option<&'a [u8]>> {
        Some(match name {
            "op" => &mut self.operation,
            "before" => &mut self.before,
            "after" => &mut self.after,
            "source" => &mut self.source,
            "transaction" => &mut self.transaction,
            "ts_ms" => &mut self.ts_ms,
            "schema" => &mut self.schema,
            "payload" => &mut self.payload,
            _ => return None,
        })
    }

    fn of_json(text: &'a str) -> Result<Self, json::Error> {
        let mut parts = Parts::default();
        let mut repeats = false;
        json::members(text, |name, value| {
            if let Some(place) = parts.place(name) {
                repeats |= place.replace(value.text().as_bytes()).is_some();
            }
        })?;
        // Readers differ in which one they take: a transformer that looks at one would let the other pass.
        if repeats { Err(json::Error::new("a member of the envelope repeats")) } else { Ok(parts) }
    }
}

/// `None` is a tombstone: `null`, or a null payload behind an embedded schema.
fn json_parts(bytes: &[u8]) -> Result<Option<Parts<'_>>, Rejection> {
    let text = json::text(bytes)?;
    if !text.starts_with('{') && text.trim_ascii() == "null" {
        return Ok(None);
    }
    let outer = Parts::of_json(text)?;
    let (Some(payload), Some(_)) = (outer.payload, outer.schema) else { return Ok(Some(outer)) };
    if is_null(payload) {
        return Ok(None);
    }
    Ok(Some(Parts::of_json(Raw::parse(json::text(payload)?)?.text())?))
}

fn packed_parts(bytes: &[u8]) -> Result<Option<Parts<'_>>, BadFrame> {
    let mut reader = Reader::new(bytes);
    let mut parts = Parts::default();
    for _ in 0..reader.map()? {
        let name = reader.text()?;
        let value = reader.span()?;
        if let Some(place) = parts.place(name) {
            *place = Some(value);
        }
    }
    if reader.is_at_end() { Ok(Some(parts)) } else { Err(BadFrame) }
}
