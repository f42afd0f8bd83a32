//! Raises a canary's share of the requests step by step, evaluates it at each step, and takes the share away on
//! failure.
//!
//! [`machine::Canary`] is the state machine: its inputs are the time and the results of each side, its outputs are
//! changes. [`rules`] has the configuration, [`evidence`] the results, [`judge`] the verdicts. The caller counts
//! requests and applies changes.

pub mod evidence;
pub mod histogram;
pub mod judge;
pub mod looks;
pub mod machine;
pub mod progress;
pub mod proportion;
pub mod reason;
mod recent;
pub mod rules;
