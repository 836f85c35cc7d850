//! JSON to msgpack in one pass.

use super::bytes::{push, same};
use super::number;
use super::packed::{put_count, put_text};
use super::text::{plain_end, unescape};
use super::{MEMBERS_MAX, PLACEHOLDER, PLACEHOLDER_BASE64, UNAVAILABLE};

/// Reads one text; the buffers are for whoever reads many.
pub struct Scanner<'a> {
    /// UTF-8.
    pub bytes: &'a [u8],
    /// Where reading goes on.
    pub at: usize,
    /// There was white space, or a name with escapes.
    pub is_loose: bool,
    pub spare: &'a mut Spare,
}

/// Buffers.
#[derive(Default)]
pub struct Spare {
    /// Where the names of the objects around the place of reading lie in what was written: from, to.
    names: Vec<(usize, usize)>,
    /// A string without its escapes.
    text: Vec<u8>,
}

impl Spare {
    /// Forget what was left when reading ended early.
    pub fn clear(&mut self) {
        self.names.clear();
    }
}

/// The names of one object so far.
pub struct Names {
    from: usize,
    /// One bit for what a name may hash to.
    seen: [u64; 4],
}

impl Scanner<'_> {
    /// Moves past white space.
    #[inline(always)]
    pub fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
            self.is_loose = true;
        }
    }

    /// Moves past this byte.
    #[inline(always)]
    pub fn expect(&mut self, byte: u8) -> Option<()> {
        (self.bytes.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    /// Moves past what is between two members or items, or behind the last: whether another one follows.
    #[inline(always)]
    pub fn goes_on(&mut self, end: u8) -> Option<bool> {
        self.space();
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        match byte {
            b',' => {
                self.space();
                Some(true)
            }
            _ => (byte == end).then_some(false),
        }
    }

    /// Moves past the beginning of an object or an array: whether there is anything in it.
    #[inline(always)]
    pub fn begins(&mut self, end: u8) -> Option<bool> {
        self.at += 1;
        self.space();
        let is_empty = *self.bytes.get(self.at)? == end;
        self.at += usize::from(is_empty);
        Some(!is_empty)
    }

    /// Appends the value here. With `marks`, what stands for a value that was not sent becomes that.
    pub fn value(&mut self, out: &mut Vec<u8>, depth_left: u32, marks: bool) -> Option<()> {
        match *self.bytes.get(self.at)? {
            b'"' if marks => self.marked(out),
            b'"' => self.string(out).map(|_| ()),
            b'{' => self.object(out, depth_left.checked_sub(1)?, marks),
            b'[' => self.array(out, depth_left.checked_sub(1)?, marks),
            b'n' => self.literal(out, b"null", 0xc0),
            b't' => self.literal(out, b"true", 0xc3),
            b'f' => self.literal(out, b"false", 0xc2),
            _ => {
                self.at = number::read(out, self.bytes, self.at)?;
                Some(())
            }
        }
    }

    fn literal(&mut self, out: &mut Vec<u8>, word: &[u8], packed: u8) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| {
            out.push(packed);
            self.at += word.len();
        })
    }

    /// Appends the string here as text; whether it had escapes. `"payload"` is what the host looks for when it
    /// suspects an embedded schema, wherever it stands.
    #[inline(always)]
    pub fn string(&mut self, out: &mut Vec<u8>) -> Option<bool> {
        let from = self.at + 1;
        let end = plain_end(self.bytes, from);
        if *self.bytes.get(end)? != b'"' {
            return self.escaped(out, end);
        }
        let length = end - from;
        if length == 7 && self.bytes[from..end] == *b"payload" {
            return None;
        }
        self.at = end + 1;
        if length < 32 {
            out.push(0xa0 | length as u8);
            push(out, self.bytes, from, length);
        } else {
            put_text(out, &self.bytes[from..end]);
        }
        Some(false)
    }

    #[inline(never)]
    fn escaped(&mut self, out: &mut Vec<u8>, mut end: usize) -> Option<bool> {
        let from = self.at + 1;
        loop {
            match *self.bytes.get(end)? {
                b'"' => break,
                b'\\' => end = plain_end(self.bytes, end + 2),
                _ => return None,
            }
        }
        let inside = &self.bytes[from..end];
        if inside.ends_with(b"\\\"payload") {
            return None;
        }
        self.spare.text.clear();
        unescape(&mut self.spare.text, inside)?;
        put_text(out, &self.spare.text);
        self.at = end + 1;
        Some(true)
    }

    /// A placeholder that was written with escapes is left to the host: whether it counts depends on what else there is.
    fn marked(&mut self, out: &mut Vec<u8>) -> Option<()> {
        let (from, start) = (self.at, out.len());
        let had_escapes = self.string(out)?;
        let raw = if had_escapes { &self.spare.text[..] } else { &self.bytes[from + 1..self.at - 1] };
        let is_mark = match raw.len() {
            28 => raw == PLACEHOLDER,
            40 => raw == PLACEHOLDER_BASE64,
            _ => false,
        };
        if is_mark && had_escapes {
            return None;
        }
        if is_mark {
            out.truncate(start);
            out.extend_from_slice(&UNAVAILABLE);
        }
        Some(())
    }

    fn object(&mut self, out: &mut Vec<u8>, depth_left: u32, marks: bool) -> Option<()> {
        let head = out.len();
        out.push(0);
        let mut names = self.names();
        let mut count = 0;
        let mut more = self.begins(b'}')?;
        while more {
            self.name(out, &mut names)?;
            self.value(out, depth_left, marks)?;
            count += 1;
            more = self.goes_on(b'}')?;
        }
        self.spare.names.truncate(names.from);
        put_count(out, head, 0x80, count);
        Some(())
    }

    fn array(&mut self, out: &mut Vec<u8>, depth_left: u32, marks: bool) -> Option<()> {
        let head = out.len();
        out.push(0);
        let mut count = 0;
        let mut more = self.begins(b']')?;
        while more {
            self.value(out, depth_left, marks)?;
            count += 1;
            more = self.goes_on(b']')?;
        }
        put_count(out, head, 0x90, count);
        Some(())
    }

    /// For the names of an object that begins.
    pub fn names(&self) -> Names {
        Names { from: self.spare.names.len(), seen: [0; 4] }
    }

    /// Appends a name and moves to its value; whether it had escapes. None when it repeats within its object.
    #[inline(always)]
    pub fn name(&mut self, out: &mut Vec<u8>, names: &mut Names) -> Option<bool> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let start = out.len();
        let had_escapes = self.string(out)?;
        let from = start + head_length(out[start]);
        self.add_name(out, names, from)?;
        self.space();
        self.expect(b':')?;
        self.space();
        self.is_loose |= had_escapes;
        Some(had_escapes)
    }

    #[inline(always)]
    fn add_name(&mut self, out: &[u8], names: &mut Names, from: usize) -> Option<()> {
        let name = &out[from..];
        let place = hash(name);
        let (word, bit) = (usize::from(place >> 6), 1_u64 << (place & 63));
        let known = &self.spare.names[names.from..];
        if names.seen[word] & bit != 0 && known.iter().any(|&(from, to)| same(&out[from..to], name)) {
            return None;
        }
        if known.len() == MEMBERS_MAX {
            return None;
        }
        names.seen[word] |= bit;
        self.spare.names.push((from, out.len()));
        Some(())
    }
}

/// Of a text.
fn head_length(tag: u8) -> usize {
    match tag {
        0xd9 => 2,
        0xda => 3,
        0xdb => 5,
        _ => 1,
    }
}

/// By the length and three bytes: most names of one object differ there.
#[inline(always)]
fn hash(name: &[u8]) -> u8 {
    let at = |place: usize| name.get(place).map_or(0, |&byte| u32::from(byte));
    let length = name.len() as u32;
    let mixed = length.wrapping_mul(0x9e37_79b1)
        ^ at(0).wrapping_mul(0x85eb_ca6b)
        ^ at(name.len() / 2).wrapping_mul(0x27d4_eb2f)
        ^ at(name.len().wrapping_sub(1)).wrapping_mul(0xc2b2_ae35);
    (mixed >> 24) as u8
}
