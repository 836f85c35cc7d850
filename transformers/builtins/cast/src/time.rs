//! Dates and times: as numbers since 1970, as Debezium writes them, and as texts by ISO 8601, in UTC.

use builtin_kit::Value;
use serde::Deserialize;

/// What a number counts.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Days,
    Seconds,
    Millis,
    Micros,
    Nanos,
}

const DAY_NS: i128 = 86_400_000_000_000;
/// The years that ISO 8601 writes with four digits: 0000 to 9999.
const FIRST_DAY: i128 = -719_528;
const LAST_DAY: i128 = 2_932_896;

impl Unit {
    fn ns(self) -> i128 {
        match self {
            Unit::Days => DAY_NS,
            Unit::Seconds => 1_000_000_000,
            Unit::Millis => 1_000_000,
            Unit::Micros => 1_000,
            Unit::Nanos => 1,
        }
    }

    /// Digits behind the point of a second.
    fn digits(self) -> usize {
        match self {
            Unit::Days | Unit::Seconds => 0,
            Unit::Millis => 3,
            Unit::Micros => 6,
            Unit::Nanos => 9,
        }
    }
}

/// A moment, and how precise it is.
struct Moment {
    ns: i128,
    digits: usize,
}

impl Moment {
    fn of(value: &Value, unit: Unit) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(Moment { ns: i128::from(*number) * unit.ns(), digits: unit.digits() }),
            Value::Text(text) => parse(text.trim()),
            _ => None,
        }
    }

    fn day(&self) -> Option<i128> {
        Some(self.ns.div_euclid(DAY_NS)).filter(|day| (FIRST_DAY..=LAST_DAY).contains(day))
    }

    fn date(&self) -> Option<String> {
        let (year, month, day) = civil(self.day()?);
        Some(format!("{year:04}-{month:02}-{day:02}"))
    }

    fn time(&self) -> String {
        let ns = self.ns.rem_euclid(DAY_NS);
        let (seconds, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let time = format!("{hours:02}:{minutes:02}:{seconds:02}");
        match self.digits {
            0 => time,
            digits => format!("{time}.{}", &format!("{fraction:09}")[..digits]),
        }
    }
}

/// `2026-11-23`; a number counts days unless it is said otherwise.
pub(crate) fn date(value: &Value, unit: Option<Unit>) -> Option<Value<'static>> {
    Moment::of(value, unit.unwrap_or(Unit::Days))?.date().map(|text| Value::Text(text.into()))
}

/// `2026-11-23T07:03:36.123Z`, as precise as it was; a number counts milliseconds unless it is said otherwise.
pub(crate) fn timestamp(value: &Value, unit: Option<Unit>) -> Option<Value<'static>> {
    let moment = Moment::of(value, unit.unwrap_or(Unit::Millis))?;
    Some(Value::Text(format!("{}T{}Z", moment.date()?, moment.time()).into()))
}

/// `07:03:36.123`; a number counts milliseconds of the day unless it is said otherwise.
pub(crate) fn time(value: &Value, unit: Option<Unit>) -> Option<Value<'static>> {
    let moment = Moment::of(value, unit.unwrap_or(Unit::Millis))?;
    let is_of_a_day = matches!(value, Value::Text(_)) || (0..DAY_NS).contains(&moment.ns);
    is_of_a_day.then(|| Value::Text(moment.time().into()))
}

/// The number of a text; `None` when digits would be lost. A number is taken for what it is to become.
pub(crate) fn epoch(value: &Value, unit: Unit) -> Option<Value<'static>> {
    let ns = Moment::of(value, unit)?.ns;
    if unit != Unit::Days && ns % unit.ns() != 0 {
        return None;
    }
    i64::try_from(ns.div_euclid(unit.ns())).ok().map(Value::Integer)
}

/// `2026-11-23`, `2026-11-23T07:03:36.123Z`, with a space for the T, with an offset for the Z (`+01:00`, `+01`); without either it is UTC.
/// A time alone (`07:03:36`) is one of 1970-01-01.
fn parse(text: &str) -> Option<Moment> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None if text.as_bytes().get(2) == Some(&b':') => ("1970-01-01", Some(text)),
        None => (text, None),
    };
    let day_ns = days_of(date)? * DAY_NS;
    let Some(time) = time else { return Some(Moment { ns: day_ns, digits: 0 }) };
    let (time, offset_ns) = without_offset(time)?;
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    if fraction.len() > 9 || (time.contains('.') && fraction.is_empty()) {
        return None;
    }
    let fraction_ns = number(&format!("{fraction:0<9}"), 9)?;
    let ns = day_ns + seconds_of(clock)? * 1_000_000_000 + fraction_ns - offset_ns;
    Some(Moment { ns, digits: [0, 3, 6, 9][fraction.len().div_ceil(3)] })
}

