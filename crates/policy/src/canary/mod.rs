//! How a split's new side gets its share step by step, is judged at each, and loses it again.
//!
//! [`machine::Canary`] is the whole: it takes the time and what each side has answered, and tells what changes. What it
//! goes by is in [`rules`]; what it has seen, in [`evidence`]; what that says, in [`judge`]. Who counts, and what
//! becomes of a change, is the caller's concern.

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
