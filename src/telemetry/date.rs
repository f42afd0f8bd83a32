//! The current second in the form of the `Date` field (RFC 9110 §6.6.1).

use std::time::{Duration, UNIX_EPOCH};

/// The current second as text, formatted once a second.
#[derive(Debug, Default)]
pub(crate) struct HttpDate {
    unix: u64,
    text: String,
}

impl HttpDate {
    /// This wall-clock time as an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub(crate) fn at(&mut self, wall: Duration) -> &str {
        if self.unix != wall.as_secs() || self.text.is_empty() {
            self.unix = wall.as_secs();
            self.text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(self.unix));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_written_anew_with_each_second() {
        let mut date = HttpDate::default();
        assert_eq!(date.at(Duration::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.at(Duration::from_millis(784_111_777_900)), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.at(Duration::from_secs(784_111_778)), "Sun, 06 Nov 1994 08:49:38 GMT");
    }
}