fn days_of(date: &str) -> Option<i128> {
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let days = days(year, month, day);
    (parts.next().is_none() && (1..=12).contains(&month) && civil(days) == (year, month, day)).then_some(days)
}

fn seconds_of(clock: &str) -> Option<i128> {
    let mut parts = clock.split(':');
    let (hours, minutes) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let seconds = parts.next().map_or(Some(0), |seconds| number(seconds, 2))?;
    (parts.next().is_none() && hours < 24 && minutes < 60 && seconds < 60)
        .then_some(hours * 3600 + minutes * 60 + seconds)
}

/// A time without its offset, and the offset in nanoseconds.
fn without_offset(time: &str) -> Option<(&str, i128)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let offset = &time[at + 1..];
    let (hours, minutes) = match offset.split_once(':') {
        Some((hours, minutes)) => (number(hours, 2)?, number(minutes, 2)?),
        None if offset.len() == 4 => (number(offset.get(..2)?, 2)?, number(offset.get(2..)?, 2)?),
        None => (number(offset, 2)?, 0),
    };
    let ns = (hours * 60 + minutes) * 60_000_000_000;
    (hours < 24 && minutes < 60).then_some((&time[..at], if time.as_bytes()[at] == b'-' { -ns } else { ns }))
}

/// A number of exactly so many digits.
fn number(text: &str, digits: usize) -> Option<i128> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// Days since 1970 of a date in the Gregorian calendar (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The date of so many days since 1970; the inverse of `days`.
fn civil(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i128::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_ten_millennia_goes_there_and_back() {
        for day in FIRST_DAY..=LAST_DAY {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(FIRST_DAY), (0, 1, 1));
        assert_eq!(civil(LAST_DAY), (9999, 12, 31));
        assert_eq!(civil(11_016), (2000, 2, 29));
    }

    fn text(value: Option<Value>) -> Option<String> {
        match value? {
            Value::Text(text) => Some(text.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_become_texts() {
        for (number, unit, expected) in [
            (0, Unit::Millis, Some("1970-01-01T00:00:00.000Z")),
            (-1, Unit::Millis, Some("1969-12-31T23:59:59.999Z")),
            (1_795_353_061_265, Unit::Millis, Some("2026-11-22T13:11:01.265Z")),
            (1_795_353_061_265_001, Unit::Micros, Some("2026-11-22T13:11:01.265001Z")),
            (i64::MAX, Unit::Nanos, Some("2262-04-11T23:47:16.854775807Z")),
            (1, Unit::Seconds, Some("1970-01-01T00:00:01Z")),
            (i64::MAX, Unit::Millis, None),
            (i64::MIN, Unit::Days, None),
        ] {
            assert_eq!(text(timestamp(&Value::Integer(number), Some(unit))).as_deref(), expected);
        }
        assert_eq!(text(date(&Value::Integer(20_780), None)).as_deref(), Some("2026-11-23"));
        assert_eq!(text(time(&Value::Integer(86_399_999), None)).as_deref(), Some("23:59:59.999"));
        assert_eq!(time(&Value::Integer(86_400_000), None), None);
    }

    #[test]
    fn texts_become_numbers() {
        for (text, unit, expected) in [
            ("1970-01-01", Unit::Millis, Some(0)),
            ("2026-11-23", Unit::Days, Some(20_780)),
            ("2026-11-23T23:59:59", Unit::Days, Some(20_780)),
            ("1970-01-01T01:00:00+01:00", Unit::Seconds, Some(0)),
            ("1969-12-31 22:30:00.5-0130", Unit::Millis, Some(500)),
            ("1970-01-01T00:00:00.000001Z", Unit::Micros, Some(1)),
            ("1970-01-01T00:00:00.000001Z", Unit::Millis, None),
            ("00:00:01", Unit::Seconds, Some(1)),
            ("2026-02-29", Unit::Days, None),
            ("2026-13-01", Unit::Days, None),
            ("2026-11-23T24:00:00Z", Unit::Days, None),
            ("2026-11-23T", Unit::Days, None),
            ("äöü", Unit::Days, None),
            ("", Unit::Days, None),
            ("1-1-1", Unit::Days, None),
        ] {
            assert_eq!(epoch(&Value::Text(text.into()), unit), expected.map(Value::Integer), "{text}");
        }
    }
}
