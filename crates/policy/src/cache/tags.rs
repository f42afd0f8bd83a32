//! Which entries carry which tags, in both directions.
//!
//! So that purging a tag finds its entries, and an entry that leaves takes its tags along. What a tag header's value
//! looks like is not asked here.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::num::Saturating;
use std::sync::Arc;

/// Bounds on the tags of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many different tags.
    pub tags_max: usize,
    /// How long each may be, in bytes.
    pub tag_bytes_max: usize,
}

/// Why an entry's tags were refused.
///
/// All of them are: an entry that lost one of its tags would outlive a purge of that tag, so it is better not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More different tags than allowed.
    #[error("more than {tags_max} tags")]
    TooMany {
        /// The limit.
        tags_max: usize,
    },
    /// A tag longer than allowed.
    #[error("a tag of {bytes} bytes is longer than {tag_bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        tag_bytes_max: usize,
    },
}

/// Tags by key and keys by tag, counted in bytes.
///
/// Keys are copied, so they should be cheap: a hash or an `Arc`.
#[derive(Debug)]
pub struct Tags<K> {
    limits: Limits,
    keys_by_tag: HashMap<Arc<str>, HashSet<K>>,
    tags_by_key: HashMap<K, Box<[Arc<str>]>>,
    bytes: Saturating<u64>,
}

impl<K: Hash + Eq + Clone> Tags<K> {
    /// What a tagged entry costs, whatever its tags: its place in the table from key to tags, and their list.
    pub const ENTRY_BYTES: u64 = table_place::<(K, Box<[Arc<str>]>)>() + ALLOCATION_BYTES;

    /// What each tag of an entry costs beyond its text, as if no other entry had the tag: the smallest set of keys,
    /// its place in the table from tag to keys, the text's counters and the pointer to it.
    pub const TAG_BYTES: u64 = {
        // The smallest set has four places; a set that has just doubled has fewer than four for each key.
        let keys = 4 * (size_of::<K>() as u64 + 1) + GROUP_BYTES + ALLOCATION_BYTES;
        let text = 2 * size_of::<usize>() as u64 + ALLOCATION_BYTES;
        keys + text + table_place::<(Arc<str>, HashSet<K>)>() + size_of::<Arc<str>>() as u64
    };

    /// An empty index with these bounds for each entry.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, keys_by_tag: HashMap::new(), tags_by_key: HashMap::new(), bytes: Saturating(0) }
    }

    /// Gives an entry these tags in place of those it had, and says what they cost in bytes: what to add to the
    /// entry's own cost. Empty tags and repetitions do not count.
    ///
    /// # Errors
    ///
    /// [`Refused`], when one of the [`Limits`] does not hold. The entry then has the tags it had.
    pub fn insert<'t>(&mut self, key: &K, tags: impl IntoIterator<Item = &'t str>) -> Result<u64, Refused> {
        let tags = self.admit(tags)?;
        self.remove(key);
        if tags.is_empty() {
            return Ok(0);
        }
        let bytes = cost::<K>(tags.iter().copied());
        self.bytes += bytes;
        let shared = tags.into_iter().map(|tag| self.file(key, tag)).collect();
        self.tags_by_key.insert(key.clone(), shared);
        Ok(bytes)
    }

    /// Takes an entry's tags away, as it leaves the cache. Says how many there were.
    pub fn remove(&mut self, key: &K) -> usize {
        let Some(tags) = self.tags_by_key.remove(key) else { return 0 };
        for tag in &tags {
            if let Some(keys) = self.keys_by_tag.get_mut(tag) {
                keys.remove(key);
                if keys.is_empty() {
                    self.keys_by_tag.remove(tag);
                } else if keys.capacity() > keys.len().saturating_mul(4) {
                    // A set that was large once must not cost more than is counted for what is left of it.
                    keys.shrink_to(keys.len().saturating_mul(2));
                }
            }
        }
        self.bytes -= cost::<K>(tags.iter().map(AsRef::as_ref));
        tags.len()
    }

    /// The entries that carry a tag, in no particular order.
    pub fn keys(&self, tag: &str) -> impl Iterator<Item = &K> {
        self.keys_by_tag.get(tag).into_iter().flatten()
    }

    /// An entry's tags, in the order of their text.
    pub fn tags(&self, key: &K) -> impl Iterator<Item = &str> {
        self.tags_by_key.get(key).into_iter().flatten().map(AsRef::as_ref)
    }

    /// Takes a tag and everything it was on out of the index, and hands back the keys: what a hard purge removes.
    ///
    /// These entries lose their other tags too.
    pub fn purge(&mut self, tag: &str) -> Vec<K> {
        let keys: Vec<K> = self.keys(tag).cloned().collect();
        for key in &keys {
            self.remove(key);
        }
        keys
    }

    /// Forgets everything, as all entries leave at once.
    pub fn clear(&mut self) {
        *self = Self::new(self.limits);
    }

    /// Forgets everything as [`Tags::clear`] does, but hands it back, so that it can be dropped outside a lock: that
    /// takes a while when there is much of it.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let emptied = Self::new(self.limits);
        std::mem::replace(self, emptied)
    }

    /// What all tags cost: an upper bound, because a tag's text is kept once but counted for each of its entries.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.0
    }

    /// Sorted, without repetitions. Reads no more than it must to find that there are too many.
    fn admit<'t>(&self, tags: impl IntoIterator<Item = &'t str>) -> Result<Vec<&'t str>, Refused> {
        let Limits { tags_max, tag_bytes_max } = self.limits;
        let mut admitted = Vec::new();
        for tag in tags.into_iter().filter(|tag| !tag.is_empty()) {
            if tag.len() > tag_bytes_max {
                return Err(Refused::TooLong { bytes: tag.len(), tag_bytes_max });
            }
            if let Err(place) = admitted.binary_search(&tag) {
                if admitted.len() >= tags_max {
                    return Err(Refused::TooMany { tags_max });
                }
                admitted.insert(place, tag);
            }
        }
        Ok(admitted)
    }

    /// Notes the key under the tag, and hands back the text that all entries with the tag share.
    fn file(&mut self, key: &K, tag: &str) -> Arc<str> {
        let shared =
            self.keys_by_tag.get_key_value(tag).map_or_else(|| Arc::from(tag), |(shared, _)| Arc::clone(shared));
        self.keys_by_tag.entry(Arc::clone(&shared)).or_default().insert(key.clone());
        shared
    }
}

