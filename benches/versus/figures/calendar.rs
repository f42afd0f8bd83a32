//! The UTC date of a time, for the name of a results folder.

use std::time::Duration;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The UTC date, as `2026-11-21`, of a time since 1970.
pub(crate) fn date(since_1970: Duration) -> String {
    // The calculation starts years in March, so that a leap day is the last day of its year.
    let days = since_1970.as_secs() / DAY_SECONDS + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_from_march + 2) / 5 + 1;
    let month = if months_from_march < 10 { months_from_march + 3 } else { months_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
