//! Formats a second for logs.

use std::time::{Duration, UNIX_EPOCH};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The current second as text in UTC, formatted once a second.
#[derive(Debug, Default)]
pub(super) struct Second {
    unix: u64,
    /// `2026-11-06T08:49:37`, without a zone.
    pub(super) iso: String,
    /// `06/Nov/2026:08:49:37 +0000`, as in Apache's logs.
    pub(super) common: String,
    /// `Nov  6 08:49:37` (RFC 3164 §4.1.2).
    pub(super) syslog: String,
}

impl Second {
    /// Sets the second of this wall-clock time.
    pub(super) fn set(&mut self, wall: Duration) {
        if self.unix == wall.as_secs() && !self.iso.is_empty() {
            return;
        }
        self.unix = wall.as_secs();
        // IMF-fixdate, RFC 9110 §5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT"
        let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.unix));
        let mut words = date.split([' ', ',']).filter(|word| !word.is_empty()).skip(1);
        let (day, month, year, time) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let number = MONTHS.iter().position(|name| *name == month).map_or(0, |index| index + 1);
        self.iso = format!("{year}-{number:02}-{day}T{time}");
        self.common = format!("{day}/{month}/{year}:{time} +0000");
        self.syslog = format!("{month} {:>2} {time}", day.trim_start_matches('0'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_written_in_each_form() {
        let mut second = Second::default();
        second.set(Duration::from_secs(784_111_777));
        assert_eq!(second.iso, "1994-11-06T08:49:37");
        assert_eq!(second.common, "06/Nov/1994:08:49:37 +0000");
        assert_eq!(second.syslog, "Nov  6 08:49:37");
        second.set(Duration::from_secs(784_111_777 + 4 * 86_400));
        assert_eq!(second.syslog, "Nov 10 08:49:37");
    }
}
