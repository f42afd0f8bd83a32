//! The only reader of the clock.

use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use policy::time::Now;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// How far the clocks of this process have been advanced, in milliseconds.
static AHEAD: AtomicU64 = AtomicU64::new(0);

/// How long the wall clock is computed from the monotonic one before it is read again; a step of the wall clock becomes
/// visible within this time.
const BESIDE: Duration = Duration::from_millis(10);

thread_local! {
    /// When this thread last read the wall clock (monotonic), and its offset from the monotonic clock then.
    static WALL: Cell<(Duration, Duration)> = const { Cell::new((Duration::ZERO, Duration::ZERO)) };
}

/// The current time on both clocks; usually reads only one clock.
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

/// The current monotonic time alone, at half the cost.
#[must_use]
pub fn mono() -> Duration {
    START.elapsed() + ahead()
}

/// The runtime's instant for a monotonic time, to arm a timer.
#[must_use]
pub fn instant(mono: Duration) -> tokio::time::Instant {
    tokio::time::Instant::from_std(*START + mono.saturating_sub(ahead()))
}

/// Advances both clocks of this process permanently, so that a simulation need not wait.
pub fn advance(by: Duration) {
    AHEAD.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn ahead() -> Duration {
    Duration::from_millis(AHEAD.load(Ordering::Relaxed))
}
