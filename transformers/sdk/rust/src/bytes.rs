//! Short stretches of bytes, compared and copied inline: a call that loops costs more than these do.

/// `name == constant`, for a constant known where this is compiled.
#[inline(always)]
pub fn same(name: &[u8], constant: &'static [u8]) -> bool {
    let length = constant.len();
    if name.len() != length {
        return false;
    }
    match length {
        0..=3 => name.iter().zip(constant).all(|(one, other)| one == other),
        4..=7 => four(name, 0) == four(constant, 0) && four(name, length - 4) == four(constant, length - 4),
        8..=16 => eight(name, 0) == eight(constant, 0) && eight(name, length - 8) == eight(constant, length - 8),
        _ => name == constant,
    }
}

#[inline(always)]
pub(crate) fn four(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("four bytes"))
}

#[inline(always)]
pub(crate) fn eight(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("eight bytes"))
}

/// At most sixteen bytes, some of them twice, with spaces where there are less than four.
#[inline(always)]
pub(crate) fn padded(bytes: &[u8]) -> [u8; 16] {
    let mut padded = [b' '; 16];
    match bytes.len() {
        length @ 8..=16 => {
            padded[..8].copy_from_slice(&eight(bytes, 0).to_le_bytes());
            padded[8..].copy_from_slice(&eight(bytes, length - 8).to_le_bytes());
        }
        length @ 4..=7 => {
            padded[..4].copy_from_slice(&four(bytes, 0).to_le_bytes());
            padded[4..8].copy_from_slice(&four(bytes, length - 4).to_le_bytes());
        }
        _ => padded.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte),
    }
    padded
}

/// Appends, without a call when there are at most sixteen bytes.
#[inline(always)]
pub(crate) fn append(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        0 => (),
        1..=3 => bytes.iter().for_each(|&byte| out.push(byte)),
        length @ 4..=7 => append_ends(out, four(bytes, 0).to_le_bytes(), four(bytes, length - 4).to_le_bytes(), length),
        length @ 8..=16 => {
            append_ends(out, eight(bytes, 0).to_le_bytes(), eight(bytes, length - 8).to_le_bytes(), length);
        }
        _ => out.extend_from_slice(bytes),
    }
}

/// Appends `length` bytes that begin with `first` and end with `last`; the two overlap unless `length` is twice as much.
#[inline(always)]
fn append_ends<const HALF: usize>(out: &mut Vec<u8>, first: [u8; HALF], last: [u8; HALF], length: usize) {
    let from = out.len();
    out.extend_from_slice(&first);
    out.extend_from_slice(&last);
    out.truncate(from + length);
    out[from + length - HALF..].copy_from_slice(&last);
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz";

    #[test]
    fn equal_when_every_byte_is() {
        for length in 0..=ALPHABET.len() {
            let (constant, mut name) = (&ALPHABET[..length], ALPHABET[..length].to_vec());
            assert!(same(&name, constant));
            assert!(!same(&ALPHABET[..length.saturating_sub(1)], constant) || length == 0);
            for at in 0..length {
                name[at] ^= 1;
                assert!(!same(&name, constant), "{length} {at}");
                name[at] ^= 1;
            }
        }
    }

    #[test]
    fn padding_loses_no_byte_and_adds_only_spaces() {
        for length in 0..=16 {
            let padded = padded(&ALPHABET[..length]);
            assert!(ALPHABET[..length].iter().all(|byte| padded.contains(byte)));
            assert!(padded.iter().all(|byte| *byte == b' ' || ALPHABET[..length].contains(byte)));
        }
    }

    #[test]
    fn appends_what_it_is_given() {
        for length in 0..=ALPHABET.len() {
            let mut out = b"before".to_vec();
            append(&mut out, &ALPHABET[..length]);
            assert_eq!(out, [b"before", &ALPHABET[..length]].concat());
        }
    }
}
