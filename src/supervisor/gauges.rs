//! What a running proxy is busy with.

/// What a running proxy is busy with now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Client connections open.
    pub connections: usize,
    /// Requests under way.
    pub in_flight: usize,
    /// Connections to backends open, unused ones too.
    pub backend_connections: usize,
    /// Requests that wait for a backend.
    pub queued: usize,
    /// Requests that wait for what another's fetch brings.
    pub following: usize,
    /// Acknowledged writes that have not been settled with their backend.
    pub pending_writes: usize,
}
