//! Keys whose answers are not for sharing, for a while (hit-for-miss).
//!
//! Without this memory, requests for an uncacheable page would wait for one another in vain.

use std::hash::Hash;
use std::time::Duration;

use lru::LruCache;

/// Keys by when they were remembered: all for equally long, so the oldest is also the first to be forgotten.
#[derive(Debug)]
pub(super) struct Remembered<K: Hash + Eq> {
    until: LruCache<K, Duration>,
    keys_max: usize,
    remember_for: Duration,
}

impl<K: Hash + Eq> Remembered<K> {
    pub(super) fn new(keys_max: usize, remember_for: Duration) -> Self {
        Self { until: LruCache::unbounded(), keys_max, remember_for }
    }

    /// Other bounds hold from now on; what is remembered stays so for as long as it was meant to.
    pub(super) fn set_limits(&mut self, keys_max: usize, remember_for: Duration) {
        (self.keys_max, self.remember_for) = (keys_max, remember_for);
        while self.until.len() > keys_max {
            self.until.pop_lru();
        }
    }

    pub(super) fn remember(&mut self, key: K, now: Duration) {
        self.until.put(key, now.saturating_add(self.remember_for));
        if self.until.len() > self.keys_max {
            self.until.pop_lru();
        }
    }

    pub(super) fn holds(&self, key: &K, now: Duration) -> bool {
        self.until.peek(key).is_some_and(|until| now < *until)
    }

    pub(super) fn forget(&mut self, key: &K) {
        self.until.pop(key);
    }

    pub(super) fn expire(&mut self, now: Duration) {
        while self.next_due().is_some_and(|until| until <= now) {
            self.until.pop_lru();
        }
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.until.peek_lru().map(|(_, until)| *until)
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_is_held_until_its_time_is_over() {
        let mut remembered = Remembered::new(9, SECOND);
        remembered.remember("a", SECOND);
        assert!(remembered.holds(&"a", SECOND) && !remembered.holds(&"b", SECOND));
        assert!(!remembered.holds(&"a", 2 * SECOND), "even if nobody has cleaned up");
        remembered.expire(2 * SECOND);
        assert_eq!((remembered.len(), remembered.next_due()), (0, None));
    }

    #[test]
    fn a_key_remembered_again_is_held_for_the_whole_time_again() {
        let mut remembered = Remembered::new(9, 2 * SECOND);
        remembered.remember("a", Duration::ZERO);
        remembered.remember("b", SECOND);
        remembered.remember("a", SECOND);
        assert_eq!(remembered.next_due(), Some(3 * SECOND));
        assert!(remembered.holds(&"a", 2 * SECOND));
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let mut remembered = Remembered::new(2, SECOND);
        for key in ["a", "b", "c"] {
            remembered.remember(key, Duration::ZERO);
        }
        assert!(!remembered.holds(&"a", Duration::ZERO));
        assert_eq!(remembered.len(), 2);
        Remembered::new(0, SECOND).remember("a", Duration::ZERO);
    }
}
