//! Records of Kafka's message format v2, as they lie one behind the other in a record batch (after its header, uncompressed).
//!
//! `length: varint, attributes: i8, timestamp delta: varlong, offset delta: varint, key: bytes, value: bytes, headers:
//! [name: string, value: bytes]`, where every length is a zigzag varint and -1 is null
//! (<https://kafka.apache.org/documentation/#record>).

use core::ops::Range;

/// A key or value that is null.
pub const NULL: Range<u32> = u32::MAX..u32::MAX;

/// One record; ranges are places in the bytes it was read from.
pub struct Record {
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// After the batch's base offset.
    pub offset_delta: i32,
    /// `NULL` when there is none.
    pub key: Range<u32>,
    /// `NULL` for a tombstone.
    pub value: Range<u32>,
    /// The count and the headers themselves, as they are.
    pub headers: Range<u32>,
    /// How many headers.
    pub header_count: u32,
}

/// Reads one thing after the other; `None` is malformed.
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Where reading goes on.
    pub at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at `at`; places count from the beginning of `bytes`.
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    fn unsigned(&mut self) -> Option<u64> {
        let first = *self.bytes.get(self.at)?;
        self.at += 1;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7;
        loop {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
            if shift > 63 {
                return None;
            }
        }
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// Bytes with their length before them; `NULL` for a length of -1.
    pub fn block(&mut self) -> Option<Range<u32>> {
        let length = self.signed()?;
        if length == -1 {
            return Some(NULL);
        }
        let from = self.at;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        if to > self.bytes.len() {
            return None;
        }
        self.at = to;
        Some(u32::try_from(from).ok()?..u32::try_from(to).ok()?)
    }

    /// The number of headers before them.
    pub fn count(&mut self) -> Option<u32> {
        u32::try_from(self.signed()?).ok()
    }

    /// One record, checked to its last byte: nothing may be left of its length, and header names are UTF-8.
    pub fn record(&mut self) -> Option<Record> {
        let length = usize::try_from(self.signed()?).ok()?;
        let end = self.at.checked_add(length)?;
        if end > self.bytes.len() {
            return None;
        }
        let mut inner = Reader::new(&self.bytes[..end], self.at + 1); // the attributes mean nothing yet
        let timestamp_delta = inner.signed()?;
        let offset_delta = i32::try_from(inner.signed()?).ok()?;
        let key = inner.block()?;
        let value = inner.block()?;
        let headers_at = inner.at;
        let header_count = inner.count()?;
        for _ in 0..header_count {
            let name = inner.block()?;
            if name == NULL || core::str::from_utf8(part(self.bytes, &name)).is_err() {
                return None;
            }
            inner.block()?;
        }
        if inner.at != end {
            return None;
        }
        self.at = end;
        let headers = u32::try_from(headers_at).ok()?..u32::try_from(end).ok()?;
        Some(Record { timestamp_delta, offset_delta, key, value, headers, header_count })
    }
}

/// The bytes of a range that is not `NULL`.
pub fn part<'a>(bytes: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    &bytes[range.start as usize..range.end as usize]
}

/// Appends a zigzag varint.
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// How many bytes `put_signed` appends.
pub fn signed_size(value: i64) -> usize {
    let zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    (64 - (zigzag | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends bytes with their length before them.
pub fn put_block(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.push(1), // -1 in zigzag
        Some(bytes) => {
            put_signed(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}

/// How many bytes `put_block` appends.
pub fn block_size(length: Option<usize>) -> usize {
    length.map_or(1, |length| signed_size(length as i64) + length)
}
