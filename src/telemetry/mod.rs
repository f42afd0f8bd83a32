//! What is seen of the work: clock and dice, counters, the access log, the event log.
//!
//! A leaf: every room may call it, it calls none.

pub mod access_log;
pub mod access_record;
pub mod captured;
pub mod clock;
pub mod counters;
pub mod date;
pub mod events;
pub mod exposition;
pub mod format;
mod log_line;
pub mod notice;
pub mod random;
pub mod request_id;
mod second;
pub(crate) mod sink;
mod syslog;
pub mod target_stats;
mod text;
pub mod worker_telemetry;
mod writer;
