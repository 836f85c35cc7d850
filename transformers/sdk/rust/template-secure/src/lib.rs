//! {{name}}: writes e-mail addresses in lower case, after checks that every value must pass.

#![forbid(unsafe_code)]

mod checks;

use penstock_guest::{ChangeEvent, Event, Outcome, Result};
use serde::Deserialize;

pub use checks::{INPUT_BYTES_MAX, check_bytes, check_texts};

/// The registry entry's `config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default, try_from = "Written")]
pub struct Config {
    /// Values larger than this are rejected.
    pub input_bytes_max: usize,
}

/// The config as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default = "input_bytes_max")]
    input_bytes_max: usize,
}

const fn input_bytes_max() -> usize {
    INPUT_BYTES_MAX
}

impl Default for Config {
    fn default() -> Self {
        Self { input_bytes_max: INPUT_BYTES_MAX }
    }
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        match written.input_bytes_max {
            1..=INPUT_BYTES_MAX => Ok(Self { input_bytes_max: written.input_bytes_max }),
            other => Err(format!("input_bytes_max is {other}: 1 to {INPUT_BYTES_MAX} bytes are allowed")),
        }
    }
}

penstock_guest::transformer!(transform, Config, function: process_secure_request);

/// Checks one record's value, then transforms it. Tombstones pass.
///
/// # Errors
/// The first check that the value does not pass, by its code.
pub fn transform<'a>(event: &Event<'a>, config: &'a Config) -> Result<'a> {
    let Some(value) = event.value else { return Ok(Outcome::Unchanged) };
    check_bytes(value, config.input_bytes_max)?;
    let Some(mut change) = ChangeEvent::of(*event)? else { return Ok(Outcome::Unchanged) };
    for row in change.rows() {
        check_texts(row)?;
    }
    if !change.operation().leaves_a_row() {
        return Ok(Outcome::Unchanged);
    }
    let row = change.after()?;
    if let Some(email) = row.text("email")? {
        let lower = email.to_lowercase();
        if lower != email {
            row.set("email", lower);
        }
    }
    Ok(change.emit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(value: &str) -> Result<'_> {
        static CONFIG: Config = Config { input_bytes_max: INPUT_BYTES_MAX };
        transform(&Event::of_value(value.as_bytes()), &CONFIG)
    }

    #[test]
    fn addresses_become_lower_case() {
        let expected = r#"{"op":"c","after":{"email":"ada@example.com"}}"#;
        assert_eq!(
            outcome(r#"{"op":"c","after":{"email":"Ada@Example.COM"}}"#),
            Ok(Outcome::emit(expected.into()))
        );
        assert_eq!(outcome(expected), Ok(Outcome::Unchanged));
    }
}
