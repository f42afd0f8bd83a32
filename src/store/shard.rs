//! One shard of the store: what is kept, what is being fetched, and who waits for it. Behind a lock of its own.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use policy::cache::flight::{Action, Flights, Id};
use policy::cache::index::{Displaced, Index, Refused};
use policy::cache::key::Key;
use policy::cache::tags::{self, Tags};
use policy::message::vary::{Choice, VARIANTS_MAX};
use policy::time::Now;
use tokio::sync::oneshot;

use super::entry::{Entry, Shelf};
use super::purge::{Lately, Purge, Purged};
use crate::exchange::fault::Fault;

/// Bounds on the tags of one entry.
const TAGS: tags::Limits = tags::Limits { tags_max: 256, tag_bytes_max: 1024 };

/// The longest course that is remembered as not worth waiting for, in bytes.
const REMEMBERED_BYTES_MAX: usize = 1024;

/// What may be fetched once for many: same key, same choice, and nothing invalidated in between.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Course {
    /// The key.
    pub key: Key,
    /// What the request says in the fields that are known to choose.
    pub choice: Choice,
    /// Those with `Authorization` keep to themselves: what they get is mostly not for sharing (RFC 9111 §3.5).
    pub is_authorized: bool,
    /// When it began.
    pub era: Era,
}

impl Course {
    /// Whether it is too long to be remembered: what clients make up must not fill the memory.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.key.bytes().len() + self.choice.as_bytes().len() > REMEMBERED_BYTES_MAX
    }
}

/// Counts invalidations: what was fetched in one era is not stored in the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Era {
    of_all: u64,
    of_uri: u64,
}

impl Era {
    /// Whether nothing of this URI was invalidated in between. Other purges are [`Lately`]'s to know.
    #[must_use]
    pub fn is_of_same_uri(self, other: Self) -> bool {
        self.of_uri == other.of_uri
    }
}

/// What one who waits is told.
#[derive(Debug)]
pub enum Told {
    /// Here it is.
    Read(Entry),
    /// Ask for yourself.
    Alone,
    /// It is for you now to ask for all.
    Lead,
    /// There will be no answer.
    Failed(Fault),
}

/// Those to be told something, once the lock is let go.
pub type News = Vec<(oneshot::Sender<Told>, Told)>;

/// Tells them.
pub fn tell(news: News) {
    for (waiting, told) in news {
        let _left = waiting.send(told);
    }
}

/// Fetches under way for one URI.
#[derive(Debug, Default)]
struct Fetching {
    count: usize,
    era: u64,
}

/// One shard.
#[derive(Debug)]
pub struct Shard {
    /// What is kept.
    pub index: Index<Key, Shelf>,
    /// Its tags.
    pub tags: Tags<Key>,
    /// What is being fetched once for many.
    pub flights: Flights<Course>,
    /// Who waits.
    pub waiting: HashMap<Id, oneshot::Sender<Told>>,
    /// What is being read along.
    pub reading: HashMap<Course, Entry>,
    /// By what all keys of a URI have in common.
    fetching: HashMap<Box<[u8]>, Fetching>,
    era: u64,
    /// What was purged lately.
    pub lately: Lately,
    hasher: RandomState,
    /// What its part of the memory is, in bytes.
    bytes_max: u64,
    /// What bodies that are being fetched take of it.
    reserved: u64,
}

impl Shard {
    /// An empty shard.
    #[must_use]
    pub fn new(bytes_max: u64, limits: policy::cache::flight::Limits) -> Self {
        Self {
            index: Index::new(bytes_max),
            tags: Tags::new(TAGS),
            flights: Flights::new(limits),
            waiting: HashMap::new(),
            reading: HashMap::new(),
            fetching: HashMap::new(),
            era: 0,
            lately: Lately::default(),
            hasher: RandomState::new(),
            bytes_max,
            reserved: 0,
        }
    }

    /// Begins a fetch for a key: what [`Shard::ended`] ends.
    pub fn begun(&mut self, key: &Key) -> Era {
        let of_all = self.era;
        let fetching = self.fetching.entry(key.uri().into()).or_default();
        fetching.count += 1;
        Era { of_all, of_uri: fetching.era }
    }

