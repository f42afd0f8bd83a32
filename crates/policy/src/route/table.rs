//! All routes of a plan, arranged so that the most specific match is found first.

/// The routes of a plan.
#[derive(Debug, Default)]
pub struct Table {}
