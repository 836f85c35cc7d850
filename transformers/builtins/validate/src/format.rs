//! What `format` asserts of texts.

use builtin_kit::number::is_numeral;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Date,
    Time,
    DateTime,
    Uuid,
    Email,
    Ipv4,
    Ipv6,
    Decimal,
}

const FORMATS: [(&str, Format); 8] = [
    ("date", Format::Date),
    ("time", Format::Time),
    ("date-time", Format::DateTime),
    ("uuid", Format::Uuid),
    ("email", Format::Email),
    ("ipv4", Format::Ipv4),
    ("ipv6", Format::Ipv6),
    ("decimal", Format::Decimal),
];

impl Format {
    pub fn named(name: &str) -> Result<Self, String> {
        let found = FORMATS.iter().find(|(known, _)| *known == name);
        found.map(|(_, format)| *format).ok_or_else(|| {
            let names: Vec<&str> = FORMATS.iter().map(|(name, _)| *name).collect();
            format!("{name:?} is not checked here: {} are; use `pattern` for others", names.join(", "))
        })
    }

    pub fn name(self) -> &'static str {
        FORMATS.iter().find(|(_, format)| *format == self).map_or("", |(name, _)| name)
    }

    pub fn holds(self, text: &str) -> bool {
        match self {
            Format::Date => is_date(text),
            Format::Time => is_time(text),
            Format::DateTime => match text.split_once(['T', 't', ' ']) {
                Some((date, time)) => is_date(date) && is_time(time) && !text.contains(' '),
                None => false,
            },
            Format::Uuid => is_uuid(text),
            Format::Email => is_email(text),
            Format::Ipv4 => text.parse::<std::net::Ipv4Addr>().is_ok(),
            Format::Ipv6 => text.parse::<std::net::Ipv6Addr>().is_ok(),
            Format::Decimal => is_numeral(text),
        }
    }
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// RFC 3339, `full-date`.
fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let number = |part: Option<&str>, count| part.and_then(|part| digits(part, count));
    let (Some(year), Some(month), Some(day), None) = (number(year, 4), number(month, 2), number(day, 2), parts.next())
    else {
        return false;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// RFC 3339, `full-time`: a leap second is one at 23:59 in UTC only.
fn is_time(text: &str) -> bool {
    let Some(at) = text.find(['Z', 'z', '+', '-']) else { return false };
    let (clock, zone) = text.split_at(at);
    let (clock, fraction) = clock.split_once('.').map_or((clock, "0"), |(clock, fraction)| (clock, fraction));
    let Some((minutes, second)) = minutes_and_seconds(clock) else { return false };
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let Some(offset) = offset_minutes(zone) else { return false };
    match second {
        0..60 => true,
        60 => (minutes as i32 - offset).rem_euclid(24 * 60) == 24 * 60 - 1,
        _ => false,
    }
}

fn minutes_and_seconds(clock: &str) -> Option<(u32, u32)> {
    let (hour, rest) = clock.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    let (hour, minute, second) = (digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?);
    (hour < 24 && minute < 60).then_some((60 * hour + minute, second))
}

fn offset_minutes(zone: &str) -> Option<i32> {
    let sign = match zone.as_bytes()[0] {
        b'Z' | b'z' => return (zone.len() == 1).then_some(0),
        b'-' => -1,
        _ => 1,
    };
    let (hour, minute) = zone[1..].split_once(':')?;
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    (hour < 24 && minute < 60).then_some(sign * (60 * hour + minute) as i32)
}

fn is_uuid(text: &str) -> bool {
    let is_right = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == 36 && text.bytes().enumerate().all(is_right)
}

/// Something, an @, and a name of a host with no empty part.
fn is_email(text: &str) -> bool {
    let Some((local, host)) = text.rsplit_once('@') else { return false };
    let is_local = |byte: u8| byte > 0x7f || byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-.".contains(&byte);
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte > 0x7f || byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty() && label.bytes().all(is_part) && !label.starts_with('-') && !label.ends_with('-')
    };
    let are_dots_right = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    !local.is_empty() && local.bytes().all(is_local) && are_dots_right && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_tells_right_from_wrong() {
        let cases: [(Format, &[&str], &[&str]); 8] = [
            (
                Format::Date,
                &["2024-02-29", "0000-01-01"],
                &["2023-02-29", "2024-13-01", "2024-1-01", "2024-01-32", "2024-01-01x", "٢٠٢٤-01-01"],
            ),
            (
                Format::Time,
                &["23:59:60Z", "00:00:00+00:00", "12:00:00.123456-05:30", "01:59:60+02:00"],
                &[
                    "12:00:00",
                    "24:00:00Z",
                    "12:60:00Z",
                    "12:00:61Z",
                    "12:00:60Z",
                    "12:00Z",
                    "12:00:00.Z",
                    "12:00:00+24:00",
                    "12:00:00Zx",
                ],
            ),
            (
                Format::DateTime,
                &["2024-01-01T00:00:00Z", "2024-01-01t00:00:00z"],
                &["2024-01-01 00:00:00Z", "2024-01-01", "2024-01-01T25:00:00Z"],
            ),
            (
                Format::Uuid,
                &["4D47e190-0000-0000-0000-00000000000f"],
                &["4d47e190", "4d47e190-0000-0000-0000-00000000000g", "4d47e19000000-000-0000-00000000000f"],
            ),
            (
                Format::Email,
                &["a@b", "a.b+c@d.org", "jörg@münchen.de"],
                &["a", "@b", "a@", ".a@b", "a..b@c", "a@b..c", "a@-b", "a b@c"],
            ),
            (Format::Ipv4, &["127.0.0.1"], &["127.0.0", "256.0.0.1", "01.0.0.1"]),
            (Format::Ipv6, &["::1", "::ffff:1.2.3.4"], &["::1::", "12345::", "fe80::1%eth0"]),
            (Format::Decimal, &["12.30", "-0", "1e5"], &["1,5", "007", "", "NaN"]),
        ];
        for (format, right, wrong) in cases {
            assert_eq!(Format::named(format.name()), Ok(format));
            right.iter().for_each(|text| assert!(format.holds(text), "{text}"));
            wrong.iter().for_each(|text| assert!(!format.holds(text), "{text}"));
        }
        assert!(Format::named("hostname").unwrap_err().contains("use `pattern`"));
    }
}
