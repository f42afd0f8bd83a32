//! One shard of the store: what is kept, what is being fetched, and who waits for it. Behind a lock of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use policy::cache::bans::{Ban, BanLimits, BanVerdict, Bans, Epoch, Purge, Subject};
use policy::cache::coalescing::{Action, CoalescedFetches, Id};
use policy::cache::key::{Key, LookupKey};
use policy::cache::remembered::Remembered;
use policy::cache::siblings::Siblings;
use policy::cache::tags;
use policy::message::vary::{Choice, VARIANTS_MAX};
use policy::time::Now;
use tokio::sync::oneshot;

use super::allocation::allocated;
use super::entry::{Entry, StoredVariants};
use super::index::{Displaced, EntryHandle, EntryTooLarge, Index, RemovedEntry, Spread};
use crate::exchange::error::ProxyError;

/// Bounds on the tags of one entry.
const TAGS: tags::TagLimits = tags::TagLimits { tags_max: 256, tag_bytes_max: 1024 };

/// Bounds on the bans that are not swept yet, and on those that are kept for what is being fetched.
const BANS: BanLimits = BanLimits { bans_max: 4096, bytes_max: 1024 * 1024, swept_max: 256 };

/// What a part of a sweep may cost: `SLOT_COST` for a free slot, and so on. About a hundred entries against one ban:
/// the shard is locked for some 50 µs.
pub(crate) const SWEEP_COST_MAX: usize = 2048;
/// What a look at a free slot costs.
const SLOT_COST: usize = 1;
/// What a look at an entry costs, and that to hold one of its tags against a ban.
const LOOK_COST: usize = 16;

/// The counts in front of a key's bytes.
const KEY_COUNTS_BYTES: usize = 2 * size_of::<usize>();

/// The longest course that is remembered as not worth waiting for, in bytes.
const REMEMBERED_BYTES_MAX: usize = 1024;

/// What may be fetched once for many: same key, same choice, and nothing invalidated in between.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FetchIdentity {
    /// The key.
    pub key: Key,
    /// What the request says in the fields that are known to choose.
    pub choice: Choice,
    /// Those with `Authorization` keep to themselves: what they get is mostly not for sharing (RFC 9111 §3.5).
    pub is_authorized: bool,
    /// Just this is fetched: the request's `Range` and `If-Range`; `None`: the whole.
    pub range: Option<Box<[u8]>>,
    /// When it began.
    pub era: Era,
}

impl FetchIdentity {
    /// Whether it is too long to be remembered: what clients make up must not fill the memory.
    #[must_use]
    pub(crate) fn is_long(&self) -> bool {
        let range = self.range.as_ref().map_or(0, |range| range.len());
        self.key.bytes().len() + self.choice.as_bytes().len() + range > REMEMBERED_BYTES_MAX
    }
}

/// Counts invalidations: what was fetched in one era is not stored in the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Era {
    of_all: Epoch,
    of_uri: u64,
}

impl Era {
    /// Whether nothing of this URI was invalidated in between. Bans are not looked at.
    #[must_use]
    pub(crate) fn is_of_same_uri(self, other: Self) -> bool {
        self.of_uri == other.of_uri
    }
}

/// What one who waits is told.
#[derive(Debug)]
pub(crate) enum FetchNotice {
    /// Here it is.
    Read(Entry),
    /// Ask for yourself.
    Alone,
    /// It is for you now to ask for all.
    Lead,
    /// There will be no answer.
    Failed(ProxyError),
}

/// Those to be told something, once the lock is let go.
pub(crate) type FetchNotices = Vec<(oneshot::Sender<FetchNotice>, FetchNotice)>;

/// Tells them.
pub(crate) fn tell(news: FetchNotices) {
    for (waiting, told) in news {
        let _left = waiting.send(told);
    }
}

/// How many responses a ban has touched so far.
pub(crate) type TouchedCount = Arc<AtomicU64>;

