//! Batch frames and result frames of guest ABI v1, in msgpack. Written in the shortest form; read in the forms that guests
//! write nearly always, and left to the host's own decoder in all others.

use core::ops::Range;

/// Appends an integer in its shortest form.
pub fn put_int(out: &mut Vec<u8>, value: i64) {
    if value >= 0 {
        match value {
            0..=0x7f => out.push(value as u8),
            0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
            0x100..=0xffff => put_sized(out, 0xcd, &(value as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => put_sized(out, 0xce, &(value as u32).to_be_bytes()),
            _ => put_sized(out, 0xcf, &value.to_be_bytes()),
        }
    } else {
        match value {
            -0x20..0 => out.push(value as u8),
            -0x80..-0x20 => out.extend_from_slice(&[0xd0, value as u8]),
            -0x8000..-0x80 => put_sized(out, 0xd1, &(value as i16).to_be_bytes()),
            -0x8000_0000..-0x8000 => put_sized(out, 0xd2, &(value as i32).to_be_bytes()),
            _ => put_sized(out, 0xd3, &value.to_be_bytes()),
        }
    }
}

fn put_sized(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

/// Appends an array's header.
pub fn put_array(out: &mut Vec<u8>, length: u32) {
    match length {
        0..=15 => out.push(0x90 | length as u8),
        16..=0xffff => put_sized(out, 0xdc, &(length as u16).to_be_bytes()),
        _ => put_sized(out, 0xdd, &length.to_be_bytes()),
    }
}

/// Appends binary data, or nil.
pub fn put_bin(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        out.push(0xc0);
        return;
    };
    match bytes.len() {
        0..=0xff => out.extend_from_slice(&[0xc4, bytes.len() as u8]),
        0x100..=0xffff => put_sized(out, 0xc5, &(bytes.len() as u16).to_be_bytes()),
        length => put_sized(out, 0xc6, &(length as u32).to_be_bytes()),
    }
    out.extend_from_slice(bytes);
}

/// Appends text.
pub fn put_str(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        0..=31 => out.push(0xa0 | bytes.len() as u8),
        32..=0xff => out.extend_from_slice(&[0xd9, bytes.len() as u8]),
        0x100..=0xffff => put_sized(out, 0xda, &(bytes.len() as u16).to_be_bytes()),
        length => put_sized(out, 0xdb, &(length as u32).to_be_bytes()),
    }
    out.extend_from_slice(bytes);
}

/// Reads what the host's encoder writes: integers, binary data and text in their shortest forms.
pub struct Values<'a> {
    bytes: &'a [u8],
    /// Where reading goes on.
    pub at: usize,
}

