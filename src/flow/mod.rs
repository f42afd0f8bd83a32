//! The course of a request, from a parsed head to an answer: [`drive`] owns the order of things, and the other files are
//! its stages.

pub mod course;
pub mod drive;
pub mod enqueue;
pub mod finish;
pub mod flush;
pub mod gate;
pub mod invalidate;
pub mod invalidation;
pub mod local_split;
pub mod lookup;
pub mod onward;
pub mod posted;
pub mod purge;
pub mod sanitize;
pub mod side;
pub mod site;
pub mod turn;
pub mod way;
pub mod write_through;
