//! Whether a write was alone on its way to the backend, so that the cache may believe what it wrote.
//!
//! The argument: a URI is marked before a write goes out and after its answer is in. A write that met no other between
//! its marks was applied after all those answered before it and before all those that go out later, so what it wrote
//! is what is there. Of several at once nobody knows which was applied last; and one whose end is not known, or that was
//! tried more than once, may be applied long after. What follows for the entry is decided in `written`.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// The most URIs that are remembered as unsure one by one; beyond that all are.
const UNSURE_MAX: usize = 65_536;

/// The writes that are on their way, by URI. The caller keeps [`Overlap::ended`] and the storing that follows from it
/// one step, for example under one lock, so that no later write of the URI goes out between them.
#[derive(Clone, Debug)]
pub struct Overlap<K> {
    uris: HashMap<K, Marks>,
    /// URIs in the order in which they may be sure again.
    unsure: VecDeque<(Duration, K)>,
    /// When so many are unsure that they can't be told apart.
    all_unsure_until: Duration,
    unsure_for: Duration,
}

/// What is known of one URI.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    /// Writes on their way.
    in_flight: u32,
    /// Whether two of these were so at once, or one met an earlier write that may still be applied.
    is_crowded: bool,
    /// Until when an earlier write may still be applied.
    unsure_until: Duration,
}

/// What is known of a write that is no longer on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It went out once and was answered, or did not go out.
    Known,
    /// It may yet be applied: no whole answer came, or it was tried more than once.
    Unsure,
}

impl<K: Clone + Eq + Hash> Overlap<K> {
    /// Nothing is on its way. What goes out less than `unsure_for` after the unsure end of a write of its URI does not
    /// count as alone.
    #[must_use]
    pub fn new(unsure_for: Duration) -> Self {
        Self { uris: HashMap::new(), unsure: VecDeque::new(), all_unsure_until: Duration::ZERO, unsure_for }
    }

    /// From now on another time holds for what ends unsure.
    pub fn set_unsure_for(&mut self, unsure_for: Duration) {
        self.unsure_for = unsure_for;
    }

    /// A write of this URI is about to go out at `now` (on the clock that never jumps). To be followed by one
    /// [`Overlap::ended`], whatever becomes of it.
    pub fn begins(&mut self, uri: &K, now: Duration) {
        let marks = self.uris.entry(uri.clone()).or_default();
        // An unsure one may be applied while this one is on its way, after it: that it is sure at the end is too late.
        marks.is_crowded |= marks.in_flight > 0 || now < marks.unsure_until.max(self.all_unsure_until);
        marks.in_flight = marks.in_flight.saturating_add(1);
    }

    /// A write of this URI has ended at `now`. `true`: it was alone, and what it wrote
    /// is what the backend has.
    #[must_use]
    pub fn ended(&mut self, uri: &K, ended: Ended, now: Duration) -> bool {
        self.forget_sure(now);
        let Some(marks) = self.uris.get_mut(uri) else { return false };
        let was_alone = !marks.is_crowded;
        marks.in_flight = marks.in_flight.saturating_sub(1);
        if ended == Ended::Unsure {
            let until = now.saturating_add(self.unsure_for);
            if self.unsure.len() < UNSURE_MAX {
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
        was_alone && ended == Ended::Known
    }

    /// Whether any write of this URI is on its way: what is fetched meanwhile may be of before or after it.
    #[must_use]
    pub fn is_in_flight(&self, uri: &K) -> bool {
        self.uris.get(uri).is_some_and(|marks| marks.in_flight > 0)
    }

    /// How many URIs are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.uris.len()
    }

    /// Whether nothing is on its way or unsure.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.uris.is_empty()
    }

