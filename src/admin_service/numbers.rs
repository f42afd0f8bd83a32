//! Numbers as the admin API shows them.

use std::time::Duration;

use policy::canary::histogram::Histogram;

/// A duration in whole milliseconds.
pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How long this share of requests took at most, in milliseconds.
pub(super) fn quantile_ms(latency: &Histogram, share: f64) -> Option<f64> {
    latency.quantile(share).map(|latency| rounded(latency.as_secs_f64() * 1e3))
}

/// A number with at most three decimals.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}
