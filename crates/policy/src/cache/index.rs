//! What is in the cache, how many bytes it costs, and what goes first when room is needed.
//!
//! The least recently used entry goes first. A pinned entry (a write that has not reached the backend yet) never goes
//! by itself. Whether an entry may be served is not asked here, and tags are kept in [`tags`](super::tags).

use std::hash::Hash;
use std::num::Saturating;

use lru::LruCache;

/// How keys are spread: a quick hash with a seed of its own for each table, so that nobody outside can aim.
pub type Spread = foldhash::fast::RandomState;

/// Entries by key, least recently used first, within a limit of bytes.
///
/// Every entry costs the bytes that the caller names (what key and value hold on the heap) and
/// [`OVERHEAD_BYTES`](Self::OVERHEAD_BYTES). What leaves is handed back, so that its tags and body can be released.
#[derive(Debug)]
pub struct Index<K: Hash + Eq, V> {
    /// Entries that may be evicted. Those of an older generation are all at the least recently used end, because
    /// they are never promoted.
    evictable: LruCache<K, Slot<V>>,
    /// The same structure, so that an entry costs the same here; its order means nothing.
    pinned: LruCache<K, Slot<V>>,
    generation: u64,
    /// How many of `evictable` belong to the present generation.
    live: usize,
    bytes_max: u64,
    bytes: Saturating<u64>,
    bytes_pinned: Saturating<u64>,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    /// Overhead included.
    bytes: u64,
    generation: u64,
}

/// What an insertion pushed out.
#[derive(Debug, PartialEq, Eq)]
pub struct Displaced<K, V> {
    /// The value that the key had before. Not there when it had been purged: then it is among the evicted.
    pub replaced: Option<V>,
    /// What had to go to make room, least recently used first. Purged entries come first of all.
    pub evicted: Vec<(K, V)>,
}

/// An entry that did not go in. The index is as it was; an older entry of the same key is still there.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused<K, V> {
    /// The key, handed back.
    pub key: K,
    /// The value, handed back.
    pub value: V,
    /// Why it was refused.
    pub reason: Reason,
}

/// Why an entry was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It is larger than the whole index may be.
    #[error("the entry costs {bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// What it costs, overhead included.
        bytes: u64,
        /// What the index may hold.
        bytes_max: u64,
    },
    /// Too much of the index is pinned.
    #[error("{bytes_pinned} of {bytes_max} bytes are pinned")]
    Pinned {
        /// What the pinned entries of other keys cost.
        bytes_pinned: u64,
        /// What the index may hold.
        bytes_max: u64,
    },
}

impl<K: Hash + Eq, V> Index<K, V> {
    /// What an entry costs beyond what its key and value hold on the heap: key and value themselves, the entry's
    /// numbers and links, the allocator's share, and its place in the hash table just after that has doubled.
    ///
    /// An upper bound: held against the memory of a real process in `tests/index_overhead.rs`.
    pub const OVERHEAD_BYTES: u64 = {
        const LINKS: usize = 2 * size_of::<usize>();
        const ALLOCATOR: usize = 16;
        // Two pointers and a control byte for each bucket; a table is at least 7/16 full after it has grown.
        const TABLE: usize = (2 * size_of::<usize>() + 1) * 16 / 7 + 1;
        (size_of::<K>() + size_of::<Slot<V>>() + LINKS + ALLOCATOR + TABLE) as u64
    };

