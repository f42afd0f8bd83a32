//! Detects concurrent writes to a URI, whose content must not be cached.
//!
//! A URI is marked before a write is sent and after its response has arrived. A write without another one between its
//! marks was applied after all earlier ones and before all later ones, so the backend has its content. Of concurrent
//! writes it is unknown which was applied last; and a write with an unknown outcome, or with several attempts, may be
//! applied much later. `written` decides the effect on the entry.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// The most URIs that are tracked as unsure individually; beyond that, all are.
const UNSURE_MAX: usize = 65_536;

/// The writes in flight, by URI. The caller must make [`Overlap::ended`] and the resulting store one atomic step, for
/// example under one lock, so that no later write to the URI is sent in between.
#[derive(Clone, Debug)]
pub struct Overlap<K> {
    uris: HashMap<K, Marks>,
    /// URIs in the order in which they become sure again.
    unsure: VecDeque<(Duration, K)>,
    /// Until when all URIs count as unsure, because too many were to track.
    all_unsure_until: Duration,
    unsure_for: Duration,
}

/// The sender of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A client's request; another attempt is another writer.
    Client,
    /// The flusher, for the queued write with this number. All attempts write the same content, so one that is applied
    /// late or twice has the same result.
    Flush(u64),
}

impl Writer {
    /// Whether both write the same content, regardless of the order.
    fn is_same(self, other: Self) -> bool {
        matches!((self, other), (Self::Flush(one), Self::Flush(two)) if one == two)
    }
}

/// The state of one URI.
#[derive(Clone, Copy, Debug)]
struct Marks {
    /// Writes in flight.
    in_flight: u32,
    /// Whether two of these were concurrent, or one met an earlier write that may still be applied.
    is_crowded: bool,
    /// Until when an earlier write may still be applied.
    unsure_until: Duration,
    /// The writer of that one; [`Writer::Client`] if there are several.
    unsure: Writer,
}

impl Default for Marks {
    fn default() -> Self {
        Self { in_flight: 0, is_crowded: false, unsure_until: Duration::ZERO, unsure: Writer::Client }
    }
}

/// The outcome of a write that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was sent once and answered, or not sent.
    Known,
    /// It may still be applied: there was no complete response, or several attempts.
    Unsure,
}

impl<K: Clone + Eq + Hash> Overlap<K> {
    /// No writes. A write that is sent less than `unsure_for` after one to the same URI with an unsure outcome does not
    /// count as alone.
    #[must_use]
    pub fn new(unsure_for: Duration) -> Self {
        Self { uris: HashMap::new(), unsure: VecDeque::new(), all_unsure_until: Duration::ZERO, unsure_for }
    }

    /// Sets the time for writes that end unsure from now on.
    pub fn set_unsure_for(&mut self, unsure_for: Duration) {
        self.unsure_for = unsure_for;
    }

    /// Records that a write to this URI is about to be sent at `now` (monotonic). Exactly one [`Overlap::ended`] must
    /// follow.
    pub fn begins(&mut self, uri: &K, writer: Writer, now: Duration) {
        let marks = self.uris.entry(uri.clone()).or_default();
        // An unsure write may be applied after this one while this one is in flight; that its time is over at the end
        // is too late.
        let is_unsure = now < marks.unsure_until && !writer.is_same(marks.unsure);
        marks.is_crowded |= marks.in_flight > 0 || is_unsure || now < self.all_unsure_until;
        marks.in_flight = marks.in_flight.saturating_add(1);
    }

    /// Records that a write to this URI has ended at `now`. `true`: it was alone, so if it was carried out, the backend
    /// has its content. An attempt of the flusher counts as alone even if it may be applied once more.
    #[must_use]
    pub fn ended(&mut self, uri: &K, writer: Writer, ended: Ended, now: Duration) -> bool {
        self.forget_sure(now);
        let Some(marks) = self.uris.get_mut(uri) else { return false };
        let was_alone = !marks.is_crowded;
        marks.in_flight = marks.in_flight.saturating_sub(1);
        if ended == Ended::Unsure {
            let until = now.saturating_add(self.unsure_for);
            if self.unsure.len() < UNSURE_MAX {
                let is_first = marks.unsure_until <= now || writer.is_same(marks.unsure);
                marks.unsure = if is_first { writer } else { Writer::Client };
                marks.unsure_until = until;
                self.unsure.push_back((until, uri.clone()));
            } else {
                self.all_unsure_until = until;
            }
        }
        if marks.in_flight == 0 {
            marks.is_crowded = false;
            if marks.unsure_until <= now {
                self.uris.remove(uri);
            }
        }
        was_alone && (ended == Ended::Known || writer.is_same(writer))
    }

