//! A write submitted to the journal's thread, which its client can withdraw until the thread begins with it.

use std::sync::Arc;

use parking_lot::Mutex;

use super::queued::Queued;
use super::reservation::Reservation;

/// A write and its reservation.
#[derive(Debug)]
pub(super) struct Submitted {
    pub(super) queued: Arc<Queued>,
    pub(super) room: Reservation,
}

#[derive(Debug)]
enum SubmissionStage {
    Waiting(Submitted),
    Numbered(u64),
    Withdrawn,
}

/// A write shared by its client and the journal's thread.
#[derive(Debug)]
pub(super) struct Submission(Mutex<SubmissionStage>);

impl Submission {
    pub(super) fn new(submitted: Submitted) -> Self {
        Self(Mutex::new(SubmissionStage::Waiting(submitted)))
    }

    /// Begins with the write under this number; `None`: it was withdrawn.
    pub(super) fn number(&self, seq: u64) -> Option<Submitted> {
        let mut stage = self.0.lock();
        match std::mem::replace(&mut *stage, SubmissionStage::Numbered(seq)) {
            SubmissionStage::Waiting(submitted) => Some(submitted),
            other @ (SubmissionStage::Numbered(_) | SubmissionStage::Withdrawn) => {
                *stage = other;
                None
            }
        }
    }

    /// Withdraws the write. Returns its number if the thread has begun with it.
    pub(super) fn withdraw(&self) -> Option<u64> {
        let before = std::mem::replace(&mut *self.0.lock(), SubmissionStage::Withdrawn);
        match before {
            SubmissionStage::Numbered(seq) => Some(seq),
            SubmissionStage::Waiting(_) | SubmissionStage::Withdrawn => None,
        }
    }
}
