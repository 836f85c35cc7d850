//! Edits JSON in place: parses only what it must and splices new fields into the original text.
//!
//! Key order, white space and the exact text of every number nobody touched survive, which a parsed document would not
//! keep (int64 and decimals would go through doubles), and the cost is a third of building one.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
pub use serde_json::value::RawValue;

/// Why a text is not the JSON that was expected; says where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error(error.to_string())
    }
}

/// What a JSON value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// Any number.
    Number,
    /// Any string.
    String,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

impl Kind {
    /// The kind of a value that was parsed.
    pub fn of(value: &RawValue) -> Self {
        match value.get().as_bytes()[0] {
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Boolean,
            b'"' => Kind::String,
            b'[' => Kind::Array,
            b'{' => Kind::Object,
            _ => Kind::Number,
        }
    }
}

/// The bytes as text. JSON is UTF-8.
pub fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|error| Error(format!("not UTF-8 from byte {} on", error.valid_up_to())))
}

/// Calls `each` with every member of the object that `text` is, in order; names that repeat come repeatedly.
pub fn members<'a>(text: &'a str, each: &mut dyn FnMut(&str, &'a RawValue)) -> Result<(), Error> {
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.deserialize_map(Members(each))?;
    Ok(parser.end()?)
}

/// Calls `each` with every element of the array that `text` is, in order.
pub fn elements<'a>(text: &'a str, each: &mut dyn FnMut(&'a RawValue)) -> Result<(), Error> {
    let mut parser = serde_json::Deserializer::from_str(text);
    parser.deserialize_seq(Elements(each))?;
    Ok(parser.end()?)
}

/// The value at a path of member names, or `None` when any of them is missing or lies in no object.
pub fn find<'a>(text: &'a str, path: &[&str]) -> Result<Option<&'a RawValue>, Error> {
    let mut found: &'a RawValue = serde_json::from_str(text)?;
    for step in path {
        if Kind::of(found) != Kind::Object {
            return Ok(None);
        }
        let mut next = None;
        members(found.get(), &mut |name, value| {
            if name == *step {
                next = Some(value);
            }
        })?;
        let Some(value) = next else { return Ok(None) };
        found = value;
    }
    Ok(Some(found))
}

/// The text that a JSON string stands for; `None` for every other kind.
pub fn string(value: &RawValue) -> Result<Option<Cow<'_, str>>, Error> {
    if Kind::of(value) != Kind::String {
        return Ok(None);
    }
    let Name(text) = serde_json::from_str(value.get())?;
    Ok(Some(text))
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members<'f, 'a>(&'f mut dyn FnMut(&str, &'a RawValue));

impl<'a> Visitor<'a> for Members<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            (self.0)(&name, map.next_value()?);
        }
        Ok(())
    }
}

struct Elements<'f, 'a>(&'f mut dyn FnMut(&'a RawValue));

impl<'a> Visitor<'a> for Elements<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(value) = sequence.next_element()? {
            (self.0)(value);
        }
        Ok(())
    }
}

/// A new value for an edit.
#[derive(Clone, Copy, Debug)]
pub enum New<'v> {
    /// `null`
    Null,
    /// An integer.
    Integer(i64),
    /// A string; quotes and escapes are added.
    Text(&'v str),
    /// JSON text that is written as it is.
    Raw(&'v str),
}

impl New<'_> {
    fn write(self, out: &mut Vec<u8>) {
        match self {
            New::Null => out.extend_from_slice(b"null"),
            New::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            New::Text(text) => write_string(out, text),
            New::Raw(json) => out.extend_from_slice(json.as_bytes()),
        }
    }
}

/// Appends `text` as a JSON string.
fn write_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string can always be written to memory");
}

/// Changes to one JSON text, applied all at once.
///
/// Values are named by where they lie: pass what [`members`], [`elements`] or [`find`] lent from the very same text.
#[derive(Debug)]
pub struct Edits<'a> {
    source: &'a str,
    edits: Vec<Edit>,
    inserted: Vec<u8>,
}

/// `source[start..end]` becomes `inserted[from..to]`.
#[derive(Clone, Copy, Debug)]
struct Edit {
    start: usize,
    end: usize,
    from: usize,
    to: usize,
}

/// By position; members appended to one object keep their order. Edits are few and mostly in order already, and the
/// library's stable sort is 10 KB of code.
fn sort(edits: &mut [Edit]) {
    for sorted in 1..edits.len() {
        let mut at = sorted;
        while at > 0 && (edits[at].start, edits[at].end) < (edits[at - 1].start, edits[at - 1].end) {
            edits.swap(at, at - 1);
            at -= 1;
        }
    }
}

impl<'a> Edits<'a> {
    /// No changes to `source` yet.
    pub fn new(source: &'a str) -> Self {
        Edits { source, edits: Vec::new(), inserted: Vec::new() }
    }

