//! A write that is pending or dead, as the queue, the journal and its reading at start know it.

use std::sync::Arc;

use policy::write::fingerprint;
use policy::write::record::Payload;
use policy::write::segment_table::Position;

use super::queued::{Queued, cost};

/// What the order of writes is kept by: a fingerprint of the part of a key that the URI makes.
pub(crate) type UriId = [u8; fingerprint::BYTES];

/// A write that is pending or dead, and where its record is.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The write, while it is pending; a dead letter is on the disk only.
    pub write: Option<Arc<Queued>>,
    /// Where its record is.
    pub(super) place: Position,
}

/// What a segment that is made small holds of a write.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) seq: u64,
    /// `None`: on the disk only.
    pub(super) write: Option<Arc<Queued>>,
    pub(super) place: Position,
    /// The note of its death.
    pub(super) death: Option<Payload>,
}

/// What a write takes while it is pending.
pub(super) fn cost_of(queued: &Queued) -> u32 {
    u32::try_from(cost(queued.packed().bytes().len())).unwrap_or(u32::MAX)
}
