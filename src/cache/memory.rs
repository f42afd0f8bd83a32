//! What all workers share of the cache: the shards, and what is asked of all of them.

use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use message::Fields;
use parking_lot::{Mutex, MutexGuard};
use policy::cache::bans::Epoch;
use policy::cache::coalescing::{CoalescingLimits, Id};
use policy::cache::key::{Key, LookupKey};
use policy::cache::overlap::Overlap;
use policy::time::Now;
use tokio::sync::watch;

use super::entry::{Entry, StoredVariants};

use super::index::Spread;
use super::shard::{Shard, tell};
use crate::config::plan;

/// The most shards: more would only make each smaller.
const SHARDS_MAX: u64 = 16;
/// A shard holds at least so many of the largest objects.
const LARGEST_PER_SHARD: u64 = 4;
/// How many keys may be fetched at a time in one shard, each for many.
const FLIGHTS_MAX: usize = 65_536;
/// How many keys are remembered in one shard as not worth waiting for.
const REMEMBERED_MAX: usize = 4096;
/// How many leaders of one fetch may fail before all who wait do.
const ATTEMPTS_MAX: u32 = 2;

/// The store: all that is kept, behind one lock a shard. No lock is held for longer than a look-up or a change takes.
#[derive(Debug)]
pub struct Store {
    pub(super) first: Mutex<Shard>,
    others: Box<[Mutex<Shard>]>,
    /// Spreads the keys over the shards, and those of a shard over its index.
    spread: Spread,
    ids: AtomicU64,
    /// By target in absolute form: whichever route a write takes.
    pub(super) writes: Mutex<Overlap<Arc<str>>>,
    /// The newest ban. Locked while it goes to all shards, so that each has them in the same order; before a shard's
    /// lock, never after.
    pub(super) banned: Mutex<Epoch>,
    /// Tells the sweep that there is a new ban.
    pub(super) to_sweep: watch::Sender<Epoch>,
    /// Up to which ban all shards are swept.
    pub(super) swept: watch::Sender<Epoch>,
    /// How many bans found the list full.
    pub(super) bans_merged: AtomicU64,
}

/// What a look-up has found.
#[derive(Debug)]
pub struct FoundStored {
    /// What fits the request, and is whole.
    pub entry: Option<Entry>,
    /// The parts that fit it, if nothing whole does.
    pub parts: Vec<Entry>,
    /// Something is stored for the key, whether or not it fits.
    pub is_known: bool,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(plan: &plan::Cache) -> Self {
        let count = count(plan);
        let spread = Spread::default();
        let shard = || Mutex::new(Shard::new(plan.memory_max / count, spread.clone(), limits(plan)));
        Self {
            first: shard(),
            others: (1..count).map(|_| shard()).collect(),
            spread: spread.clone(),
            ids: AtomicU64::new(0),
            writes: Mutex::new(Overlap::new(plan.hit_for_miss)),
            banned: Mutex::default(),
            to_sweep: watch::Sender::default(),
            swept: watch::Sender::default(),
            bans_merged: AtomicU64::new(0),
        }
    }

    /// Whether it has the shards that this plan asks for: each must have room for the largest objects.
    #[must_use]
    pub fn fits(&self, plan: &plan::Cache) -> bool {
        self.count() == count(plan)
    }

    /// Takes up another plan that it [fits](Self::fits). What has no room any more goes, what was used least first.
    pub fn adopt(&self, plan: &plan::Cache) {
        self.writes.lock().set_unsure_for(plan.hit_for_miss);
        let bytes_max = plan.memory_max / self.count();
        for shard in self.shards() {
            let mut left = Vec::new();
            let mut shard = shard.lock();
            shard.resize(bytes_max, &mut left);
            shard.set_limits(limits(plan));
            drop(shard);
            drop(left);
        }
    }

    /// All shards.
    pub(super) fn shards(&self) -> impl Iterator<Item = &Mutex<Shard>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn count(&self) -> u64 {
        self.others.len() as u64 + 1
    }

