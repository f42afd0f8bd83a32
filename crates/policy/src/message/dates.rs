//! Parses HTTP dates (RFC 9110 §5.6.7).
//!
//! Accepts all three forms that recipients must accept. The meaning of an invalid date depends on the field: an invalid
//! `Expires` means expired (RFC 9111 §5.3), an invalid `Last-Modified` is ignored.

use std::time::Duration;

const DAY_SECONDS: u64 = 86_400;
/// Fifty Gregorian mean years of 365.2425 days.
const FIFTY_YEARS: Duration = Duration::from_secs(1_577_847_600);
const DAYS: [(&[u8], &[u8]); 7] = [
    (b"Mon", b"Monday"),
    (b"Tue", b"Tuesday"),
    (b"Wed", b"Wednesday"),
    (b"Thu", b"Thursday"),
    (b"Fri", b"Friday"),
    (b"Sat", b"Saturday"),
    (b"Sun", b"Sunday"),
];
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// Parses an HTTP-date as time since the epoch; `None` if it is invalid.
///
/// Accepts the three forms IMF-fixdate, RFC 850 (obsolete) and asctime. Names and `GMT` are matched without case, as
/// recommended for caches (RFC 9111 §4.2); surrounding bytes are not allowed. A leap second is read as the following
/// second. The day name is not checked against the date. A date before 1970 becomes the epoch. `today` (since the
/// epoch) determines the century of a two-digit year: a year that would be more than 50 years in the future is the
/// latest one in the past with these digits.
///
/// Source: RFC 9110 §5.6.7; RFC 5322 §3.3 for the ranges.
#[must_use]
pub fn read(value: &[u8], today: Duration) -> Option<Duration> {
    let mut rest = DateCursor { rest: value };
    let moment = match rest.day_name()? {
        DayName::Short if rest.literal(b", ").is_some() => imf_fixdate(&mut rest)?,
        DayName::Short => asctime(&mut rest)?,
        DayName::Long => rfc850(&mut rest, today)?,
    };
    if rest.rest.is_empty() { moment.since_epoch() } else { None }
}

/// `06 Nov 1994 08:49:37 GMT`.
fn imf_fixdate(rest: &mut DateCursor<'_>) -> Option<DateFields> {
    let day = rest.digits(2)?;
    rest.literal(b" ")?;
    let month = rest.month()?;
    rest.literal(b" ")?;
    let year = rest.digits(4)?;
    rest.literal(b" ")?;
    let second_of_day = rest.time_of_day()?;
    rest.literal(b" GMT")?;
    Some(DateFields { year, month, day, second_of_day })
}

/// `, 06-Nov-94 08:49:37 GMT`.
fn rfc850(rest: &mut DateCursor<'_>, today: Duration) -> Option<DateFields> {
    rest.literal(b", ")?;
    let day = rest.digits(2)?;
    rest.literal(b"-")?;
    let month = rest.month()?;
    rest.literal(b"-")?;
    let short_year = rest.digits(2)?;
    rest.literal(b" ")?;
    let second_of_day = rest.time_of_day()?;
    rest.literal(b" GMT")?;
    let in_year = |year| DateFields { year, month, day, second_of_day };
    let this_year = year_of(today);
    let year = this_year - this_year % 100 + short_year;
    let latest = today.saturating_add(FIFTY_YEARS);
    let year = [year + 100, year].into_iter().find(|year| in_year(*year).seconds() <= latest.as_secs());
    // Only a year late in its century, parsed early in the next, needs the correction.
    let year = year.unwrap_or(this_year - this_year % 100 + short_year - 100);
    Some(in_year(year))
}

/// ` Nov  6 08:49:37 1994`.
fn asctime(rest: &mut DateCursor<'_>) -> Option<DateFields> {
    rest.literal(b" ")?;
    let month = rest.month()?;
    rest.literal(b" ")?;
    let day = if rest.literal(b" ").is_some() { rest.digits(1)? } else { rest.digits(2)? };
    rest.literal(b" ")?;
    let second_of_day = rest.time_of_day()?;
    rest.literal(b" ")?;
    let year = rest.digits(4)?;
    Some(DateFields { year, month, day, second_of_day })
}

