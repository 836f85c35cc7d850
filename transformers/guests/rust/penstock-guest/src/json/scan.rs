//! Walks JSON text without building anything: checks the grammar of RFC 8259 and says where values begin and end.

use std::borrow::Cow;

use super::{Error, text};

/// How deep values may be nested. A bit per level is kept on the stack, so the event cannot make this cost anything.
const DEPTH_MAX: usize = 512;

/// A position in a text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Scanner { text, at: 0 }
    }

    /// The next value's text, checked.
    pub fn value(&mut self) -> Result<&'a str, Error> {
        self.skip_space();
        let start = self.at;
        self.skip_value()?;
        Ok(&self.text[start..self.at])
    }

    /// The next string, decoded, with the colon behind it taken.
    pub fn name(&mut self) -> Result<Cow<'a, str>, Error> {
        let start = self.at;
        let is_plain = self.skip_string()?;
        let name = &self.text[start..self.at];
        self.expect(b':', "expected a colon")?;
        if is_plain { Ok(Cow::Borrowed(&name[1..name.len() - 1])) } else { text::decode(name) }
    }

    /// Takes `open`, or says that `what` was expected.
    pub fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Error> {
        if self.next_byte() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.error(what))
    }

    /// Takes `close` if it is next.
    pub fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.next_byte() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// After an item: true when another follows, false when `close` ended the list.
    pub fn continues(&mut self, close: u8) -> Result<bool, Error> {
        match self.next_byte() {
            Some(b',') => {
                self.at += 1;
                self.skip_space();
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.error("expected a comma or the end of the list")),
        }
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), Error> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => Err(self.error("more text after the value")),
        }
    }

    fn error(&self, problem: &'static str) -> Error {
        let problem = if self.at >= self.text.len() { "the text ends too early" } else { problem };
        Error { problem, at: self.at }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not white space.
    fn next_byte(&mut self) -> Option<u8> {
        self.skip_space();
        self.byte()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// The one loop over nested values; `open` remembers which of them are objects.
    fn skip_value(&mut self) -> Result<(), Error> {
        let mut open = Levels::default();
        loop {
            let was_opened = match self.byte() {
                Some(b'{') => self.open(&mut open, true)?,
                Some(b'[') => self.open(&mut open, false)?,
                _ => {
                    self.skip_scalar()?;
                    false
                }
            };
            if !was_opened && !self.close(&mut open)? {
                return Ok(());
            }
            if open.is_object() {
                self.skip_space();
                self.skip_string()?;
                self.expect(b':', "expected a colon")?;
            }
            self.skip_space();
        }
    }

    /// Enters an object or array; false when it is empty, and then already left.
    fn open(&mut self, open: &mut Levels, is_object: bool) -> Result<bool, Error> {
        self.at += 1;
        if self.takes(if is_object { b'}' } else { b']' }) {
            return Ok(false);
        }
        if !open.push(is_object) {
            return Err(self.error("nested too deeply"));
        }
        Ok(true)
    }

    /// After a value: leaves all that end here; true when another value follows.
    fn close(&mut self, open: &mut Levels) -> Result<bool, Error> {
        while open.depth > 0 {
            if self.continues(if open.is_object() { b'}' } else { b']' })? {
                return Ok(true);
            }
            open.depth -= 1;
        }
        Ok(false)
    }

    fn skip_scalar(&mut self) -> Result<(), Error> {
        match self.byte() {
            Some(b'"') => self.skip_string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.skip_number(),
            Some(b't') => self.skip_literal("true"),
            Some(b'f') => self.skip_literal("false"),
            Some(b'n') => self.skip_literal("null"),
            _ => Err(self.error("expected a value")),
        }
    }

    fn skip_literal(&mut self, literal: &str) -> Result<(), Error> {
        if !self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()) {
            return Err(self.error("expected a value"));
        }
        self.at += literal.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<(), Error> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.skip_digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.skip_digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    fn skip_digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start { Err(self.error("expected a digit")) } else { Ok(()) }
    }

    /// True when the string is plain: without escapes.
    fn skip_string(&mut self) -> Result<bool, Error> {
        let mut is_plain = true;
        if self.byte() != Some(b'"') {
            return Err(self.error("expected a string"));
        }
        self.at += 1;
        loop {
            self.skip_plain();
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(is_plain);
                }
                Some(b'\\') => {
                    is_plain = false;
                    self.skip_escape()?;
                }
                _ => return Err(self.error("a control character inside a string")),
            }
        }
    }

    /// Moves to the next quote, backslash or control character, eight bytes at a time.
    fn skip_plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(eight) = bytes.get(self.at..self.at + 8) {
            let stops = stops(u64::from_le_bytes(eight.try_into().expect("eight bytes")));
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize / 8;
                return;
            }
            self.at += 8;
        }
        while self.byte().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.at += 1;
        }
    }

    fn skip_escape(&mut self) -> Result<(), Error> {
        self.at += 1;
        match self.byte() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.byte().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return Err(self.error("expected a hexadecimal digit"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.error("no such escape")),
        }
        Ok(())
    }
}

