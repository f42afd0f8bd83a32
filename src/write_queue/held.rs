//! A pending write or dead letter, as the queue, the journal and recovery refer to it.

use std::sync::Arc;

use policy::write::fingerprint;
use policy::write::record::Payload;
use policy::write::segment_table::Position;

use super::queued::{Queued, cost};

/// Identifies a URI queue: a fingerprint of the part of the cache key that comes from the URI.
pub(crate) type UriId = [u8; fingerprint::BYTES];

/// A pending write or dead letter, and the position of its record.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The write, if it is pending; the content of a dead letter is only on disk.
    pub write: Option<Arc<Queued>>,
    /// The position of its record.
    pub(super) place: Position,
}

/// A write that a compacted segment keeps.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) seq: u64,
    /// `None`: only on disk.
    pub(super) write: Option<Arc<Queued>>,
    pub(super) place: Position,
    /// The record that makes it a dead letter.
    pub(super) death: Option<Payload>,
}

/// The bytes that a write counts as while it is pending.
pub(super) fn cost_of(queued: &Queued) -> u32 {
    u32::try_from(cost(queued.packed().bytes().len())).unwrap_or(u32::MAX)
}