/// A parsed date and time; `month` counts from 1.
struct DateFields {
    year: u64,
    month: u64,
    day: u64,
    second_of_day: u64,
}

impl DateFields {
    /// `None` if the month has no such day.
    fn since_epoch(&self) -> Option<Duration> {
        let day_exists = (1..=days_in_month(self.year, self.month)).contains(&self.day);
        day_exists.then(|| Duration::from_secs(self.seconds()))
    }

    /// Since the epoch; zero for earlier dates.
    fn seconds(&self) -> u64 {
        let days = (days_before(self.year, self.month) + self.day).checked_sub(days_before(1970, 1) + 1);
        days.map_or(0, |days| days * DAY_SECONDS + self.second_of_day)
    }
}

/// Days from the start of year 0 (proleptic Gregorian) to the first day of this month.
fn days_before(year: u64, month: u64) -> u64 {
    let leap_days = |years: u64| years.div_ceil(4) + years.div_ceil(400) - years.div_ceil(100);
    let earlier_months: u64 = (1..month).map(|month| days_in_month(year, month)).sum();
    year * 365 + leap_days(year) + earlier_months
}

fn days_in_month(year: u64, month: u64) -> u64 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn year_of(since_epoch: Duration) -> u64 {
    // No year is longer than 366 days, so the estimate is never too late, and at most a few years too early.
    let days = (since_epoch.as_secs() / DAY_SECONDS).min(365 * 8_100);
    let mut year = 1970 + days / 366;
    while days_before(year + 1, 1) <= days + days_before(1970, 1) {
        year += 1;
    }
    year
}

enum DayName {
    Short,
    Long,
}

/// The unread rest of a date.
struct DateCursor<'a> {
    rest: &'a [u8],
}

