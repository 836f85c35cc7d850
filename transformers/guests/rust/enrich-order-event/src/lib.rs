//! What enrich-order adds to an order (`full_name`, `amount_cents`, `total`, `currency`), written as the guides show it: over change events,
//! so that it runs in either encoding. `bench/event_encoding.py` runs it in both, beside enrich-order itself.

#[allow(dead_code)] // enrich-order uses more of it
#[path = "../../enrich-order/src/decimal.rs"]
mod decimal;

use penstock_guest::{ChangeEvent, Number, Outcome, Rejection, Result, Row, Value};
use serde::Deserialize;

use decimal::Decimal;

penstock_guest::transformer!(transform, Config);

/// What the operator chose.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Added to each row as `currency`.
    pub currency: Option<String>,
    /// Rows in one of these states end here.
    pub drop_statuses: Vec<String>,
}

/// Enriches one order.
pub fn transform<'a>(event: &mut ChangeEvent<'a>, config: &'a Config) -> Result<'a> {
    if !event.operation().leaves_a_row() {
        return Ok(Outcome::Unchanged);
    }
    let row = event.after()?;
    if row.text("status")?.is_some_and(|status| config.drop_statuses.iter().any(|dropped| *dropped == status)) {
        return Ok(Outcome::Drop);
    }
    let Some(amount) = decimal(row, "amount")? else {
        return Err(Rejection::new("bad-amount", "after.amount is missing"));
    };
    let cents = amount.hundredths().ok_or_else(|| overflow(amount))?;
    let total = match decimal(row, "quantity")? {
        Some(quantity) => Some(amount.times(quantity).ok_or_else(|| overflow(amount))?),
        None => None,
    };
    let name = full_name(row)?;
    row.set("full_name", name.as_deref());
    row.set("amount_cents", cents);
    if let Some(total) = total {
        let mut digits = Vec::with_capacity(24);
        total.write(&mut digits);
        set_digits(row, "total", &String::from_utf8_lossy(&digits));
    }
    if let Some(currency) = &config.currency {
        row.set("currency", currency.as_str());
    }
    Ok(event.emit())
}

/// First and last name, empty ones skipped; `None` when there is neither.
fn full_name(row: &Row) -> std::result::Result<Option<String>, Rejection> {
    let (first, last) = (row.text("first_name")?.unwrap_or_default(), row.text("last_name")?.unwrap_or_default());
    if first.is_empty() && last.is_empty() {
        return Ok(None);
    }
    let mut name = String::with_capacity(first.len() + 1 + last.len());
    name.push_str(&first);
    if !first.is_empty() && !last.is_empty() {
        name.push(' ');
    }
    name.push_str(&last);
    Ok(Some(name))
}

fn decimal(row: &Row, column: &str) -> std::result::Result<Option<Decimal>, Rejection> {
    let Some(digits) = row.digits(column)? else { return Ok(None) };
    match Decimal::parse(&digits) {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(Rejection::new("bad-number", format!("after.{column} is no decimal number of a usual size"))),
    }
}

fn overflow(amount: Decimal) -> Rejection {
    Rejection::new("overflow", format!("after.amount is {amount}: too many digits"))
}

/// Written the way the amount is.
fn set_digits(row: &mut Row, column: &str, digits: &str) {
    match (row.get("amount"), Number::of(digits)) {
        (Some(Value::Text(_)), _) | (_, None) => row.set(column, digits),
        (_, Some(number)) => row.set(column, number),
    }
}
