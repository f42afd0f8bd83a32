//! Dead letters: reading them from disk, reviving, discarding, and dropping the oldest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use policy::time::Now;
use policy::write::queue::{Bound, Dropped};
use policy::write::record::Payload;

use super::WriteQueue;
use crate::config::plan::Durability;
use crate::telemetry::clock;
use crate::write_queue::commands::Completion;
use crate::write_queue::queued::Queued;

/// The longest wait of a caller for a durable record.
const NOTE_WAIT_MAX: Duration = Duration::from_secs(2);

/// The number of attempts to read a dead letter: compaction of its segment may move it meanwhile.
const READS: usize = 3;

/// A dead letter that was dropped.
#[derive(Debug)]
pub(in crate::write_queue) struct Gone {
    pub(in crate::write_queue) route: Box<str>,
    pub(in crate::write_queue) seq: u64,
    pub(in crate::write_queue) bound: Bound,
}

impl WriteQueue {
    /// A pending write or dead letter; dead letters are read from disk. `None`: there is no such write, or reading
    /// failed.
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

    /// Queues a dead letter again. `false`: there is none with this number, or reading it failed.
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

    /// Discards a dead letter. `false`: there is none with this number.
    pub(crate) async fn discard(&self, seq: u64) -> bool {
        let noted = {
            let mut state = self.state.lock();
            state.queue.discard(seq).then(|| {
                state.remove_live(seq);
                self.journal.append(Payload::Discarded { write: seq }, Durability::Fsync)
            })
        };
        noted_soon(noted).await
    }

    /// Drops the oldest dead letters that exceed a limit, and records that, so that they stay dropped after a restart.
    pub(in crate::write_queue) fn drop_dead_letters(&self, now: Now) -> Vec<Gone> {
        let mut state = self.state.lock();
        let dropped = state.queue.drop_dead_letters(now);
        let mut gone = Vec::with_capacity(dropped.len());
        for Dropped { seq, lane, bound } in dropped {
            state.remove_live(seq);
            let _nobody_waits = self.journal.append(Payload::Discarded { write: seq }, Durability::Os);
            gone.push(Gone { route: state.route(lane), seq, bound });
        }
        drop(state);
        if !gone.is_empty() {
            self.dropped.fetch_add(gone.len() as u64, Ordering::Relaxed);
            // There may be more than one call drops.
            self.changed.notify_one();
        }
        gone
    }

    /// The number of dead letters dropped since the start.
    #[must_use]
    pub(crate) fn dead_letters_dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Waits until an outcome record is durable, but not for a failed disk: the thread retries it then.
async fn noted_soon(noted: Option<Completion>) -> bool {
    let Some(noted) = noted else { return false };
    let _noted_or_owed = tokio::time::timeout(NOTE_WAIT_MAX, noted).await;
    true
}
