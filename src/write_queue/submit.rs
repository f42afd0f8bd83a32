//! Submits a write to the journal's thread: afterwards it is either acknowledged or withdrawn.
//!
//! It is withdrawn when its client leaves or must not wait any longer. If the thread has not begun with it, nothing is
//! recorded. Otherwise a cancellation record follows it; if that record is not durable before a crash, the write is
//! sent after all, like any write whose client got no response. The completion channel decides atomically between the
//! two outcomes: either the thread sends first or the client closes first.

use std::sync::Arc;

use policy::write::record::Payload;

use super::commands::{Completion, Failed};
use super::queue::WriteQueue;
use super::submission::{Submission, Submitted};
use crate::config::plan::Durability;

/// Waits until a write is durable. Dropped before that, it withdraws the write.
#[derive(Debug)]
pub(super) struct Waiting {
    write_queue: Arc<WriteQueue>,
    submission: Arc<Submission>,
    durability: Durability,
    completion: Completion,
    is_completed: bool,
}

impl Waiting {
    /// Submits a write.
    ///
    /// # Errors
    /// [`Failed::Behind`]: too many writes wait already.
    pub(super) fn submit(
        write_queue: &Arc<WriteQueue>,
        submitted: Submitted,
        durability: Durability,
    ) -> Result<Self, Failed> {
        let submission = Arc::new(Submission::new(submitted));
        let completion = write_queue.journal().submit(Arc::clone(&submission), durability)?;
        Ok(Self { write_queue: Arc::clone(write_queue), submission, durability, completion, is_completed: false })
    }

    /// Waits until the write is durable as requested and visible to reads; returns its number.
    ///
    /// # Errors
    /// [`Failed`]: the write is not acknowledged, and may or may not be in the journal.
    pub(super) async fn completion(&mut self) -> Result<u64, Failed> {
        let completion = (&mut self.completion).await.unwrap_or(Err(Failed::Closed));
        self.is_completed = true;
        completion
    }

    /// Withdraws the write. `Some`: it was acknowledged or rejected just before.
    pub(super) fn withdraw(&mut self) -> Option<Result<u64, Failed>> {
        self.is_completed = true;
        self.completion.close();
        if let Ok(completion) = self.completion.try_recv() {
            return Some(completion);
        }
        if let Some(write) = self.submission.withdraw() {
            let _nobody_waits = self.write_queue.journal().append(Payload::Cancelled { write }, self.durability);
        }
        None
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_completed {
            self.withdraw();
        }
    }
}
