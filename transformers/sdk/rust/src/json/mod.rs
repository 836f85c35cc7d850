//! Edits JSON in place: checks all of a text, parses only what it must and splices new fields into the original.
//!
//! Key order, white space and the exact text of every number nobody touched survive, which a parsed document would not
//! keep (int64 and decimals would go through doubles), and the cost is a third of building one. The scanner is the crate's
//! own because a general JSON crate is half of a small guest's code; its tests hold it against `serde_json`.

mod block;
mod de;
mod edits;
mod number;
mod scan;
mod text;

use std::borrow::Cow;
use std::fmt;

pub use edits::{Edits, New};
pub use number::write_integer;
use scan::{Problem, Scanner};
pub(crate) use text::write as write_text;

use crate::bytes;
use block::{BYTES, Block};

/// Why a text is not the JSON that was expected, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    problem: &'static str,
    /// Bytes before it.
    at: usize,
}

impl Error {
    /// An error about all of the text.
    pub(crate) fn new(problem: &'static str) -> Self {
        Error { problem, at: 0 }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} (at byte {})", self.problem, self.at)
    }
}

impl std::error::Error for Error {}

/// One JSON value: its text, checked, without white space around it, borrowed from the text it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

/// What a JSON value is.
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

impl<'a> Raw<'a> {
    /// The value that `text` is, white space around it left out.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let mut scanner = Scanner::new(text);
        let value = scanner.value().and_then(|value| scanner.end().map(|()| Raw(value)));
        value.map_err(|problem| scanner.error(problem))
    }

    /// The value's text, as it stands in its source.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// What the value is, told by its first byte.
    pub fn kind(self) -> Kind {
        match self.0.as_bytes()[0] {
            b'n' => Kind::Null,
            b't' | b'f' => Kind::Boolean,
            b'"' => Kind::String,
            b'[' => Kind::Array,
            b'{' => Kind::Object,
            _ => Kind::Number,
        }
    }

    /// The text that a string stands for; `None` for every other kind. An error means half of a surrogate pair.
    pub fn string(self) -> Result<Option<Cow<'a, str>>, Error> {
        match self.kind() {
            Kind::String => text::decode(self.0).map(Some).map_err(|problem| Error::new(problem.text())),
            _ => Ok(None),
        }
    }

    /// What stands between the quotes of a string, escapes and all; `None` for every other kind.
    pub fn inside(self) -> Option<&'a str> {
        self.0.strip_prefix('"').map(|rest| &rest[..rest.len() - 1])
    }
}

/// `name == constant`, faster than comparing when the constant is known where this is compiled.
#[inline(always)]
pub fn is(name: &str, constant: &'static str) -> bool {
    bytes::same(name.as_bytes(), constant.as_bytes())
}

/// The bytes as text. JSON is UTF-8, and mostly ASCII.
pub fn text(bytes: &[u8]) -> Result<&str, Error> {
    let (blocks, rest) = bytes.as_chunks::<BYTES>();
    let (fours, rest_blocks) = blocks.as_chunks::<4>();
    let are_ascii = |four: &[[u8; BYTES]; 4]| Block::are_ascii([0, 1, 2, 3].map(|at| Block::of(&four[at])));
    let last = |blocks: &[[u8; BYTES]]| blocks.iter().all(|block| Block::are_ascii([Block::of(block); 4]));
    if fours.iter().all(are_ascii) && last(rest_blocks) && rest.is_ascii() {
        // SAFETY: every byte is ASCII.
        return Ok(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes).map_err(|error| Error { problem: "not UTF-8", at: error.valid_up_to() })
}

/// Calls `each` with every member of the object that `text` is, in order; names that repeat come repeatedly.
pub fn members<'a>(text: &'a str, mut each: impl FnMut(&str, Raw<'a>)) -> Result<(), Error> {
    let mut scanner = Scanner::new(text);
    walk_members(&mut scanner, |name, _, value| each(&name, value)).map_err(|problem| scanner.error(problem))
}

/// Like [`members`], with each name to keep, and the bytes before it.
pub(crate) fn members_at<'a>(text: &'a str, each: impl FnMut(Cow<'a, str>, usize, Raw<'a>)) -> Result<(), Error> {
    let mut scanner = Scanner::new(text);
    walk_members(&mut scanner, each).map_err(|problem| scanner.error(problem))
}

#[inline(always)]
fn walk_members<'a>(
    scanner: &mut Scanner<'a>,
    mut each: impl FnMut(Cow<'a, str>, usize, Raw<'a>),
) -> Result<(), Problem> {
    scanner.expect(b'{', Problem::NoObject)?;
    let mut is_more = !scanner.takes(b'}');
    while is_more {
        let start = scanner.at();
        let name = scanner.name()?;
        each(name, start, Raw(scanner.value()?));
        is_more = scanner.continues(b'}')?;
    }
    scanner.end()
}

/// Calls `each` with every element of the array that `text` is, in order.
pub fn elements<'a>(text: &'a str, each: &mut dyn FnMut(Raw<'a>)) -> Result<(), Error> {
    let mut scanner = Scanner::new(text);
    walk_elements(&mut scanner, each).map_err(|problem| scanner.error(problem))
}

fn walk_elements<'a>(scanner: &mut Scanner<'a>, each: &mut dyn FnMut(Raw<'a>)) -> Result<(), Problem> {
    scanner.expect(b'[', Problem::NoArray)?;
    let mut is_more = !scanner.takes(b']');
    while is_more {
        each(Raw(scanner.value()?));
        is_more = scanner.continues(b']')?;
    }
    scanner.end()
}

/// The value at a path of member names, or `None` when any of them is missing or lies in no object.
pub fn find<'a>(text: &'a str, path: &[&str]) -> Result<Option<Raw<'a>>, Error> {
    let mut found = Raw::parse(text)?;
    for step in path {
        if found.kind() != Kind::Object {
            return Ok(None);
        }
        let mut next = None;
        members(found.text(), |name, value| {
            if name == *step {
                next = Some(value);
            }
        })?;
        let Some(value) = next else { return Ok(None) };
        found = value;
    }
    Ok(Some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_found_and_repeated_ones_seen() {
        let mut seen = Vec::new();
        members(r#"{"\u0061":1,"a": 2 }"#, |name, value| seen.push(format!("{name}={}", value.text()))).unwrap();
        assert_eq!(seen, ["a=1", "a=2"]);
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for source in ["", "null", "[]", "{\"a\":1} x", "{\"a\":}", "{\"a\" 1}", "{\"a\":1 \"b\":2}"] {
            assert!(members(source, |_, _| ()).is_err(), "{source}");
        }
        assert_eq!(text(b"a\xff").unwrap_err().to_string(), "not UTF-8 (at byte 1)");
        assert_eq!(members("{", |_, _| ()).unwrap_err().to_string(), "the text ends too early (at byte 1)");
    }

    #[test]
    fn a_path_leads_through_objects_only() {
        let source = r#"{"a":{"b":[1]},"n":null}"#;
        assert_eq!(find(source, &["a", "b"]).unwrap().map(Raw::text), Some("[1]"));
        for path in [&["a", "x"][..], &["n", "b"], &["a", "b", "0"]] {
            assert_eq!(find(source, path).unwrap(), None);
        }
    }
}
