//! Decides which backends may receive requests.
//!
//! Three independent checks: [`active`] evaluates probes, [`ejection`] watches real traffic, and [`slow_start`] limits
//! a backend that has just returned. The caller combines them and sends the probes.

pub mod active;
pub mod ejection;
pub mod slow_start;

pub use active::{CheckVerdict, Checks};
pub use ejection::{Ejected, Ejection, Rules};
