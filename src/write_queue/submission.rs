//! A write on its way to the journal's thread, which its client can take back until the thread begins with it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::queued::Queued;
use super::reservation::Reservation;

/// A write, and the room for it.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) queued: Arc<Queued>,
    pub(super) room: Reservation,
}

#[derive(Debug)]
enum Stage {
    Waiting(Submitted),
    Numbered(u64),
    Withdrawn,
}

/// A write that its client and the journal's thread share.
#[derive(Debug)]
pub(super) struct Submission(Mutex<Stage>);

impl Submission {
    pub(super) fn new(submitted: Submitted) -> Self {
        Self(Mutex::new(Stage::Waiting(submitted)))
    }

    /// The thread begins with it, under this number; `None`: it is taken back.
    pub(super) fn number(&self, seq: u64) -> Option<Submitted> {
        let mut stage = self.0.lock();
        match std::mem::replace(&mut *stage, Stage::Numbered(seq)) {
            Stage::Waiting(submitted) => Some(submitted),
            other @ (Stage::Numbered(_) | Stage::Withdrawn) => {
                *stage = other;
                None
            }
        }
    }

    /// It is not wanted any more; its number, if the thread has begun with it.
    pub(super) fn withdraw(&self) -> Option<u64> {
        let before = std::mem::replace(&mut *self.0.lock(), Stage::Withdrawn);
        match before {
            Stage::Numbered(seq) => Some(seq),
            Stage::Waiting(_) | Stage::Withdrawn => None,
        }
    }
}
