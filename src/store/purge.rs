//! Forgetting on purpose: by URL, by prefix, by tag, or all; gone, or only stale. Every call says how many responses it
//! touched.

use std::collections::VecDeque;
use std::thread;

use policy::cache::key::{Key, Scheme};
use policy::time::Now;

use super::memory::Store;
use super::shard::Shard;

/// How many purges are remembered, for what is being fetched meanwhile.
const LATELY_MAX: usize = 256;

/// What becomes of what is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// It is gone.
    Hard,
    /// It is stale: served while it is fetched anew, where that is allowed.
    Soft(Now),
}

/// What a purge was about, other than one URI.
#[derive(Clone, Debug)]
pub enum Purged {
    /// Everything.
    All,
    /// What carries this tag.
    Tag(Box<str>),
    /// What is stored for URIs that begin so.
    Prefix(Prefix),
    /// What is stored for a path on whichever host.
    Anywhere(Anywhere),
}

/// The beginning of URIs.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// The scheme; `None`: either.
    pub scheme: Option<Scheme>,
    /// The host in normal form, and the port (`None`: the scheme's own); `None`: any host and port.
    pub authority: Option<(Box<str>, Option<u16>)>,
    /// The beginning of the path.
    pub path: Box<str>,
}

impl Prefix {
    fn is_of(&self, key: &Key) -> bool {
        key.parts().is_some_and(|parts| {
            let is_there = self.authority.as_ref().is_none_or(|(host, port)| {
                *parts.host == **host && parts.port == port.unwrap_or(parts.scheme.default_port())
            });
            is_there && self.scheme.is_none_or(|scheme| scheme == parts.scheme) && parts.path.starts_with(&*self.path)
        })
    }
}

/// A path and its query on whichever host.
#[derive(Clone, Debug)]
pub struct Anywhere {
    /// The path.
    pub path: Box<str>,
    /// Where.
    pub spaces: Vec<InSpace>,
}

/// A space that is meant: its name, and the query as its rules leave it.
pub type InSpace = (Box<[u8]>, Option<Box<str>>);

impl Anywhere {
    fn is_of(&self, key: &Key) -> bool {
        key.parts().filter(|parts| *parts.path == *self.path).is_some_and(|parts| {
            self.spaces.iter().any(|(space, query)| **space == *parts.space && query.as_deref() == parts.query)
        })
    }
}

impl Purged {
    /// Whether it is about a response with this key and these tags.
    #[must_use]
    pub fn is_about(&self, key: &Key, tags: &[Box<str>]) -> bool {
        match self {
            Self::All => true,
            Self::Tag(tag) => tags.contains(tag),
            Self::Prefix(prefix) => prefix.is_of(key),
            Self::Anywhere(anywhere) => anywhere.is_of(key),
        }
    }
}

/// The purges of late: what was fetched meanwhile is held against them before it is stored.
#[derive(Debug, Default)]
pub struct Lately {
    count: u64,
    purged: VecDeque<Purged>,
}

impl Lately {
    /// How many purges there have been, ever.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// There was another.
    pub fn note(&mut self, purged: Purged) {
        self.count += 1;
        self.purged.push_back(purged);
        if self.purged.len() > LATELY_MAX {
            self.purged.pop_front();
        }
    }

    /// Whether one since then was about this response; also when so many have been that nobody can tell.
    #[must_use]
    pub fn concern(&self, since: u64, key: &Key, tags: &[Box<str>]) -> bool {
        let new = usize::try_from(self.count - since).unwrap_or(usize::MAX);
        new > self.purged.len() || self.purged.iter().rev().take(new).any(|purged| purged.is_about(key, tags))
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

    /// Forgets all that is stored for URIs that begin so.
    ///
    /// Looks at every key: for people, not for programs that do it often.
    pub fn purge_prefix(&self, prefix: Prefix, purge: Purge) -> usize {
        self.purge_keys(&Purged::Prefix(prefix), purge)
    }

    /// Forgets all that is stored for a path, whatever the host.
    ///
    /// Looks at every key, as no host says where they are.
    pub fn purge_anywhere(&self, anywhere: Anywhere, purge: Purge) -> usize {
        self.purge_keys(&Purged::Anywhere(anywhere), purge)
    }

    /// Forgets what keys alone tell.
    fn purge_keys(&self, purged: &Purged, purge: Purge) -> usize {
        self.purge_each(purge, purged, |shard| {
            shard.index.keys().filter(|key| purged.is_about(key, &[])).cloned().collect()
        })
    }

    /// Forgets all that carries a tag.
    pub fn purge_tag(&self, tag: &str, purge: Purge) -> usize {
        self.purge_each(purge, &Purged::Tag(tag.into()), |shard| shard.tags.keys(tag).cloned().collect())
    }

    fn purge_each(&self, purge: Purge, purged: &Purged, keys: impl Fn(&Shard) -> Vec<Key>) -> usize {
        let mut count = 0;
        for shard in self.shards() {
            let mut left = Vec::new();
            let mut shard = shard.lock();
            // What is being fetched may turn out to be meant, too.
            shard.outdate_all(purged.clone());
            let keys = keys(&shard);
            count += shard.purge(&keys, purge, &mut left);
            drop(shard);
            drop(left);
        }
        count
    }

    /// Forgets everything: at once, however much there is. The memory is given back little by little. Counts keys.
    ///
    /// A soft purge has to look at every entry.
    pub fn purge_all(&self, purge: Purge) -> usize {
        if let Purge::Soft(_) = purge {
            return self.purge_each(purge, &Purged::All, |shard| shard.index.keys().cloned().collect());
        }
        let mut purged = 0;
        let mut tags = Vec::new();
        for shard in self.shards() {
            let mut shard = shard.lock();
            shard.outdate_all(Purged::All);
            purged += shard.index.purge_all();
            tags.push(shard.tags.take());
        }
        // To let go of a million tags takes a while: nobody should wait for that.
        let _without_thread = thread::Builder::new().name("purge".to_owned()).spawn(move || drop(tags));
        purged
    }
}
