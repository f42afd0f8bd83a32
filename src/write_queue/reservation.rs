//! Room that is set aside for a write before it is queued.

use std::fmt::Debug;
use std::sync::Arc;

use policy::write::queue::Lane;

/// Who has the room.
pub(super) trait Lender: Debug + Send + Sync {
    /// Sets so much aside. `false`: there is no room.
    fn set_aside(&self, lane: Lane, bytes: u64) -> bool;

    /// What was set aside is so no more.
    fn give_back(&self, lane: Lane, bytes: u64);
}

/// Room that is set aside for a write; dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Reservation {
    lender: Arc<dyn Lender>,
    lane: Lane,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(lender: Arc<dyn Lender>, lane: Lane, bytes: u64) -> Self {
        Self { lender, lane, bytes }
    }

    /// Sets so much more aside. `false`: there is no room.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let has_room = self.lender.set_aside(self.lane, bytes);
        self.bytes = self.bytes.saturating_add(if has_room { bytes } else { 0 });
        has_room
    }

    /// Gives so much of it back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let spare = bytes.min(self.bytes);
        if spare > 0 {
            self.lender.give_back(self.lane, spare);
            self.bytes -= spare;
        }
    }

    /// What is set aside, for the caller to give back.
    pub(super) fn spend(mut self) -> (Lane, u64) {
        (self.lane, std::mem::take(&mut self.bytes))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.lender.give_back(self.lane, self.bytes);
        }
    }
}
