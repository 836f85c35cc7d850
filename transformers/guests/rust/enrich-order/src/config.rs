//! The registry entry's `config`, checked.

use serde::Deserialize;

use crate::decimal::Decimal;

/// What the operator chose.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config {
    /// Added to each row as `currency`.
    pub currency: Option<String>,
    /// Rows in one of these states end here.
    pub drop_statuses: Vec<String>,
    /// Copies expensive orders elsewhere.
    pub flag: Option<Flag>,
}

/// Orders above this total are also emitted to this topic.
#[derive(Debug)]
pub struct Flag {
    /// The total that must be exceeded.
    pub above: Decimal,
    /// Must be listed in the route's `also_to`.
    pub topic: String,
}

/// The config as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    currency: Option<String>,
    #[serde(default)]
    drop_statuses: Vec<String>,
    flag_above: Option<Decimal>,
    flag_topic: Option<String>,
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let flag = match (written.flag_above, written.flag_topic) {
            (Some(above), Some(topic)) => Some(Flag { above, topic }),
            (None, None) => None,
            (Some(_), None) => return Err("flag_above needs flag_topic: the topic for the flagged orders".into()),
            (None, Some(_)) => {
                return Err("flag_topic needs flag_above: the total from which orders are flagged".into());
            }
        };
        Ok(Config { currency: checked_currency(written.currency)?, drop_statuses: written.drop_statuses, flag })
    }
}

fn checked_currency(currency: Option<String>) -> Result<Option<String>, String> {
    match &currency {
        Some(code) if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            Err(format!("currency {code:?} is no ISO 4217 code: write three capital letters, such as EUR"))
        }
        _ => Ok(currency),
    }
}
