//! What the system says of this process: memory, processor time, descriptors.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::clock;

/// Clock ticks a second in `/proc`, on every architecture that Linux has today (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The fields of `/proc/self/stat` behind the command's name: the first of processor time (user) is the twelfth.
const USER_TICKS: usize = 11;

/// What the system says of this process. What it does not say is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    /// Resident memory, in bytes.
    pub(crate) resident_bytes: u64,
    /// Processor time of all threads, user and system, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Descriptors open.
    pub(crate) open_descriptors: u64,
    /// How many may be open.
    pub(crate) max_descriptors: u64,
}

impl Process {
    /// Asks the system.
    #[must_use]
    pub(crate) fn now() -> Self {
        let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        Self {
            resident_bytes: fs::read_to_string("/proc/self/statm").ok().and_then(|text| resident(&text)).unwrap_or(0),
            cpu_seconds: fs::read_to_string("/proc/self/stat").ok().and_then(|text| processor(&text)).unwrap_or(0.0),
            // One of them is that of the listing.
            open_descriptors: open.saturating_sub(1),
            max_descriptors: getrlimit(Resource::Nofile).current.unwrap_or(0),
        }
    }
}

/// When this process started, as far as its clock tells: the first call says now.
#[must_use]
pub(crate) fn started() -> Duration {
    let now = clock::now();
    now.wall.saturating_sub(now.mono)
}

/// Resident memory by `/proc/self/statm`, whose second number is pages.
fn resident(statm: &str) -> Option<u64> {
    let pages: u64 = statm.split(' ').nth(1)?.trim().parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Processor time by `/proc/self/stat`. The command's name, in parentheses, may hold anything.
fn processor(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut ticks = fields.split(' ').skip(USER_TICKS).map_while(|field| field.parse::<u32>().ok());
    Some((f64::from(ticks.next()?) + f64::from(ticks.next()?)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_is_understood() {
        let process = Process::now();
        assert!(process.resident_bytes > 1_000_000 && process.open_descriptors > 2, "{process:?}");
        assert!(process.max_descriptors >= process.open_descriptors);
    }

    #[test]
    fn a_name_with_parentheses_and_spaces_moves_no_field() {
        let stat = "7 (a) b ) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 300";
        assert_eq!(processor(stat), Some(2.0));
        assert_eq!(processor("nothing"), None);
    }
}
