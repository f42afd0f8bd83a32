//! Remembers facts about keys for a limited time: that their responses are not shared (hit-for-miss), or their length.
//!
//! Otherwise requests for an uncacheable page would wait for one another in vain, and each small range of a long video
//! would first fetch all of it.

use std::hash::Hash;
use std::time::Duration;

use lru::LruCache;

/// Remembered keys, all for the same time, so the oldest expires first.
#[derive(Debug)]
pub struct Remembered<K: Hash + Eq, V = ()> {
    until: LruCache<K, (V, Duration)>,
    keys_max: usize,
    remember_for: Duration,
}

impl<K: Hash + Eq, V: Copy> Remembered<K, V> {
    /// Remembers at most `keys_max` keys, each for `remember_for`.
    #[must_use]
    pub fn new(keys_max: usize, remember_for: Duration) -> Self {
        Self { until: LruCache::unbounded(), keys_max, remember_for }
    }

    /// Sets the limits; keys remembered before keep their time.
    pub fn set_limits(&mut self, keys_max: usize, remember_for: Duration) {
        (self.keys_max, self.remember_for) = (keys_max, remember_for);
        while self.until.len() > keys_max {
            self.until.pop_lru();
        }
    }

    /// Remembers a fact about a key, replacing an earlier one (monotonic time).
    pub fn remember(&mut self, key: K, what: V, now: Duration) {
        self.until.put(key, (what, now.saturating_add(self.remember_for)));
        if self.until.len() > self.keys_max {
            self.until.pop_lru();
        }
    }

    /// The fact about a key.
    #[must_use]
    pub fn get(&self, key: &K, now: Duration) -> Option<V> {
        self.until.peek(key).filter(|(_, until)| now < *until).map(|(what, _)| *what)
    }

    /// Removes a key.
    pub fn forget(&mut self, key: &K) {
        self.until.pop(key);
    }

    /// Removes the keys whose time is over.
    pub fn expire(&mut self, now: Duration) {
        while self.next_due().is_some_and(|until| until <= now) {
            self.until.pop_lru();
        }
    }

    /// When the next key expires.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.until.peek_lru().map(|(_, (_, until))| *until)
    }

    /// The number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.until.len()
    }

    /// Whether no key is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.until.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_key_is_held_until_its_time_is_over() {
        let mut remembered = Remembered::new(9, SECOND);
        remembered.remember("a", (), SECOND);
        assert!(remembered.get(&"a", SECOND).is_some() && remembered.get(&"b", SECOND).is_none());
        assert!(remembered.get(&"a", 2 * SECOND).is_none(), "even if nobody has cleaned up");
        remembered.expire(2 * SECOND);
        assert_eq!((remembered.len(), remembered.next_due()), (0, None));
    }

    #[test]
    fn a_key_remembered_again_is_held_for_the_whole_time_again() {
        let mut remembered = Remembered::new(9, 2 * SECOND);
        remembered.remember("a", (), Duration::ZERO);
        remembered.remember("b", (), SECOND);
        remembered.remember("a", (), SECOND);
        assert_eq!(remembered.next_due(), Some(3 * SECOND));
        assert!(remembered.get(&"a", 2 * SECOND).is_some());
    }

    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let mut remembered = Remembered::new(2, SECOND);
        for key in ["a", "b", "c"] {
            remembered.remember(key, (), Duration::ZERO);
        }
        assert!(remembered.get(&"a", Duration::ZERO).is_none());
        assert_eq!(remembered.len(), 2);
        Remembered::new(0, SECOND).remember("a", (), Duration::ZERO);
    }
}
