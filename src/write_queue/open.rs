//! Opens the write queue: reads its journal again, and starts the thread that goes on with it.

use std::path::Path;
use std::sync::{Arc, Weak};

use super::journal::Journal;
use super::journal_writer::JournalWriter;
use super::orders::Shared;
use super::queue::WriteQueue;
use super::recover::recover;
use super::segments::{Directory, OpenError};
use crate::telemetry::random;

impl WriteQueue {
    /// Opens the journal in this directory and reads what is in it.
    ///
    /// # Errors
    /// When it can't be read or written, or belongs to another process.
    pub(crate) fn open(state_dir: &Path) -> Result<Arc<Self>, OpenError> {
        let directory = Arc::new(Directory::open(state_dir)?);
        let secret = ((u128::from(random::roll()) << 64) | u128::from(random::roll())).to_le_bytes();
        let recovered = recover(&directory, secret)?;
        let from = (recovered.journal, directory.next_segment()?, recovered.next_seq);
        Ok(Arc::new_cyclic(|desk| {
            let shared = Arc::new(Shared::new());
            let writer = JournalWriter::new(Arc::clone(&directory), from, Weak::clone(desk), Arc::clone(&shared));
            let journal = Journal::start(recovered.journal, shared, move |orders| writer.run(orders));
            Self::new(recovered, secret, directory, journal)
        }))
    }
}
