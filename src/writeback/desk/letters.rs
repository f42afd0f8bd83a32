//! What people decide on dead letters.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use policy::write::record::Payload;

use super::Desk;
use crate::config::plan::Durability;
use crate::observe::clock;
use crate::writeback::journal::Told;
use crate::writeback::queued::Queued;

/// How long whoever asks for it waits until a note is safe.
const NOTE_WAIT_MAX: Duration = Duration::from_secs(2);

/// How often a dead letter is looked for: its segment may be made small meanwhile, which moves it.
const READS: usize = 3;

impl Desk {
    /// A write that is pending or dead; a dead letter is read from the disk. `None`: there is none, or it can't be read.
    #[must_use]
    pub fn write(&self, seq: u64) -> Option<Arc<Queued>> {
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
    pub async fn revive(&self, seq: u64) -> bool {
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
    pub async fn discard(&self, seq: u64) -> bool {
        let noted = {
            let mut state = self.state.lock();
            state.queue.discard(seq).then(|| {
                state.let_go(seq);
                self.journal.append(Payload::Discarded { write: seq }, Durability::Fsync)
            })
        };
        noted_soon(noted).await
    }
}

/// Waits for a note, but not for a disk that fails: it is owed then.
async fn noted_soon(noted: Option<Told>) -> bool {
    let Some(noted) = noted else { return false };
    let _noted_or_owed = tokio::time::timeout(NOTE_WAIT_MAX, noted).await;
    true
}