/// Fetches under way for one URI.
#[derive(Debug, Default)]
struct Fetching {
    count: usize,
    /// The last invalidation of the URI since the first of them began; zero: there was none.
    era: u64,
}

/// One shard.
#[derive(Debug)]
pub(crate) struct Shard {
    /// What is kept. Reached through what holds it against the bans first.
    index: Index<Key, StoredVariants>,
    /// The keys of each URI that has several.
    siblings: Siblings<Key>,
    /// What was invalidated by prefix, tag, or altogether.
    bans: Bans<TouchedCount>,
    /// The slot of the index where the sweep goes on, and the ban that this round is for.
    sweep: (u32, Epoch),
    /// What is being fetched once for many.
    pub flights: CoalescedFetches<FetchIdentity>,
    /// Who waits.
    pub waiting: HashMap<Id, oneshot::Sender<FetchNotice>>,
    /// How long what was found too long to be stored is, in bytes.
    pub lengths: Remembered<Key, u64>,
    /// What is being read along.
    pub reading: HashMap<FetchIdentity, Entry>,
    /// By what all keys of a URI have in common.
    fetching: HashMap<Box<[u8]>, Fetching>,
    /// How many invalidations fetches have met. Eras are numbered by it: one that is over must not come again for those
    /// who still wait in it, when the count of a URI begins anew.
    outdated: u64,
    /// What its part of the memory is, in bytes.
    bytes_max: u64,
    /// What bodies that are being fetched take of it.
    reserved: u64,
}

impl Shard {
    /// An empty shard, whose keys are spread so.
    #[must_use]
    pub(crate) fn new(bytes_max: u64, spread: Spread, limits: policy::cache::coalescing::CoalescingLimits) -> Self {
        Self {
            index: Index::spread(bytes_max, spread),
            siblings: Siblings::new(),
            bans: Bans::new(BANS),
            sweep: (0, Epoch::default()),
            flights: CoalescedFetches::new(limits),
            lengths: Remembered::new(limits.remembered_max, limits.remember_for),
            waiting: HashMap::new(),
            reading: HashMap::new(),
            fetching: HashMap::new(),
            outdated: 0,
            bytes_max,
            reserved: 0,
        }
    }

    /// Other bounds hold from now on.
    pub(crate) fn set_limits(&mut self, limits: policy::cache::coalescing::CoalescingLimits) {
        self.flights.set_limits(limits);
        self.lengths.set_limits(limits.remembered_max, limits.remember_for);
    }

    /// Begins a fetch for a key: what [`Shard::ended`] ends.
    pub(crate) fn begun(&mut self, key: &Key) -> Era {
        let of_all = self.bans.epoch();
        let fetching = self.fetching.entry(key.uri().into()).or_default();
        fetching.count += 1;
        Era { of_all, of_uri: fetching.era }
    }

    /// The era that a fetch for this key would begin in.
    #[must_use]
    pub(crate) fn era(&self, key: &Key) -> Era {
        Era { of_all: self.bans.epoch(), of_uri: self.fetching.get(key.uri()).map_or(0, |fetching| fetching.era) }
    }

    /// A fetch has ended.
    pub(crate) fn ended(&mut self, key: &Key) {
        if let Some(fetching) = self.fetching.get_mut(key.uri()) {
            fetching.count -= 1;
            if fetching.count == 0 {
                self.fetching.remove(key.uri());
            }
        }
    }

    /// What is being fetched now for this key's URI is not to be stored.
    pub(crate) fn outdate(&mut self, key: &Key) {
        if let Some(fetching) = self.fetching.get_mut(key.uri()) {
            self.outdated += 1;
            fetching.era = self.outdated;
        }
    }

    /// Adds a ban: of what is stored and being fetched now nothing is served or stored that it is about, and nobody joins
    /// any fetch of before. `true`: older bans had to be merged into a wider one.
    pub(crate) fn ban(&mut self, ban: Arc<Ban<TouchedCount>>) -> bool {
        self.bans.add(ban)
    }

