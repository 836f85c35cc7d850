//! Names with `*` in them: of tables, and of columns with what is inside of them.

use std::fmt;

use serde::Deserialize;

use crate::change::Change;
use crate::visit::Way;

/// A name in which `*` stands for any run of characters, and `?` for any one.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(from = "String")]
pub struct Pattern {
    text: String,
    is_plain: bool,
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        let is_plain = !text.contains(['*', '?']);
        Pattern { text, is_plain }
    }
}

impl Pattern {
    /// Whether it stands for this name.
    pub fn matches(&self, name: &str) -> bool {
        if self.is_plain { self.text == name } else { matches(self.text.as_bytes(), name.as_bytes()) }
    }

    /// Whether it stands for every name.
    pub fn is_any(&self) -> bool {
        self.text == "*"
    }

    /// As it is written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The usual way: on a mismatch the last `*` takes one character more, so the work is at most pattern × name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of, mut star) = (0, 0, None);
    while at < name.len() {
        match pattern.get(of) {
            Some(b'*') => {
                star = Some((of, at));
                of += 1;
            }
            Some(b'?') => {
                at += char_length(name[at]);
                of += 1;
            }
            Some(byte) if *byte == name[at] => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((star_of, star_at)) = star else { return false };
                star = Some((star_of, star_at + 1));
                (of, at) = (star_of + 1, star_at + 1);
            }
        }
    }
    pattern[of..].iter().all(|byte| *byte == b'*')
}

/// Bytes of the UTF-8 character that begins so.
fn char_length(first: u8) -> usize {
    match first {
        0x00..=0xbf => 1,
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    }
}

/// Which tables a rule is for. A pattern is tried against `table`, and against `schema.table` (or `db.table`, where the source has
/// no schemas).
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Tables(Vec<Pattern>);

impl Tables {
    /// Whether the event's table is one of them. An event that names no table is of none, unless all are meant.
    pub fn matches(&self, change: &Change) -> bool {
        if self.0.iter().any(Pattern::is_any) {
            return true;
        }
        let Some(table) = change.source_text("table") else { return false };
        let space = change.source_text("schema").or_else(|| change.source_text("db"));
        let full = space.map(|space| format!("{space}.{table}"));
        self.0.iter().any(|one| one.matches(&table) || full.as_deref().is_some_and(|full| one.matches(full)))
    }
}

/// The way to a column and into it: `email`, `address.street`, `*.email`. Lists on the way are gone through.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "String")]
pub struct Path(pub Vec<Pattern>);

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            write!(formatter, "{dot}{}", step.text)?;
        }
        Ok(())
    }
}

impl From<String> for Path {
    fn from(text: String) -> Self {
        Path(text.split('.').map(|step| Pattern::from(step.to_owned())).collect())
    }
}

/// Where the paths of some rules lead.
pub fn ways<'r, R>(rules: impl Iterator<Item = (&'r R, &'r [Path])>) -> Vec<Way<'r, &'r R>> {
    rules.flat_map(|(rule, paths)| paths.iter().map(move |path| (rule, path.0.as_slice()))).collect()
}

impl Pattern {
    /// What each `*` stands for in this name, the first as little as may be; `None` when the pattern does not fit.
    pub fn captures<'n>(&self, name: &'n str) -> Option<Vec<&'n str>> {
        let mut parts = self.text.split('*');
        let mut rest = name.strip_prefix(parts.next()?)?;
        let mut found = Vec::new();
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            let at = match parts.peek() {
                None => rest.ends_with(part).then(|| rest.len() - part.len())?,
                Some(_) => rest.find(part)?,
            };
            found.push(&rest[..at]);
            rest = &rest[at + part.len()..];
        }
        rest.is_empty().then_some(found)
    }

    /// The pattern with what its `*` stand for, in order; those that have nothing stand for nothing.
    pub fn filled(&self, captures: &[&str]) -> String {
        let mut parts = self.text.split('*');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for (at, part) in parts.enumerate() {
            out += captures.get(at).copied().unwrap_or_default();
            out += part;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_run() {
        let matching = |pattern: &str, name: &str| Pattern::from(pattern.to_owned()).matches(name);
        for (pattern, name) in
            [("a", "a"), ("*", ""), ("*_email", "work_email"), ("a*b*c", "aXbYbc"), ("?x", "äx"), ("a**", "a")]
        {
            assert!(matching(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("a", "b"), ("a*", "b"), ("*_email", "email"), ("?", ""), ("a?", "a"), ("a*b", "abc")] {
            assert!(!matching(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn captures_fill_another_pattern() {
        let pattern = |text: &str| Pattern::from(text.to_owned());
        for (from, to, name, made) in [
            ("cust_*", "customer_*", "cust_id", Some("customer_id")),
            ("*.public.*", "*.v2.*", "shop.public.orders", Some("shop.v2.orders")),
            ("a", "b", "a", Some("b")),
            ("a*", "b", "ax", Some("b")),
            ("a*a", "*", "a", None),
            ("a*", "*", "b", None),
            ("*", "old_*", "", Some("old_")),
        ] {
            let found = pattern(from).captures(name).map(|found| pattern(to).filled(&found));
            assert_eq!(found.as_deref(), made, "{from} {name}");
        }
    }
}
