//! What people decide on dead letters.

use std::sync::atomic::Ordering;
use std::time::Duration;

use policy::write::record::Payload;

use super::Desk;
use crate::config::plan::Durability;
use crate::observe::clock;
use crate::writeback::journal::Told;

/// How long whoever asks for it waits until a note is safe.
const NOTE_WAIT_MAX: Duration = Duration::from_secs(2);

impl Desk {
    /// Sends a dead letter again. `false`: there is none of that number.
    pub async fn revive(&self, seq: u64) -> bool {
        let noted = {
            let mut state = self.state.lock();
            state.queue.revive(seq, clock::now()).then(|| {
                state.revived.insert(seq);
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
