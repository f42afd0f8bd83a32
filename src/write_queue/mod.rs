//! Write-back: writes are put into a journal, shown to reads at once, and sent to their backend later.
//!
//! What is promised is in `docs/write-modes.md`; in which order writes go out, when, and what becomes of them is
//! `policy::write`'s to say. This room has the files ([`journal`]), what all threads share ([`queue`]), the way of a
//! write and of a read of what is pending, and the flusher on the control thread. How a write is sent is handed in.

mod alarms;
pub mod flush;
pub mod held;
pub mod journal;
mod journal_writer;
mod open;
pub mod orders;
pub mod queue;
pub mod queued;
pub mod read;
pub mod recover;
pub mod reservation;
mod rewrite;
pub mod segments;
mod submission;
pub mod submit;
pub mod take;

pub use queue::WriteQueue;