    /// The newest ban.
    #[must_use]
    pub(crate) fn epoch(&self) -> Epoch {
        self.bans.epoch()
    }

    /// Up to which ban all that is stored has been swept.
    #[must_use]
    pub(crate) fn swept(&self) -> Epoch {
        self.bans.swept()
    }

    /// How many bans wait for the sweep.
    #[must_use]
    pub(crate) fn bans_waiting(&self) -> usize {
        self.bans.waiting()
    }

    /// Whether a ban since then is about what has been fetched.
    #[must_use]
    pub(crate) fn is_banned(&self, since: Epoch, key: &Key, entry: &Entry) -> bool {
        let has_tag = |tag: &str| entry.head.tags().iter().any(|own| **own == *tag);
        self.bans.concern(since, &Subject::new(key, has_tag))
    }

    /// Takes room for a body that is being fetched; what was used least goes. `false`: there is not enough.
    pub(crate) fn reserve(&mut self, bytes: u64, left: &mut Vec<StoredVariants>) -> bool {
        // A quarter stays for what is stored, so that a rush of misses does not empty the cache.
        if self.reserved.saturating_add(bytes) > self.bytes_max - self.bytes_max / 4 {
            return false;
        }
        self.reserved += bytes;
        self.fit(left);
        true
    }

