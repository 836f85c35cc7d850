//! Changes to a JSON text, spliced in where the values lie.

use super::{Raw, text};

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
            New::Text(text) => text::write(out, text),
            New::Raw(json) => out.extend_from_slice(json.as_bytes()),
        }
    }
}

/// Changes to one JSON text, applied all at once.
///
/// Values are named by where they lie: pass what [`members`](super::members), [`elements`](super::elements) or
/// [`find`](super::find) lent from the very same text.
#[derive(Debug)]
pub struct Edits<'a> {
    source: &'a str,
    edits: Vec<Edit>,
    inserted: Vec<u8>,
}

/// Room for what is usually inserted, so that it is allocated once.
const INSERTED_BYTES: usize = 256;

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
        Edits { source, edits: Vec::new(), inserted: Vec::with_capacity(INSERTED_BYTES) }
    }

    /// True while nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Replaces a value.
    pub fn replace(&mut self, value: Raw<'a>, new: New) {
        let start = self.position(value.text());
        let from = self.inserted.len();
        new.write(&mut self.inserted);
        self.edits.push(Edit { start, end: start + value.text().len(), from, to: self.inserted.len() });
    }

    /// Adds a member at the end of an object, behind those appended before.
    pub fn append(&mut self, object: Raw<'a>, name: &str, new: New) {
        let text = object.text();
        assert!(text.starts_with('{'), "only objects have members");
        let inside = text[..text.len() - 1].trim_ascii_end();
        let at = self.position(text) + inside.len();
        let is_first = inside.len() == 1 && !self.edits.iter().any(|edit| edit.start == at && edit.end == at);
        let from = self.inserted.len();
        if !is_first {
            self.inserted.push(b',');
        }
        text::write(&mut self.inserted, name);
        self.inserted.push(b':');
        new.write(&mut self.inserted);
        self.edits.push(Edit { start: at, end: at, from, to: self.inserted.len() });
    }

    /// Replaces the member's value where it exists, else appends the member.
    pub fn set(&mut self, object: Raw<'a>, existing: Option<Raw<'a>>, name: &str, new: New) {
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
    fn set_replaces_what_exists_and_appends_what_does_not() {
        let done = edited(r#"{"a":1}"#, |edits, root| {
            edits.set(root, Some(at(root, &["a"])), "a", New::Integer(2));
            edits.set(root, None, "b", New::Integer(3));
        });
        assert_eq!(done, r#"{"a":2,"b":3}"#);
    }
}
