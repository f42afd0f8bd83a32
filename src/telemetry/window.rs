//! The latest minute and the latest quarter of an hour of a series of requests.
//!
//! A series is counted from the start of the process. At every tick the difference from the tick before becomes a slot;
//! full minutes of slots are merged. So the memory of a series is bounded, and requests pay nothing for the window.

use std::collections::VecDeque;
use std::time::Duration;

use policy::canary::histogram::Histogram;

/// How often a series is ticked.
pub(crate) const TICK_EVERY: Duration = Duration::from_secs(10);

/// Slots of a minute.
const SLOTS_PER_MINUTE: usize = 6;

/// How many minutes are kept.
const MINUTES: usize = 15;

/// A series, counted from the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Requests.
    pub(crate) requests: u64,
    /// Those of them that failed.
    pub(crate) errors: u64,
    /// How long they took.
    pub(crate) latency: Histogram,
}

/// A series between two moments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Period {
    /// From the first moment to the second.
    pub(crate) length: Duration,
    /// Requests.
    pub(crate) requests: u64,
    /// Those of them that failed.
    pub(crate) errors: u64,
    /// How long they took.
    pub(crate) latency: Histogram,
}

/// The latest minute and quarter of an hour; less when the process is younger.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent {
    /// The latest 60 to 70 seconds.
    pub(crate) minute: Period,
    /// The latest 15 to 16 minutes.
    pub(crate) quarter: Period,
}

impl Recent {
    /// Adds the requests of another series; the longer time counts.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, other) in [(&mut self.minute, &other.minute), (&mut self.quarter, &other.quarter)] {
            mine.length = mine.length.max(other.length);
            mine.requests += other.requests;
            mine.errors += other.errors;
            mine.latency.merge(&other.latency);
        }
    }
}

/// What a tick keeps of the time since the tick before. Most buckets of a histogram are empty.
#[derive(Clone, Debug, Default)]
struct Slot {
    length: Duration,
    requests: u64,
    errors: u64,
    latency: Vec<(u16, u64)>,
}

/// The window over one series.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The totals at the last tick, and its moment (monotonic time).
    last: Totals,
    last_at: Option<Duration>,
    /// The slots of the latest minute, oldest first.
    slots: VecDeque<Slot>,
    /// Merged minutes, oldest first. The slots of the last minute that is not full are in `slots` alone.
    minutes: VecDeque<Slot>,
    /// How many of `slots`, counted from the newest, are not merged yet.
    unmerged: usize,
}

impl Window {
    /// Ends a slot: the series has come to these totals at this moment. The first tick begins the window.
    pub(crate) fn tick(&mut self, totals: Totals, now: Duration) {
        let mut period = Period::default();
        self.add_since_tick(&totals, now, &mut period);
        self.last = totals;
        self.last_at = Some(now);
        self.slots.push_back(Slot::of(&period));
        self.unmerged += 1;
        if self.unmerged == SLOTS_PER_MINUTE {
            let mut minute = Period::default();
            self.slots.iter().rev().take(self.unmerged).for_each(|slot| slot.add_to(&mut minute));
            self.minutes.push_back(Slot::of(&minute));
            self.unmerged = 0;
        }
        while self.slots.len() > SLOTS_PER_MINUTE {
            self.slots.pop_front();
        }
        while self.minutes.len() > MINUTES {
            self.minutes.pop_front();
        }
    }

    /// The latest requests, given the series' present totals and the moment.
    #[must_use]
    pub(crate) fn recent(&self, totals: &Totals, now: Duration) -> Recent {
        let mut recent = Recent::default();
        self.add_since_tick(totals, now, &mut recent.minute);
        recent.quarter = recent.minute.clone();
        self.slots.iter().for_each(|slot| slot.add_to(&mut recent.minute));
        self.slots.iter().rev().take(self.unmerged).for_each(|slot| slot.add_to(&mut recent.quarter));
        self.minutes.iter().for_each(|minute| minute.add_to(&mut recent.quarter));
        recent
    }

    fn add_since_tick(&self, totals: &Totals, now: Duration, to: &mut Period) {
        to.length += self.last_at.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        to.requests += totals.requests.saturating_sub(self.last.requests);
        to.errors += totals.errors.saturating_sub(self.last.errors);
        to.latency.merge(&totals.latency.since(&self.last.latency));
    }
}

impl Slot {
    fn of(period: &Period) -> Self {
        let latency = period.latency.counts().filter_map(|(bucket, count)| Some((u16::try_from(bucket).ok()?, count)));
        Self { length: period.length, requests: period.requests, errors: period.errors, latency: latency.collect() }
    }

    fn add_to(&self, period: &mut Period) {
        period.length += self.length;
        period.requests += self.requests;
        period.errors += self.errors;
        self.latency.iter().for_each(|(bucket, count)| period.latency.add(usize::from(*bucket), *count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(requests: u64) -> Totals {
        let mut latency = Histogram::new();
        latency.add(policy::canary::histogram::bucket(Duration::from_millis(5)), requests);
        Totals { requests, errors: requests / 10, latency }
    }

    /// A window that has seen ten requests a second for so many ticks.
    fn steady(ticks: u64) -> (Window, Totals, Duration) {
        let mut window = Window::default();
        for tick in 0..=ticks {
            window.tick(totals(tick * 100), TICK_EVERY * u32::try_from(tick).unwrap());
        }
        (window, totals(ticks * 100), TICK_EVERY * u32::try_from(ticks).unwrap())
    }

    #[test]
    fn the_rate_is_right_from_the_first_second_on() {
        for ticks in [0, 1, 5, 6, 7, 50, 90, 91, 200, 1000] {
            let (window, _, at) = steady(ticks);
            let now = at + Duration::from_secs(3);
            let recent = window.recent(&totals(ticks * 100 + 30), now);
            for period in [&recent.minute, &recent.quarter] {
                assert_eq!(period.requests, period.length.as_secs() * 10, "{ticks}: {period:?}");
                assert_eq!(period.latency.total(), period.requests);
            }
            assert!(recent.minute.length <= Duration::from_secs(70), "{ticks}");
            assert!(recent.quarter.length <= Duration::from_secs(16 * 60 + 10), "{ticks}");
            if ticks >= 90 {
                assert!(recent.minute.length >= Duration::from_secs(60));
                assert!(recent.quarter.length >= Duration::from_secs(14 * 60), "{:?}", recent.quarter.length);
            }
        }
    }

    #[test]
    fn what_is_long_ago_is_not_recent() {
        let mut window = Window::default();
        window.tick(totals(0), Duration::ZERO);
        for tick in 1..=200_u32 {
            window.tick(totals(1000), TICK_EVERY * tick);
        }
        let recent = window.recent(&totals(1007), TICK_EVERY * 200);
        assert_eq!((recent.minute.requests, recent.quarter.requests), (7, 7));
        assert_eq!(recent.minute.latency.total(), 7);
    }
}