/// The high bit of each byte that is a quote, a backslash or below 0x20. Only the lowest one set is sure to be right: a
/// subtraction borrows from the bytes above it. (Sean Anderson, "Bit Twiddling Hacks", "Determine if a word has a byte less than n".)
fn stops(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGH;
    let quote = ONES * u64::from(b'"');
    let backslash = ONES * u64::from(b'\\');
    below(word, 0x20) | below(word ^ quote, 1) | below(word ^ backslash, 1)
}

/// Which of the open levels are objects: one bit each.
#[derive(Default)]
struct Levels {
    objects: [u64; DEPTH_MAX / 64],
    depth: usize,
}

impl Levels {
    /// False when there is no room for another level.
    fn push(&mut self, is_object: bool) -> bool {
        let Some(word) = self.objects.get_mut(self.depth / 64) else { return false };
        let bit = 1 << (self.depth % 64);
        *word = if is_object { *word | bit } else { *word & !bit };
        self.depth += 1;
        true
    }

    /// True when the innermost level is an object.
    fn is_object(&self) -> bool {
        let Some(innermost) = self.depth.checked_sub(1) else { return false };
        self.objects[innermost / 64] >> (innermost % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IgnoredAny;

    fn accepts(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().and_then(|_| scanner.end()).is_ok()
    }

    fn agrees(text: &str) {
        let expected = serde_json::from_str::<IgnoredAny>(text).is_ok();
        assert_eq!(accepts(text), expected, "{text}");
    }

    const SEED: &str = r#" {"a" : [1, -0.5e+10 ,"x\u00e9\"\\" , {} ,[ ] ], "é😀":{"b":true,"c":null,"d":[false,{"e":0}]} , "long text here":1E5} "#;

    #[test]
    fn agrees_with_serde_json_on_every_single_change() {
        agrees(SEED);
        for (at, character) in SEED.char_indices() {
            let (before, rest) = SEED.split_at(at);
            let after = &rest[character.len_utf8()..];
            agrees(before);
            agrees(&[before, after].concat());
            for other in "{}[]:,\"\\ /u0159-+.eEtfnalr\t\n\u{0}\u{1f}\u{7f}ä".chars() {
                agrees(&[before, &other.to_string(), after].concat());
                agrees(&[before, &other.to_string(), rest].concat());
            }
        }
    }

    #[test]
    fn agrees_with_serde_json_on_odd_texts() {
        for text in [
            "",
            " ",
            "0",
            "00",
            "01",
            "-",
            "-0",
            "1.",
            ".1",
            "1e",
            "nul",
            "nulll",
            "tru",
            "\"",
            "\"\\",
            "\"\\u12",
            "\"\\x\"",
            "]",
            "[1}",
            "{\"a\":1]",
            "[,]",
            "[1,]",
            "{,}",
            "{\"a\":1,}",
            "{1:1}",
            "\u{feff}1",
            "\u{a0}1",
            "[1 2]",
            "\"a\u{1f}b\"",
            "\"12345678\u{0}\"",
            "\"1234567\\n12345678\"",
        ] {
            agrees(text);
        }
    }

    #[test]
    fn depth_has_an_end() {
        let nested = |depth: usize| "[{\"a\":".repeat(depth / 2) + "1" + &"}]".repeat(depth / 2);
        assert!(accepts(&nested(DEPTH_MAX)));
        assert!(!accepts(&nested(DEPTH_MAX + 2)));
        assert!(!accepts(&"[".repeat(1_000_000)));
    }

    #[test]
    fn every_byte_stops_or_does_not() {
        for byte in 0..=255_u8 {
            for position in 0..8 {
                let mut word = [b'a'; 8];
                word[position] = byte;
                let stops = stops(u64::from_le_bytes(word));
                let expected = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(stops != 0, expected, "{byte:#x}");
                assert!(!expected || stops.trailing_zeros() as usize / 8 == position);
            }
        }
    }
}