    /// The shard of a key, locked; all keys of a URI are in one.
    pub(super) fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        self.shard_of(self.spread.hash_one(key.uri()))
    }

    /// The shard of a URI with this hash, locked. It goes by bits from the middle of the hash: the shard's index goes by
    /// those at the ends.
    fn shard_of(&self, hash: u64) -> MutexGuard<'_, Shard> {
        let place = place(hash, self.count());
        place.and_then(|place| self.others.get(place)).unwrap_or(&self.first).lock()
    }

    /// Looks up what is stored for a key that holds nothing but its URI, if it is the same for every request and whole;
    /// it counts as used.
    #[must_use]
    pub fn find_plain(&self, key: LookupKey<'_>) -> Option<Entry> {
        let mut left = Vec::new();
        // All of such a key is the URI's, so that its hash leads to the shard, too.
        let hash = self.spread.hash_one(key);
        let mut shard = self.shard_of(hash);
        let found = shard.find_hashed(hash, key, &mut left).and_then(StoredVariants::for_everybody).cloned();
        drop(shard);
        drop(left);
        found
    }

    /// Looks up what is stored for a request; it counts as used.
    #[must_use]
    pub fn find(&self, key: &Key, request: &Fields) -> FoundStored {
        // Dropped after the lock.
        let mut left = Vec::new();
        let mut shard = self.shard(key);
        let shelf = shard.find(key, &mut left);
        let Some(shelf) = shelf else { return FoundStored { entry: None, parts: Vec::new(), is_known: false } };
        let entry = shelf.find(request).cloned();
        let parts = if entry.is_none() { shelf.parts(request).cloned().collect() } else { Vec::new() };
        FoundStored { entry, parts, is_known: true }
    }

    /// All that is stored for a key, the newest first.
    #[must_use]
    pub fn variants(&self, key: &Key) -> Vec<Entry> {
        // Dropped after the lock.
        let mut left = Vec::new();
        self.shard(key).peek(key, &mut left).map(|shelf| shelf.variants().to_vec()).unwrap_or_default()
    }

    /// How long a response was lately that was too long to be stored, in bytes.
    #[must_use]
    pub fn known_length(&self, key: &Key, now: Now) -> Option<u64> {
        self.shard(key).lengths.get(key, now.mono)
    }

    /// Changes what is stored for a key: each response as `change` says, `None` takes it out.
    pub fn change(&self, key: &Key, change: impl Fn(&Entry) -> Option<Entry>) {
        let mut left: Vec<StoredVariants> = Vec::new();
        let mut shard = self.shard(key);
        if let Some(shelf) = shard.peek(key, &mut left) {
            let changed = shelf.map(change);
            if changed.variants().is_empty() {
                shard.remove(key, &mut left);
            } else {
                shard.set(key, changed, &mut left);
            }
        }
        drop(shard);
        drop(left);
    }

    /// A number that no other request has.
    pub(super) fn next_id(&self) -> Id {
        Id(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Lets those fetch too who have waited for long enough. To be called a few times a second.
    pub fn tick(&self, now: Now) {
        for shard in self.shards() {
            let mut shard = shard.lock();
            shard.lengths.expire(now.mono);
            let actions = if shard.flights.next_due().is_some_and(|due| due <= now.mono) {
                shard.flights.tick(now)
            } else {
                Vec::new()
            };
            let news = shard.news(actions, None, None);
            drop(shard);
            tell(news);
        }
    }

    /// What all that is stored and fetched takes, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shards().map(|shard| shard.lock().bytes()).sum()
    }

    /// How many keys are stored, banned ones that have not been swept yet among them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards().map(|shard| shard.lock().keys()).sum()
    }

    /// Whether nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which of so many shards a URI with this hash is in.
fn place(hash: u64, count: u64) -> Option<usize> {
    let middle = (hash >> 16) & u64::from(u32::MAX);
    usize::try_from((middle * count) >> 32).ok()
}

fn count(plan: &plan::Cache) -> u64 {
    (plan.memory_max / LARGEST_PER_SHARD.saturating_mul(plan.object_bytes_max).max(1)).clamp(1, SHARDS_MAX)
}

fn limits(plan: &plan::Cache) -> CoalescingLimits {
    CoalescingLimits {
        flights_max: FLIGHTS_MAX,
        followers_max: plan.coalesce_waiting_max,
        attempts_max: ATTEMPTS_MAX,
        another_after: plan.coalesce_wait_max,
        remembered_max: REMEMBERED_MAX,
        remember_for: plan.hit_for_miss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shards_get_their_part_of_the_keys() {
        let spread = Spread::default();
        for count in [1, 3, 16] {
            let mut keys = vec![0_u64; usize::try_from(count).unwrap()];
            for number in 0..count * 1000 {
                let uri = format!("\0\0P\x0bexample.org/things/{number}");
                keys[place(spread.hash_one(uri.as_bytes()), count).unwrap()] += 1;
            }
            // Ten times what chance makes of it.
            assert!(keys.iter().all(|keys| keys.abs_diff(1000) < 320), "{keys:?}");
        }
    }
}
