//! {{name}}: adds `full_name` to each row and drops the rows that nobody is to see.

use penstock_guest::{ChangeEvent, Outcome, Rejection, Result};

/// The registry entry's `config`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rows in one of these states end here.
    #[serde(default)]
    pub drop_statuses: Vec<String>,
}

penstock_guest::transformer!(transform, Config);

/// Transforms one change event.
pub fn transform<'a>(event: &mut ChangeEvent<'a>, config: &'a Config) -> Result<'a> {
    if !event.operation().leaves_a_row() {
        return Ok(Outcome::Unchanged);
    }
    let row = event.after()?;
    if row.text("status")?.is_some_and(|status| config.drop_statuses.iter().any(|dropped| *dropped == status)) {
        return Ok(Outcome::Drop);
    }
    let (first, last) = (row.text("first_name")?, row.text("last_name")?);
    let (Some(first), Some(last)) = (first, last) else {
        return Err(Rejection::new("no-name", "after.first_name and after.last_name must both be there"));
    };
    row.set("full_name", format!("{first} {last}"));
    Ok(event.emit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_guest::Event;

    #[test]
    fn the_name_is_added_in_place() {
        let value = br#"{"op":"c","after":{"first_name":"Ada","last_name":"Lovelace","id":1}}"#;
        let mut event = ChangeEvent::of(Event::of_value(value)).unwrap().unwrap();
        let expected = br#"{"op":"c","after":{"first_name":"Ada","last_name":"Lovelace","id":1,"full_name":"Ada Lovelace"}}"#;
        assert_eq!(transform(&mut event, &Config::default()), Ok(Outcome::emit(expected.to_vec())));
    }
}
