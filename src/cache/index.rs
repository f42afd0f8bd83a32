//! What is in the cache, how many bytes it costs, and what goes first when room is needed.
//!
//! The least recently used entry goes first, nearly always: [`Index::touch`] says when the order is not exact. Each entry
//! notes the [`Epoch`] in which it was last held against the [`bans`](policy::cache::bans); what follows from that is the
//! caller's business. Whether an entry may be served is not asked here.

use std::hash::{BuildHasher as _, Hash};
use std::num::Saturating;

use hashbrown::HashTable;
use policy::cache::bans::Epoch;

/// How keys are spread: a quick hash with a seed of its own in each process, so that clients cannot choose keys that collide.
pub type Spread = foldhash::fast::RandomState;

/// The end of the list.
const NONE: u32 = u32::MAX;

/// Where an entry is kept, for as long as it stays: what [`Index::find`] finds by hash is reached without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryHandle(u32);

/// Entries by key, least recently used first, within a limit of bytes.
///
/// Every entry costs the bytes that the caller names (what key and value hold on the heap) and
/// [`OVERHEAD_BYTES`](Self::OVERHEAD_BYTES). What leaves is handed back, so that it can be dropped elsewhere.
///
/// Entries are nodes of a list in the order of use. They stand in numbered slots, so that all of them can be walked
/// through a few at a time while others come and go.
#[derive(Debug)]
pub struct Index<K, V> {
    /// The slot of each key.
    table: HashTable<u32>,
    slots: Vec<Option<Box<IndexNode<K, V>>>>,
    /// Slots that are free.
    free: Vec<u32>,
    newest: u32,
    oldest: u32,
    /// How many times an entry has been put at the most recently used end, modulo 2^32.
    links: u32,
    hasher: Spread,
    bytes_max: u64,
    bytes: Saturating<u64>,
}

#[derive(Debug)]
struct IndexNode<K, V> {
    key: K,
    value: V,
    /// Overhead included.
    bytes: u64,
    checked: Epoch,
    newer: u32,
    older: u32,
    /// What `links` was when this entry was put at the most recently used end.
    linked: u32,
}

/// An entry that has left.
#[derive(Debug, PartialEq, Eq)]
pub struct RemovedEntry<K, V> {
    /// Its key.
    pub key: K,
    /// Its value.
    pub value: V,
    /// When it was last held against the bans.
    pub checked: Epoch,
}

/// What an insertion pushed out.
#[derive(Debug, PartialEq, Eq)]
pub struct Displaced<K, V> {
    /// The value that the key had before.
    pub replaced: Option<V>,
    /// What had to go to make room, least recently used first.
    pub evicted: Vec<RemovedEntry<K, V>>,
}

/// An entry that did not go in, as it is larger than the whole index may be. The index is as it was; an older entry of
/// the same key is still there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entry costs {bytes} bytes, the limit is {bytes_max}")]
pub struct EntryTooLarge<V> {
    /// The value, handed back.
    pub value: V,
    /// What it costs, overhead included.
    pub bytes: u64,
    /// What the index may hold.
    pub bytes_max: u64,
}

impl<K: Hash + Eq, V> Index<K, V> {
    /// What an entry costs beyond what its key and value hold on the heap: its node, the allocator's share, its slot and
    /// its place in the hash table just after these have doubled.
    ///
    /// An upper bound: held against the memory of a real process in `tests/cache_index_overhead.rs`.
    pub const OVERHEAD_BYTES: u64 = {
        const ALLOCATOR: usize = 16;
        const SLOT: usize = 2 * size_of::<usize>();
        // A number and a control byte for each bucket; a table is at least 7/16 full after it has grown.
        const TABLE: usize = (size_of::<u32>() + 1) * 16 / 7 + 1;
        (size_of::<IndexNode<K, V>>() + ALLOCATOR + SLOT + TABLE) as u64
    };

