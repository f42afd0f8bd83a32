//! The resources of the proxy, and their limits.

use std::fmt;

use crate::client::Tally;

/// The largest growth of resident memory from the warm state to the end: allocators return memory late, and pending
/// writes and dead letters fill up to their limits.
const GROWTH_MAX: f64 = 1.15;
/// The same in KiB, for a small process.
const GROWTH_KIB_MAX: u64 = 8 * 1024;
/// Descriptors that may come and go: journal segments, an admin connection.
const DESCRIPTORS_MORE_MAX: usize = 8;

/// The resources of the proxy at one time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Resident memory.
    pub(crate) resident_kib: u64,
    /// Open descriptors.
    pub(crate) descriptors: usize,
    /// Client connections.
    pub(crate) connections: f64,
    /// Requests in flight.
    pub(crate) in_flight: f64,
    /// Requests that wait for another one's fetch.
    pub(crate) following: f64,
    /// Acknowledged writes that are not sent yet.
    pub(crate) pending: f64,
    /// Dead letters.
    pub(crate) dead: f64,
}

impl Sample {
    /// Whether there is no request in flight and no client connection.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.connections + self.in_flight + self.following == 0.0
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident_kib, descriptors, connections, in_flight, following, pending, dead } = self;
        write!(
            out,
            "{resident_kib} KiB, {descriptors} descriptors, {connections} connections, {in_flight} in flight, \
             {following} following, {pending} pending, {dead} dead"
        )
    }
}

/// The faults after the load.
pub(crate) fn faults(warm: &Sample, end: &Sample, tally: &Tally) -> Vec<String> {
    let mut faults = tally.faults();
    if !end.is_at_rest() {
        faults.push("requests or connections are left".to_owned());
    }
    if end.descriptors > warm.descriptors + DESCRIPTORS_MORE_MAX {
        faults.push(format!("{} descriptors when warm, {} at the end", warm.descriptors, end.descriptors));
    }
    let bound = (warm.resident_kib as f64 * GROWTH_MAX) as u64;
    if end.resident_kib > bound.max(warm.resident_kib + GROWTH_KIB_MAX) {
        faults.push(format!("{} KiB when warm, {} KiB at the end", warm.resident_kib, end.resident_kib));
    }
    faults
}
