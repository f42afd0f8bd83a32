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
    /// Requests waiting for what another's fetch brings now.
    pub following: Counter,
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
    /// Client connections that began with a PROXY header.
    pub proxy_headers: Counter,
    /// Client connections closed for lack of a usable PROXY header.
    pub proxy_refusals: Counter,
    /// TLS handshakes with clients that succeeded.
    pub tls_handshakes: Counter,
    /// Those of them by TLS 1.2.
    pub tls_1_2_handshakes: Counter,
    /// Those of them that resumed a session.
    pub tls_resumptions: Counter,
    /// TLS handshakes with clients that failed, took too long or were given up.
    pub tls_failures: Counter,
    /// Connections that could not be accepted.
    pub accept_failures: Counter,
    /// Answers, by class of status.
    pub responses: Classes,
    /// Requests on caching routes, by what the cache did for them.
    pub cache: CacheResults,
    /// Writes acknowledged once the journal had them.
    pub writes_accepted: Counter,
    /// Writes on write-back routes that went to the backend at once.
    pub writes_through: Counter,
    /// Writes refused because the journal could not take them.
    pub writes_refused: Counter,
    /// Queued writes that their backends have taken.
    pub writes_sent: Counter,
    /// Attempts to send a queued write that failed; those that found no backend are none.
    pub write_failures: Counter,
    /// Access log lines dropped because the log's reader was too slow.
    pub log_lines_dropped: Counter,
}

/// Answers, by class of status.
#[derive(Debug, Default)]
pub struct Classes {
    /// 101, or other 1xx that ended an exchange.
    pub informational: Counter,
    /// 2xx.
    pub successful: Counter,
    /// 3xx.
    pub redirection: Counter,
    /// 4xx.
    pub client_error: Counter,
    /// 5xx, and what has no class.
    pub server_error: Counter,
}

impl Classes {
    /// There is another answer.
    pub fn count(&self, status: http::StatusCode) {
        match status.as_u16() / 100 {
            1 => self.informational.up(),
            2 => self.successful.up(),
            3 => self.redirection.up(),
            4 => self.client_error.up(),
            _ => self.server_error.up(),
        }
    }

    /// All of them, by the class's usual name.
    #[must_use]
    pub fn all(&self) -> [(&'static str, u64); 5] {
        [
            ("1xx", self.informational.get()),
            ("2xx", self.successful.get()),
            ("3xx", self.redirection.get()),
            ("4xx", self.client_error.get()),
            ("5xx", self.server_error.get()),
        ]
    }
}

/// What a cache can do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// It answered, with what was fresh.
    Hit,
    /// It answered, with what was stale.
    Stale,
    /// It answered, after the backend had confirmed.
    Revalidated,
    /// It had nothing that would do.
    Miss,
    /// It was not asked.
    Bypass,
}

impl CacheResult {
    /// Its name in the access log and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// Requests on caching routes, by what the cache did for them.
#[derive(Debug, Default)]
pub struct CacheResults {
    hits: Counter,
    stale: Counter,
    revalidated: Counter,
    misses: Counter,
    bypassed: Counter,
}

impl CacheResults {
    /// Each result.
    pub const ALL: [CacheResult; 5] =
        [CacheResult::Hit, CacheResult::Stale, CacheResult::Revalidated, CacheResult::Miss, CacheResult::Bypass];

    /// How many requests it was so for.
    #[must_use]
    pub fn of(&self, result: CacheResult) -> &Counter {
        match result {
            CacheResult::Hit => &self.hits,
            CacheResult::Stale => &self.stale,
            CacheResult::Revalidated => &self.revalidated,
            CacheResult::Miss => &self.misses,
            CacheResult::Bypass => &self.bypassed,
        }
    }
}