    /// An empty index that holds at most this many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self {
            evictable: LruCache::unbounded(),
            pinned: LruCache::unbounded(),
            generation: 0,
            live: 0,
            bytes_max,
            bytes: Saturating(0),
            bytes_pinned: Saturating(0),
        }
    }

    /// Puts an entry in as the most recently used one and evicts what no longer fits.
    ///
    /// `bytes` is what key and value hold on the heap. An entry that takes the place of a pinned one stays pinned.
    ///
    /// # Errors
    ///
    /// [`Refused`], when it is larger than the limit or would not fit beside what is pinned. Nothing is evicted then.
    pub fn insert(&mut self, key: K, value: V, bytes: u64) -> Result<Displaced<K, V>, Refused<K, V>> {
        let bytes = bytes.saturating_add(Self::OVERHEAD_BYTES);
        if let Some(reason) = self.refuses(&key, bytes) {
            return Err(Refused { key, value, reason });
        }
        let slot = Slot { value, bytes, generation: self.generation };
        let mut evicted = Vec::new();
        let replaced = if self.pinned.contains(&key) {
            self.bytes += bytes;
            self.bytes_pinned += bytes;
            self.pinned.put(key, slot).map(|old| {
                self.bytes -= old.bytes;
                self.bytes_pinned -= old.bytes;
                old.value
            })
        } else {
            let old = self.take_evictable(&key);
            self.link(key, slot);
            match old {
                Some((_, old)) if old.generation == self.generation => Some(old.value),
                Some((key, old)) => {
                    evicted.push((key, old.value));
                    None
                }
                None => None,
            }
        };
        self.shrink(&mut evicted);
        Ok(Displaced { replaced, evicted })
    }

    /// The entry, which is now the most recently used one.
    pub fn get(&mut self, key: &K) -> Option<&V> {
        if let Some(slot) = self.pinned.peek(key) {
            return Some(&slot.value);
        }
        // A purged entry must stay at its end of the order; without any there is no need to look twice.
        if self.live < self.evictable.len() && !self.is_live(key) {
            return None;
        }
        self.evictable.get(key).map(|slot| &slot.value)
    }

    /// The entry, its place in the order unchanged.
    #[must_use]
    pub fn peek(&self, key: &K) -> Option<&V> {
        let slot = self.pinned.peek(key).or_else(|| self.live_slot(key))?;
        Some(&slot.value)
    }

    /// The keys of all entries that can be found, in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        let live = self.evictable.iter().filter(|(_, slot)| slot.generation == self.generation);
        live.chain(self.pinned.iter()).map(|(key, _)| key)
    }

    /// Takes an entry out, pinned or not. A purged one is not found here: [`reclaim`](Self::reclaim) hands it back.
    pub fn remove(&mut self, key: &K) -> Option<(K, V)> {
        let (key, slot) = if self.is_live(key) { self.take_evictable(key) } else { self.take_pinned(key) }?;
        Some((key, slot.value))
    }

    /// Keeps an entry from being evicted or purged until [`unpin`](Self::unpin). `false`: there is no such entry.
    pub fn pin(&mut self, key: &K) -> bool {
        if self.pinned.contains(key) {
            return true;
        }
        if !self.is_live(key) {
            return false;
        }
        let Some((key, slot)) = self.take_evictable(key) else { return false };
        self.bytes += slot.bytes;
        self.bytes_pinned += slot.bytes;
        self.pinned.put(key, slot);
        true
    }

    /// Lets an entry be evicted again, as the most recently used one. Handed back is what has to go at once, because
    /// the limit was lowered meanwhile.
    pub fn unpin(&mut self, key: &K) -> Vec<(K, V)> {
        let mut evicted = Vec::new();
        if let Some((key, slot)) = self.take_pinned(key) {
            self.link(key, Slot { generation: self.generation, ..slot });
            self.shrink(&mut evicted);
        }
        evicted
    }

    /// Whether the entry is there and pinned.
    #[must_use]
    pub fn is_pinned(&self, key: &K) -> bool {
        self.pinned.contains(key)
    }

    /// Sets a new limit and evicts what no longer fits. Pinned entries stay, even above the limit.
    pub fn resize(&mut self, bytes_max: u64) -> Vec<(K, V)> {
        self.bytes_max = bytes_max;
        let mut evicted = Vec::new();
        self.shrink(&mut evicted);
        evicted
    }

    /// Counts every entry that is not pinned as gone, in constant time. Says how many there were.
    ///
    /// Their memory comes back when room is needed, or by [`reclaim`](Self::reclaim).
    pub fn purge_all(&mut self) -> usize {
        // 2^64 purges do not happen within the life of a process.
        self.generation = self.generation.wrapping_add(1);
        std::mem::take(&mut self.live)
    }

    /// Takes out at most `entries_max` purged entries. Empty: there are none left.
    pub fn reclaim(&mut self, entries_max: usize) -> Vec<(K, V)> {
        let purged = self.evictable.len().saturating_sub(self.live);
        let mut reclaimed = Vec::new();
        for _ in 0..purged.min(entries_max) {
            self.evict(&mut reclaimed);
        }
        reclaimed
    }

    /// What is held now, overhead, pinned and purged but not yet reclaimed entries included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.0
    }

    /// What the pinned entries cost, overhead included.
    #[must_use]
    pub fn bytes_pinned(&self) -> u64 {
        self.bytes_pinned.0
    }

    /// The limit.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// How many entries can be found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.saturating_add(self.pinned.len())
    }

    /// Whether no entry can be found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn refuses(&self, key: &K, bytes: u64) -> Option<Reason> {
        let bytes_max = self.bytes_max;
        if bytes > bytes_max {
            return Some(Reason::TooLarge { bytes, bytes_max });
        }
        let own = self.pinned.peek(key).map_or(0, |slot| slot.bytes);
        let bytes_pinned = self.bytes_pinned.0.saturating_sub(own);
        (bytes_pinned.saturating_add(bytes) > bytes_max).then_some(Reason::Pinned { bytes_pinned, bytes_max })
    }

    fn live_slot(&self, key: &K) -> Option<&Slot<V>> {
        self.evictable.peek(key).filter(|slot| slot.generation == self.generation)
    }

    fn is_live(&self, key: &K) -> bool {
        self.live_slot(key).is_some()
    }

    /// Puts an entry of the present generation at the most recently used end.
    fn link(&mut self, key: K, slot: Slot<V>) {
        self.bytes += slot.bytes;
        self.live = self.live.saturating_add(1);
        self.evictable.put(key, slot);
    }

    /// An evictable entry of any generation.
    fn take_evictable(&mut self, key: &K) -> Option<(K, Slot<V>)> {
        let (key, slot) = self.evictable.pop_entry(key)?;
        self.count_out(&slot);
        Some((key, slot))
    }

    fn take_pinned(&mut self, key: &K) -> Option<(K, Slot<V>)> {
        let (key, slot) = self.pinned.pop_entry(key)?;
        self.bytes -= slot.bytes;
        self.bytes_pinned -= slot.bytes;
        Some((key, slot))
    }

    fn shrink(&mut self, evicted: &mut Vec<(K, V)>) {
        while self.bytes.0 > self.bytes_max && !self.evictable.is_empty() {
            self.evict(evicted);
        }
    }

    fn evict(&mut self, evicted: &mut Vec<(K, V)>) {
        if let Some((key, slot)) = self.evictable.pop_lru() {
            self.count_out(&slot);
            evicted.push((key, slot.value));
        }
    }

    fn count_out(&mut self, slot: &Slot<V>) {
        self.bytes -= slot.bytes;
        if slot.generation == self.generation {
            self.live = self.live.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    const OVERHEAD: u64 = Index::<u8, u32>::OVERHEAD_BYTES;

    /// Room for this many entries of 100 bytes.
    fn index(entries: u64) -> Index<u8, u32> {
        Index::new(entries * (100 + OVERHEAD))
    }

    fn put(index: &mut Index<u8, u32>, key: u8, value: u32) -> Vec<(u8, u32)> {
        index.insert(key, value, 100).unwrap().evicted
    }

    #[test]
    fn the_least_recently_used_entry_goes_first() {
        let mut index = index(2);
        put(&mut index, 1, 10);
        put(&mut index, 2, 20);
        assert_eq!(index.get(&1), Some(&10));
        assert_eq!(put(&mut index, 3, 30), [(2, 20)]);
    }

    #[test]
    fn a_peek_does_not_promote() {
        let mut index = index(2);
        put(&mut index, 1, 10);
        put(&mut index, 2, 20);
        assert_eq!(index.peek(&1), Some(&10));
        assert_eq!(put(&mut index, 3, 30), [(1, 10)]);
    }

    #[test]
    fn one_large_entry_evicts_as_many_as_it_needs() {
        let mut index = index(3);
        for key in 1..=3 {
            put(&mut index, key, 0);
        }
        let evicted = index.insert(4, 0, 200 + OVERHEAD).unwrap().evicted;
        assert_eq!(evicted, [(1, 0), (2, 0)]);
        assert_eq!(index.bytes(), index.bytes_max());
    }

    #[test]
    fn an_entry_larger_than_the_limit_is_handed_back_and_evicts_nothing() {
        let mut index = index(1);
        put(&mut index, 1, 10);
        let refused = index.insert(1, 11, 101).unwrap_err();
        assert_eq!((refused.key, refused.value), (1, 11));
        assert_eq!(refused.reason, Reason::TooLarge { bytes: 101 + OVERHEAD, bytes_max: 100 + OVERHEAD });
        assert_eq!(index.peek(&1), Some(&10));
        assert!(index.insert(2, 0, u64::MAX).is_err());
    }

    #[test]
    fn a_pinned_entry_is_never_evicted_and_what_does_not_fit_beside_it_is_refused() {
        let mut index = index(2);
        put(&mut index, 1, 10);
        assert!(index.pin(&1) && index.is_pinned(&1));
        put(&mut index, 2, 20);
        assert_eq!(put(&mut index, 3, 30), [(2, 20)]);
        let bytes_pinned = 100 + OVERHEAD;
        let refused = index.insert(4, 0, 101).unwrap_err();
        assert_eq!(refused.reason, Reason::Pinned { bytes_pinned, bytes_max: 2 * bytes_pinned });
        assert_eq!(index.resize(0), [(3, 30)]);
        assert_eq!(index.get(&1), Some(&10));
        assert_eq!(index.unpin(&1), [(1, 10)]);
        assert_eq!((index.bytes(), index.bytes_pinned(), index.len()), (0, 0, 0));
    }

    #[test]
    fn a_write_over_a_pinned_entry_stays_pinned() {
        let mut index = index(2);
        put(&mut index, 1, 10);
        index.pin(&1);
        assert_eq!(index.insert(1, 11, 50).unwrap(), Displaced { replaced: Some(10), evicted: vec![] });
        assert!(index.is_pinned(&1));
        assert_eq!((index.bytes(), index.bytes_pinned()), (50 + OVERHEAD, 50 + OVERHEAD));
    }

    #[test]
    fn what_is_purged_is_gone_at_once_and_its_memory_is_handed_back_later() {
        let mut index = index(3);
        for key in 1..=3 {
            put(&mut index, key, 0);
        }
        index.pin(&2);
        assert_eq!(index.purge_all(), 2);
        assert_eq!((index.get(&1).copied(), index.get(&2).copied(), index.peek(&3)), (None, Some(0), None));
        assert!(!index.pin(&1));
        assert_eq!(index.remove(&3), None);
        assert_eq!(index.len(), 1);
        assert_eq!(index.bytes(), index.bytes_max(), "memory that is not yet free is counted");
        assert_eq!(index.insert(1, 7, 100).unwrap(), Displaced { replaced: None, evicted: vec![(1, 0)] });
        assert_eq!(index.reclaim(10), [(3, 0)]);
        assert_eq!(index.reclaim(10), []);
        assert_eq!(index.get(&1), Some(&7));
    }
}
