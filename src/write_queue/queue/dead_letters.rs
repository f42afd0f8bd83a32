//! Dead letters: read from the disk, sent again or discarded by people, or dropped when there are too many.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use policy::time::Now;
use policy::write::queue::{Bound, Dropped};
use policy::write::record::Payload;

use super::WriteQueue;
use crate::config::plan::Durability;
use crate::telemetry::clock;
use crate::write_queue::orders::Told;
use crate::write_queue::queued::Queued;

/// How long whoever asks for it waits until a note is safe.
const NOTE_WAIT_MAX: Duration = Duration::from_secs(2);

/// How often a dead letter is looked for: its segment may be made small meanwhile, which moves it.
const READS: usize = 3;

/// A dead letter that was dropped.
#[derive(Debug)]
pub(in crate::write_queue) struct Gone {
    pub(in crate::write_queue) route: Box<str>,
    pub(in crate::write_queue) seq: u64,
    pub(in crate::write_queue) bound: Bound,
}

impl WriteQueue {
    /// A write that is pending or dead; a dead letter is read from the disk. `None`: there is none, or it can't be read.
    #[must_use]
    pub(crate) fn write(&self, seq: u64) -> Option<Arc<Queued>> {
        for last in (0..READS).rev() {
            let held = self.state.lock().writes.get(&seq).cloned()?;
            if held.write.is_some() {
                return held.write;
            }
            match self.directory.read(held.place, seq) {
                Ok(packed) => return Some(Arc::new(Queued::new(packed))),
                Err(error) if last == 0 => tracing::error!("journal: dead letter {seq} can't be read: {error}"),
                Err(_) => {}
            }
        }
        None
    }

    /// Sends a dead letter again. `false`: there is none of that number, or it can't be read.
    pub(crate) async fn revive(&self, seq: u64) -> bool {
        let Some(write) = self.write(seq) else { return false };
        let noted = {
            let mut state = self.state.lock();
            state.queue.revive(seq, clock::now()).then(|| {
                state.revived.insert(seq);
                if let Some(held) = state.writes.get_mut(&seq) {
                    held.write = Some(write);
                }
                self.pending.fetch_add(1, Ordering::Release);
                self.journal.append(Payload::Revived { write: seq }, Durability::Fsync)
            })
        };
        self.changed.notify_one();
        noted_soon(noted).await
    }

    /// Throws a dead letter away. `false`: there is none of that number.
    pub(crate) async fn discard(&self, seq: u64) -> bool {
        let noted = {
            let mut state = self.state.lock();
            state.queue.discard(seq).then(|| {
                state.let_go(seq);
                self.journal.append(Payload::Discarded { write: seq }, Durability::Fsync)
            })
        };
        noted_soon(noted).await
    }

    /// Drops the oldest dead letters if there are more than are kept. Like those that a person discards they stay so after
    /// a restart.
    pub(in crate::write_queue) fn drop_letters(&self, now: Now) -> Vec<Gone> {
        let mut state = self.state.lock();
        let dropped = state.queue.drop_letters(now);
        let mut gone = Vec::with_capacity(dropped.len());
        for Dropped { seq, lane, bound } in dropped {
            state.let_go(seq);
            let _nobody_waits = self.journal.append(Payload::Discarded { write: seq }, Durability::Os);
            gone.push(Gone { route: state.route(lane), seq, bound });
        }
        drop(state);
        if !gone.is_empty() {
            self.dropped.fetch_add(gone.len() as u64, Ordering::Relaxed);
            // There may be more.
            self.changed.notify_one();
        }
        gone
    }

    /// How many dead letters were dropped since the start.
    #[must_use]
    pub(crate) fn letters_dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Waits for a note, but not for a disk that fails: it is owed then.
async fn noted_soon(noted: Option<Told>) -> bool {
    let Some(noted) = noted else { return false };
    let _noted_or_owed = tokio::time::timeout(NOTE_WAIT_MAX, noted).await;
    true
}
