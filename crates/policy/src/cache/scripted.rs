//! Shared test helpers: heads in one line, and a fixed time.

use std::time::Duration;

use http::StatusCode;
use message::Fields;

use super::facts::ResponseFacts;
use crate::time::Now;

/// 2026-07-01T00:00:00Z, an hour after the start.
pub(super) const NOW: Now = Now { mono: Duration::from_secs(3_600), wall: Duration::from_secs(1_782_864_000) };

pub(super) const fn secs(number: u64) -> Duration {
    Duration::from_secs(number)
}

pub(super) fn headers(fields: &[(&'static str, &'static str)]) -> Fields {
    fields.iter().copied().collect()
}

/// The facts of a response that arrived at [`NOW`].
pub(super) fn response(status: u16, fields: &[(&'static str, &'static str)]) -> ResponseFacts {
    ResponseFacts::of(StatusCode::from_u16(status).unwrap(), &headers(fields), NOW)
}

/// [`NOW`] plus this many seconds, on both clocks.
pub(super) fn later(seconds: u64) -> Now {
    Now { mono: NOW.mono + secs(seconds), wall: NOW.wall + secs(seconds) }
}