/// What an allocator adds to an allocation.
const ALLOCATION_BYTES: u64 = 16;

/// What a hash table has beside its places.
const GROUP_BYTES: u64 = 16;

/// One item's share of a hash table that has just doubled: a table is at least 7/16 full.
const fn table_place<T>() -> u64 {
    (size_of::<T>() as u64 + 1) * 16 / 7 + 1
}

fn cost<'t, K: Hash + Eq + Clone>(tags: impl Iterator<Item = &'t str>) -> u64 {
    tags.fold(Tags::<K>::ENTRY_BYTES, |sum, tag| {
        sum.saturating_add(Tags::<K>::TAG_BYTES).saturating_add(u64::try_from(tag.len()).unwrap_or(u64::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const LIMITS: Limits = Limits { tags_max: 3, tag_bytes_max: 8 };

    fn tags() -> Tags<u8> {
        Tags::new(LIMITS)
    }

    fn keys(tags: &Tags<u8>, tag: &str) -> BTreeSet<u8> {
        tags.keys(tag).copied().collect()
    }

    #[test]
    fn a_tag_finds_its_entries_and_an_entry_its_tags() {
        let mut tags = tags();
        tags.insert(&1, ["orders", "user:7"]).unwrap();
        tags.insert(&2, ["orders"]).unwrap();
        assert_eq!(keys(&tags, "orders"), [1, 2].into());
        assert_eq!(keys(&tags, "user:7"), [1].into());
        assert_eq!(keys(&tags, "user:8"), [].into());
        assert_eq!(tags.tags(&1).collect::<Vec<_>>(), ["orders", "user:7"]);
    }

    #[test]
    fn an_entry_that_leaves_takes_its_tags_along_and_leaves_nothing_behind() {
        let mut tags = tags();
        let bytes = tags.insert(&1, ["orders", "user:7"]).unwrap();
        assert_eq!(bytes, Tags::<u8>::ENTRY_BYTES + 2 * Tags::<u8>::TAG_BYTES + 12);
        assert_eq!(tags.bytes(), bytes);
        assert_eq!((tags.remove(&1), tags.remove(&1)), (2, 0));
        assert_eq!(tags.bytes(), 0);
        assert!(tags.keys_by_tag.is_empty() && tags.tags_by_key.is_empty());
    }

    #[test]
    fn a_set_of_keys_that_was_large_once_gives_its_memory_back() {
        let mut tags = Tags::<u64>::new(LIMITS);
        for key in 0..1000 {
            tags.insert(&key, ["all"]).unwrap();
        }
        for key in 1..1000 {
            tags.remove(&key);
        }
        assert!(tags.keys_by_tag["all"].capacity() <= 4);
    }

    #[test]
    fn new_tags_take_the_place_of_the_old_ones() {
        let mut tags = tags();
        tags.insert(&1, ["old"]).unwrap();
        tags.insert(&1, ["new"]).unwrap();
        assert_eq!((keys(&tags, "old"), keys(&tags, "new")), ([].into(), [1].into()));
        assert_eq!(tags.insert(&1, []).unwrap(), 0);
        assert_eq!(tags.bytes(), 0);
    }

    #[test]
    fn a_purged_tag_hands_back_its_entries_and_they_lose_their_other_tags() {
        let mut tags = tags();
        tags.insert(&1, ["a", "b"]).unwrap();
        tags.insert(&2, ["b"]).unwrap();
        assert_eq!(tags.purge("a"), [1]);
        assert_eq!(keys(&tags, "b"), [2].into());
        tags.clear();
        assert_eq!((tags.bytes(), tags.purge("b")), (0, vec![]));
    }

    #[test]
    fn what_is_taken_holds_everything_and_leaves_an_empty_index_with_the_same_limits() {
        let mut left = tags();
        left.insert(&1, ["a"]).unwrap();
        let bytes = left.bytes();
        let taken = left.take();
        assert_eq!((keys(&taken, "a"), taken.bytes()), ([1].into(), bytes));
        assert_eq!((keys(&left, "a"), left.bytes(), left.limits), ([].into(), 0, LIMITS));
    }

    #[test]
    fn tags_beyond_the_bounds_are_refused_and_the_entry_keeps_what_it_had() {
        let mut tags = tags();
        tags.insert(&1, ["kept"]).unwrap();
        let before = tags.bytes();
        assert_eq!(tags.insert(&1, ["a", "b", "c", "d"]), Err(Refused::TooMany { tags_max: 3 }));
        assert_eq!(tags.insert(&1, ["123456789"]), Err(Refused::TooLong { bytes: 9, tag_bytes_max: 8 }));
        assert_eq!((keys(&tags, "kept"), tags.bytes()), ([1].into(), before));
    }

    #[test]
    fn repetitions_and_empty_tags_do_not_count() {
        let mut tags = tags();
        let bytes = tags.insert(&1, ["a", "", "a", "b", "a", "c"]).unwrap();
        assert_eq!(tags.tags(&1).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(tags.insert(&2, ["c", "b", "a"]).unwrap(), bytes);
    }

    #[test]
    fn an_endless_list_of_tags_is_read_only_until_it_is_too_long() {
        let names = ["a", "b", "c", "d"];
        assert_eq!(tags().insert(&1, names.into_iter().cycle()), Err(Refused::TooMany { tags_max: 3 }));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, Vec<&'static str>),
        Remove(u8),
        Purge(&'static str),
    }

    const NAMES: [&str; 7] = ["", "a", "b", "c", "orders", "user:7", "much too long"];

    fn step() -> impl Strategy<Value = Step> {
        let name = proptest::sample::select(NAMES.as_slice());
        let names = proptest::collection::vec(name.clone(), 0..5);
        prop_oneof![
            4 => (0..8_u8, names).prop_map(|(key, names)| Step::Insert(key, names)),
            2 => (0..8_u8).prop_map(Step::Remove),
            1 => name.prop_map(Step::Purge),
        ]
    }

    proptest! {
        #[test]
        fn it_does_what_a_set_for_each_entry_does(steps in proptest::collection::vec(step(), 1..120)) {
            let mut tags = tags();
            let mut model: BTreeMap<u8, BTreeSet<&str>> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Insert(key, names) => {
                        let wanted: BTreeSet<&str> = names.iter().copied().filter(|name| !name.is_empty()).collect();
                        let fits = wanted.len() <= LIMITS.tags_max
                            && wanted.iter().all(|name| name.len() <= LIMITS.tag_bytes_max);
                        prop_assert_eq!(tags.insert(&key, names).is_ok(), fits);
                        if fits {
                            model.insert(key, wanted);
                        }
                    }
                    Step::Remove(key) => {
                        prop_assert_eq!(tags.remove(&key), model.remove(&key).map_or(0, |names| names.len()));
                    }
                    Step::Purge(tag) => {
                        let purged: BTreeSet<u8> = tags.purge(tag).into_iter().collect();
                        let carried: BTreeSet<u8> =
                            model.iter().filter(|(_, names)| names.contains(tag)).map(|(key, _)| *key).collect();
                        model.retain(|key, _| !carried.contains(key));
                        prop_assert_eq!(purged, carried);
                    }
                }
                model.retain(|_, names| !names.is_empty());
                for tag in NAMES {
                    let carried = model.iter().filter(|(_, names)| names.contains(tag)).map(|(key, _)| *key).collect();
                    prop_assert_eq!(keys(&tags, tag), carried);
                }
                let bytes: u64 = model.values().map(|names| cost::<u8>(names.iter().copied())).sum();
                prop_assert_eq!(tags.bytes(), bytes);
                prop_assert_eq!(tags.tags_by_key.len(), model.len());
            }
        }
    }
}
