//! Changes to a JSON text, spliced in where the values lie.

use std::cell::Cell;

use super::{Raw, text, write_integer};
use crate::bytes::append;

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
            New::Null => append(out, b"null"),
            New::Integer(number) => write_integer(out, number),
            New::Text(text) => text::write(out, text),
            New::Raw(json) => append(out, json.as_bytes()),
        }
    }
}

/// Changes to one JSON text, applied all at once.
///
/// Values are named by where they lie: pass what [`members`](super::members), [`elements`](super::elements) or
/// [`find`](super::find) lent from the very same text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edits<'a> {
    source: &'a str,
    lists: Lists,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Lists {
    edits: Vec<Edit>,
    inserted: Vec<u8>,
}

/// Room for what is usually inserted, so that it is allocated once.
const INSERTED_BYTES: usize = 256;
/// Lists larger than this are not kept for the next event.
const KEPT_BYTES_MAX: usize = 16 << 10;

thread_local! {
    /// The lists of the edits that were made before: allocating new ones costs a tenth of an event.
    static SPARE: Cell<Option<Lists>> = const { Cell::new(None) };
}

/// `source[start..end]` becomes `inserted[from..to]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let new = || Lists { edits: Vec::with_capacity(8), inserted: Vec::with_capacity(INSERTED_BYTES) };
        Edits { source, lists: SPARE.take().unwrap_or_else(new) }
    }

    /// True while nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.lists.edits.is_empty()
    }

    /// Replaces a value.
    pub fn replace(&mut self, value: Raw<'a>, new: New) {
        self.replace_with(value, |out| new.write(out));
    }

    /// Adds a member at the end of an object, behind those appended before.
    pub fn append(&mut self, object: Raw<'a>, name: &str, new: New) {
        self.append_with(object, name, |out| new.write(out));
    }

    /// Replaces the member's value where it exists, else appends the member.
    pub fn set(&mut self, object: Raw<'a>, existing: Option<Raw<'a>>, name: &str, new: New) {
        self.set_with(object, existing, name, |out| new.write(out));
    }

    /// Like `set`, with a value that `write` appends to a buffer as JSON text.
    pub fn set_with(
        &mut self,
        object: Raw<'a>,
        existing: Option<Raw<'a>>,
        name: &str,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        match existing {
            Some(value) => self.replace_with(value, write),
            None => self.append_with(object, name, write),
        }
    }

    fn replace_with(&mut self, value: Raw<'a>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.position(value.text());
        let Lists { edits, inserted } = &mut self.lists;
        let from = inserted.len();
        write(inserted);
        edits.push(Edit { start, end: start + value.text().len(), from, to: inserted.len() });
    }

    fn append_with(&mut self, object: Raw<'a>, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let text = object.text();
        assert!(text.starts_with('{'), "only objects have members");
        let inside = trimmed(&text[..text.len() - 1]);
        let at = self.position(text) + inside.len();
        let Lists { edits, inserted } = &mut self.lists;
        let is_first = inside.len() == 1 && !edits.iter().any(|edit| edit.start == at && edit.end == at);
        let from = inserted.len();
        if !is_first {
            inserted.push(b',');
        }
        text::write(inserted, name);
        inserted.push(b':');
        write(inserted);
        match edits.last_mut() {
            Some(last) if last.start == at && last.end == at => last.to = inserted.len(),
            _ => edits.push(Edit { start: at, end: at, from, to: inserted.len() }),
        }
    }

    /// The text with all changes made.
    pub fn finish(mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length());
        self.write(&mut out);
        out
    }

    /// Bytes of the text with all changes made.
    pub(crate) fn length(&self) -> usize {
        let removed: usize = self.lists.edits.iter().map(|edit| edit.end - edit.start).sum();
        self.source.len() + self.lists.inserted.len() - removed
    }

    /// Appends the text with all changes made.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) {
        let (source, Lists { edits, inserted }) = (self.source.as_bytes(), &mut self.lists);
        sort(edits);
        let mut done = 0;
        for edit in edits {
            assert!(edit.start >= done, "two edits change the same text");
            out.extend_from_slice(&source[done..edit.start]);
            out.extend_from_slice(&inserted[edit.from..edit.to]);
            done = edit.end;
        }
        out.extend_from_slice(&source[done..]);
    }

    /// Where `part` lies in the source.
    fn position(&self, part: &str) -> usize {
        let start = (part.as_ptr() as usize).wrapping_sub(self.source.as_ptr() as usize);
        assert!(start <= self.source.len() && part.len() <= self.source.len() - start, "the value is of another text");
        start
    }
}

/// Without the white space at the end, of which there mostly is none.
fn trimmed(text: &str) -> &str {
    if text.as_bytes().last().is_some_and(|&last| last > b' ') { text } else { text.trim_ascii_end() }
}

impl Drop for Edits<'_> {
    fn drop(&mut self) {
        let mut lists = std::mem::take(&mut self.lists);
        if lists.inserted.capacity() + size_of::<Edit>() * lists.edits.capacity() <= KEPT_BYTES_MAX {
            lists.edits.clear();
            lists.inserted.clear();
            SPARE.set(Some(lists));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::*;

    fn edited(source: &str, change: impl for<'a> FnOnce(&mut Edits<'a>, Raw<'a>)) -> String {
        let root = Raw::parse(source).unwrap();
        let mut edits = Edits::new(source);
        change(&mut edits, root);
        String::from_utf8(edits.finish()).unwrap()
    }

    fn at<'a>(root: Raw<'a>, path: &[&str]) -> Raw<'a> {
        find(root.text(), path).unwrap().unwrap()
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
    fn a_replacement_between_two_appended_members_changes_nothing_for_them() {
        let done = edited(r#"{"a":1,"o":{}}"#, |edits, root| {
            let inner = at(root, &["o"]);
            edits.append(inner, "x", New::Integer(1));
            edits.replace(at(root, &["a"]), New::Null);
            edits.append(inner, "y", New::Integer(2));
            edits.append(inner, "z", New::Integer(3));
        });
        assert_eq!(done, r#"{"a":null,"o":{"x":1,"y":2,"z":3}}"#);
    }

    #[test]
    fn nothing_of_earlier_edits_is_left() {
        let source = r#"{"a":1}"#;
        drop(edited(source, |edits, root| edits.append(root, "b", New::Text(&"x".repeat(KEPT_BYTES_MAX)))));
        drop(edited(source, |edits, root| edits.append(root, "b", New::Integer(1))));
        let edits = Edits::new(source);
        assert!(edits.is_empty() && edits.length() == source.len());
        assert_eq!(edits.finish(), source.as_bytes());
    }

    #[test]
    fn the_length_is_known_before() {
        let mut edits = Edits::new(r#"{"a":"long value","b":1}"#);
        edits.replace(at(Raw::parse(edits.source).unwrap(), &["a"]), New::Null);
        edits.append(Raw::parse(edits.source).unwrap(), "c", New::Text("\n"));
        assert_eq!(edits.length(), edits.finish().len());
    }

    #[test]
    fn set_replaces_what_exists_and_appends_what_does_not() {
        let done = edited(r#"{"a":1}"#, |edits, root| {
            edits.set(root, Some(at(root, &["a"])), "a", New::Integer(2));
            edits.set(root, None, "b", New::Integer(3));
        });
        assert_eq!(done, r#"{"a":2,"b":3}"#);
    }
}
