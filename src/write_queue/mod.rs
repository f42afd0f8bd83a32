//! Write-back: writes are put into a journal, shown to reads at once, and sent to their backend later.
//!
//! What is promised is in `docs/write-modes.md`; in which order writes go out, when, and what becomes of them is
//! `policy::write`'s to say. This room has the files ([`journal`]), what all threads share ([`queue`]), the way of a
//! write and of a read of what is pending, and the flusher on the control thread. How a write is sent is handed in.

mod alarms;
pub(crate) mod flush;
pub(crate) mod held;
pub(crate) mod journal;
mod journal_writer;
mod open;
pub(crate) mod orders;
pub(crate) mod queue;
pub(crate) mod queued;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod reservation;
mod rewrite;
pub(crate) mod segments;
mod submission;
pub(crate) mod submit;
pub(crate) mod take;

pub(crate) use queue::WriteQueue;
