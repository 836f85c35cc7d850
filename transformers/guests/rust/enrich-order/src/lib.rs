//! Enriches order rows: `full_name`, `amount_cents`, `total` and `currency` are added to `after`, in place.
//!
//! Rows whose `status` is listed in `drop_statuses` are dropped; rows without a usable `amount` are rejected; deletes,
//! tombstones, truncates and messages pass unchanged. See `docs/guests.md` for the configuration.

mod config;
mod decimal;

use std::borrow::Cow;

use penstock_guest::debezium::{self, Envelope, Value};
use penstock_guest::json::{self, Edits, Kind, New, Raw, is};
use penstock_guest::{Event, Outcome, Record};

pub use config::{Config, Flag};
pub use decimal::{Decimal, ParseError};

penstock_guest::transformer!(transform, Config);

/// Enriches one order.
pub fn transform<'a>(event: &Event<'a>, config: &'a Config) -> Outcome<'a> {
    let Some(value) = event.value else { return Outcome::Unchanged };
    match enrich(event, value, config) {
        Ok(outcome) => outcome,
        Err(Rejection { code, message }) => Outcome::reject(code, message),
    }
}

/// Why an order cannot be enriched.
struct Rejection {
    code: &'static str,
    message: String,
}

fn rejection<T>(code: &'static str, message: String) -> Result<T, Rejection> {
    Err(Rejection { code, message })
}

impl From<json::Error> for Rejection {
    fn from(error: json::Error) -> Self {
        Rejection { code: "bad-json", message: format!("the value is no JSON change event: {error}") }
    }
}

fn enrich<'a>(event: &Event<'a>, value: &'a [u8], config: &'a Config) -> Result<Outcome<'a>, Rejection> {
    let text = json::text(value)?;
    let envelope = match debezium::parse(text)? {
        Value::Null => return Ok(Outcome::Unchanged),
        Value::Change(envelope) => envelope,
        Value::Other(_) => {
            let message = "the value has no `op` of c, u, r, d, t or m: it is no Debezium change event";
            return rejection("no-envelope", message.into());
        }
    };
    match envelope {
        Envelope { operation, .. } if !operation.leaves_a_row() => Ok(Outcome::Unchanged),
        Envelope { after: Some(after), .. } => enrich_row(event, text, after, config),
        Envelope { operation, .. } => {
            rejection("no-after", format!("{operation:?} without `after`: there is no row to enrich"))
        }
    }
}

/// The columns that matter, as they stand in the row; a column that repeats counts as its last.
#[derive(Default)]
struct Row<'a> {
    first_name: Option<Raw<'a>>,
    last_name: Option<Raw<'a>>,
    amount: Option<Raw<'a>>,
    quantity: Option<Raw<'a>>,
    status: Option<Raw<'a>>,
    full_name: Option<Raw<'a>>,
    amount_cents: Option<Raw<'a>>,
    total: Option<Raw<'a>>,
    currency: Option<Raw<'a>>,
}

impl<'a> Row<'a> {
    fn of(after: Raw<'a>) -> Result<Self, json::Error> {
        let mut row = Row::default();
        json::members(after.text(), |name, value| {
            let column = match name {
                _ if is(name, "first_name") => &mut row.first_name,
                _ if is(name, "last_name") => &mut row.last_name,
                _ if is(name, "amount") => &mut row.amount,
                _ if is(name, "quantity") => &mut row.quantity,
                _ if is(name, "status") => &mut row.status,
                _ if is(name, "full_name") => &mut row.full_name,
                _ if is(name, "amount_cents") => &mut row.amount_cents,
                _ if is(name, "total") => &mut row.total,
                _ if is(name, "currency") => &mut row.currency,
                _ => return,
            };
            *column = Some(value);
        })?;
        Ok(row)
    }

    fn is_dropped(&self, config: &Config) -> Result<bool, json::Error> {
        let Some(status) = self.status.filter(|_| !config.drop_statuses.is_empty()) else { return Ok(false) };
        Ok(status.string()?.is_some_and(|status| config.drop_statuses.iter().any(|dropped| *dropped == status)))
    }

    /// First and last name as they stand between their quotes; empty for nulls and missing ones.
    fn names(&self) -> Result<(&'a str, &'a str), Rejection> {
        Ok((name_text("first_name", self.first_name)?, name_text("last_name", self.last_name)?))
    }
}

/// The names joined as JSON text, empty ones skipped; `null` when there is neither.
fn write_full_name(out: &mut Vec<u8>, (first, last): (&str, &str)) {
    if first.is_empty() && last.is_empty() {
        return out.extend_from_slice(b"null");
    }
    let space = if first.is_empty() || last.is_empty() { "" } else { " " };
    out.push(b'"');
    [first, space, last].iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    out.push(b'"');
}

