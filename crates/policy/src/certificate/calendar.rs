//! Dates of the Gregorian calendar as seconds since 1970.

use std::time::Duration;

/// Days from 1970-01-01 to a date. Years begin in March, so that leap days end them.
pub(super) fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// A moment since 1970 as RFC 3339 writes it: `2026-12-01T00:30:00Z`, `2026-12-01T01:30:00.5+01:00`. Fractions of a second
/// are dropped. `None`: it is none, or lies before 1970.
#[must_use]
pub fn rfc3339(text: &str) -> Option<Duration> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let split = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(split)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign, offset) => {
            let [hours, minutes] = numbers(offset, ':', [2, 2])?;
            let offset = hours * 3_600 + minutes * 60;
            if sign == "+" { offset } else { -offset }
        }
    };
    let is_sound = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60
        && !fraction.is_empty()
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    u64::try_from(seconds).ok().filter(|_| is_sound).map(Duration::from_secs)
}

/// Numbers of so many digits each.
fn numbers<const COUNT: usize>(text: &str, separator: char, digits: [usize; COUNT]) -> Option<[i64; COUNT]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; COUNT];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part =
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_what_is_none_is_refused() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-12-01T00:30:00Z", Some(1_796_085_000)),
            ("2026-12-01T01:30:00.123+01:00", Some(1_796_085_000)),
            ("2026-11-30t23:30:00-01:00", Some(1_796_085_000)),
            ("2000-02-29T12:00:00Z", Some(951_825_600)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-12-01T24:00:00Z", None),
            ("2026-12-01T00:00:00", None),
            ("2026-12-01T00:00:00.Z", None),
            ("2026-12-01T00:00Z", None),
            ("2026-12-1T00:00:00Z", None),
            ("2026-12-01T00:00:00Zz", None),
            ("2026-12-01", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(rfc3339(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
