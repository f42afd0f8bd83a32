//! Opens the write queue: recovers the journal and starts its thread.

use std::path::Path;
use std::sync::{Arc, Weak};

use super::commands::Shared;
use super::journal::Journal;
use super::journal_writer::{JournalPosition, JournalWriter};
use super::queue::WriteQueue;
use super::recover::recover;
use super::segments::{Directory, OpenError};
use crate::telemetry::random;

impl WriteQueue {
    /// Opens the journal in this directory and recovers its writes.
    ///
    /// # Errors
    /// If the journal cannot be read or written, or another process uses it.
    pub(crate) fn open(state_dir: &Path) -> Result<Arc<Self>, OpenError> {
        let directory = Arc::new(Directory::open(state_dir)?);
        let secret = ((u128::from(random::roll()) << 64) | u128::from(random::roll())).to_le_bytes();
        let recovered = recover(&directory, secret)?;
        let segment = directory.next_segment()?;
        Ok(Arc::new_cyclic(|write_queue| {
            let shared = Arc::new(Shared::new());
            let from = JournalPosition { identity: recovered.journal, segment, seq: recovered.next_seq };
            let queue = Weak::clone(write_queue);
            let writer = JournalWriter::new(Arc::clone(&directory), from, queue, Arc::clone(&shared));
            let journal = Journal::start(recovered.journal, shared, move |orders| writer.run(orders));
            Self::new(recovered, secret, directory, journal)
        }))
    }
}
