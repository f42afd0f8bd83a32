//! The load of a running proxy, for tests and for the event log.

/// The current load of a running proxy, all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Open client connections.
    pub connections: usize,
    /// Requests in flight.
    pub in_flight: usize,
    /// Open connections to backends, idle ones included.
    pub backend_connections: usize,
    /// Requests that wait in an upstream's queue.
    pub queued: usize,
    /// Requests that wait for another request's coalesced fetch.
    pub following: usize,
    /// Acknowledged writes in the journal that no backend has accepted yet.
    pub pending_writes: usize,
}