impl DateCursor<'_> {
    fn literal(&mut self, expected: &[u8]) -> Option<()> {
        let (given, rest) = self.rest.split_at_checked(expected.len())?;
        given.eq_ignore_ascii_case(expected).then(|| self.rest = rest)
    }

    fn day_name(&mut self) -> Option<DayName> {
        // Long names are tried first, because short ones are their prefixes.
        if DAYS.iter().any(|(_, long)| self.literal(long).is_some()) {
            return Some(DayName::Long);
        }
        DAYS.iter().any(|(short, _)| self.literal(short).is_some()).then_some(DayName::Short)
    }

    fn month(&mut self) -> Option<u64> {
        let names = (1..).zip(MONTHS);
        names.into_iter().find_map(|(number, name)| self.literal(name).map(|()| number))
    }

    fn digits(&mut self, count: usize) -> Option<u64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        digits.iter().try_fold(0, |number, byte| match byte {
            b'0'..=b'9' => Some(number * 10 + u64::from(byte - b'0')),
            _ => None,
        })
    }

    /// `08:49:37` as seconds.
    fn time_of_day(&mut self) -> Option<u64> {
        let hour = self.digits(2).filter(|hour| *hour < 24)?;
        self.literal(b":")?;
        let minute = self.digits(2).filter(|minute| *minute < 60)?;
        self.literal(b":")?;
        let second = self.digits(2).filter(|second| *second <= 60)?;
        Some((hour * 60 + minute) * 60 + second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-07-01T00:00:00Z.
    const TODAY: Duration = Duration::from_secs(1_782_864_000);

    fn seconds(value: &str) -> Option<u64> {
        read(value.as_bytes(), TODAY).map(|moment| moment.as_secs())
    }

    #[test]
    fn rfc9110_5_6_7_all_three_forms_name_the_same_moment() {
        for same in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(seconds(same), Some(784_111_777), "{same}");
        }
    }

    #[test]
    fn rfc9111_4_2_the_case_of_a_date_does_not_matter() {
        for same in ["SUN, 06 NOV 1994 08:49:37 GMT", "sunday, 06-nov-94 08:49:37 gmt", "sUn nOv  6 08:49:37 1994"] {
            assert_eq!(seconds(same), Some(784_111_777), "{same}");
        }
    }

    #[test]
    fn known_moments_are_read() {
        let cases = [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 01 Jan 1970 00:00:01 GMT", 1),
            ("Mon, 31 Dec 1900 23:59:59 GMT", 0),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Sun, 09 Sep 2001 01:46:40 GMT", 1_000_000_000),
            ("Wed, 18 May 2033 03:33:20 GMT", 2_000_000_000),
            ("Tue, 19 Jan 2038 03:14:08 GMT", 2_147_483_648),
            ("Sat Dec 31 23:59:59 2016", 1_483_228_799),
            ("Sat, 31 Dec 2016 23:59:60 GMT", 1_483_228_800),
            ("Fri, 31 Dec 9999 23:59:59 GMT", 253_402_300_799),
        ];
        for (written, expected) in cases {
            assert_eq!(seconds(written), Some(expected), "{written}");
        }
    }

    #[test]
    fn rfc9110_5_6_7_a_two_digit_year_is_at_most_fifty_years_ahead() {
        let year = |written: &str| year_of(read(written.as_bytes(), TODAY).unwrap());
        assert_eq!(year("Sunday, 06-Nov-26 08:49:37 GMT"), 2026);
        assert_eq!(year("Sunday, 06-Nov-75 08:49:37 GMT"), 2075);
        assert_eq!(year("Sunday, 30-Jun-76 00:00:00 GMT"), 2076);
        assert_eq!(year("Sunday, 02-Jul-76 00:00:00 GMT"), 1976);
        assert_eq!(year("Sunday, 06-Nov-77 08:49:37 GMT"), 1977);
        assert_eq!(year("Sunday, 06-Nov-00 08:49:37 GMT"), 2000);
        // Late in a century, future years belong to the next one.
        let in_2090 = Duration::from_secs(120 * 31_556_952);
        assert_eq!(year_of(read(b"Sunday, 06-Nov-05 08:49:37 GMT", in_2090).unwrap()), 2105);
    }

    #[test]
    fn what_is_not_a_date_is_refused() {
        let cases = [
            "",
            "0",
            "-1",
            "784111777",
            "Sun",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 EST",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun,06 Nov 1994 08:49:37 GMT",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08.49.37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 06 Nov 1994 08:49:61 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 29 Feb 1900 08:49:37 GMT",
            "Sun, 29 Feb 2023 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov  6 08:49:37 1994 GMT",
            "Sun Nov  6 08:49:37 94",
            "1994-11-06T08:49:37Z",
        ];
        for bad in cases {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
    }

    /// Formats a time in all three forms, with a fixed day name, because it is not checked.
    fn written(seconds: u64) -> [String; 3] {
        let (day_number, second) = (seconds / DAY_SECONDS, seconds % DAY_SECONDS);
        let year = year_of(Duration::from_secs(seconds));
        let mut day = day_number + days_before(1970, 1) - days_before(year, 1) + 1;
        let mut month = 1;
        while day > days_in_month(year, month) {
            day -= days_in_month(year, month);
            month += 1;
        }
        let name = String::from_utf8(MONTHS[month as usize - 1].to_vec()).unwrap();
        let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
        [
            format!("Mon, {day:02} {name} {year:04} {time} GMT"),
            format!("Monday, {day:02}-{name}-{:02} {time} GMT", year % 100),
            format!("Mon {name} {day:>2} {time} {year:04}"),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0u64..253_402_300_800) {
            let [fixdate, _, asctime] = written(seconds);
            prop_assert_eq!(read(fixdate.as_bytes(), TODAY), Some(Duration::from_secs(seconds)));
            prop_assert_eq!(read(asctime.as_bytes(), TODAY), Some(Duration::from_secs(seconds)));
        }

        #[test]
        fn a_short_year_is_read_back_within_fifty_years(distance in 0u64..49 * 365 * DAY_SECONDS, ahead: bool) {
            let moment = if ahead { TODAY.as_secs() + distance } else { TODAY.as_secs() - distance };
            let [_, rfc850, _] = written(moment);
            prop_assert_eq!(read(rfc850.as_bytes(), TODAY), Some(Duration::from_secs(moment)));
        }

        #[test]
        fn nothing_panics(bytes: Vec<u8>, today: u64) {
            let _ = read(&bytes, Duration::from_secs(today));
        }
    }
}
