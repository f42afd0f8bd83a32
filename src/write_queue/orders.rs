//! What passes between the journal's thread and those who wait for it: orders, what is told of them, and a few counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use policy::write::record::Payload;
use tokio::sync::{oneshot, watch};

use super::submission::Submission;
use crate::config::plan::Durability;

/// Why a record is not safe.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The disk is full or fails.
    #[error("the journal can't be written: {0}")]
    Io(Arc<str>),
    /// Too many writes wait for it.
    #[error("the journal is behind")]
    Behind,
    /// It was not safe in time.
    #[error("the journal did not take it in time")]
    Late,
    /// The journal is closed.
    #[error("the journal is closed")]
    Closed,
}

/// Told when a record is safe: its number, or why it is not.
pub(crate) type Told = oneshot::Receiver<Result<u64, Failed>>;
pub(super) type Teller = oneshot::Sender<Result<u64, Failed>>;

/// What the thread is to do.
pub(super) enum Order {
    /// To write this, if it is still wanted.
    Write(Arc<Submission>, Durability, Teller),
    /// To write what became of a write.
    Note(Note),
    /// To make safe what came before.
    Sync,
}

/// What became of a write.
pub(super) struct Note {
    pub(super) payload: Payload,
    pub(super) durability: Durability,
    pub(super) told: Teller,
}

/// What the thread shares with those who wait for it.
#[derive(Debug)]
pub(super) struct Shared {
    /// How many writes were handed over and are not begun with.
    pub(super) waiting: AtomicUsize,
    /// How many notes, from the first on, are on the disk.
    pub(super) safe: watch::Sender<u64>,
    /// How many of them somebody waits for.
    pub(super) wanted: AtomicU64,
    /// The thread has been told to look at `wanted`, and has not yet.
    pub(super) is_asked: AtomicBool,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            safe: watch::Sender::new(0),
            wanted: AtomicU64::new(0),
            is_asked: AtomicBool::new(false),
        }
    }
}
