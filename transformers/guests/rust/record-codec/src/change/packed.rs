//! Msgpack: written in its shortest forms, as the reference does; read in all of them, as guests may choose.

use super::UNAVAILABLE;
use crate::frame::{put_int, put_str};

/// A value's head; places are places in the bytes it was read from.
pub enum Head {
    Nil,
    Boolean(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    /// From, to.
    Text(usize, usize),
    Bytes(usize, usize),
    /// Extension type 1 without content.
    Unavailable,
    /// Items.
    Array(usize),
    /// Members.
    Map(usize),
}

/// The head of the value at `at`, and where it ends; texts, bytes and extensions with what is in them.
#[inline(always)]
pub fn head(bytes: &[u8], at: usize) -> Option<(Head, usize)> {
    let tag = *bytes.get(at)?;
    let next = at + 1;
    Some(match tag {
        0..=0x7f => (Head::Signed(i64::from(tag)), next),
        0x80..=0x8f => (Head::Map(usize::from(tag & 0x0f)), next),
        0x90..=0x9f => (Head::Array(usize::from(tag & 0x0f)), next),
        0xa0..=0xbf => text(bytes, next, usize::from(tag & 0x1f))?,
        0xe0..=0xff => (Head::Signed(i64::from(tag.cast_signed())), next),
        _ => rare_head(bytes, tag, next)?,
    })
}

fn rare_head(bytes: &[u8], tag: u8, at: usize) -> Option<(Head, usize)> {
    let width = match tag {
        0xc4 | 0xc7 | 0xcc | 0xd0 | 0xd9 => 1,
        0xc5 | 0xc8 | 0xcd | 0xd1 | 0xda | 0xdc | 0xde => 2,
        0xc6 | 0xc9 | 0xca | 0xce | 0xd2 | 0xdb | 0xdd | 0xdf => 4,
        0xcb | 0xcf | 0xd3 => 8,
        _ => 0,
    };
    let number = bytes.get(at..at + width)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
    let (next, length) = (at + width, number as usize);
    let unused = 64 - 8 * width as u32;
    Some(match tag {
        0xc0 => (Head::Nil, next),
        0xc2 | 0xc3 => (Head::Boolean(tag == 0xc3), next),
        0xc4..=0xc6 => {
            let end = next.checked_add(length).filter(|&end| end <= bytes.len())?;
            (Head::Bytes(next, end), end)
        }
        0xc7..=0xc9 if length == 0 && bytes.get(next) == Some(&1) => (Head::Unavailable, next + 1),
        0xca => (Head::Float(f64::from(f32::from_bits(number as u32))), next),
        0xcb => (Head::Float(f64::from_bits(number)), next),
        0xcc..=0xcf => (i64::try_from(number).map_or(Head::Unsigned(number), Head::Signed), next),
        0xd0..=0xd3 => (Head::Signed((number << unused).cast_signed() >> unused), next),
        0xd9..=0xdb => text(bytes, next, length)?,
        0xdc..=0xdd => (Head::Array(length), next),
        0xde..=0xdf => (Head::Map(length), next),
        _ => return None,
    })
}

#[inline(always)]
fn text(bytes: &[u8], at: usize, length: usize) -> Option<(Head, usize)> {
    let end = at.checked_add(length).filter(|&end| end <= bytes.len())?;
    Some((Head::Text(at, end), end))
}

/// How long values with these first bytes are; 0 for those that say it behind.
const SIZES: [u8; 256] = {
    let mut sizes = [0; 256];
    let mut tag = 0;
    while tag < 256 {
        sizes[tag] = match tag {
            0..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0.. => 1,
            0xa0..=0xbf => 1 + (tag as u8 & 0x1f),
            0xcc | 0xd0 => 2,
            0xcd | 0xd1 => 3,
            0xca | 0xce | 0xd2 => 5,
            0xcb | 0xcf | 0xd3 => 9,
            _ => 0,
        };
        tag += 1;
    }
    sizes
};

/// Where the value at `at` ends. What is in texts is not looked at.
#[inline(always)]
pub fn end_of(bytes: &[u8], at: usize) -> Option<usize> {
    match SIZES[usize::from(*bytes.get(at)?)] {
        0 => long_end(bytes, at),
        size => Some(at + usize::from(size)).filter(|&end| end <= bytes.len()),
    }
}

fn long_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut pending = 1_u64;
    while pending > 0 {
        pending -= 1;
        let tag = *bytes.get(at)?;
        let size = SIZES[usize::from(tag)];
        if size != 0 {
            at += usize::from(size);
        } else if tag == 0xd9 {
            at += 2 + usize::from(*bytes.get(at + 1)?);
        } else {
            let (head, next) = head(bytes, at)?;
            at = next;
            match head {
                Head::Array(items) => pending += items as u64,
                Head::Map(members) => pending += 2 * members as u64,
                _ => {}
            }
        }
    }
    (at <= bytes.len()).then_some(at)
}

/// Appends a value with nothing inside; nothing for arrays and maps that are not empty, and for bytes.
pub fn put_scalar(out: &mut Vec<u8>, bytes: &[u8], head: &Head) {
    match *head {
        Head::Nil => out.push(0xc0),
        Head::Boolean(value) => out.push(0xc2 + u8::from(value)),
        Head::Signed(value) => put_int(out, value),
        Head::Unsigned(value) => put_unsigned(out, value),
        Head::Float(value) => put_float(out, value),
        Head::Text(from, to) => put_text(out, &bytes[from..to]),
        Head::Unavailable => out.extend_from_slice(&UNAVAILABLE),
        Head::Array(0) => out.push(0x90),
        Head::Map(0) => out.push(0x80),
        Head::Bytes(..) | Head::Array(_) | Head::Map(_) => {}
    }
}

/// Appends an integer beyond `i64::MAX`, or any other.
pub fn put_unsigned(out: &mut Vec<u8>, value: u64) {
    match i64::try_from(value) {
        Ok(value) => put_int(out, value),
        Err(_) => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

/// Appends a float64.
pub fn put_float(out: &mut Vec<u8>, value: f64) {
    out.push(0xcb);
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends text.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put_str(out, text);
}

/// Makes the byte at `at`, left free for it, the head of an array (`0x90`) or a map (`0x80`) of `count` things that lie behind it.
pub fn put_count(out: &mut Vec<u8>, at: usize, fix: u8, count: usize) {
    if count < 16 {
        out[at] = fix | count as u8;
        return;
    }
    let wide = if fix == 0x80 { 0xde } else { 0xdc };
    let head: &[u8] = if count < 0x1_0000 {
        &[wide, (count >> 8) as u8, count as u8]
    } else {
        &[wide + 1, (count >> 24) as u8, (count >> 16) as u8, (count >> 8) as u8, count as u8]
    };
    let end = out.len();
    out.resize(end + head.len() - 1, 0);
    out.copy_within(at + 1..end, at + head.len());
    out[at..at + head.len()].copy_from_slice(head);
}