    /// Whether a write to this URI is in flight: a response fetched meanwhile may be older or newer than the write.
    #[must_use]
    pub fn is_in_flight(&self, uri: &K) -> bool {
        self.uris.get(uri).is_some_and(|marks| marks.in_flight > 0)
    }

    /// The number of tracked URIs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.uris.len()
    }

    /// Whether no write is in flight or unsure.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uris.is_empty()
    }

    /// Drops the URIs whose time is over.
    fn forget_sure(&mut self, now: Duration) {
        while let Some((_, uri)) = self.unsure.pop_front_if(|(until, _)| *until <= now) {
            if self.uris.get(&uri).is_some_and(|marks| marks.in_flight == 0 && marks.unsure_until <= now) {
                self.uris.remove(&uri);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn overlap() -> Overlap<&'static str> {
        Overlap::new(at(120))
    }

    #[test]
    fn a_write_that_meets_no_other_is_alone_and_leaves_nothing_behind() {
        let mut overlap = overlap();
        overlap.begins(&"a", Writer::Client, at(1));
        overlap.begins(&"b", Writer::Client, at(1));
        assert!(overlap.is_in_flight(&"a"));
        assert!(overlap.ended(&"a", Writer::Client, Ended::Known, at(1)));
        assert!(!overlap.is_in_flight(&"a"));
        assert!(overlap.ended(&"b", Writer::Client, Ended::Known, at(1)));
        assert!(overlap.is_empty());
    }

    #[test]
    fn of_those_that_meet_none_is_alone_and_the_next_is_again() {
        let mut overlap = overlap();
        overlap.begins(&"a", Writer::Client, at(1));
        overlap.begins(&"a", Writer::Client, at(1));
        assert!(!overlap.ended(&"a", Writer::Client, Ended::Known, at(1)));
        // It is concurrent with the one in flight.
        overlap.begins(&"a", Writer::Client, at(1));
        assert!(!overlap.ended(&"a", Writer::Client, Ended::Known, at(1)));
        assert!(!overlap.ended(&"a", Writer::Client, Ended::Known, at(1)));
        overlap.begins(&"a", Writer::Client, at(1));
        assert!(overlap.ended(&"a", Writer::Client, Ended::Known, at(1)));
    }

    #[test]
    fn after_an_unsure_end_none_is_alone_for_a_while() {
        let mut overlap = overlap();
        overlap.begins(&"a", Writer::Client, at(10));
        assert!(!overlap.ended(&"a", Writer::Client, Ended::Unsure, at(10)));
        for (now, expected) in [(11, false), (129, false), (130, true)] {
            overlap.begins(&"a", Writer::Client, at(now));
            assert_eq!(overlap.ended(&"a", Writer::Client, Ended::Known, at(now)), expected, "{now}");
        }
        assert!(overlap.is_empty());
    }

    #[test]
    fn to_have_met_an_unsure_one_is_enough_though_it_is_sure_at_the_end() {
        let mut overlap = overlap();
        overlap.begins(&"a", Writer::Client, at(0));
        assert!(!overlap.ended(&"a", Writer::Client, Ended::Unsure, at(10)));
        overlap.begins(&"a", Writer::Client, at(100));
        assert!(!overlap.ended(&"a", Writer::Client, Ended::Known, at(200)));
        assert!(overlap.is_empty());
    }

    #[test]
    fn what_was_never_begun_is_not_alone() {
        assert!(!overlap().ended(&"a", Writer::Client, Ended::Known, at(1)));
    }

    #[test]
    fn a_flood_of_unsure_ends_makes_all_unsure_and_takes_no_more_memory() {
        let mut overlap = Overlap::new(at(120));
        for uri in 0..UNSURE_MAX + 10 {
            overlap.begins(&uri, Writer::Client, at(1));
            assert!(!overlap.ended(&uri, Writer::Client, Ended::Unsure, at(1)));
        }
        assert_eq!(overlap.len(), UNSURE_MAX);
        let other = UNSURE_MAX + 20;
        overlap.begins(&other, Writer::Client, at(2));
        assert!(!overlap.ended(&other, Writer::Client, Ended::Known, at(2)));
        overlap.begins(&other, Writer::Client, at(121));
        assert!(overlap.ended(&other, Writer::Client, Ended::Known, at(121)));
        assert!(overlap.is_empty());
    }

    #[test]
    fn what_is_sent_again_with_the_same_content_is_alone_and_for_others_unsure() {
        let (mut overlap, mine, other) = (overlap(), Writer::Flush(1), Writer::Flush(2));
        overlap.begins(&"a", mine, at(1));
        assert!(overlap.ended(&"a", mine, Ended::Unsure, at(1)));
        overlap.begins(&"a", mine, at(2));
        assert!(overlap.ended(&"a", mine, Ended::Known, at(2)));
        for another in [other, Writer::Client] {
            overlap.begins(&"a", another, at(3));
            assert!(!overlap.ended(&"a", another, Ended::Known, at(3)));
        }
        overlap.begins(&"a", other, at(4));
        assert!(!overlap.ended(&"a", other, Ended::Unsure, at(4)));
        // Of two unsure writes, it is unknown which is applied last.
        for one in [mine, other] {
            overlap.begins(&"a", one, at(5));
            assert!(!overlap.ended(&"a", one, Ended::Known, at(5)));
        }
    }

    /// A write in flight.
    struct Flying {
        writer: Writer,
        content: u64,
        was_applied: bool,
    }

    /// One URI with its backend and cache. A write is applied at any time between its start and its end; one that ends
    /// unsure, at any time until it is sure again, or never.
    #[derive(Default)]
    struct World {
        in_flight: Vec<Flying>,
        /// The writes that may still be applied, and until when.
        lost: Vec<(u64, Duration)>,
        backend: u64,
        cache: Option<u64>,
        /// The number and content of the flusher's current write.
        queued: u64,
    }

    impl World {
        fn step(&mut self, overlap: &mut Overlap<u8>, rng: &mut fastrand::Rng, (value, now): (u64, Duration)) {
            self.lost.retain(|(_, until)| now < *until);
            match rng.u8(..8) {
                0 | 1 if self.in_flight.len() < 3 => {
                    let (writer, content) = self.next(rng, value);
                    overlap.begins(&0, writer, now);
                    self.in_flight.push(Flying { writer, content, was_applied: false });
                }
                2 | 3 => {
                    if let Some(write) = rng.choice(&mut self.in_flight).filter(|write| !write.was_applied) {
                        write.was_applied = true;
                        self.backend = write.content;
                    }
                }
                4..=6 if !self.in_flight.is_empty() => self.end(overlap, rng, now),
                _ => {
                    if let Some((content, _)) = rng.choice(&self.lost) {
                        self.backend = *content;
                    }
                }
            }
        }

        /// A client's write, another queued one, or another attempt of the same.
        fn next(&mut self, rng: &mut fastrand::Rng, value: u64) -> (Writer, u64) {
            match rng.u8(..4) {
                0 | 1 => return (Writer::Client, value),
                2 => self.queued = value,
                _ => {}
            }
            (Writer::Flush(self.queued), self.queued)
        }

        fn end(&mut self, overlap: &mut Overlap<u8>, rng: &mut fastrand::Rng, now: Duration) {
            let write = self.in_flight.swap_remove(rng.usize(..self.in_flight.len()));
            let ended = if write.was_applied && rng.u8(..4) > 0 { Ended::Known } else { Ended::Unsure };
            if ended == Ended::Unsure {
                self.lost.push((write.content, now + at(120)));
            }
            let was_alone = overlap.ended(&0, write.writer, ended, now);
            self.cache = (was_alone && write.was_applied).then_some(write.content);
        }
    }

    #[test]
    fn the_cache_ends_with_what_the_backend_applied_last_or_with_nothing() {
        let mut stored = 0;
        for seed in 0..3_000 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut overlap = Overlap::new(at(120));
            let mut world = World::default();
            let mut now = at(0);
            for value in 1..60 {
                now += at(rng.u64(..40));
                world.step(&mut overlap, &mut rng, (value, now));
                let is_quiet = world.in_flight.iter().all(|write| !write.was_applied);
                if is_quiet {
                    let cache = world.cache.unwrap_or(world.backend);
                    assert_eq!(cache, world.backend, "seed {seed}, write {value}");
                }
                stored += u32::from(world.cache.is_some());
            }
        }
        assert!(stored > 1_000, "the cache was nearly never used: {stored}");
    }
}
