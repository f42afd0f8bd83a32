//! Write-back: writes are recorded in a journal, visible to reads at once, and sent to their backend later.
//!
//! `docs/write-modes.md` has the guarantees. `policy::write` decides the order and time of sending, and the effect of
//! outcomes. This folder contains the files ([`journal`]), the state shared by all threads ([`queue`]), enqueueing,
//! reads of pending writes, and the flusher on the control thread, to which `proxy` provides the function that sends a
//! write.

mod alarms;
pub(crate) mod commands;
mod compact;
pub(crate) mod enqueue;
pub(crate) mod flush;
pub(crate) mod held;
pub(crate) mod journal;
mod journal_writer;
mod open;
pub(crate) mod queue;
pub(crate) mod queued;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod reservation;
pub(crate) mod segments;
mod submission;
pub(crate) mod submit;

pub(crate) use queue::WriteQueue;