impl<'a> Values<'a> {
    /// Begins at `at`; places count from the beginning of `bytes`.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let found = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(found)
    }

    fn number(&mut self, width: usize) -> Option<u64> {
        Some(self.take(width)?.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn tag(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    /// The length of the array that begins here.
    pub fn array(&mut self) -> Option<u64> {
        match self.tag()? {
            tag @ 0x90..=0x9f => Some(u64::from(tag & 0x0f)),
            0xdc => self.number(2),
            0xdd => self.number(4),
            _ => None,
        }
    }

    /// An integer.
    pub fn int(&mut self) -> Option<i64> {
        Some(match self.tag()? {
            tag @ 0..=0x7f => i64::from(tag),
            tag @ 0xe0.. => i64::from(tag.cast_signed()),
            0xcc => self.number(1)?.cast_signed(),
            0xcd => self.number(2)?.cast_signed(),
            0xce => self.number(4)?.cast_signed(),
            0xcf | 0xd3 => self.number(8)?.cast_signed(),
            0xd0 => i64::from(self.number(1)? as i8),
            0xd1 => i64::from(self.number(2)? as i16),
            0xd2 => i64::from(self.number(4)? as i32),
            _ => return None,
        })
    }

    fn span(&mut self, length: u64) -> Option<Range<u32>> {
        let from = self.at;
        self.take(usize::try_from(length).ok()?)?;
        Some(u32::try_from(from).ok()?..u32::try_from(self.at).ok()?)
    }

    /// Binary data; the inner None is nil.
    pub fn bin(&mut self) -> Option<Option<Range<u32>>> {
        let length = match self.tag()? {
            0xc0 => return Some(None),
            0xc4 => self.number(1)?,
            0xc5 => self.number(2)?,
            0xc6 => self.number(4)?,
            _ => return None,
        };
        self.span(length).map(Some)
    }

    /// Text.
    pub fn text(&mut self) -> Option<Range<u32>> {
        let length = match self.tag()? {
            tag @ 0xa0..=0xbf => u64::from(tag & 0x1f),
            0xd9 => self.number(1)?,
            0xda => self.number(2)?,
            0xdb => self.number(4)?,
            _ => return None,
        };
        self.span(length)
    }
}

/// What a guest says about one event.
pub enum Answer {
    /// nil
    Unchanged,
    /// `[0]`
    Dropped,
    /// `[1, value]`; None is a tombstone.
    Replaced(Option<Range<usize>>),
    /// `[1, value]` of a change event, and a number for whoever asked.
    Changed(u32),
    /// `[3, code, message]`, as it lies in the frame.
    Rejected(Range<usize>),
}

/// Reads a result frame; `None` is "not one of the usual forms", which may be right or wrong.
pub struct Results<'a> {
    bytes: &'a [u8],
    at: usize,
    to: usize,
}

impl<'a> Results<'a> {
    /// The frame in this range.
    pub fn new(bytes: &'a [u8], range: Range<usize>) -> Self {
        Self { bytes: &bytes[..range.end], at: range.start, to: range.end }
    }

    /// Where the frame ends.
    pub fn to(&self) -> usize {
        self.to
    }

    /// Nothing is left.
    pub fn ended(&self) -> bool {
        self.at == self.to
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.bytes.get(self.at..self.at + width)?;
        self.at += width;
        Some(bytes.iter().fold(0, |value, &byte| value << 8 | usize::from(byte)))
    }

    fn span(&mut self, length: usize) -> Option<Range<usize>> {
        let from = self.at;
        let to = from.checked_add(length)?;
        if to > self.to {
            return None;
        }
        self.at = to;
        Some(from..to)
    }

    /// The length of the array that begins here.
    pub fn array(&mut self) -> Option<usize> {
        match self.byte()? {
            first @ 0x90..=0x9f => Some(usize::from(first & 0x0f)),
            0xdc => self.number(2),
            0xdd => self.number(4),
            _ => None,
        }
    }

    fn bin(&mut self) -> Option<Option<Range<usize>>> {
        let length = match self.byte()? {
            0xc0 => return Some(None),
            0xc4 => self.number(1)?,
            0xc5 => self.number(2)?,
            0xc6 => self.number(4)?,
            _ => return None,
        };
        self.span(length).map(Some)
    }

    fn text(&mut self) -> Option<Range<usize>> {
        let length = match self.byte()? {
            first @ 0xa0..=0xbf => usize::from(first & 0x1f),
            0xd9 => self.number(1)?,
            0xda => self.number(2)?,
            0xdb => self.number(4)?,
            _ => return None,
        };
        self.span(length)
    }

    /// The next event's answer, of values.
    pub fn answer(&mut self) -> Option<Answer> {
        self.answer_with(|results| results.bin().map(Answer::Replaced))
    }

    /// The next event's answer, of change events: `change` is told where one begins, and says where it ends. Bytes are a value
    /// that is none any more.
    pub fn change_answer(&mut self, change: impl FnOnce(usize) -> Option<usize>) -> Option<Answer> {
        self.answer_with(|results| {
            if matches!(results.bytes.get(results.at)?, 0xc0 | 0xc4..=0xc6) {
                return results.bin().map(Answer::Replaced);
            }
            results.at = change(results.at)?;
            Some(Answer::Changed(0))
        })
    }

    #[inline(always)]
    fn answer_with(&mut self, value: impl FnOnce(&mut Self) -> Option<Answer>) -> Option<Answer> {
        let from = self.at;
        match self.byte()? {
            0xc0 => Some(Answer::Unchanged),
            0x91 => (self.byte()? == 0).then_some(Answer::Dropped),
            0x92 => {
                if self.byte()? != 1 {
                    return None;
                }
                value(self)
            }
            0x93 => {
                if self.byte()? != 3 {
                    return None;
                }
                self.text()?;
                self.text()?;
                Some(Answer::Rejected(from..self.at))
            }
            _ => None,
        }
    }
}
