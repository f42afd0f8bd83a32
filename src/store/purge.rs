//! Forgetting on purpose: by URL, by prefix, by tag, or all; gone, or only stale. Every call says how many responses it
//! touched.

use std::thread;

use policy::cache::key::Key;
use policy::time::Now;

use super::memory::Store;
use super::shard::Shard;

/// What becomes of what is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// It is gone.
    Hard,
    /// It is stale: served while it is fetched anew, where that is allowed.
    Soft(Now),
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

    /// Forgets all that is stored for this host and port (`None`: the scheme's own) whose path begins so.
    ///
    /// Looks at every key: for people, not for programs that do it often.
    pub fn purge_prefix(&self, host: &str, port: Option<u16>, path: &str, purge: Purge) -> usize {
        let is_meant = |key: &Key| {
            key.parts().is_some_and(|parts| {
                let is_port = parts.port == port.unwrap_or(parts.scheme.default_port());
                is_port && parts.host == host && parts.path.starts_with(path)
            })
        };
        self.purge_each(purge, |shard| shard.index.keys().filter(|key| is_meant(key)).cloned().collect())
    }

    /// Forgets all that carries a tag.
    pub fn purge_tag(&self, tag: &str, purge: Purge) -> usize {
        self.purge_each(purge, |shard| shard.tags.keys(tag).cloned().collect())
    }

    fn purge_each(&self, purge: Purge, keys: impl Fn(&Shard) -> Vec<Key>) -> usize {
        let mut purged = 0;
        for shard in self.shards() {
            let mut left = Vec::new();
            let mut shard = shard.lock();
            // What is being fetched may turn out to be meant, too.
            shard.outdate_all();
            let keys = keys(&shard);
            purged += shard.purge(&keys, purge, &mut left);
            drop(shard);
            drop(left);
        }
        purged
    }

    /// Forgets everything: at once, however much there is. The memory is given back little by little. Counts keys.
    ///
    /// A soft purge has to look at every entry.
    pub fn purge_all(&self, purge: Purge) -> usize {
        if let Purge::Soft(_) = purge {
            return self.purge_each(purge, |shard| shard.index.keys().cloned().collect());
        }
        let mut purged = 0;
        let mut tags = Vec::new();
        for shard in self.shards() {
            let mut shard = shard.lock();
            shard.outdate_all();
            purged += shard.index.purge_all();
            tags.push(shard.tags.take());
        }
        // To let go of a million tags takes a while: nobody should wait for that.
        let _without_thread = thread::Builder::new().name("purge".to_owned()).spawn(move || drop(tags));
        purged
    }
}
