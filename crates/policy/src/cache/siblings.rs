//! The keys of one URI, which differ in selected headers and cookies only.
//!
//! Lets an invalidation of a URI find all of its keys. A key without a selection is the URI's own, and not listed.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, Hash, RandomState};

/// Keys by their URI.
///
/// URIs are stored as keyed hashes: two with equal hashes, with probability 2⁻⁶⁴, are invalidated together, which is
/// more than requested, never less. Keys are cloned, so they should be cheap to clone, like an `Arc`.
#[derive(Debug)]
pub struct Siblings<K> {
    keys: HashMap<u64, HashSet<K>>,
    hasher: RandomState,
}

impl<K: Hash + Eq + Clone> Siblings<K> {
    /// The cost of a key, as if it were the only one of its URI: the smallest set of keys, and its place in the table.
    pub const KEY_BYTES: u64 = {
        // The smallest set has four places; a set that has just doubled has fewer than four per key.
        let keys = 4 * (size_of::<K>() as u64 + 1) + GROUP_BYTES + ALLOCATION_BYTES;
        keys + (size_of::<(u64, HashSet<K>)>() as u64 + 1) * 16 / 7 + 1
    };

    /// No keys.
    #[must_use]
    pub fn new() -> Self {
        Self { keys: HashMap::new(), hasher: RandomState::new() }
    }

    /// Adds a key under the common part of its URI's keys.
    pub fn insert(&mut self, uri: &[u8], key: &K) {
        self.keys.entry(self.hasher.hash_one(uri)).or_default().insert(key.clone());
    }

    /// Removes a key.
    pub fn remove(&mut self, uri: &[u8], key: &K) {
        let mark = self.hasher.hash_one(uri);
        let Some(keys) = self.keys.get_mut(&mark) else { return };
        keys.remove(key);
        if keys.is_empty() {
            self.keys.remove(&mark);
        } else if keys.capacity() > keys.len().saturating_mul(4) {
            // A set that has shrunk must not exceed the counted cost of its keys.
            keys.shrink_to(keys.len().saturating_mul(2));
        }
    }

    /// The keys of a URI, in no particular order.
    pub fn of(&self, uri: &[u8]) -> impl Iterator<Item = &K> {
        self.keys.get(&self.hasher.hash_one(uri)).into_iter().flatten()
    }
}

impl<K: Hash + Eq + Clone> Default for Siblings<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// The overhead of an allocation.
const ALLOCATION_BYTES: u64 = 16;

/// The size of a hash table besides its places.
const GROUP_BYTES: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(siblings: &Siblings<u64>, uri: &[u8]) -> Vec<u64> {
        let mut keys: Vec<u64> = siblings.of(uri).copied().collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn a_uri_finds_its_keys_and_a_key_that_leaves_leaves_nothing_behind() {
        let mut siblings = Siblings::new();
        for (uri, key) in [(b"a", 1), (b"a", 2), (b"b", 3), (b"a", 2)] {
            siblings.insert(uri, &key);
        }
        assert_eq!((of(&siblings, b"a"), of(&siblings, b"b"), of(&siblings, b"c")), (vec![1, 2], vec![3], vec![]));
        siblings.remove(b"a", &1);
        siblings.remove(b"c", &1);
        siblings.remove(b"b", &3);
        assert_eq!(of(&siblings, b"a"), [2]);
        siblings.remove(b"a", &2);
        assert!(siblings.keys.is_empty());
    }

    #[test]
    fn a_set_of_keys_that_was_large_once_gives_its_memory_back() {
        let mut siblings = Siblings::<u64>::new();
        (0..1000).for_each(|key| siblings.insert(b"a", &key));
        (1..1000).for_each(|key| siblings.remove(b"a", &key));
        assert!(siblings.keys.values().all(|keys| keys.capacity() <= 4));
    }
}
