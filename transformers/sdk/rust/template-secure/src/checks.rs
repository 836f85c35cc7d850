//! What every value must pass before anything is done with it.

use penstock_guest::{Rejection, Row, Value};

/// Larger values are rejected.
pub const INPUT_BYTES_MAX: usize = 1 << 20;

/// Signs of an attack on whoever shows, runs or opens the text later.
const SUSPICIOUS: [&str; 7] = ["<script", "javascript:", "eval(", "exec(", "system(", "../", "..\\"];

/// Size and content of the record's own bytes.
///
/// # Errors
/// `input-too-large`, `empty-input` or `suspicious-input`.
pub fn check_bytes(value: &[u8], bytes_max: usize) -> Result<(), Rejection> {
    if value.len() > bytes_max {
        let message = format!("the value has {} bytes: at most {bytes_max} are allowed", value.len());
        return Err(Rejection::new("input-too-large", message));
    }
    if value.is_empty() {
        return Err(Rejection::new("empty-input", "the value is empty: only a tombstone, which has none, may be"));
    }
    suspicious(value).map_or(Ok(()), |pattern| Err(refused("the value", pattern)))
}

/// The texts of a row as they read without their escapes: `\u003cscript` is a `<script` too.
///
/// # Errors
/// `suspicious-input`, with the column.
pub fn check_texts(row: &Row) -> Result<(), Rejection> {
    for name in row.names() {
        if let Some(Value::Text(text)) = row.get(name)
            && let Some(pattern) = suspicious(text.as_bytes())
        {
            return Err(refused(name, pattern));
        }
    }
    Ok(())
}

fn refused(place: &str, pattern: &str) -> Rejection {
    Rejection::new("suspicious-input", format!("{place} holds {pattern:?}"))
}

/// The first pattern that occurs, in whatever case.
fn suspicious(bytes: &[u8]) -> Option<&'static str> {
    SUSPICIOUS.into_iter().find(|pattern| {
        bytes.windows(pattern.len()).any(|window| window.eq_ignore_ascii_case(pattern.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_seen_in_any_case_and_place() {
        for pattern in SUSPICIOUS {
            for text in [pattern.to_owned(), format!("x{}y", pattern.to_uppercase())] {
                assert_eq!(suspicious(text.as_bytes()), Some(pattern));
            }
            let cut: String = pattern.chars().skip(1).collect();
            assert_eq!(suspicious(cut.as_bytes()), None, "{cut}");
        }
    }

    #[test]
    fn sizes_are_bounds_included() {
        assert!(check_bytes(b"ab", 2).is_ok());
        assert!(check_bytes(b"abc", 2).is_err_and(|rejection| rejection.code == "input-too-large"));
        assert!(check_bytes(b"", 2).is_err_and(|rejection| rejection.code == "empty-input"));
    }
}
