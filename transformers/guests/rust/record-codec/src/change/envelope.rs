//! An envelope as a change event, and the parts of both.

use super::bytes::{push, same};
use super::scan::{Scanner, Spare};
use super::text::is_text;
use super::{DEPTH_MAX, packed};

/// The members of a change event, in their order.
pub const NAMES: [&[u8]; 6] = [b"op", b"before", b"after", b"source", b"ts_ms", b"transaction"];
const OP: usize = 0;
const BEFORE: usize = 1;
const AFTER: usize = 2;
const SOURCE: usize = 3;
const TS_MS: usize = 4;
/// The same with their heads.
pub const PACKED_NAMES: [&[u8]; 6] =
    [b"\xa2op", b"\xa6before", b"\xa5after", b"\xa6source", b"\xa5ts_ms", b"\xabtransaction"];
const NIL: &[u8] = &[0xc0];
const EMPTY_MAP: &[u8] = &[0x80];

/// Which member of a change event has this name.
#[inline(always)]
pub fn member(name: &[u8]) -> Option<usize> {
    let number = match name.len() {
        2 => OP,
        5 if name[0] == b'a' => AFTER,
        5 => TS_MS,
        6 if name[0] == b'b' => BEFORE,
        6 => SOURCE,
        11 => 5,
        _ => return None,
    };
    same(name, NAMES[number]).then_some(number)
}

/// Whether a member of a change event may be this.
pub fn is_fit(number: usize, value: &[u8]) -> bool {
    let is_map = matches!(value.first(), Some(0x80..=0x8f | 0xde | 0xdf));
    match number {
        OP => matches!(value, [0xa1, b'c' | b'u' | b'd' | b'r' | b't' | b'm']),
        SOURCE => is_map,
        TS_MS => value == NIL || matches!(packed::head(value, 0), Some((packed::Head::Signed(_), _))),
        _ => is_map || value == NIL,
    }
}

/// What is known of a change event and of the text it came from: numbers of one row, one behind the other.
#[derive(Clone, Copy)]
pub struct Layout<'a>(pub &'a [u32]);

/// Six ends and a set of flags.
const FIXED: usize = 7;

impl Layout<'_> {
    /// Where a member's value lies in the change event.
    #[inline(always)]
    pub fn member(self, number: usize) -> (usize, usize) {
        let before = if number == 0 { 1 } else { self.0[number - 1] as usize };
        (before + PACKED_NAMES[number].len(), self.0[number] as usize)
    }

    /// Whether the text of a member is an object without white space and without escapes in names.
    #[inline(always)]
    pub fn is_compact(self, number: usize) -> bool {
        self.0[FIXED - 1] >> number & 1 != 0
    }

    /// Where each member of the envelope ends in the text.
    pub fn ends(&self) -> &[u32] {
        &self.0[FIXED..]
    }
}

/// Decodes envelopes; keeps its buffers.
#[derive(Default)]
pub struct Decoder {
    parts: Vec<u8>,
    spare: Spare,
}

impl Decoder {
    /// Appends the change event in `value`, and its layout.
    pub fn decode(&mut self, value: &[u8], out: &mut Vec<u8>, layout: &mut Vec<u32>) -> Option<()> {
        if value.first() != Some(&b'{') || !is_text(value) {
            return None;
        }
        self.parts.clear();
        self.spare.clear();
        let mut scanner = Scanner { bytes: value, at: 0, is_loose: false, spare: &mut self.spare };
        let (start, fixed) = (out.len(), layout.len());
        layout.extend_from_slice(&[0; FIXED]);
        let (found, compact) = envelope(&mut scanner, &mut self.parts, layout)?;
        layout[fixed + FIXED - 1] = compact;
        out.push(0x86);
        for (number, range) in found.iter().enumerate() {
            let part = range.map_or(NIL, |(from, to)| &self.parts[from..to]);
            let part = if number == SOURCE && part == NIL { EMPTY_MAP } else { part };
            if !is_fit(number, part) {
                return None;
            }
            out.extend_from_slice(PACKED_NAMES[number]);
            push(out, part, 0, part.len());
            layout[fixed + number] = (out.len() - start) as u32;
        }
        Some(())
    }
}

type Found = [Option<(usize, usize)>; 6];

/// All members as msgpack, one behind the other; where those of a change event are, and which of them are compact.
fn envelope(scanner: &mut Scanner, parts: &mut Vec<u8>, ends: &mut Vec<u32>) -> Option<(Found, u32)> {
    let (mut found, mut compact) = (Found::default(), 0);
    let mut names = scanner.names();
    let mut more = scanner.begins(b'}')?;
    while more {
        let start = parts.len();
        if scanner.name(parts, &mut names)? {
            return None;
        }
        let number = match &parts[start + 1..] {
            b"schema" => return None,
            name => member(name),
        };
        let from = parts.len();
        scanner.is_loose = false;
        scanner.value(parts, DEPTH_MAX, matches!(number, Some(BEFORE | AFTER)))?;
        ends.push(scanner.at as u32);
        if let Some(number) = number {
            found[number] = Some((from, parts.len()));
            compact |= u32::from(!scanner.is_loose) << number;
        }
        more = scanner.goes_on(b'}')?;
    }
    scanner.space();
    (scanner.at == scanner.bytes.len()).then_some((found, compact))
}
