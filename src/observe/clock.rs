//! The only reader of the clock.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use policy::time::Now;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// This moment on both clocks.
#[must_use]
pub fn now() -> Now {
    Now { mono: mono(), wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
}

/// This moment on the monotonic clock alone: half the price.
#[must_use]
pub fn mono() -> Duration {
    START.elapsed()
}

/// The runtime's instant for a moment of the monotonic clock, to arm a timer with.
#[must_use]
pub fn instant(mono: Duration) -> tokio::time::Instant {
    tokio::time::Instant::from_std(*START + mono)
}
