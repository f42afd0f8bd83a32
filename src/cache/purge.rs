//! Invalidation on purpose: a URI at once, and bans of prefixes, tags or all, which hold at once and are swept later
//! (decision 0028).
//!
//! Each shard has the list of bans: what that decides is `policy::cache::bans`'s. [`start_sweeping`] is the task that
//! holds all that is stored against them, about a hundred entries at a time.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use policy::cache::bans::{Ban, Epoch, Scope};
use policy::cache::key::Key;
use tokio::sync::watch;

use super::memory::Store;
use super::shard::{SWEEP_COST_MAX, TouchedCount};

pub(crate) use policy::cache::bans::{Anywhere, Prefix, Purge};

/// How much of a sweep is done in a row, and how long the thread rests then: other threads need the processor and the
/// memory, too.
#[derive(Clone, Copy, Debug)]
struct Pace {
    parts: usize,
    rest: Duration,
}

/// With purges all the time it sweeps all the time: this is what that may cost, about a tenth of a core.
const AT_EASE: Pace = Pace { parts: 2, rest: Duration::from_millis(2) };
/// When a count is waited for.
const IN_HASTE: Pace = Pace { parts: 8, rest: Duration::from_millis(1) };
/// With so many bans to hold against, it does not rest.
const BANS_AT_EASE: usize = 1024;

/// A ban that has been made: it holds for every request that begins after this.
#[derive(Clone, Debug)]
pub struct Banned {
    epoch: Epoch,
    touched: TouchedCount,
}

impl Banned {
    /// Its number: later bans have higher ones.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.number()
    }
}

impl Store {
    /// Forgets all that is stored for a URI, given by its key without chosen fields. What is being fetched for it now
    /// is not stored.
    pub fn purge_uri(&self, uri: &Key, purge: Purge) -> usize {
        let mut left = Vec::new();
        let mut shard = self.shard(uri);
        shard.outdate(uri);
        let mut keys = shard.keys_of_uri(uri);
        keys.push(uri.clone());
        let purged = shard.purge(&keys, purge, &mut left);
        drop(shard);
        drop(left);
        purged
    }

    /// Invalidates all that is stored for URIs that begin so.
    pub fn purge_prefix(&self, prefix: Prefix, purge: Purge) -> Banned {
        self.ban(Scope::Prefix(prefix), purge)
    }

    /// Invalidates all that is stored for a path, whatever the host.
    pub fn purge_anywhere(&self, anywhere: Anywhere, purge: Purge) -> Banned {
        self.ban(Scope::Anywhere(anywhere), purge)
    }

    /// Invalidates all that carries one of these tags.
    pub fn purge_tags(&self, tags: Box<[Box<str>]>, purge: Purge) -> Banned {
        self.ban(Scope::Tags(tags), purge)
    }

    /// Invalidates everything.
    pub fn purge_all(&self, purge: Purge) -> Banned {
        self.ban(Scope::All, purge)
    }

    /// Costs the same however much is stored. When this returns, no request that begins later is answered with what the
    /// ban is about, on whichever worker: each look-up takes its shard's lock, as this has done since.
    fn ban(&self, scope: Scope, purge: Purge) -> Banned {
        let touched = TouchedCount::default();
        let mut newest = self.banned.lock();
        let epoch = newest.next();
        *newest = epoch;
        let ban = Arc::new(Ban { epoch, scope, purge, note: Arc::clone(&touched) });
        let merged = self.shards().filter(|shard| shard.lock().ban(Arc::clone(&ban))).count();
        drop(newest);
        if merged > 0 {
            self.bans_merged.fetch_add(1, Ordering::Relaxed);
        }
        self.to_sweep.send_replace(epoch);
        Banned { epoch, touched }
    }

    /// Waits until all that is stored has been held against a ban, and says how many responses it has touched. Can take
    /// as long as the sweep does: the caller sets a limit.
    pub async fn swept(&self, banned: &Banned) -> u64 {
        let mut swept = self.swept.subscribe();
        // It ends with the store, which is borrowed here.
        let _ended = swept.wait_for(|swept| *swept >= banned.epoch).await;
        banned.touched.load(Ordering::Relaxed)
    }

    /// How many bans are not swept yet, and how many have found the list full.
    #[must_use]
    pub fn bans(&self) -> (usize, u64) {
        let waiting = self.shards().map(|shard| shard.lock().bans_waiting()).max();
        (waiting.unwrap_or_default(), self.bans_merged.load(Ordering::Relaxed))
    }

    /// Goes on with the sweep of one shard. `true`: a round is over, or there is no such shard.
    fn sweep_part(&self, place: usize) -> bool {
        let mut left = Vec::new();
        let Some(shard) = self.shards().nth(place) else { return true };
        let mut shard = shard.lock();
        let is_over = shard.sweep(SWEEP_COST_MAX, &mut left);
        drop(shard);
        drop(left);
        is_over
    }

    /// For how long the sweep rests after so many parts; `None`: it goes on.
    fn rest(&self, parts: usize) -> Option<Duration> {
        let Pace { parts: in_a_row, rest } = if self.swept.receiver_count() > 0 { IN_HASTE } else { AT_EASE };
        let is_due = parts.is_multiple_of(in_a_row) && self.first.lock().bans_waiting() <= BANS_AT_EASE;
        is_due.then_some(rest)
    }

    /// Tells those who wait up to which ban all is swept. `true`: up to the newest.
    fn note_swept(&self) -> bool {
        let (mut swept, mut newest) = (None, Epoch::default());
        for shard in self.shards() {
            let shard = shard.lock();
            newest = newest.max(shard.epoch());
            swept = Some(swept.map_or(shard.swept(), |swept: Epoch| swept.min(shard.swept())));
        }
        let swept = swept.unwrap_or_default();
        self.swept.send_replace(swept);
        swept == newest
    }
}

/// Starts the sweep of a store, for as long as there is the store. To be called on a thread that serves no requests.
pub(crate) fn start_sweeping(store: &Arc<Store>) {
    tokio::task::spawn_local(keep_sweeping(Arc::downgrade(store), store.to_sweep.subscribe()));
}

async fn keep_sweeping(store: Weak<Store>, mut bans: watch::Receiver<Epoch>) {
    // An error says that there is no store any more.
    while bans.changed().await.is_ok() {
        while sweep(&store).await == Some(false) {}
    }
}

/// One round through all that is stored. `Some(true)`: nothing is left to do; `None`: there is no store any more.
async fn sweep(store: &Weak<Store>) -> Option<bool> {
    let mut parts = 0;
    for place in 0..store.upgrade()?.shards().count() {
        while !store.upgrade()?.sweep_part(place) {
            parts += 1;
            let rest = store.upgrade()?.rest(parts);
            match rest {
                Some(rest) => tokio::time::sleep(rest).await,
                None => tokio::task::yield_now().await,
            }
        }
    }
    Some(store.upgrade()?.note_swept())
}

#[cfg(test)]
mod tests;