/// What stands between the quotes, escapes and all; nothing for null and for a missing column.
fn name_text<'a>(column: &str, value: Option<Raw<'a>>) -> Result<&'a str, Rejection> {
    let Some(value) = value else { return Ok("") };
    match value.kind() {
        Kind::Null => Ok(""),
        Kind::String => Ok(value.inside().unwrap_or_default()),
        _ => rejection("bad-name", format!("after.{column} is {}: a string or null was expected", shown(value))),
    }
}

/// A decimal and the way the source writes it.
#[derive(Clone, Copy)]
struct Number {
    decimal: Decimal,
    is_text: bool,
}

impl Number {
    fn of(column: &str, code: &'static str, value: Raw) -> Result<Self, Rejection> {
        let is_text = value.kind() == Kind::String;
        let decimal = match value.string()? {
            Some(text) => Decimal::parse(&text),
            None => Decimal::parse(value.text()),
        };
        match decimal {
            Ok(decimal) => Ok(Number { decimal, is_text }),
            Err(ParseError::TooLarge) => {
                rejection("overflow", format!("after.{column} is {}: too many digits", shown(value)))
            }
            Err(ParseError::Invalid) => rejection(
                code,
                format!(
                    "after.{column} is {}: a decimal number was expected (Debezium writes decimals as bytes unless \
                     decimal.handling.mode is string)",
                    shown(value)
                ),
            ),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        if self.is_text {
            out.push(b'"');
            self.decimal.write(out);
            out.push(b'"');
        } else {
            self.decimal.write(out);
        }
    }
}

/// A value for an error message: its JSON text, cut when it is long.
fn shown(value: Raw<'_>) -> Cow<'_, str> {
    const CHARS_MAX: usize = 80;
    match value.text().char_indices().nth(CHARS_MAX) {
        Some((end, _)) => Cow::Owned(format!("{}…", &value.text()[..end])),
        None => Cow::Borrowed(value.text()),
    }
}

fn enrich_row<'a>(
    event: &Event<'a>,
    text: &'a str,
    after: Raw<'a>,
    config: &'a Config,
) -> Result<Outcome<'a>, Rejection> {
    let row = Row::of(after)?;
    if row.is_dropped(config)? {
        return Ok(Outcome::Drop);
    }
    let amount = match row.amount {
        Some(amount) => Number::of("amount", "bad-amount", amount)?,
        None => return rejection("bad-amount", "after.amount is missing".into()),
    };
    let Some(cents) = amount.decimal.hundredths() else {
        return rejection("overflow", format!("after.amount is {}: its cents do not fit 64 bits", amount.decimal));
    };
    let total = total(amount, row.quantity)?;

    let names = row.names()?;
    let mut edits = Edits::new(text);
    edits.set_with(after, row.full_name, "full_name", |out| write_full_name(out, names));
    edits.set(after, row.amount_cents, "amount_cents", New::Integer(cents));
    if let Some(total) = total {
        edits.set_with(after, row.total, "total", |out| total.write(out));
    }
    if let Some(currency) = &config.currency {
        edits.set(after, row.currency, "currency", New::Text(currency));
    }
    Ok(emitted(event, edits, total.unwrap_or(amount).decimal, config))
}

/// Amount × quantity, written the way the amount is; `None` when there is no quantity.
fn total(amount: Number, quantity: Option<Raw>) -> Result<Option<Number>, Rejection> {
    let Some(quantity) = quantity.filter(|quantity| quantity.kind() != Kind::Null) else { return Ok(None) };
    let factor = Number::of("quantity", "bad-quantity", quantity)?.decimal;
    match amount.decimal.times(factor) {
        Some(decimal) => Ok(Some(Number { decimal, ..amount })),
        None => rejection("overflow", format!("{} × {factor} has too many digits", amount.decimal)),
    }
}

fn emitted<'a>(event: &Event<'a>, edits: Edits<'a>, total: Decimal, config: &'a Config) -> Outcome<'a> {
    let Some(flag) = config.flag.as_ref().filter(|flag| total > flag.above) else { return Outcome::Edit(edits) };
    let value = Some(Cow::Owned(edits.finish()));
    let enriched = Record { topic: None, key: event.key.map(Cow::Borrowed), value, headers: None };
    let flagged = Record { topic: Some(Cow::Borrowed(&flag.topic)), ..enriched.clone() };
    Outcome::EmitMany(vec![enriched, flagged])
}
