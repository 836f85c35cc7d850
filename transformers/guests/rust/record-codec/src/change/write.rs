//! JSON of a value that was not in the source.

use super::bytes::same;
use super::number::{write_float, write_integer, write_unsigned};
use super::packed::{Head, head};
use super::{PLACEHOLDER, text};

/// Names of one new object: they are compared with each other.
const MEMBERS_MAX: usize = 256;

/// Appends the value at `at`; where it ends in `bytes`.
pub fn write(out: &mut Vec<u8>, bytes: &[u8], at: usize, depth_left: u32) -> Option<usize> {
    let (head, end) = head(bytes, at)?;
    match head {
        Head::Array(items) => return write_array(out, bytes, end, items, depth_left.checked_sub(1)?),
        Head::Map(members) => return write_map(out, bytes, end, members, depth_left.checked_sub(1)?),
        Head::Nil => out.extend_from_slice(b"null"),
        Head::Boolean(true) => out.extend_from_slice(b"true"),
        Head::Boolean(false) => out.extend_from_slice(b"false"),
        Head::Signed(value) => write_integer(out, value),
        Head::Unsigned(value) => write_unsigned(out, value),
        Head::Float(value) => write_float(out, value)?,
        Head::Text(from, to) => write_text(out, &bytes[from..to])?,
        Head::Bytes(from, to) => text::write_base64(out, &bytes[from..to]),
        Head::Unavailable => text::write(out, PLACEHOLDER),
    }
    Some(end)
}

/// Appends text that is yet to be seen as such.
pub fn write_text(out: &mut Vec<u8>, content: &[u8]) -> Option<()> {
    text::is_text(content).then(|| text::write(out, content))
}

fn write_array(out: &mut Vec<u8>, bytes: &[u8], mut at: usize, items: usize, depth_left: u32) -> Option<usize> {
    out.push(b'[');
    for item in 0..items {
        if item > 0 {
            out.push(b',');
        }
        at = write(out, bytes, at, depth_left)?;
    }
    out.push(b']');
    Some(at)
}

fn write_map(out: &mut Vec<u8>, bytes: &[u8], mut at: usize, members: usize, depth_left: u32) -> Option<usize> {
    if members > MEMBERS_MAX {
        return None;
    }
    let mut names: Vec<&[u8]> = Vec::with_capacity(members);
    out.push(b'{');
    for member in 0..members {
        if member > 0 {
            out.push(b',');
        }
        let (Head::Text(from, to), next) = head(bytes, at)? else { return None };
        let name = &bytes[from..to];
        if names.iter().any(|&other| same(other, name)) {
            return None;
        }
        names.push(name);
        write_text(out, name)?;
        out.push(b':');
        at = write(out, bytes, next, depth_left)?;
    }
    out.push(b'}');
    Some(at)
}
