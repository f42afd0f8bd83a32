//! What each worker has counted, readable from any thread.
//!
//! Every worker writes its own set and nobody else's, so an add touches no shared cache line; a reader sums them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one worker writes and anyone may read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn up(&self) {
        self.add(1);
    }

    /// Takes one away: for gauges.
    pub fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The present value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One worker's counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Client connections open now.
    pub connections: Counter,
    /// Requests begun and not finished.
    pub exchanges: Counter,
    /// Connections to backends open now.
    pub backend_connections: Counter,
    /// Requests waiting for a backend now.
    pub queued: Counter,
    /// Requests finished.
    pub requests: Counter,
    /// Requests given up because the client left.
    pub abandoned: Counter,
    /// Requests that never became one: unreadable, or too slow to be read (answered 400, 408, 414, 431 or 505).
    pub unreadable: Counter,
    /// Requests sent again to another backend.
    pub retries: Counter,
    /// Header fields dropped because they read like a known name with `_` for `-`.
    pub underscore_fields: Counter,
    /// Trailer fields dropped (RFC 9110 §6.5.1).
    pub trailer_fields: Counter,
    /// Connections that could not be accepted.
    pub accept_failures: Counter,
    /// Access log lines dropped because the log's reader was too slow.
    pub log_lines_dropped: Counter,
}
