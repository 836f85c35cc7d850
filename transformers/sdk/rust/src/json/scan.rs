//! Walks JSON text without building anything: checks the grammar of RFC 8259 and says where values begin and end.
//!
//! Strings and runs of digits are crossed sixteen bytes at a time. What is common (a short plain string, a single space) is
//! inline and without a loop: each turn of a loop costs a deadline check.

use std::borrow::Cow;

use super::block::{BYTES, Block};
use super::{Error, text};
use crate::bytes::four;

/// How deep values may be nested. A bit per level is kept on the stack, so the event cannot make this cost anything.
const DEPTH_MAX: usize = 512;

/// What is wrong with a text. One byte, so that every answer of the scanner fits a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NoObject,
    NoArray,
    NoValue,
    NoString,
    NoColon,
    NoDigit,
    NoHexDigit,
    NoComma,
    NoEscape,
    Control,
    Surrogate,
    TooDeep,
    MoreText,
}

impl Problem {
    pub fn text(self) -> &'static str {
        match self {
            Problem::NoObject => "expected an object",
            Problem::NoArray => "expected an array",
            Problem::NoValue => "expected a value",
            Problem::NoString => "expected a string",
            Problem::NoColon => "expected a colon",
            Problem::NoDigit => "expected a digit",
            Problem::NoHexDigit => "expected a hexadecimal digit",
            Problem::NoComma => "expected a comma or the end of the list",
            Problem::NoEscape => "no such escape",
            Problem::Control => "a control character inside a string",
            Problem::Surrogate => "half of a surrogate pair in a string",
            Problem::TooDeep => "nested too deeply",
            Problem::MoreText => "more text after the value",
        }
    }
}