    /// True while nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Replaces a value.
    pub fn replace(&mut self, value: &'a RawValue, new: New) {
        let start = self.position(value.get());
        let from = self.inserted.len();
        new.write(&mut self.inserted);
        self.edits.push(Edit { start, end: start + value.get().len(), from, to: self.inserted.len() });
    }

    /// Adds a member at the end of an object, behind those appended before.
    pub fn append(&mut self, object: &'a RawValue, name: &str, new: New) {
        let text = object.get();
        assert!(text.starts_with('{'), "only objects have members");
        let inside = text[..text.len() - 1].trim_ascii_end();
        let at = self.position(text) + inside.len();
        let is_first = inside.len() == 1 && !self.edits.iter().any(|edit| edit.start == at && edit.end == at);
        let from = self.inserted.len();
        if !is_first {
            self.inserted.push(b',');
        }
        write_string(&mut self.inserted, name);
        self.inserted.push(b':');
        new.write(&mut self.inserted);
        self.edits.push(Edit { start: at, end: at, from, to: self.inserted.len() });
    }

    /// Replaces the member's value where it exists, else appends the member.
    pub fn set(&mut self, object: &'a RawValue, existing: Option<&'a RawValue>, name: &str, new: New) {
        match existing {
            Some(value) => self.replace(value, new),
            None => self.append(object, name, new),
        }
    }

    /// The text with all changes made.
    pub fn finish(mut self) -> Vec<u8> {
        sort(&mut self.edits);
        let mut out = Vec::with_capacity(self.source.len() + self.inserted.len());
        let mut done = 0;
        for edit in &self.edits {
            assert!(edit.start >= done, "two edits change the same text");
            out.extend_from_slice(&self.source.as_bytes()[done..edit.start]);
            out.extend_from_slice(&self.inserted[edit.from..edit.to]);
            done = edit.end;
        }
        out.extend_from_slice(&self.source.as_bytes()[done..]);
        out
    }

    /// Where `part` lies in the source.
    fn position(&self, part: &str) -> usize {
        let start = (part.as_ptr() as usize).wrapping_sub(self.source.as_ptr() as usize);
        assert!(start <= self.source.len() && part.len() <= self.source.len() - start, "the value is of another text");
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(source: &str, change: impl for<'a> FnOnce(&mut Edits<'a>, &'a RawValue)) -> String {
        let root: &RawValue = serde_json::from_str(source).unwrap();
        let mut edits = Edits::new(source);
        change(&mut edits, root);
        String::from_utf8(edits.finish()).unwrap()
    }

    fn at<'a>(root: &'a RawValue, path: &[&str]) -> &'a RawValue {
        find(root.get(), path).unwrap().unwrap()
    }

    #[test]
    fn numbers_and_order_survive() {
        let source = r#"{"z":1e400, "n":12345678901234567890.10, "a":{"b":1}}"#;
        let result = edited(source, |edits, root| {
            edits.append(at(root, &["a"]), "c", New::Integer(-1));
            edits.replace(at(root, &["a", "b"]), New::Text("q\"é\u{1}"));
        });
        assert_eq!(result, "{\"z\":1e400, \"n\":12345678901234567890.10, \"a\":{\"b\":\"q\\\"é\\u0001\",\"c\":-1}}");
    }

    #[test]
    fn an_empty_object_gets_no_leading_comma() {
        for (source, result) in [("{}", r#"{"a":1,"b":null}"#), (" { } ", r#" {"a":1,"b":null } "#)] {
            let done = edited(source, |edits, root| {
                edits.append(root, "a", New::Integer(1));
                edits.append(root, "b", New::Null);
            });
            assert_eq!(done, result);
        }
    }

    #[test]
    fn white_space_before_the_brace_stays_behind_the_new_member() {
        let done = edited("{\n  \"a\": 1\n}", |edits, root| edits.append(root, "b", New::Raw("[2]")));
        assert_eq!(done, "{\n  \"a\": 1,\"b\":[2]\n}");
    }

    #[test]
    fn set_replaces_what_exists_and_appends_what_does_not() {
        let done = edited(r#"{"a":1}"#, |edits, root| {
            edits.set(root, Some(at(root, &["a"])), "a", New::Integer(2));
            edits.set(root, None, "b", New::Integer(3));
        });
        assert_eq!(done, r#"{"a":2,"b":3}"#);
    }

    #[test]
    fn escaped_names_are_found_and_repeated_ones_seen() {
        let mut seen = Vec::new();
        members(r#"{"\u0061":1,"a":2}"#, &mut |name, value| seen.push(format!("{name}={}", value.get()))).unwrap();
        assert_eq!(seen, ["a=1", "a=2"]);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for source in ["", "null", "[]", "{\"a\":1} x", "{\"a\":}", "{\"a\" 1}"] {
            assert!(members(source, &mut |_, _| ()).is_err(), "{source}");
        }
        assert!(text(b"\xff").unwrap_err().to_string().contains("byte 0"));
    }

    #[test]
    fn deep_nesting_does_not_exhaust_the_stack() {
        let source = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(members(&source, &mut |_, _| ()).is_ok());
    }
}
