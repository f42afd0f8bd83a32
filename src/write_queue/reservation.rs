//! A reservation of room for a write before it is queued.

use std::fmt::Debug;
use std::sync::Arc;

use policy::write::queue::Lane;

/// Grants reservations.
pub(super) trait Budget: Debug + Send + Sync {
    /// Reserves bytes. `false`: there is no room.
    fn reserve_bytes(&self, lane: Lane, bytes: u64) -> bool;

    /// Releases reserved bytes.
    fn release_bytes(&self, lane: Lane, bytes: u64);
}

/// Reserved room for a write; released when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<dyn Budget>,
    lane: Lane,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(budget: Arc<dyn Budget>, lane: Lane, bytes: u64) -> Self {
        Self { budget, lane, bytes }
    }

    /// Reserves more bytes. `false`: there is no room.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let has_room = self.budget.reserve_bytes(self.lane, bytes);
        self.bytes = self.bytes.saturating_add(if has_room { bytes } else { 0 });
        has_room
    }

    /// Releases part of the bytes.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let spare = bytes.min(self.bytes);
        if spare > 0 {
            self.budget.release_bytes(self.lane, spare);
            self.bytes -= spare;
        }
    }

    /// The reserved bytes, which the caller must release.
    pub(super) fn spend(mut self) -> (Lane, u64) {
        (self.lane, std::mem::take(&mut self.bytes))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release_bytes(self.lane, self.bytes);
        }
    }
}
