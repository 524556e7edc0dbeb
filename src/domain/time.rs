//! Time in whole seconds, UTC.

use std::fmt;

use jiff::{SignedDuration, civil::DateTime};

/// 1970-01-01T00:00:00.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A moment in whole seconds, UTC, in the years 1950 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1950-01-01T00:00:00Z, in seconds since the epoch.
    const FIRST: i64 = -631_152_000;
    /// 9999-12-31T23:59:59Z, in seconds since the epoch.
    const LAST: i64 = 253_402_300_799;

    /// Reads RFC 3339 with any offset; a fraction is cut off, never rounded.
    ///
    /// # Errors
    /// [`TimestampError`] when the text is no RFC 3339 timestamp or the year is outside 1950 to 9999.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let offset = rfc3339_offset_seconds(text).ok_or(TimestampError::Syntax)?;
        let mut digits = [0; 14];
        let written = text.bytes().filter(u8::is_ascii_digit);
        digits.iter_mut().zip(written).for_each(|(digit, written)| *digit = written);
        let local = seconds_of(digits).ok_or(TimestampError::Syntax)?;
        Self::from_unix(local - offset)
    }

    /// Reads `YYYYMMDDHHMMSS`, UTC.
    ///
    /// # Errors
    /// [`TimestampError`] when there is no such moment or the year is outside 1950 to 9999.
    pub fn from_digits(digits: [u8; 14]) -> Result<Self, TimestampError> {
        Self::from_unix(seconds_of(digits).ok_or(TimestampError::Syntax)?)
    }

    /// `YYYYMMDDHHMMSS`, UTC.
    pub fn digits(self) -> [u8; 14] {
        // Years of four digits: nothing overflows.
        let moment = EPOCH.saturating_add(SignedDuration::from_secs(self.0));
        let year = moment.year().unsigned_abs();
        let [century, year] = [year / 100, year % 100].map(|part| u8::try_from(part).unwrap_or(0));
        let of_century =
            [moment.month(), moment.day(), moment.hour(), moment.minute(), moment.second()];
        let [month, day, hour, minute, second] = of_century.map(i8::unsigned_abs);
        let mut digits = [0; 14];
        let pairs = [century, year, month, day, hour, minute, second];
        for (digits, pair) in digits.chunks_exact_mut(2).zip(pairs) {
            digits.copy_from_slice(&[b'0' + pair / 10, b'0' + pair % 10]);
        }
        digits
    }

    /// From seconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// [`TimestampError::Range`] outside the years 1950 to 9999.
    pub fn from_unix(seconds: impl TryInto<i64>) -> Result<Self, TimestampError> {
        match seconds.try_into() {
            Ok(seconds) if (Self::FIRST..=Self::LAST).contains(&seconds) => Ok(Self(seconds)),
            _ => Err(TimestampError::Range),
        }
    }

    /// Reads the system clock. The pure layers take a `Timestamp` as an argument instead.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_second())
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Adds `seconds`, up to the last second of 9999.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds).clamp(Self::FIRST, Self::LAST))
    }
}

/// Seconds from the epoch to the moment `YYYYMMDDHHMMSS`; `None` when there is no such moment. A leap
/// second counts as the one before it.
fn seconds_of(digits: [u8; 14]) -> Option<i64> {
    let digit = |at: usize| digits[at].checked_sub(b'0').filter(|digit| *digit < 10);
    let number = |at: usize| i8::try_from(digit(at)? * 10 + digit(at + 1)?).ok();
    let year = i16::from(number(0)?) * 100 + i16::from(number(2)?);
    let second = number(12)?;
    let second = if second == 60 { 59 } else { second };
    let moment =
        DateTime::new(year, number(4)?, number(6)?, number(8)?, number(10)?, second, 0).ok()?;
    Some(moment.duration_since(EPOCH).as_secs())
}

/// The offset of a text in the full form of RFC 3339, section 5.6; `None` for any other text. The
/// parser of the date behind it would take more of ISO 8601.
fn rfc3339_offset_seconds(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let shape = b"9999-99-99T99:99:99";
    let fits = bytes.len() > shape.len()
        && bytes.iter().zip(shape).all(|(byte, pattern)| match pattern {
            b'9' => byte.is_ascii_digit(),
            other => byte.eq_ignore_ascii_case(other),
        });
    if !fits {
        return None;
    }
    let mut rest = &bytes[shape.len()..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest = if digits == 0 { return None } else { &fraction[digits..] };
    }
    let number = |tens: u8, ones: u8| {
        (tens.is_ascii_digit() && ones.is_ascii_digit())
            .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    };
    match *rest {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(h1, h2)?, number(m1, m2)?);
            let seconds = hours * 3_600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339, UTC, whole seconds, `Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"YYYY-MM-DDTHH:MM:SSZ";
        let places = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];
        for (place, digit) in places.into_iter().zip(self.digits()) {
            text[place] = digit;
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text or number is not a [`Timestamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not RFC 3339.
    #[error("not an RFC 3339 timestamp")]
    Syntax,
    /// Before 1950 or after 9999.
    #[error("not within the years 1950 to 9999")]
    Range,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_cut_to_whole_seconds_and_shown_in_utc() {
        for (text, shown) in [
            ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("2026-03-01T00:00:00.999999Z", "2026-03-01T00:00:00Z"),
            ("2026-03-01T01:30:00+01:30", "2026-03-01T00:00:00Z"),
            ("1969-12-31T23:59:59.9Z", "1969-12-31T23:59:59Z"),
            ("1950-01-01T00:00:00Z", "1950-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
            ("2024-02-29T23:59:60Z", "2024-02-29T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_not_rfc_3339_is_refused() {
        for text in [
            "",
            "2026-03-01",
            "2026-03-01T00:00:00",
            "2026-03-01 00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-03-01T24:00:00Z",
            "2026-03-01T00:60:00Z",
            "2026-03-01T00:00:61Z",
            "2026-03-01T00:00:00+0100",
            "2026-03-01T00:00:00Z[UTC]",
            "20260301T000000Z",
            "2026-03-01T00:00:00.Z",
            "tomorrow",
            "1949-12-31T23:59:59Z",
            "+02026-03-01T00:00:00Z",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}
