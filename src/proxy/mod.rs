//! The course of a request, from a parsed head to an answer: [`drive`] owns the order of things, and the other files are
//! its stages.

pub(crate) mod account;
pub(crate) mod admit;
pub(crate) mod challenge;
pub(crate) mod course;
pub(crate) mod drive;
pub(crate) mod enqueue;
pub(crate) mod fast_hit;
pub(crate) mod flush;
pub(crate) mod invalidate;
pub(crate) mod invalidation;
pub(crate) mod local_split;
pub(crate) mod lookup;
pub(crate) mod posted;
pub(crate) mod purge;
pub(crate) mod routing;
pub(crate) mod split;
pub(crate) mod target;
pub(crate) mod turn;
pub(crate) mod way;
pub(crate) mod worker_state;
pub(crate) mod write_through;
