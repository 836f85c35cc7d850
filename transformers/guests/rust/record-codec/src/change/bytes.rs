//! Comparing and copying a few bytes without a call: WebAssembly's own instruction for it costs more than the bytes do.

const STEP: usize = 16;
/// Longer runs are worth the call.
const CALL_FROM: usize = 128;

/// Appends `from[at..at + length]`.
#[inline(always)]
pub fn push(out: &mut Vec<u8>, from: &[u8], at: usize, length: usize) {
    let to = out.len() + length;
    if length > CALL_FROM || at + length + STEP > from.len() {
        out.extend_from_slice(&from[at..at + length]);
        return;
    }
    let mut done = 0;
    while done < length {
        if let Some(step) = from.get(at + done..).and_then(|rest| rest.first_chunk::<STEP>()) {
            out.extend_from_slice(step);
        }
        done += STEP;
    }
    out.truncate(to);
}

/// Whether they are the same.
#[inline(always)]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (mut left, mut right) = (one, other);
    while let (Some((a, rest)), Some((b, others))) = (left.split_first_chunk::<8>(), right.split_first_chunk::<8>()) {
        if u64::from_le_bytes(*a) != u64::from_le_bytes(*b) {
            return false;
        }
        (left, right) = (rest, others);
    }
    left.iter().zip(right).all(|(a, b)| a == b)
}

/// Whether the first begins with the other.
#[inline(always)]
pub fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.get(..with.len()).is_some_and(|beginning| same(beginning, with))
}
