//! Opens the write queue: recovers the journal and starts its thread.

use std::path::Path;
use std::sync::{Arc, Weak};

use super::commands::Shared;
use super::journal::Journal;
use super::journal_writer::JournalWriter;
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
        let from = (recovered.journal, directory.next_segment()?, recovered.next_seq);
        Ok(Arc::new_cyclic(|write_queue| {
            let shared = Arc::new(Shared::new());
            let writer =
                JournalWriter::new(Arc::clone(&directory), from, Weak::clone(write_queue), Arc::clone(&shared));
            let journal = Journal::start(recovered.journal, shared, move |orders| writer.run(orders));
            Self::new(recovered, secret, directory, journal)
        }))
    }
}