/// A position in a text. Functions that are not inlined take it by value: the position stays in a register then, where each
/// step through memory would wait for the one before.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// A whole block lies at each position before this one.
    blocks_end: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Scanner { text, at: 0, blocks_end: text.len().saturating_sub(BYTES - 1) }
    }

    /// Bytes before the position.
    #[inline(always)]
    pub fn at(&self) -> usize {
        self.at
    }

    /// Goes where an outlined walk from here ended.
    #[inline(always)]
    fn go<T>(&mut self, walk: impl FnOnce(Self) -> (usize, Result<T, Problem>)) -> Result<T, Problem> {
        let (at, result) = walk(*self);
        self.at = at;
        result
    }

    /// The next value's text, checked.
    #[inline(always)]
    pub fn value(&mut self) -> Result<&'a str, Problem> {
        self.skip_space();
        let start = self.at;
        match self.byte() {
            b'{' | b'[' => self.go(Self::nested)?,
            byte => self.skip_scalar(byte)?,
        }
        Ok(&self.text[start..self.at])
    }

    /// The next string, decoded, with the colon behind it taken.
    #[inline(always)]
    pub fn name(&mut self) -> Result<Cow<'a, str>, Problem> {
        let start = self.at;
        let is_plain = self.skip_string()?;
        let name = &self.text[start..self.at];
        self.expect(b':', Problem::NoColon)?;
        if is_plain { Ok(Cow::Borrowed(&name[1..name.len() - 1])) } else { text::decode(name) }
    }

    /// Takes `byte`, or says that it was expected.
    #[inline(always)]
    pub fn expect(&mut self, byte: u8, problem: Problem) -> Result<(), Problem> {
        if self.takes(byte) { Ok(()) } else { Err(problem) }
    }

    /// Takes `byte` if it is next.
    #[inline(always)]
    pub fn takes(&mut self, byte: u8) -> bool {
        self.skip_space();
        if self.byte() == byte {
            self.at += 1;
            return true;
        }
        false
    }

    /// After an item: true when another follows, false when `close` ended the list.
    #[inline(always)]
    pub fn continues(&mut self, close: u8) -> Result<bool, Problem> {
        if self.takes(b',') {
            self.skip_space();
            return Ok(true);
        }
        if self.byte() != close {
            return Err(Problem::NoComma);
        }
        self.at += 1;
        Ok(false)
    }

    /// Nothing but white space may follow.
    #[inline(always)]
    pub fn end(&mut self) -> Result<(), Problem> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(Problem::MoreText) }
    }

    /// The problem, and that it is here.
    #[cold]
    pub fn error(self, problem: Problem) -> Error {
        let problem = if self.at >= self.text.len() { "the text ends too early" } else { problem.text() };
        Error { problem, at: self.at }
    }

    /// The next byte; 0, which is allowed nowhere, at the end.
    #[inline(always)]
    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// The next sixteen bytes, unless the end is nearer.
    #[inline(always)]
    fn block(&self) -> Option<Block> {
        if self.at >= self.blocks_end {
            return None;
        }
        // SAFETY: `blocks_end` is so that sixteen bytes lie at every position before it.
        Some(Block::of(unsafe { &*self.text.as_ptr().add(self.at).cast() }))
    }

    /// Mostly there is none, or one. A branch for each: the processor guesses it, where it would have to wait for a sum.
    #[inline(always)]
    fn skip_space(&mut self) {
        if self.byte() > b' ' {
            return;
        }
        match self.text.as_bytes().get(self.at + 1) {
            Some(b'!'..) if self.byte() == b' ' => self.at += 1,
            _ => self.at = self.more_space(),
        }
    }

    #[inline(never)]
    fn more_space(mut self) -> usize {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.byte() {
            self.at += 1;
        }
        self.at
    }

    #[inline(never)]
    fn nested(mut self) -> (usize, Result<(), Problem>) {
        let result = self.skip_nested();
        (self.at, result)
    }

    /// The one loop over nested values: a turn is a member or an element.
    #[inline(always)]
    fn skip_nested(&mut self) -> Result<(), Problem> {
        let mut levels = Levels::default();
        let mut close = 0;
        loop {
            match self.byte() {
                open @ (b'{' | b'[') => {
                    self.at += 1;
                    if !self.takes(open + 2) {
                        levels.push(close == b'}')?;
                        close = open + 2;
                        if close == b'}' {
                            self.skip_name()?;
                        }
                        continue;
                    }
                }
                byte => self.skip_scalar(byte)?,
            }
            if levels.depth == 0 || !self.takes(b',') && !self.leaves(&mut levels, &mut close)? {
                return Ok(());
            }
            self.skip_space();
            if close == b'}' {
                self.skip_name()?;
            }
        }
    }

    /// Leaves all levels that end here; true when a comma, which is then taken, follows one of them.
    #[inline(always)]
    fn leaves(&mut self, levels: &mut Levels, close: &mut u8) -> Result<bool, Problem> {
        while levels.depth > 0 {
            if self.byte() != *close {
                return Err(Problem::NoComma);
            }
            self.at += 1;
            *close = if levels.pop() { b'}' } else { b']' };
            if levels.depth > 0 && self.takes(b',') {
                return Ok(true);
            }
        }
        Ok(false)
    }

    #[inline(always)]
    fn skip_name(&mut self) -> Result<(), Problem> {
        self.skip_string()?;
        self.expect(b':', Problem::NoColon)?;
        self.skip_space();
        Ok(())
    }

    #[inline(always)]
    fn skip_scalar(&mut self, byte: u8) -> Result<(), Problem> {
        match byte {
            b'"' => self.skip_string().map(|_| ()),
            b'0'..=b'9' => self.skip_number(),
            b'-' => self.go(Self::negative),
            b't' => self.skip_literal(*b"true"),
            b'f' => self.skip_literal(*b"alse"),
            b'n' => self.skip_literal(*b"null"),
            _ => Err(Problem::NoValue),
        }
    }

    /// A literal; the first letter of `false`, which is known, is left out.
    #[inline(always)]
    fn skip_literal(&mut self, letters: [u8; 4]) -> Result<(), Problem> {
        let start = self.at + usize::from(letters[0] == b'a');
        match self.text.as_bytes().get(start..start + 4) {
            Some(found) if four(found, 0) == u32::from_le_bytes(letters) => self.at = start + 4,
            _ => return Err(Problem::NoValue),
        }
        Ok(())
    }

    #[inline(never)]
    fn negative(mut self) -> (usize, Result<(), Problem>) {
        self.at += 1;
        let result = self.skip_number();
        (self.at, result)
    }

    #[inline(always)]
    fn skip_number(&mut self) -> Result<(), Problem> {
        match self.byte() {
            b'0' => self.at += 1,
            _ => self.skip_digits()?,
        }
        if self.byte() == b'.' {
            self.at += 1;
            self.skip_digits()?;
        }
        if let b'e' | b'E' = self.byte() {
            self.at += 1;
            if let b'+' | b'-' = self.byte() {
                self.at += 1;
            }
            return self.go(Self::more_digits);
        }
        Ok(())
    }

    /// At least one digit.
    #[inline(always)]
    fn skip_digits(&mut self) -> Result<(), Problem> {
        if let Some(block) = self.block() {
            let others = block.others_than_digits();
            if others != 0 {
                self.at += others.trailing_zeros() as usize;
                return if others & 1 == 1 { Err(Problem::NoDigit) } else { Ok(()) };
            }
        }
        self.go(Self::more_digits)
    }

    #[inline(never)]
    fn more_digits(mut self) -> (usize, Result<(), Problem>) {
        let start = self.at;
        while self.byte().is_ascii_digit() {
            self.at += 1;
        }
        (self.at, if self.at == start { Err(Problem::NoDigit) } else { Ok(()) })
    }

    /// True when the string is plain: without escapes.
    #[inline(always)]
    fn skip_string(&mut self) -> Result<bool, Problem> {
        if self.byte() != b'"' {
            return Err(Problem::NoString);
        }
        self.at += 1;
        if let Some(block) = self.block() {
            let stops = block.stops();
            let stop = self.at + stops.trailing_zeros() as usize;
            if self.text.as_bytes().get(stop) == Some(&b'"') && stops != 0 {
                self.at = stop + 1;
                return Ok(true);
            }
        }
        self.go(Self::more_of_string)
    }

    #[inline(never)]
    fn more_of_string(mut self) -> (usize, Result<bool, Problem>) {
        let is_plain = self.skip_more_of_string();
        (self.at, is_plain)
    }

    #[inline(always)]
    fn skip_more_of_string(&mut self) -> Result<bool, Problem> {
        let mut is_plain = true;
        loop {
            self.skip_plain();
            match self.byte() {
                b'"' => {
                    self.at += 1;
                    return Ok(is_plain);
                }
                b'\\' => {
                    is_plain = false;
                    self.skip_escape()?;
                }
                _ => return Err(Problem::Control),
            }
        }
    }

    /// Moves to the next quote, backslash or control character.
    #[inline(always)]
    fn skip_plain(&mut self) {
        while let Some(block) = self.block() {
            let stops = block.stops();
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize;
                return;
            }
            self.at += BYTES;
        }
        while self.byte() >= 0x20 && self.byte() != b'"' && self.byte() != b'\\' {
            self.at += 1;
        }
    }

    #[inline(always)]
    fn skip_escape(&mut self) -> Result<(), Problem> {
        self.at += 1;
        match self.byte() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.byte().is_ascii_hexdigit() {
                        return Err(Problem::NoHexDigit);
                    }
                    self.at += 1;
                }
            }
            _ => return Err(Problem::NoEscape),
        }
        Ok(())
    }
}

/// Which of the open levels are objects: one bit each.
#[derive(Default)]
struct Levels {
    objects: [u64; DEPTH_MAX / 64],
    depth: usize,
}

impl Levels {
    #[inline(always)]
    fn push(&mut self, is_object: bool) -> Result<(), Problem> {
        let word = self.objects.get_mut(self.depth / 64).ok_or(Problem::TooDeep)?;
        let bit = 1 << (self.depth % 64);
        *word = if is_object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Ok(())
    }

    /// What was pushed last; there must be something.
    #[inline(always)]
    fn pop(&mut self) -> bool {
        self.depth -= 1;
        self.objects[self.depth / 64] >> (self.depth % 64) & 1 == 1
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
}
