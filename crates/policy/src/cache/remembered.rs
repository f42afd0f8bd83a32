//! What is known of keys for a while: that their answers are not for sharing (hit-for-miss), or how long they are.
//!
//! Without this memory, requests for an uncacheable page would wait for one another in vain, and each small range of a
//! long video would first ask for all of it.

use std::hash::Hash;
use std::time::Duration;

use lru::LruCache;

/// Keys by when they were remembered: all for equally long, so the oldest is also the first to be invalidated.
#[derive(Debug)]
pub struct Remembered<K: Hash + Eq, V = ()> {
    until: LruCache<K, (V, Duration)>,
    keys_max: usize,
    remember_for: Duration,
}

impl<K: Hash + Eq, V: Copy> Remembered<K, V> {
    /// Remembers nothing; at most so many keys, each for so long.
    #[must_use]
    pub fn new(keys_max: usize, remember_for: Duration) -> Self {
        Self { until: LruCache::unbounded(), keys_max, remember_for }
    }

    /// Other bounds hold from now on; what is remembered stays so for as long as it was meant to.
    pub fn set_limits(&mut self, keys_max: usize, remember_for: Duration) {
        (self.keys_max, self.remember_for) = (keys_max, remember_for);
        while self.until.len() > keys_max {
            self.until.pop_lru();
        }
    }

    /// Remembers this, in place of what was known of the key (monotonic time).
    pub fn remember(&mut self, key: K, what: V, now: Duration) {
        self.until.put(key, (what, now.saturating_add(self.remember_for)));
        if self.until.len() > self.keys_max {
            self.until.pop_lru();
        }
    }

    /// What is known of a key.
    #[must_use]
    pub fn get(&self, key: &K, now: Duration) -> Option<V> {
        self.until.peek(key).filter(|(_, until)| now < *until).map(|(what, _)| *what)
    }

    /// Forgets a key.
    pub fn forget(&mut self, key: &K) {
        self.until.pop(key);
    }

    /// Forgets what has been remembered for long enough.
    pub fn expire(&mut self, now: Duration) {
        while self.next_due().is_some_and(|until| until <= now) {
            self.until.pop_lru();
        }
    }

    /// When there is something to forget next.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.until.peek_lru().map(|(_, (_, until))| *until)
    }

    /// How many keys are remembered.
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