    /// The era that a fetch for this key would begin in.
    #[must_use]
    pub fn era(&self, key: &Key) -> Era {
        Era { of_all: self.era, of_uri: self.fetching.get(key.uri()).map_or(0, |fetching| fetching.era) }
    }

    /// A fetch has ended.
    pub fn ended(&mut self, key: &Key) {
        if let Some(fetching) = self.fetching.get_mut(key.uri()) {
            fetching.count -= 1;
            if fetching.count == 0 {
                self.fetching.remove(key.uri());
            }
        }
    }

    /// What is being fetched now for this key's URI is not to be stored.
    pub fn outdate(&mut self, key: &Key) {
        if let Some(fetching) = self.fetching.get_mut(key.uri()) {
            fetching.era += 1;
        }
    }

    /// Of what is being fetched now nothing is to be stored that this purge is about; nobody joins any of it any more.
    pub fn outdate_all(&mut self, purged: Purged) {
        self.era += 1;
        self.lately.note(purged);
    }

    /// Takes room for a body that is being fetched; what was used least goes. `false`: there is not enough.
    pub fn reserve(&mut self, bytes: u64, left: &mut Vec<Shelf>) -> bool {
        // A quarter stays for what is stored, so that a rush of misses does not empty the cache.
        if self.reserved.saturating_add(bytes) > self.bytes_max - self.bytes_max / 4 {
            return false;
        }
        self.reserved += bytes;
        self.fit(left);
        true
    }

    /// Gives room back.
    pub fn release(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
        // Not smaller than before: nothing has to go. More may be taken than there is: a reload can have made it less.
        let _none = self.index.resize(self.bytes_max.saturating_sub(self.reserved));
    }

    /// Sets the shard's part of the memory.
    pub fn resize(&mut self, bytes_max: u64, left: &mut Vec<Shelf>) {
        self.bytes_max = bytes_max;
        self.fit(left);
    }

    fn fit(&mut self, left: &mut Vec<Shelf>) {
        let evicted = self.index.resize(self.bytes_max.saturating_sub(self.reserved));
        self.untag(evicted, left);
    }

