//! Sixteen bytes looked at together: one instruction of WebAssembly's SIMD each, instead of a loop and its deadline checks.

#[cfg(target_feature = "simd128")]
use core::arch::wasm32 as simd;

/// How many bytes a block has.
pub(crate) const BYTES: usize = 16;

/// Sixteen bytes. The answers are masks: bit n is about byte n.
#[derive(Clone, Copy)]
pub(crate) struct Block(
    #[cfg(target_feature = "simd128")] simd::v128,
    #[cfg(not(target_feature = "simd128"))] [u8; BYTES],
);

#[cfg(target_feature = "simd128")]
impl Block {
    /// The bytes as a block.
    #[inline(always)]
    pub fn of(bytes: &[u8; BYTES]) -> Self {
        // SAFETY: the reference is to sixteen readable bytes, and the load needs no alignment.
        Block(unsafe { simd::v128_load(bytes.as_ptr().cast()) })
    }

    /// Which bytes end a plain stretch of a string: a quote, a backslash, a control character.
    #[inline(always)]
    pub fn stops(self) -> u32 {
        let quotes = simd::u8x16_eq(self.0, simd::u8x16_splat(b'"'));
        let backslashes = simd::u8x16_eq(self.0, simd::u8x16_splat(b'\\'));
        let controls = simd::u8x16_lt(self.0, simd::u8x16_splat(0x20));
        u32::from(simd::u8x16_bitmask(simd::v128_or(simd::v128_or(quotes, backslashes), controls)))
    }

    /// Which bytes are no decimal digits.
    #[inline(always)]
    pub fn others_than_digits(self) -> u32 {
        let above_zero = simd::u8x16_sub(self.0, simd::u8x16_splat(b'0'));
        u32::from(simd::u8x16_bitmask(simd::u8x16_gt(above_zero, simd::u8x16_splat(9))))
    }

    /// Whether no byte of these four blocks is above 0x7f.
    #[inline(always)]
    pub fn are_ascii(four: [Block; 4]) -> bool {
        let [a, b, c, d] = four.map(|block| block.0);
        simd::u8x16_bitmask(simd::v128_or(simd::v128_or(a, b), simd::v128_or(c, d))) == 0
    }
}

#[cfg(not(target_feature = "simd128"))]
impl Block {
    /// The bytes as a block.
    pub fn of(bytes: &[u8; BYTES]) -> Self {
        Block(*bytes)
    }

    /// Which bytes end a plain stretch of a string: a quote, a backslash, a control character.
    pub fn stops(self) -> u32 {
        self.mask(|byte| byte < 0x20 || byte == b'"' || byte == b'\\')
    }

    /// Which bytes are no decimal digits.
    pub fn others_than_digits(self) -> u32 {
        self.mask(|byte| !byte.is_ascii_digit())
    }

    /// Whether no byte of these four blocks is above 0x7f.
    pub fn are_ascii(four: [Block; 4]) -> bool {
        four.iter().all(|block| block.0.is_ascii())
    }

    fn mask(self, is_set: impl Fn(u8) -> bool) -> u32 {
        self.0.iter().rev().fold(0, |mask, &byte| mask << 1 | u32::from(is_set(byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_in_every_place() {
        for byte in 0..=255_u8 {
            for place in 0..BYTES {
                let mut bytes = [b'5'; BYTES];
                bytes[place] = byte;
                let block = Block::of(&bytes);
                let mask = |is_set: bool| u32::from(is_set) << place;
                assert_eq!(block.stops(), mask(byte < 0x20 || byte == b'"' || byte == b'\\'), "{byte:#x}");
                assert_eq!(block.others_than_digits(), mask(!byte.is_ascii_digit()), "{byte:#x}");
                let plain = Block::of(&[0x7f; BYTES]);
                assert_eq!(Block::are_ascii([plain, plain, block, plain]), byte < 0x80);
                assert_eq!(Block::are_ascii([block, plain, plain, plain]), byte < 0x80);
            }
        }
    }
}
