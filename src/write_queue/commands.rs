//! The commands to the journal's thread, their results, and the shared counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use policy::write::record::Payload;
use tokio::sync::{oneshot, watch};

use super::submission::Submission;
use crate::config::plan::Durability;

/// Why a record is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The disk is full or has failed.
    #[error("the journal can't be written: {0}")]
    Io(Arc<str>),
    /// Too many writes wait for the thread.
    #[error("the journal is behind")]
    Behind,
    /// The record was not durable in time.
    #[error("the journal did not take it in time")]
    Late,
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Resolves when a record is durable: its number, or the error.
pub(crate) type Completion = oneshot::Receiver<Result<u64, Failed>>;
pub(super) type CompletionSender = oneshot::Sender<Result<u64, Failed>>;

/// A command to the thread.
pub(super) enum Command {
    /// Writes this record, unless it has been withdrawn.
    Write(Arc<Submission>, Durability, CompletionSender),
    /// Writes the outcome of a write.
    Outcome(OutcomeRecord),
    /// Syncs all earlier records.
    Sync,
}

/// The outcome of a write, to be recorded.
pub(super) struct OutcomeRecord {
    pub(super) payload: Payload,
    pub(super) durability: Durability,
    pub(super) completion: CompletionSender,
}

/// The state shared with those who wait for the thread.
#[derive(Debug)]
pub(super) struct Shared {
    /// The number of writes that were submitted and are not begun.
    pub(super) waiting: AtomicUsize,
    /// The number of outcome records, from the first on, that are synced.
    pub(super) synced: watch::Sender<u64>,
    /// The number of outcome records that a caller waits for.
    pub(super) wanted: AtomicU64,
    /// A [`Command::Sync`] is queued, and the thread has not read `wanted` yet.
    pub(super) is_sync_queued: AtomicBool,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            synced: watch::Sender::new(0),
            wanted: AtomicU64::new(0),
            is_sync_queued: AtomicBool::new(false),
        }
    }
}
