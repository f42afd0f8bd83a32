//! The time that forebay goes by: a test puts it forward instead of waiting.
//!
//! Never put back, and shared by all that runs in a process.

use std::time::{Duration, UNIX_EPOCH};

use forebay::telemetry::clock;

/// Puts forebay's clock forward, for everything in this process and for good.
///
/// A test that does so must be a process of its own, as `cargo nextest` makes it: next to others in one process it would
/// age what those have stored.
pub fn advance(by: Duration) {
    clock::advance(by);
}

/// The HTTP date so many seconds after now, by forebay's clock; before now when negative.
#[must_use]
pub fn date(offset_seconds: i64) -> String {
    let offset = Duration::from_secs(offset_seconds.unsigned_abs());
    let now = clock::now().wall;
    let moment = if offset_seconds < 0 { now.saturating_sub(offset) } else { now + offset };
    httpdate::fmt_http_date(UNIX_EPOCH + moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_in_the_form_that_senders_use() {
        let date = date(-86_400);
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
        assert!(httpdate::parse_http_date(&date).is_ok(), "{date}");
    }
}
