//! What the plan says of caching: `[cache]`, `[route.cache]` and `[route.cache.write_back]`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use http::{HeaderName, Method};
use policy::cache::freshness::TtlRules;
use policy::cache::key;
use policy::cache::lookup::StaleRules;
use policy::cache::storable::Exceptions;
use policy::message::network::Network;

/// `[cache]`: what all caching routes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The most memory for all that is stored, in bytes: keys, headers, bodies, index and what is being fetched.
    pub memory_max: u64,
    /// The longest body that is stored, in bytes.
    pub object_bytes_max: u64,
    /// Who may send `PURGE`: addresses of the peers themselves.
    pub purge_from: Vec<Network>,
    /// How long a request waits for another's answer to the same question before it asks too.
    pub wait_max: Duration,
    /// How many requests may wait for one answer.
    pub waiting_max: usize,
    /// How long it is remembered that answers to a question are not for sharing.
    pub pass_for: Duration,
    /// How far a fetch may run ahead of the fastest client that reads along, in bytes.
    pub lead_bytes_max: u64,
}

impl Default for Cache {
    /// What holds without a `[cache]` table.
    fn default() -> Self {
        Self {
            memory_max: 256 << 20,
            object_bytes_max: 8 << 20,
            purge_from: Vec::new(),
            wait_max: Duration::from_secs(30),
            waiting_max: 65_536,
            pass_for: Duration::from_secs(120),
            lead_bytes_max: 1 << 20,
        }
    }
}

/// `[route.cache]`: how a route caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteCache {
    /// What becomes of writes.
    pub mode: CacheMode,
    /// How long what is stored stays fresh.
    pub ttl: TtlRules,
    /// When it may be served stale.
    pub stale: StaleRules,
    /// What is stored although it should not be.
    pub exceptions: Exceptions,
    /// What makes two requests one.
    pub key: key::Rules,
    /// The response fields that hold tags.
    pub tags_headers: Vec<HeaderName>,
}

/// `mode`: what becomes of a caching route's writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// `cache-aside`: they are forwarded, and what they touch is forgotten.
    Aside,
    /// `write-through`: they are forwarded, and what the backend has taken is stored.
    Through,
    /// `write-back`: they are kept in the journal and acknowledged; the backend sees them later.
    Back(WriteBack),
}

/// `[route.cache.write_back]`: how writes are kept, and how they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteBack {
    /// The longest that a write waits before it is first sent.
    pub flush_interval: Duration,
    /// The most bytes of writes that wait; beyond, writes go through.
    pub pending_bytes_max: u64,
    /// The longest body that is kept, in bytes; writes with longer ones go through.
    pub body_bytes_max: u64,
    /// How safe a write is when it is acknowledged.
    pub durability: Durability,
    /// How long a client waits for that at most.
    pub ack_timeout: Duration,
    /// Sending again.
    pub retry: WriteRetry,
    /// Methods other than PUT and DELETE that are kept too: POST, PATCH.
    pub queue: Vec<Method>,
    /// Request fields that are kept with a write beside those that always are.
    pub keep_headers: Vec<HeaderName>,
    /// What is done when the journal can't be written.
    pub on_disk_error: OnDiskError,
    /// How many writes are sent at once, of different keys.
    pub concurrency: NonZeroUsize,
    /// The most writes sent in a second; `None`: no limit.
    pub rate_max: Option<NonZeroU32>,
    /// How long one attempt may take, until the backend's answer is in.
    pub timeout: Duration,
}

/// How safe a write is when it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// `fsync`: on the disk. It survives a power cut.
    Fsync,
    /// `batch-5ms`: handed to the system, and on the disk within 5 ms. It survives the process.
    Batch,
    /// `os`: handed to the system, and on the disk when the system likes. It survives the process.
    Os,
}

/// `retry`: sending a write again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteRetry {
    /// The longest wait after the first failure; doubles with each that follows.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Attempts in all; after the last the write is a dead letter. At least one.
    pub attempts: u32,
}

/// What is done with a write when the journal can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDiskError {
    /// It is refused with 503.
    Refuse,
    /// It goes through to the backend.
    Through,
}
