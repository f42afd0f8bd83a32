//! The course of a request, from a parsed head to an answer: [`drive`] owns the order of things, and the other files are
//! its stages.

pub mod account;
pub mod admit;
pub mod course;
pub mod drive;
pub mod enqueue;
pub mod flush;
pub mod invalidate;
pub mod invalidation;
pub mod local_split;
pub mod lookup;
pub mod posted;
pub mod purge;
pub mod routing;
pub mod split;
pub mod target;
pub mod turn;
pub mod way;
pub mod worker_state;
pub mod write_through;