    /// Gives room back.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
        // Not smaller than before: nothing has to go. More may be taken than there is: a reload can have made it less.
        let _none = self.index.resize(self.bytes_max.saturating_sub(self.reserved));
    }

    /// Sets the shard's part of the memory.
    pub(crate) fn resize(&mut self, bytes_max: u64, left: &mut Vec<StoredVariants>) {
        self.bytes_max = bytes_max;
        self.fit(left);
    }

    fn fit(&mut self, left: &mut Vec<StoredVariants>) {
        let bytes_max = self.bytes_max.saturating_sub(self.reserved);
        self.sweep_for_room(bytes_max, left);
        let evicted = self.index.resize(bytes_max);
        self.let_go(evicted, left);
    }

    /// What it takes now, in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        self.index.bytes() + self.reserved
    }

    /// How many keys are stored, banned ones that have not been swept yet among them.
    #[must_use]
    pub(crate) fn keys(&self) -> usize {
        self.index.len()
    }

    /// What is stored for a key; it counts as used. `left`: what has to be dropped without the lock.
    pub(crate) fn find(&mut self, key: &Key, left: &mut Vec<StoredVariants>) -> Option<&StoredVariants> {
        let place = self.current(self.index.find(key), left)?;
        self.index.touch(place)
    }

    /// The same for a key whose hash is known.
    pub(crate) fn find_hashed(
        &mut self,
        hash: u64,
        key: LookupKey<'_>,
        left: &mut Vec<StoredVariants>,
    ) -> Option<&StoredVariants> {
        let place = self.current(self.index.find_hashed(hash, &key), left)?;
        self.index.touch(place)
    }

    /// The same, without counting as used.
    pub(crate) fn peek(&mut self, key: &Key, left: &mut Vec<StoredVariants>) -> Option<&StoredVariants> {
        let place = self.current(self.index.find(key), left)?;
        self.index.value(place)
    }

    /// Where an entry is, once it has been held against all bans; `None`: one of them was about it, or there is none.
    fn current(&mut self, found: Option<EntryHandle>, left: &mut Vec<StoredVariants>) -> Option<EntryHandle> {
        let place = found?;
        if self.index.checked(place) == Some(self.bans.epoch()) || self.check(place, left) { Some(place) } else { None }
    }

    /// Holds an entry against the bans that are newer than the last time. `false`: it is gone.
    #[cold]
    fn check(&mut self, place: EntryHandle, left: &mut Vec<StoredVariants>) -> bool {
        let (Some(key), Some(shelf), Some(since)) =
            (self.index.key(place), self.index.value(place), self.index.checked(place))
        else {
            return false;
        };
        match judge(&self.bans, since, key, shelf) {
            BanVerdict::Untouched => {}
            BanVerdict::Stale(now) => {
                let outdated = shelf.map(|entry| Some(entry.outdated(now)));
                left.extend(self.index.replace(place, outdated));
            }
            BanVerdict::Gone => {
                self.take(place, left);
                return false;
            }
        }
        self.index.check(place, self.bans.epoch());
        true
    }

    /// Goes on with holding all that is stored against the bans, for as much as this may cost. `true`: a round is over.
    pub(crate) fn sweep(&mut self, cost_max: usize, left: &mut Vec<StoredVariants>) -> bool {
        let epoch = self.bans.epoch();
        if self.bans.swept() == epoch {
            return true;
        }
        if self.sweep.0 == 0 {
            self.sweep.1 = epoch;
        }
        let mut cost = 0;
        while self.sweep.0 < self.index.slots() {
            if cost >= cost_max {
                return false;
            }
            cost += match self.index.at(self.sweep.0) {
                Some(place) => self.sweep_one(place, left),
                None => SLOT_COST,
            };
            self.sweep.0 += 1;
        }
        let (_, up_to) = std::mem::take(&mut self.sweep);
        self.bans.sweep(up_to);
        true
    }

    /// Says what that has cost.
    fn sweep_one(&mut self, place: EntryHandle, left: &mut Vec<StoredVariants>) -> usize {
        let bans = self.index.checked(place).map_or(0, |since| self.bans.newer(since).len());
        if bans == 0 {
            return LOOK_COST;
        }
        let tags = self.index.value(place).map_or(0, |shelf| tags_of(shelf).count());
        self.check(place, left);
        LOOK_COST + bans * (1 + tags)
    }

    /// Before anything goes to make room, a part of the sweep: what is banned goes first.
    fn sweep_for_room(&mut self, bytes_max: u64, left: &mut Vec<StoredVariants>) {
        if self.index.bytes() > bytes_max && self.bans.swept() != self.bans.epoch() {
            self.sweep(SWEEP_COST_MAX, left);
        }
    }

    /// Stores a response. `false`: it does not fit. What had to go is added to `left`, to be dropped without the lock.
    pub(crate) fn put(&mut self, key: &Key, entry: Entry, left: &mut Vec<StoredVariants>) -> bool {
        let shelf = self.peek(key, left).cloned().unwrap_or_default().with(entry, VARIANTS_MAX);
        self.set(key, shelf, left)
    }

    /// Stores a shelf in place of the key's present one, which it was made of.
    pub(crate) fn set(&mut self, key: &Key, mut shelf: StoredVariants, left: &mut Vec<StoredVariants>) -> bool {
        if tags::admit(tags_of(&shelf), TAGS).is_err() {
            self.remove(key, left);
            return false;
        }
        let of_siblings = if key.has_choice() { Siblings::<Key>::KEY_BYTES } else { 0 };
        loop {
            let bytes = shelf.bytes() + allocated(KEY_COUNTS_BYTES + key.bytes().len()) + of_siblings;
            self.sweep_for_room(self.index.bytes_max().saturating_sub(bytes), left);
            match self.index.insert(key.clone(), shelf, bytes, self.bans.epoch()) {
                Ok(Displaced { replaced, evicted }) => {
                    left.extend(replaced);
                    if key.has_choice() {
                        self.siblings.insert(key.uri(), key);
                    }
                    self.let_go(evicted, left);
                    return true;
                }
                Err(EntryTooLarge { value, .. }) if value.variants().len() > 1 => {
                    // Too many variants for this shard: the oldest half goes.
                    let half = value.variants().len() / 2;
                    let newest = value.variants().iter().take(half).cloned();
                    shelf = newest.fold(StoredVariants::default(), |shelf, entry| shelf.with(entry, half));
                    left.push(value);
                }
                Err(EntryTooLarge { value, .. }) => {
                    left.push(value);
                    self.remove(key, left);
                    return false;
                }
            }
        }
    }

    /// The other keys of a URI.
    #[must_use]
    pub(crate) fn keys_of_uri(&self, uri: &Key) -> Vec<Key> {
        self.siblings.of(uri.uri()).cloned().collect()
    }

    /// Takes out all that is stored for a key. Says how many responses that were.
    pub(crate) fn remove(&mut self, key: &Key, left: &mut Vec<StoredVariants>) -> usize {
        let Some(place) = self.current(self.index.find(key), left) else { return 0 };
        self.take(place, left)
    }

    fn take(&mut self, place: EntryHandle, left: &mut Vec<StoredVariants>) -> usize {
        let Some(RemovedEntry { key, value: shelf, .. }) = self.index.take(place) else { return 0 };
        if key.has_choice() {
            self.siblings.remove(key.uri(), &key);
        }
        let count = shelf.variants().len();
        left.push(shelf);
        count
    }

    /// Takes these out, or makes them stale. Says how many responses that were.
    pub(crate) fn purge(&mut self, keys: &[Key], purge: Purge, left: &mut Vec<StoredVariants>) -> usize {
        let each = keys.iter().map(|key| match purge {
            Purge::Hard => self.remove(key, left),
            Purge::Soft(now) => self.soften(key, now, left),
        });
        each.sum()
    }

    fn soften(&mut self, key: &Key, now: Now, left: &mut Vec<StoredVariants>) -> usize {
        let Some(place) = self.current(self.index.find(key), left) else { return 0 };
        let outdated = self.index.value(place).map(|shelf| shelf.map(|entry| Some(entry.outdated(now))));
        let Some(outdated) = outdated else { return 0 };
        let count = outdated.variants().len();
        left.extend(self.index.replace(place, outdated));
        count
    }

    /// What had to go to make room. What a ban was about is counted for it, though nobody has come to look.
    fn let_go(&mut self, evicted: Vec<RemovedEntry<Key, StoredVariants>>, left: &mut Vec<StoredVariants>) {
        for RemovedEntry { key, value: shelf, checked } in evicted {
            if checked != self.bans.epoch() {
                judge(&self.bans, checked, &key, &shelf);
            }
            if key.has_choice() {
                self.siblings.remove(key.uri(), &key);
            }
            left.push(shelf);
        }
    }

    /// Who is to be told what, after an event of a flight. `entry` is what is read, `fault` why there is nothing.
    pub(crate) fn news(
        &mut self,
        actions: Vec<Action>,
        entry: Option<&Entry>,
        fault: Option<&ProxyError>,
    ) -> FetchNotices {
        let mut news = FetchNotices::new();
        for action in actions {
            match action {
                Action::Read(ids) => self.each(ids, &mut news, || match entry {
                    Some(entry) => FetchNotice::Read(entry.clone()),
                    None => FetchNotice::Alone,
                }),
                Action::Release(ids) => self.each(ids, &mut news, || FetchNotice::Alone),
                Action::Promote(id) => self.each(vec![id], &mut news, || FetchNotice::Lead),
                Action::Fail(ids) => {
                    self.each(ids, &mut news, || {
                        FetchNotice::Failed(fault.cloned().unwrap_or(ProxyError::WaitedInVain))
                    });
                }
            }
        }
        news
    }

    /// Whether nothing is fetched, nobody waits, and no room is taken for what is to come.
    #[cfg(test)]
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_quiet = self.waiting.is_empty() && self.reading.is_empty() && self.flights.is_empty();
        is_quiet && self.fetching.is_empty() && self.reserved == 0
    }

    fn each(&mut self, ids: Vec<Id>, news: &mut FetchNotices, told: impl Fn() -> FetchNotice) {
        news.extend(ids.into_iter().filter_map(|id| self.waiting.remove(&id)).map(|waiting| (waiting, told())));
    }
}

