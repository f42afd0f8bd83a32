//! The way of a write from its client to the journal's thread: room is set aside for it, it is handed over, and it is
//! either acknowledged or taken back.
//!
//! Taken back it is when its client leaves or must not wait any longer. If the thread has not begun with it, it is gone
//! without a trace. Else a note goes into the journal behind it that says never to send it; if that does not reach the
//! disk before a crash, it is sent after all, like any write that was not answered. Which of the two it is, acknowledged
//! or taken back, is decided in one step: by who is first at the channel on which the client's side is told.

use std::sync::Arc;

use parking_lot::Mutex;
use policy::write::queue::Lane;
use policy::write::record::Payload;

use super::journal::{Failed, Told};
use super::queue::WriteQueue;
use super::queued::Queued;
use crate::config::plan::Durability;

/// Room that is set aside for a write; dropped, it is given back.
#[derive(Debug)]
pub struct Reservation {
    desk: Arc<WriteQueue>,
    lane: Lane,
    bytes: u64,
}

impl Reservation {
    pub(super) fn new(desk: Arc<WriteQueue>, lane: Lane, bytes: u64) -> Self {
        Self { desk, lane, bytes }
    }

    /// Sets so much more aside. `false`: there is no room.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let has_room = self.desk.set_aside(self.lane, bytes);
        self.bytes = self.bytes.saturating_add(if has_room { bytes } else { 0 });
        has_room
    }

    /// Gives so much of it back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let spare = bytes.min(self.bytes);
        if spare > 0 {
            self.desk.give_back(self.lane, spare);
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
            self.desk.give_back(self.lane, self.bytes);
        }
    }
}

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
    fn withdraw(&self) -> Option<u64> {
        let before = std::mem::replace(&mut *self.0.lock(), Stage::Withdrawn);
        match before {
            Stage::Numbered(seq) => Some(seq),
            Stage::Waiting(_) | Stage::Withdrawn => None,
        }
    }
}

/// Somebody who waits until a write is safe. Dropped before that, the write is taken back.
#[derive(Debug)]
pub(super) struct Waiting {
    desk: Arc<WriteQueue>,
    submission: Arc<Submission>,
    durability: Durability,
    told: Told,
    is_told: bool,
}

impl Waiting {
    /// Hands a write over.
    ///
    /// # Errors
    /// [`Failed::Behind`]: too many wait already.
    pub(super) fn submit(desk: &Arc<WriteQueue>, submitted: Submitted, durability: Durability) -> Result<Self, Failed> {
        let submission = Arc::new(Submission::new(submitted));
        let told = desk.journal().submit(Arc::clone(&submission), durability)?;
        Ok(Self { desk: Arc::clone(desk), submission, durability, told, is_told: false })
    }

    /// Waits until it is as safe as asked for, and reads see it. Its number.
    ///
    /// # Errors
    /// [`Failed`]: nothing is acknowledged; what has become of it is not known.
    pub(super) async fn told(&mut self) -> Result<u64, Failed> {
        let told = (&mut self.told).await.unwrap_or(Err(Failed::Closed));
        self.is_told = true;
        told
    }

    /// Takes the write back; `Some`: it was acknowledged, or refused, just before.
    pub(super) fn withdraw(&mut self) -> Option<Result<u64, Failed>> {
        self.is_told = true;
        self.told.close();
        if let Ok(told) = self.told.try_recv() {
            return Some(told);
        }
        if let Some(write) = self.submission.withdraw() {
            let _nobody_waits = self.desk.journal().append(Payload::Cancelled { write }, self.durability);
        }
        None
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_told {
            self.withdraw();
        }
    }
}
