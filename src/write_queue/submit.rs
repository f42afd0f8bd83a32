//! The way of a write from its client to the journal's thread: it is handed over, and it is either acknowledged or taken
//! back.
//!
//! Taken back it is when its client leaves or must not wait any longer. If the thread has not begun with it, it is gone
//! without a trace. Else a note goes into the journal behind it that says never to send it; if that does not reach the
//! disk before a crash, it is sent after all, like any write that was not answered. Which of the two it is, acknowledged
//! or taken back, is decided in one step: by who is first at the channel on which the client's side is told.

use std::sync::Arc;

use policy::write::record::Payload;

use super::orders::{Failed, Told};
use super::queue::WriteQueue;
use super::submission::{Submission, Submitted};
use crate::config::plan::Durability;

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
