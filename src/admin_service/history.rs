//! The requests of the last quarter of an hour in slots of ten seconds, for the dashboard: it shows them also after it
//! is loaded anew.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use policy::canary::histogram::Histogram;
use policy::time::Now;

use super::numbers::{milliseconds, quantile_ms, rounded};
use crate::admin::api::status as api;
use crate::telemetry::counters::{CacheResult, CacheResults};
use crate::telemetry::route_stats::RouteTotals;

/// How many slots are kept: 15 minutes.
const SLOTS_MAX: usize = 90;

/// The requests of all routes together, in slots.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The totals at the last tick, and its moment (monotonic time).
    last: Sums,
    last_at: Option<Duration>,
    slots: VecDeque<api::Slot>,
}

/// The totals of all routes.
#[derive(Clone, Debug, Default)]
pub(super) struct Sums {
    requests: u64,
    errors: u64,
    cache_hits: u64,
    cache_requests: u64,
    latency: Histogram,
}

impl Sums {
    /// Adds the totals of one route.
    pub(super) fn add(&mut self, route: &RouteTotals) {
        self.requests += route.all();
        self.errors += route.errors();
        for (result, count) in CacheResults::ALL.into_iter().zip(route.cache) {
            self.cache_requests += count;
            if matches!(result, CacheResult::Hit | CacheResult::Stale) {
                self.cache_hits += count;
            }
        }
        self.latency.merge(&route.duration.histogram);
    }
}

impl History {
    /// Ends a slot: the routes have come to these totals.
    pub(super) fn tick(&self, sums: Sums, now: Now) {
        let mut state = self.0.lock();
        let last = std::mem::replace(&mut state.last, sums);
        let Some(last_at) = state.last_at.replace(now.mono) else { return };
        let sums = &state.last;
        let latency = sums.latency.since(&last.latency);
        let slot = api::Slot {
            at_unix_ms: milliseconds(now.wall),
            seconds: rounded(now.mono.saturating_sub(last_at).as_secs_f64()),
            // A reload may have removed a route, with its counts.
            requests: sums.requests.saturating_sub(last.requests),
            errors: sums.errors.saturating_sub(last.errors),
            cache_hits: sums.cache_hits.saturating_sub(last.cache_hits),
            cache_requests: sums.cache_requests.saturating_sub(last.cache_requests),
            p50_ms: quantile_ms(&latency, 0.5),
            p95_ms: quantile_ms(&latency, 0.95),
            p99_ms: quantile_ms(&latency, 0.99),
        };
        if state.slots.len() == SLOTS_MAX {
            state.slots.pop_front();
        }
        state.slots.push_back(slot);
    }

    /// All slots, oldest first.
    pub(super) fn slots(&self) -> Vec<api::Slot> {
        self.0.lock().slots.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_holds_what_came_since_the_one_before_and_old_ones_go() {
        let history = History::default();
        for tick in 0..200_u32 {
            let sums = Sums { requests: u64::from(tick) * 7, errors: u64::from(tick), ..Sums::default() };
            let at = Duration::from_secs(10) * tick;
            history.tick(sums, Now { mono: at, wall: at });
        }
        let slots = history.slots();
        assert_eq!(slots.len(), SLOTS_MAX);
        assert!(slots.iter().all(|slot| (slot.requests, slot.errors, slot.p50_ms) == (7, 1, None)));
        assert_eq!(slots.last().unwrap().at_unix_ms, 1_990_000);
        history.tick(Sums::default(), Now::at(Duration::from_secs(2_000)));
        assert_eq!(history.slots().last().unwrap().requests, 0);
    }
}