/// Holds what is stored against the bans since then, and counts it for those that are about it.
fn judge(bans: &Bans<TouchedCount>, since: Epoch, key: &Key, shelf: &StoredVariants) -> BanVerdict {
    let has_tag = |tag: &str| tags_of(shelf).any(|own| *own == *tag);
    let responses = shelf.variants().len() as u64;
    bans.judge(since, &Subject::new(key, has_tag), |touched| {
        touched.fetch_add(responses, Ordering::Relaxed);
    })
}

/// The tags of all variants.
fn tags_of(shelf: &StoredVariants) -> impl Iterator<Item = &str> {
    shelf.variants().iter().flat_map(|entry| entry.head.tags()).map(AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::StatusCode;
    use policy::cache::bans::{Prefix, Scope};
    use policy::cache::facts::ResponseFacts;
    use policy::cache::key::{KeyRules, Scheme, Space, Target};
    use policy::cache::stored::Stored;

    use super::super::entry::StoredContent;
    use super::super::head::StoredHead;
    use super::*;

    fn key(path: &str) -> Key {
        let target = Target::of_normal(Scheme::Http, "shop.test", None, path, None);
        Key::of_uri(Space { name: b"shop", rules: &KeyRules::default() }, &target)
    }

    fn entry() -> Entry {
        let headers = message::Fields::new();
        let facts = ResponseFacts::of(StatusCode::OK, &headers, Now::default());
        let head = StoredHead::new(headers, Stored::new(&facts, None, Duration::ZERO, Now::default()));
        Entry { head: Arc::new(head), content: StoredContent::One(Bytes::from_static(b"abc")) }
    }

    fn shard(bytes_max: u64) -> Shard {
        let limits = policy::cache::coalescing::CoalescingLimits {
            flights_max: 1,
            followers_max: 1,
            attempts_max: 1,
            another_after: Duration::MAX,
            remembered_max: 1,
            remember_for: Duration::MAX,
        };
        Shard::new(bytes_max, Spread::default(), limits)
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

    #[test]
    fn what_is_banned_goes_before_what_was_used_least() {
        let entries = 10;
        let (keep, ban): (Vec<Key>, Vec<Key>) =
            (0..entries).map(|number| (key(&format!("/keep/{number}")), key(&format!("/ban/{number}")))).unzip();
        let mut roomy = shard(u64::MAX / 2);
        roomy.put(&keep[0], entry(), &mut Vec::new());
        let mut shard = shard(roomy.bytes() * 2 * entries);
        let mut left = Vec::new();
        // The banned ones are those used last.
        for key in keep.iter().chain(&ban) {
            assert!(shard.put(key, entry(), &mut left));
        }
        let full = shard.bytes();
        let prefix = Prefix { scheme: None, authority: None, path: "/ban/".into() };
        let epoch = shard.epoch().next();
        let note = TouchedCount::default();
        shard.ban(Arc::new(Ban { epoch, scope: Scope::Prefix(prefix), purge: Purge::Hard, note: Arc::clone(&note) }));
        assert_eq!(shard.bytes(), full, "what is not swept counts");
        for number in 0..entries {
            assert!(shard.put(&key(&format!("/new/{number}")), entry(), &mut left));
        }
        assert!(keep.iter().all(|key| shard.peek(key, &mut Vec::new()).is_some()));
        assert_eq!(note.load(Ordering::Relaxed), entries);
    }

    #[test]
    fn a_part_of_a_sweep_looks_at_about_a_hundred_entries() {
        let mut shard = shard(u64::MAX / 2);
        for number in 0..2000 {
            shard.put(&key(&format!("/{number}")), entry(), &mut Vec::new());
        }
        for _ in 0..2 {
            let epoch = shard.epoch().next();
            shard.ban(Arc::new(Ban { epoch, scope: Scope::All, purge: Purge::Hard, note: TouchedCount::default() }));
            let mut parts = 1;
            let mut left = Vec::new();
            while !shard.sweep(SWEEP_COST_MAX, &mut left) {
                assert!(left.len() <= 128, "{}", left.len());
                left.clear();
                parts += 1;
            }
            assert!(parts < 40, "{parts}");
            assert_eq!((shard.swept(), shard.keys(), shard.bytes()), (epoch, 0, 0));
        }
    }
}
