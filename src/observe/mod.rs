//! What is seen of the work: clock and dice, counters, the access log, the event log.
//!
//! A leaf: every room may call it, it calls none.

pub mod access_log;
pub mod clock;
pub mod counters;
pub mod date;
pub mod dice;
pub mod events;
pub mod exposition;
pub mod format;
pub mod ledger;
mod line;
pub mod notice;
pub mod record;
pub mod request_id;
mod second;
pub(crate) mod sink;
mod syslog;
pub mod tally;
mod text;
mod writer;
