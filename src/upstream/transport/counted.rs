//! How many connections to backends are open.

use std::sync::Arc;

use crate::telemetry::counters::Counters;

/// Counts a connection as long as it is open.
#[derive(Debug)]
pub struct Counted(Arc<Counters>);

impl Counted {
    /// It is open from now on.
    #[must_use]
    pub fn begin(counters: &Arc<Counters>) -> Self {
        counters.backend_connections.up();
        Self(Arc::clone(counters))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.backend_connections.down();
    }
}
