//! Observability: clock and randomness, counters, the access log, the event log.
//!
//! A leaf: every folder may use it, and it uses none.

pub(crate) mod access_log;
pub(crate) mod access_record;
pub(crate) mod captured;
pub mod clock;
pub mod counters;
pub(crate) mod date;
pub(crate) mod endpoint_stats;
pub(crate) mod events;
pub(crate) mod exposition;
pub(crate) mod format;
pub(crate) mod latency_stats;
mod log_line;
pub(crate) mod notice;
pub(crate) mod per_worker;
pub(crate) mod process;
pub(crate) mod random;
pub mod reload_log;
pub(crate) mod request_id;
pub(crate) mod route_stats;
mod second;
pub(crate) mod sink;
mod syslog;
pub(crate) mod target_stats;
mod text;
pub(crate) mod window;
pub(crate) mod worker_telemetry;
mod writer;
