//! Writes on their way to a backend, as the store has to know of them: which URIs they mark, and what of one is stored.
//!
//! The rule is `policy::cache::overlap`'s; here is the lock that makes the end of a write and the storing one step. It
//! is taken before a shard's, never after.

use std::sync::Arc;
use std::time::Duration;

use policy::cache::key::Key;
use policy::cache::overlap::{Ended, Writer};

use super::coalesce::Lead;
use super::entry::{Entry, StoredVariants};
use super::memory::Store;
use super::purge::Purge;
use crate::telemetry::clock;

impl Store {
    /// A write of this URI is about to go out at `now` (monotonic time). To be followed by one [`Store::write_ended`],
    /// whatever becomes of it.
    pub fn write_begins(&self, uri: &Arc<str>, writer: Writer, now: Duration) {
        self.writes.lock().begins(uri, writer, now);
    }

    /// A write of this URI has ended now. `then` learns whether it was alone, and changes what is stored: no other
    /// write of any URI begins or ends meanwhile, so it must not wait.
    pub fn write_ended<R>(&self, uri: &Arc<str>, writer: Writer, ended: Ended, then: impl FnOnce(bool) -> R) -> R {
        let mut writes = self.writes.lock();
        let is_alone = writes.ended(uri, writer, ended, clock::mono());
        then(is_alone)
    }

    /// What is being fetched now for a URI, given by its key without chosen fields, is not to be stored.
    pub fn outdate_uri(&self, uri: &Key) {
        self.shard(uri).outdate(uri);
    }
}

impl Lead {
    /// Stores a response in place of all that is kept for its URI, in the room that was reserved for it; what was there
    /// goes in any case. `false`: it is not stored, as the URI was invalidated since this began, or for want of room.
    #[must_use]
    pub fn replace(&self, uri: &Key, entry: Entry, reserved: u64) -> bool {
        let mut left: Vec<StoredVariants> = Vec::new();
        let mut shard = self.store().shard(uri);
        shard.release(reserved);
        let is_current = self.is_current(&shard, &entry);
        shard.outdate(uri);
        let mut keys = shard.keys_of_uri(uri);
        keys.push(uri.clone());
        shard.purge(&keys, Purge::Hard, &mut left);
        let is_stored = is_current && shard.put(self.key(), entry, &mut left);
        drop(shard);
        drop(left);
        is_stored
    }
}