    /// Forgets the URIs whose time has come.
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
        overlap.begins(&"a", at(1));
        overlap.begins(&"b", at(1));
        assert!(overlap.is_in_flight(&"a"));
        assert!(overlap.ended(&"a", Ended::Known, at(1)));
        assert!(!overlap.is_in_flight(&"a"));
        assert!(overlap.ended(&"b", Ended::Known, at(1)));
        assert!(overlap.is_empty());
    }

    #[test]
    fn of_those_that_meet_none_is_alone_and_the_next_is_again() {
        let mut overlap = overlap();
        overlap.begins(&"a", at(1));
        overlap.begins(&"a", at(1));
        assert!(!overlap.ended(&"a", Ended::Known, at(1)));
        // It meets the one that is still on its way.
        overlap.begins(&"a", at(1));
        assert!(!overlap.ended(&"a", Ended::Known, at(1)));
        assert!(!overlap.ended(&"a", Ended::Known, at(1)));
        overlap.begins(&"a", at(1));
        assert!(overlap.ended(&"a", Ended::Known, at(1)));
    }

    #[test]
    fn after_an_unsure_end_none_is_alone_for_a_while() {
        let mut overlap = overlap();
        overlap.begins(&"a", at(10));
        assert!(!overlap.ended(&"a", Ended::Unsure, at(10)));
        for (now, expected) in [(11, false), (129, false), (130, true)] {
            overlap.begins(&"a", at(now));
            assert_eq!(overlap.ended(&"a", Ended::Known, at(now)), expected, "{now}");
        }
        assert!(overlap.is_empty());
    }

    #[test]
    fn to_have_met_an_unsure_one_is_enough_though_it_is_sure_at_the_end() {
        let mut overlap = overlap();
        overlap.begins(&"a", at(0));
        assert!(!overlap.ended(&"a", Ended::Unsure, at(10)));
        overlap.begins(&"a", at(100));
        assert!(!overlap.ended(&"a", Ended::Known, at(200)));
        assert!(overlap.is_empty());
    }

    #[test]
    fn what_was_never_begun_is_not_alone() {
        assert!(!overlap().ended(&"a", Ended::Known, at(1)));
    }

    #[test]
    fn a_flood_of_unsure_ends_makes_all_unsure_and_takes_no_more_memory() {
        let mut overlap = Overlap::new(at(120));
        for uri in 0..UNSURE_MAX + 10 {
            overlap.begins(&uri, at(1));
            assert!(!overlap.ended(&uri, Ended::Unsure, at(1)));
        }
        assert_eq!(overlap.len(), UNSURE_MAX);
        let other = UNSURE_MAX + 20;
        overlap.begins(&other, at(2));
        assert!(!overlap.ended(&other, Ended::Known, at(2)));
        overlap.begins(&other, at(121));
        assert!(overlap.ended(&other, Ended::Known, at(121)));
        assert!(overlap.is_empty());
    }

    /// One URI, its backend and its cache. A write is applied at any moment between its going out and its end; one with
    /// an unsure end, at any moment until it is sure again, or never.
    #[derive(Default)]
    struct World {
        /// What the writes on their way write, and whether they have been applied.
        in_flight: Vec<(u64, bool)>,
        /// What may yet be applied, and until when.
        lost: Vec<(u64, Duration)>,
        backend: u64,
        cache: Option<u64>,
    }

    impl World {
        fn step(&mut self, overlap: &mut Overlap<u8>, dice: &mut fastrand::Rng, (value, now): (u64, Duration)) {
            self.lost.retain(|(_, until)| now < *until);
            match dice.u8(..8) {
                0 | 1 if self.in_flight.len() < 3 => {
                    overlap.begins(&0, now);
                    self.in_flight.push((value, false));
                }
                2 | 3 => {
                    if let Some(write) = dice.choice(&mut self.in_flight).filter(|write| !write.1) {
                        write.1 = true;
                        self.backend = write.0;
                    }
                }
                4..=6 if !self.in_flight.is_empty() => self.end(overlap, dice, now),
                _ => {
                    if let Some((value, _)) = dice.choice(&self.lost) {
                        self.backend = *value;
                    }
                }
            }
        }

        fn end(&mut self, overlap: &mut Overlap<u8>, dice: &mut fastrand::Rng, now: Duration) {
            let (value, was_applied) = self.in_flight.swap_remove(dice.usize(..self.in_flight.len()));
            let ended = if was_applied && dice.u8(..4) > 0 { Ended::Known } else { Ended::Unsure };
            if ended == Ended::Unsure {
                self.lost.push((value, now + at(120)));
            }
            self.cache = overlap.ended(&0, ended, now).then_some(value);
        }
    }

    #[test]
    fn the_cache_ends_with_what_the_backend_applied_last_or_with_nothing() {
        let mut stored = 0;
        for seed in 0..3_000 {
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut overlap = Overlap::new(at(120));
            let mut world = World::default();
            let mut now = at(0);
            for value in 1..60 {
                now += at(dice.u64(..40));
                world.step(&mut overlap, &mut dice, (value, now));
                if world.in_flight.iter().all(|(_, was_applied)| !was_applied) {
                    let cache = world.cache.unwrap_or(world.backend);
                    assert_eq!(cache, world.backend, "seed {seed}, write {value}");
                }
                stored += u32::from(world.cache.is_some());
            }
        }
        assert!(stored > 1_000, "the cache was nearly never used: {stored}");
    }
}
