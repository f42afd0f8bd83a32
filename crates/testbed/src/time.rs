//! The clock of forebay, which a test advances instead of waiting.
//!
//! It only moves forward, and all code in the process shares it.

use std::time::{Duration, UNIX_EPOCH};

use forebay::telemetry::clock;

/// Advances forebay's clock permanently, for everything in this process.
///
/// Such a test must run in its own process, as with `cargo nextest`: otherwise it would age what other tests have
/// stored.
pub fn advance(by: Duration) {
    clock::advance(by);
}

/// The HTTP date this many seconds after now, by forebay's clock; before now if negative.
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
