//! Comparing, choosing and looking up without branches or addresses that depend on what is secret.
//!
//! What this cannot promise: the compiler and the engine may still turn it into something faster, and caches, speculation and
//! other guests' work show in the time too. `black_box` keeps the optimiser from seeing through it; no more is to be had here.

use std::hint::black_box;

/// Whether both are the same bytes. The time depends on the lengths only.
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && black_box(one.iter().zip(other).fold(0, |different, (one, other)| different | black_box(one ^ other))) == 0
}

/// `yes` or `no`, without a branch.
pub fn select(condition: bool, yes: u8, no: u8) -> u8 {
    let mask = black_box(u8::from(condition)).wrapping_neg();
    (yes & mask) | (no & !mask)
}

/// The entry at `index`, or 0 when there is none: every entry is read.
pub fn look_up(table: &[u8], index: usize) -> u8 {
    table.iter().enumerate().fold(0, |found, (at, &entry)| found | select(black_box(at) == index, entry, 0))
}

/// `N` bytes from `offset`: every byte of `data` is read for each. What lies beyond the end is 0.
pub fn obscured_read<const N: usize>(data: &[u8], offset: usize) -> [u8; N] {
    std::array::from_fn(|at| look_up(data, offset.saturating_add(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_equality() {
        assert!(equal(b"", b"") && equal(b"secret", b"secret"));
        assert!(!equal(b"secret", b"secreT") && !equal(b"secret", b"secre") && !equal(b"", b"x"));
    }

    #[test]
    fn every_choice_and_entry_is_right() {
        let table: Vec<u8> = (0..=255).rev().collect();
        for (at, &entry) in table.iter().enumerate() {
            assert_eq!(look_up(&table, at), entry);
            assert_eq!((select(true, entry, 7), select(false, entry, 7)), (entry, 7));
        }
        assert_eq!(look_up(&table, 256), 0);
    }

    #[test]
    fn an_obscured_read_is_the_slice() {
        assert_eq!(&obscured_read::<4>(b"0123456789", 3), b"3456");
        assert_eq!(obscured_read::<3>(b"01", 1), [b'1', 0, 0]);
    }
}
