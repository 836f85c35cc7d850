//! What each action makes of one value.

use penstock_guest::json::{self, Edits, Kind, New, Raw};
use sha2::{Digest, Sha256};

use crate::config::Action;

/// What Debezium writes for a TOAST column it could not read. It says nothing about anybody, and consumers match on it.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
const REDACTED: &str = "***";

/// Masks values with one salt.
#[derive(Debug)]
pub(crate) struct Masker {
    salt: String,
}

impl Masker {
    pub fn new(salt: String) -> Self {
        Masker { salt }
    }

    /// Replaces `value` by its mask; null and unavailable values stay.
    pub fn mask<'a>(&self, action: Action, value: Raw<'a>, edits: &mut Edits<'a>) -> Result<(), json::Error> {
        if value.kind() == Kind::Null {
            return Ok(());
        }
        let text = value.string()?;
        if text.as_deref() == Some(UNAVAILABLE) {
            return Ok(());
        }
        // Numbers, booleans and objects are masked by their JSON text.
        let text = text.as_deref().unwrap_or(value.text());
        match action {
            Action::Hash => edits.replace(value, New::Text(hex(&self.digest(text), &mut [0; 64]))),
            Action::Redact => edits.replace(value, New::Text(REDACTED)),
            Action::KeepLast4 if value.kind() == Kind::Object => edits.replace(value, New::Text(REDACTED)),
            Action::KeepLast4 => edits.replace(value, New::Text(&keep_last_4(text))),
        }
        Ok(())
    }

    fn digest(&self, text: &str) -> [u8; 32] {
        Sha256::new().chain_update(&self.salt).chain_update(text).finalize().into()
    }
}

fn hex<'b>(digest: &[u8; 32], buffer: &'b mut [u8; 64]) -> &'b str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in buffer.chunks_exact_mut(2).zip(digest) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(buffer).expect("hexadecimal digits are ASCII")
}

/// `*` for each character but the last four; for all of them when there are no more than four.
fn keep_last_4(text: &str) -> String {
    let hidden = match text.chars().count() {
        few @ ..=4 => few,
        many => many - 4,
    };
    text.chars().enumerate().map(|(at, character)| if at < hidden { '*' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_values_keep_nothing() {
        for (text, masked) in [("", ""), ("1234", "****"), ("12345", "*2345"), ("ä€😀bcdef", "****cdef")] {
            assert_eq!(keep_last_4(text), masked);
        }
    }

    #[test]
    fn the_hash_is_sha_256_of_salt_and_value() {
        let digest = Masker::new("a".into()).digest("bc");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&digest, &mut [0; 64]), expected);
    }
}
