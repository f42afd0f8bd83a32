//! Which backends may be used.
//!
//! Three independent judgements: [`active`] checks ask the backend, [`ejection`] watches real traffic, and
//! [`slow_start`] holds back one that has just returned. How they are combined, and how the checks are sent, is the
//! caller's concern.

pub mod active;
pub mod ejection;
pub mod slow_start;

pub use active::{Checks, Verdict};
pub use ejection::{Ejected, Ejection, Rules};
