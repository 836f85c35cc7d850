//! Hashes, HMACs and tokens of values.

use std::borrow::Cow;

use builtin_kit::{Value, hex, text_of};
use sha2::{Digest, Sha256};

const BLOCK_BYTES: usize = 64;

/// What makes the results differ from anybody else's.
pub(crate) struct Secrets<'s> {
    pub salt: &'s str,
    pub key: &'s str,
}

impl Secrets<'_> {
    /// SHA-256 of salt and value, in hex.
    pub fn hash(&self, value: &[u8]) -> String {
        hex(&Sha256::new().chain_update(self.salt).chain_update(value).finalize())
    }

    /// HMAC-SHA-256 of the value under the key, in hex.
    pub fn hmac_hex(&self, value: &[u8]) -> String {
        hex(&self.hmac(&[value]))
    }

    /// RFC 2104.
    fn hmac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut block = [0; BLOCK_BYTES];
        if self.key.len() > BLOCK_BYTES {
            block[..32].copy_from_slice(&Sha256::digest(self.key));
        } else {
            block[..self.key.len()].copy_from_slice(self.key.as_bytes());
        }
        let inner = parts
            .iter()
            .fold(Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36)), |sum, part| sum.chain_update(part));
        Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c)).chain_update(inner.finalize()).finalize().into()
    }

    /// The same value always gives the same token, of the same form: digits for digits, letters for letters of the same case, all
    /// else as it is. A number stays a number of as many digits.
    pub fn token(&self, leaf: &Value) -> Value<'static> {
        match leaf {
            Value::Integer(number) => Value::Integer(self.number(*number)),
            Value::Unsigned(number) => self.unsigned(*number),
            Value::Float(_) | Value::Digits(_) => self.float(leaf),
            // There are but two: a token would hide nothing.
            Value::Boolean(_) => Value::Null,
            Value::Bytes(bytes) => {
                Value::Bytes(self.stream(bytes).take(bytes.len()).map(|pair| pair as u8).collect::<Vec<_>>().into())
            }
            _ => Value::Text(self.text(&text_of(leaf).unwrap_or_default()).into()),
        }
    }

    fn text(&self, text: &str) -> String {
        text.chars().zip(self.stream(text.as_bytes())).map(|(character, pair)| replaced(character, pair)).collect()
    }

    /// As many digits, the first of them not 0, the same sign; what would not fit 64 bits begins with a smaller digit.
    fn number(&self, number: i64) -> i64 {
        let digits = number.unsigned_abs().to_string();
        let first_max = if digits.len() == 19 { 8 } else { 9 };
        let mut token = 0_i64;
        for (at, pair) in (0..digits.len()).zip(self.stream(digits.as_bytes())) {
            let digit = if at == 0 { 1 + i64::from(pair) % first_max } else { i64::from(pair) % 10 };
            token = token * 10 + digit;
        }
        if number < 0 { -token } else { token }
    }

    /// A float of the same digits before and behind the point, and the same exponent.
    fn float(&self, leaf: &Value) -> Value<'static> {
        let text = text_of(leaf).unwrap_or_default();
        let exponent = text.find(['e', 'E']).unwrap_or(text.len());
        let digits = text.char_indices().zip(self.stream(text.as_bytes()));
        let token: String = digits
            .map(|((at, one), pair)| if one.is_ascii_digit() && at < exponent { replaced(one, pair) } else { one })
            .collect();
        match token.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Float(number),
            _ => Value::Null,
        }
    }

    /// As many digits again: the first of them can only be 1, and behind it 7 is the most that always fits.
    fn unsigned(&self, number: u64) -> Value<'static> {
        let digits = number.to_string();
        let rest = self.stream(digits.as_bytes()).take(digits.len() - 1).enumerate();
        Value::Unsigned(rest.fold(1, |token, (at, pair)| token * 10 + u64::from(pair) % if at == 0 { 8 } else { 10 }))
    }

    /// As many pairs of bytes as are asked for, from the HMACs of a counter and the value's own: a long value is hashed once.
    fn stream(&self, value: &[u8]) -> impl Iterator<Item = u16> + '_ {
        let seed = self.hmac(&[value]);
        (0_u32..).flat_map(move |counter| {
            let block = self.hmac(&[&counter.to_be_bytes(), &seed]);
            (0..16).map(move |at| u16::from_be_bytes([block[2 * at], block[2 * at + 1]]))
        })
    }
}

fn replaced(character: char, pair: u16) -> char {
    let from = |first: u8, count: u16| char::from(first + (pair % count) as u8);
    match character {
        '0'..='9' => from(b'0', 10),
        'a'..='z' => from(b'a', 26),
        'A'..='Z' => from(b'A', 26),
        other if other.is_alphanumeric() => from(b'a', 26),
        other => other,
    }
}

/// The bytes that are hashed: of a text its UTF-8, of bytes themselves, of all else how JSON writes it.
pub(crate) fn bytes_of<'v>(leaf: &'v Value) -> Cow<'v, [u8]> {
    match leaf {
        Value::Bytes(bytes) => Cow::Borrowed(bytes),
        _ => match text_of(leaf).unwrap_or_default() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_sha_256_of_salt_and_value() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Secrets { salt: "a", key: "" }.hash(b"bc"), expected);
    }

    #[test]
    fn the_hmac_is_that_of_rfc_4231() {
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(Secrets { salt: "", key: "Jefe" }.hmac_hex(b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn a_token_has_the_form_of_its_value() {
        let secrets = Secrets { salt: "", key: "k" };
        let Value::Text(token) = secrets.token(&Value::Text("Ada@example.org +49 30".into())) else { panic!() };
        assert_eq!(
            token.chars().map(|c| if c.is_alphanumeric() { 'x' } else { c }).collect::<String>(),
            "xxx@xxxxxxx.xxx +xx xx"
        );
        for number in [1e300, 1.5, -2.5e-300] {
            let Value::Float(token) = secrets.token(&Value::Float(number)) else { panic!() };
            assert!(
                token != number && (token == 0.0 || (token.abs().log10() - number.abs().log10()).abs() < 2.0),
                "{token}"
            );
        }
        assert!(matches!(secrets.token(&Value::Digits("1.10".into())), Value::Float(_)));
        for number in [0, 7, -42, i64::MAX, i64::MIN + 1] {
            let Value::Integer(token) = secrets.token(&Value::Integer(number)) else { panic!() };
            assert_eq!(token.unsigned_abs().to_string().len(), number.unsigned_abs().to_string().len());
            assert_eq!(token < 0, number < 0);
        }
    }
}
