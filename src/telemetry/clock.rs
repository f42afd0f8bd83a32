//! The only reader of the clock.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use policy::time::Now;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How far this process is ahead of the real time, in milliseconds.
static AHEAD: AtomicU64 = AtomicU64::new(0);

/// For how long the wall clock is taken to run beside the monotonic one before it is read again: a step of it is seen
/// within that.
const BESIDE: Duration = Duration::from_millis(10);

thread_local! {
    /// When the wall clock was last read by this thread (monotonic time), and how far it was ahead of the monotonic clock.
    static WALL: Cell<(Duration, Duration)> = const { Cell::new((Duration::ZERO, Duration::ZERO)) };
}

/// This moment on both clocks: one reading of a clock, as a rule.
#[must_use]
pub fn now() -> Now {
    let mono = mono();
    let (read, offset) = WALL.get();
    if offset > Duration::ZERO && mono.saturating_sub(read) < BESIDE {
        return Now { mono, wall: mono + offset };
    }
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + ahead();
    WALL.set((mono, wall.saturating_sub(mono)));
    Now { mono, wall }
}

/// This moment on the monotonic clock alone: half the price.
#[must_use]
pub fn mono() -> Duration {
    START.elapsed() + ahead()
}

/// The runtime's instant for a moment of the monotonic clock, to arm a timer with.
#[must_use]
pub fn instant(mono: Duration) -> tokio::time::Instant {
    tokio::time::Instant::from_std(*START + mono.saturating_sub(ahead()))
}

/// Puts both clocks of this process forward, for good: so that a simulation need not wait for what takes minutes.
pub fn advance(by: Duration) {
    AHEAD.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn ahead() -> Duration {
    Duration::from_millis(AHEAD.load(Ordering::Relaxed))
}