    /// An empty index that holds at most this many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self::spread(bytes_max, Spread::default())
    }

    /// The same, which spreads its keys like others do: one hash of a key will do for all of them.
    #[must_use]
    pub fn spread(bytes_max: u64, hasher: Spread) -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
            links: 0,
            hasher,
            bytes_max,
            bytes: Saturating(0),
        }
    }

    /// Puts an entry in as the most recently used one and evicts what no longer fits.
    ///
    /// `bytes` is what key and value hold on the heap, `checked` when it was held against the bans.
    ///
    /// # Errors
    ///
    /// [`EntryTooLarge`], when it is larger than the limit. Nothing is evicted then.
    pub fn insert(
        &mut self,
        key: K,
        value: V,
        bytes: u64,
        checked: Epoch,
    ) -> Result<Displaced<K, V>, EntryTooLarge<V>> {
        let bytes = bytes.saturating_add(Self::OVERHEAD_BYTES);
        if bytes > self.bytes_max {
            return Err(EntryTooLarge { value, bytes, bytes_max: self.bytes_max });
        }
        let replaced = self.find(&key).and_then(|place| self.take(place)).map(|left| left.value);
        self.bytes += bytes;
        let hash = self.hasher.hash_one(&key);
        let node = Box::new(IndexNode { key, value, bytes, checked, newer: NONE, older: NONE, linked: 0 });
        let slot = self.occupy(node);
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.table.insert_unique(hash, slot, |slot| {
            slots.get(*slot as usize).and_then(Option::as_ref).map_or(0, |node| hasher.hash_one(&node.key))
        });
        self.link(slot);
        let mut evicted = Vec::new();
        self.shrink(&mut evicted);
        Ok(Displaced { replaced, evicted })
    }

    /// Where a key's entry is. The key may be of another type that has the hash of the key that it equals.
    #[must_use]
    pub fn find<Q: Hash + PartialEq<K> + ?Sized>(&self, key: &Q) -> Option<EntryHandle> {
        self.find_hashed(self.hasher.hash_one(key), key)
    }

    /// The same for a key whose hash is known. With another hash nothing is found, never another key's entry: all of the
    /// key is compared.
    #[must_use]
    pub fn find_hashed<Q: PartialEq<K> + ?Sized>(&self, hash: u64, key: &Q) -> Option<EntryHandle> {
        let is_it = |slot: &u32| self.node(*slot).is_some_and(|node| *key == node.key);
        self.table.find(hash, is_it).map(|slot| EntryHandle(*slot))
    }

    /// How many slots there are; [`Index::at`] tells which of them hold an entry.
    #[must_use]
    pub fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NONE)
    }

    /// The entry in this slot. It keeps its slot for as long as it stays.
    #[must_use]
    pub fn at(&self, slot: u32) -> Option<EntryHandle> {
        self.node(slot).map(|_| EntryHandle(slot))
    }

    /// An entry's key.
    #[must_use]
    pub fn key(&self, place: EntryHandle) -> Option<&K> {
        self.node(place.0).map(|node| &node.key)
    }

    /// An entry's value.
    #[must_use]
    pub fn value(&self, place: EntryHandle) -> Option<&V> {
        self.node(place.0).map(|node| &node.value)
    }

    /// When an entry was last held against the bans.
    #[must_use]
    pub fn checked(&self, place: EntryHandle) -> Option<Epoch> {
        self.node(place.0).map(|node| node.checked)
    }

    /// Notes that an entry has been held against the bans.
    pub fn check(&mut self, place: EntryHandle, checked: Epoch) {
        if let Some(node) = self.node_mut(place.0) {
            node.checked = checked;
        }
    }

    /// Gives an entry another value that costs the same; its place in the order is unchanged.
    pub fn replace(&mut self, place: EntryHandle, value: V) -> Option<V> {
        self.node_mut(place.0).map(|node| std::mem::replace(&mut node.value, value))
    }

    /// An entry's value; it counts as used now.
    ///
    /// An entry that is among the most recently used eighth already stays where it is. Frequent hits then write to no
    /// entry, and the hit ratio stays within half a point of exact order (held against traces in
    /// `tests/cache_hit_ratio.rs`).
    pub fn touch(&mut self, place: EntryHandle) -> Option<&V> {
        if self.node(place.0).is_some_and(|node| !self.is_recent(node)) {
            self.unlink(place.0);
            self.link(place.0);
        }
        self.value(place)
    }

    /// Whether no more than an eighth of all entries can stand before this one in the order of use.
    fn is_recent(&self, node: &IndexNode<K, V>) -> bool {
        self.links.wrapping_sub(node.linked) as usize <= self.len() / 8
    }

    /// Takes an entry out.
    pub fn take(&mut self, place: EntryHandle) -> Option<RemovedEntry<K, V>> {
        let hash = self.hasher.hash_one(self.key(place)?);
        self.unlink(place.0);
        let node = self.slots.get_mut(place.0 as usize)?.take()?;
        if let Ok(found) = self.table.find_entry(hash, |slot| *slot == place.0) {
            found.remove();
        }
        self.bytes -= node.bytes;
        if self.table.is_empty() {
            // Room for what was there once is given back.
            (self.table, self.slots, self.free) = (HashTable::new(), Vec::new(), Vec::new());
        } else {
            self.free.push(place.0);
        }
        let IndexNode { key, value, checked, .. } = *node;
        Some(RemovedEntry { key, value, checked })
    }

    /// Sets a new limit and evicts what no longer fits.
    pub fn resize(&mut self, bytes_max: u64) -> Vec<RemovedEntry<K, V>> {
        self.bytes_max = bytes_max;
        let mut evicted = Vec::new();
        self.shrink(&mut evicted);
        evicted
    }

    /// What is held now, overhead included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.0
    }

    /// The limit.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn node(&self, slot: u32) -> Option<&IndexNode<K, V>> {
        self.slots.get(slot as usize)?.as_deref()
    }

    fn node_mut(&mut self, slot: u32) -> Option<&mut IndexNode<K, V>> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Puts a node into a slot.
    fn occupy(&mut self, node: Box<IndexNode<K, V>>) -> u32 {
        if let Some(slot) = self.free.pop()
            && let Some(free) = self.slots.get_mut(slot as usize)
        {
            *free = Some(node);
            return slot;
        }
        let slot = self.slots();
        self.slots.push(Some(node));
        slot
    }

    /// Puts an entry at the most recently used end.
    fn link(&mut self, slot: u32) {
        self.links = self.links.wrapping_add(1);
        let (linked, older) = (self.links, std::mem::replace(&mut self.newest, slot));
        match self.node_mut(older) {
            Some(node) => node.newer = slot,
            None => self.oldest = slot,
        }
        if let Some(node) = self.node_mut(slot) {
            (node.newer, node.older, node.linked) = (NONE, older, linked);
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Some(node) = self.node(slot) else { return };
        let (newer, older) = (node.newer, node.older);
        match self.node_mut(newer) {
            Some(node) => node.older = older,
            None => self.newest = older,
        }
        match self.node_mut(older) {
            Some(node) => node.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn shrink(&mut self, evicted: &mut Vec<RemovedEntry<K, V>>) {
        while self.bytes.0 > self.bytes_max {
            let Some(left) = self.take(EntryHandle(self.oldest)) else { return };
            evicted.push(left);
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
        let evicted = index.insert(key, value, 100, Epoch::default()).unwrap().evicted;
        evicted.into_iter().map(|left| (left.key, left.value)).collect()
    }

    fn get(index: &mut Index<u8, u32>, key: u8) -> Option<u32> {
        let place = index.find(&key)?;
        index.touch(place).copied()
    }

    #[test]
    fn the_least_recently_used_entry_goes_first() {
        let mut index = index(2);
        put(&mut index, 1, 10);
        put(&mut index, 2, 20);
        assert_eq!(get(&mut index, 1), Some(10));
        assert_eq!(put(&mut index, 3, 30), [(2, 20)]);
    }

    #[test]
    fn to_look_at_an_entry_does_not_use_it() {
        let mut index = index(2);
        put(&mut index, 1, 10);
        put(&mut index, 2, 20);
        let place = index.find(&1).unwrap();
        assert_eq!((index.value(place), index.key(place)), (Some(&10), Some(&1)));
        index.check(place, Epoch::default().next());
        assert_eq!((index.checked(place), index.replace(place, 11)), (Some(Epoch::default().next()), Some(10)));
        assert_eq!(put(&mut index, 3, 30), [(1, 11)]);
    }

    #[test]
    fn one_large_entry_evicts_as_many_as_it_needs() {
        let mut index = index(3);
        for key in 1..=3 {
            put(&mut index, key, 0);
        }
        let evicted = index.insert(4, 0, 200 + OVERHEAD, Epoch::default()).unwrap().evicted;
        assert_eq!(evicted.iter().map(|left| left.key).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(index.bytes(), index.bytes_max());
    }

    #[test]
    fn an_entry_larger_than_the_limit_is_handed_back_and_evicts_nothing() {
        let mut index = index(1);
        put(&mut index, 1, 10);
        let refused = index.insert(1, 11, 101, Epoch::default()).unwrap_err();
        assert_eq!(refused, EntryTooLarge { value: 11, bytes: 101 + OVERHEAD, bytes_max: 100 + OVERHEAD });
        assert_eq!(get(&mut index, 1), Some(10));
        assert!(index.insert(2, 0, u64::MAX, Epoch::default()).is_err());
    }

    #[test]
    fn an_entry_keeps_its_slot_and_a_free_slot_is_taken_again() {
        let mut index = index(9);
        for key in 0..4 {
            put(&mut index, key, u32::from(key));
        }
        let two = index.find(&2).unwrap();
        index.take(index.find(&0).unwrap());
        index.take(index.find(&3).unwrap());
        assert_eq!((index.find(&2), index.value(two), index.slots()), (Some(two), Some(&2), 4));
        put(&mut index, 7, 7);
        put(&mut index, 8, 8);
        assert_eq!(index.slots(), 4);
        let all: Vec<u8> = (0..4).filter_map(|slot| index.key(index.at(slot)?).copied()).collect();
        assert_eq!(all, [8, 1, 2, 7]);
        for key in [1, 2, 7, 8] {
            index.take(index.find(&key).unwrap());
        }
        assert_eq!((index.slots(), index.bytes(), index.is_empty()), (0, 0, true));
    }
}