    /// What it takes now, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.index.bytes() + self.reserved
    }

    /// Stores a response. `false`: it does not fit. What had to go is added to `left`, to be dropped without the lock.
    pub fn put(&mut self, key: &Key, entry: Entry, left: &mut Vec<Shelf>) -> bool {
        let shelf = self.index.peek(key).cloned().unwrap_or_default().with(entry, VARIANTS_MAX);
        self.set(key, shelf, left)
    }

    /// Stores a shelf in place of the key's present one.
    pub fn set(&mut self, key: &Key, mut shelf: Shelf, left: &mut Vec<Shelf>) -> bool {
        let mark = self.mark(key);
        loop {
            let tags = {
                let of_entries = shelf.variants().iter().flat_map(|entry| &entry.head.tags).map(AsRef::as_ref);
                self.tags.insert(key, of_entries.chain(mark.as_deref()))
            };
            let Ok(tag_bytes) = tags else {
                self.remove(key, left);
                return false;
            };
            let bytes = shelf.bytes() + key.bytes().len() as u64 + tag_bytes;
            match self.index.insert(key.clone(), shelf, bytes) {
                Ok(Displaced { replaced, evicted }) => {
                    left.extend(replaced);
                    self.untag(evicted, left);
                    return true;
                }
                Err(Refused { value, .. }) if value.variants().len() > 1 => {
                    // Too many variants for this shard: the oldest half goes.
                    let half = value.variants().len() / 2;
                    let newest = value.variants().iter().take(half).cloned();
                    shelf = newest.fold(Shelf::default(), |shelf, entry| shelf.with(entry, half));
                    left.push(value);
                }
                Err(Refused { value, .. }) => {
                    left.push(value);
                    self.remove(key, left);
                    return false;
                }
            }
        }
    }

    /// A tag that no response can have, for a key that is not the only one of its URI: by it all of them are found.
    fn mark(&self, key: &Key) -> Option<String> {
        key.has_choice().then(|| self.mark_of(key.uri()))
    }

    fn mark_of(&self, uri: &[u8]) -> String {
        format!("\u{0}{:016x}", self.hasher.hash_one(uri))
    }

    /// The other keys of a URI.
    #[must_use]
    pub fn keys_of_uri(&self, uri: &Key) -> Vec<Key> {
        self.tags.keys(&self.mark_of(uri.uri())).cloned().collect()
    }

    /// Takes out all that is stored for a key. Says how many responses that were.
    pub fn remove(&mut self, key: &Key, left: &mut Vec<Shelf>) -> usize {
        self.tags.remove(key);
        let Some((_, shelf)) = self.index.remove(key) else { return 0 };
        let count = shelf.variants().len();
        left.push(shelf);
        count
    }

    /// Takes these out, or makes them stale. Says how many responses that were.
    pub fn purge(&mut self, keys: &[Key], purge: Purge, left: &mut Vec<Shelf>) -> usize {
        let each = keys.iter().map(|key| match purge {
            Purge::Hard => self.remove(key, left),
            Purge::Soft(now) => self.soften(key, now, left),
        });
        each.sum()
    }

    fn soften(&mut self, key: &Key, now: Now, left: &mut Vec<Shelf>) -> usize {
        let Some(shelf) = self.index.peek(key) else { return 0 };
        let outdated = shelf.map(|entry| Some(entry.outdated(now)));
        let count = outdated.variants().len();
        self.set(key, outdated, left);
        count
    }

    /// Gives back memory of entries that were purged all at once.
    pub fn reclaim(&mut self, entries_max: usize, left: &mut Vec<Shelf>) {
        let reclaimed = self.index.reclaim(entries_max);
        left.extend(reclaimed.into_iter().map(|(_, shelf)| shelf));
    }

    fn untag(&mut self, evicted: Vec<(Key, Shelf)>, left: &mut Vec<Shelf>) {
        for (key, shelf) in evicted {
            // An entry of the same key that came after a purge keeps its tags.
            if self.index.peek(&key).is_none() {
                self.tags.remove(&key);
            }
            left.push(shelf);
        }
    }

    /// Who is to be told what, after an event of a flight. `entry` is what is read, `fault` why there is nothing.
    pub fn news(&mut self, actions: Vec<Action>, entry: Option<&Entry>, fault: Option<&Fault>) -> News {
        let mut news = News::new();
        for action in actions {
            match action {
                Action::Read(ids) => self.each(ids, &mut news, || match entry {
                    Some(entry) => Told::Read(entry.clone()),
                    None => Told::Alone,
                }),
                Action::Release(ids) => self.each(ids, &mut news, || Told::Alone),
                Action::Promote(id) => self.each(vec![id], &mut news, || Told::Lead),
                Action::Fail(ids) => {
                    self.each(ids, &mut news, || Told::Failed(fault.cloned().unwrap_or(Fault::WaitedInVain)));
                }
            }
        }
        news
    }

    /// Whether nothing is fetched, nobody waits, and no room is taken for what is to come.
    #[cfg(test)]
    pub fn is_at_rest(&self) -> bool {
        let is_quiet = self.waiting.is_empty() && self.reading.is_empty() && self.flights.is_empty();
        is_quiet && self.fetching.is_empty() && self.reserved == 0
    }

    fn each(&mut self, ids: Vec<Id>, news: &mut News, told: impl Fn() -> Told) {
        news.extend(ids.into_iter().filter_map(|id| self.waiting.remove(&id)).map(|waiting| (waiting, told())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shard(bytes_max: u64) -> Shard {
        let limits = policy::cache::flight::Limits {
            flights_max: 1,
            followers_max: 1,
            attempts_max: 1,
            another_after: Duration::MAX,
            remembered_max: 1,
            remember_for: Duration::MAX,
        };
        Shard::new(bytes_max, limits)
    }

    #[test]
    fn room_is_given_back_to_a_shard_that_has_become_smaller() {
        let mut shard = shard(1000);
        assert!(shard.reserve(600, &mut Vec::new()));
        shard.resize(100, &mut Vec::new());
        shard.release(100);
        assert_eq!((shard.reserved, shard.index.bytes_max()), (500, 0));
        shard.release(500);
        assert_eq!((shard.reserved, shard.index.bytes_max()), (0, 100));
    }

    #[test]
    fn nobody_reserves_more_than_there_is() {
        let mut shard = shard(1000);
        assert!(shard.reserve(1, &mut Vec::new()));
        assert!(!shard.reserve(u64::MAX, &mut Vec::new()));
    }
}
