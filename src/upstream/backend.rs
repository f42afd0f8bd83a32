//! One backend, as all workers share it: how busy it is, and whether it may be used.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderValue;
use tokio::sync::Notify;

use crate::config::plan::{self, Address};

/// Why a backend is not used. Several can hold at once; none: it is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Out {
    /// Its active checks fail.
    Down = 1,
    /// It took no connection a moment ago, and no check has passed since.
    Suspect = 2,
    /// It failed too many requests.
    Ejected = 4,
}

/// One backend, as all workers share it. Survives a reload as long as its name and address stay.
#[derive(Debug)]
pub struct Backend {
    /// Its name: its URL in normal form.
    pub name: Arc<str>,
    /// Where it is.
    pub address: Address,
    /// Its authority.
    pub authority: HeaderValue,
    /// Wakes the prober: a connection has failed.
    pub doubted: Notify,
    /// Where it can be reached now; empty while its name is not resolved.
    pub resolved: ArcSwap<Vec<SocketAddr>>,
    /// Whether its name has been looked up, with whatever outcome.
    pub is_looked_up: AtomicBool,
    in_flight: AtomicU32,
    out: AtomicU8,
    /// Whether failures are on record, so that a success must be reported too.
    failing: AtomicBool,
    /// When it came back, in milliseconds of monotonic time, plus one; 0: it was never out.
    back_at: AtomicU64,
}

impl Backend {
    /// A backend that nothing is known of yet: usable.
    #[must_use]
    pub fn new(plan: &plan::Backend) -> Self {
        let resolved = match &plan.address {
            Address::Ip(address) => vec![*address],
            Address::Name { .. } | Address::Unix(_) => Vec::new(),
        };
        Self {
            name: plan.name.clone(),
            address: plan.address.clone(),
            authority: plan.authority.clone(),
            doubted: Notify::new(),
            resolved: ArcSwap::from_pointee(resolved),
            is_looked_up: AtomicBool::new(!matches!(plan.address, Address::Name { .. })),
            in_flight: AtomicU32::new(0),
            out: AtomicU8::new(0),
            failing: AtomicBool::new(false),
            back_at: AtomicU64::new(0),
        }
    }

    /// Requests in flight, all workers together.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one more request in flight, unless `max` are already.
    #[must_use]
    pub fn begin(&self, max: Option<u32>) -> bool {
        let Some(max) = max else {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        // Never more than `max`, not even for a moment: another worker would take the place for lost.
        let one_more = |now: u32| (now < max).then(|| now + 1);
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Counts one less request in flight. Whoever gets in line after this sees it.
    pub fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether nothing speaks against it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.out.load(Ordering::Relaxed) == 0
    }

    /// Whether nothing speaks against it but that a connection failed a moment ago.
    #[must_use]
    pub fn is_worth_a_try(&self) -> bool {
        self.out.load(Ordering::Relaxed) & !(Out::Suspect as u8) == 0
    }

    /// Whether nothing speaks against it but that it failed requests.
    #[must_use]
    pub fn is_but_ejected(&self) -> bool {
        self.out.load(Ordering::Relaxed) & !(Out::Ejected as u8) == 0
    }

    /// Whether this speaks against it.
    #[must_use]
    pub fn is_out(&self, reason: Out) -> bool {
        self.out.load(Ordering::Relaxed) & reason as u8 != 0
    }

    /// Notes that this speaks against it. Says whether that is new.
    pub fn take_out(&self, reason: Out) -> bool {
        self.out.fetch_or(reason as u8, Ordering::Relaxed) & reason as u8 == 0
    }

    /// Notes that this does not speak against it any more. Says whether it did.
    pub fn bring_back(&self, reason: Out, now: Duration) -> bool {
        let before = self.out.fetch_and(!(reason as u8), Ordering::Relaxed);
        let held = before & reason as u8 != 0;
        let usable = before & !(reason as u8) == 0;
        if held && usable {
            self.back_at.store(millis(now) + 1, Ordering::Relaxed);
        }
        held
    }

    /// Since when it is back; `None`: it was never out.
    #[must_use]
    pub fn back_at(&self) -> Option<Duration> {
        self.back_at.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_millis)
    }

    /// Whether failures are on record.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Notes whether failures are on record.
    pub fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX - 1)
}
