//! Parses the kernel's files on processes: `/proc/PID/stat`, `/proc/PID/status`, `/proc/stat` and `/proc/cpuinfo`.

use std::time::Duration;

/// The unit of processor time in `/proc`: `USER_HZ` is 100 on every architecture that the peers are built for.
const TICK: Duration = Duration::from_millis(10);

/// The parsed `/proc/PID/stat` of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Its parent process.
    pub(crate) parent: u32,
    /// Processor time of all its threads, user and system, in steps of 10 ms.
    pub(crate) cpu: Duration,
}

/// Parses `/proc/PID/stat` (proc(5)): fields 4, 14 and 15. The name in field 2 may contain blanks and parentheses.
pub(crate) fn stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u32 = fields.nth(9)?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(Stat { parent, cpu: TICK * user.checked_add(system)? })
}

/// The parsed first line of `/proc/stat`: all cores since boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    /// Total time in ticks.
    pub(crate) all: u64,
    /// Time that the host gave to other machines while a process here was runnable, in ticks.
    pub(crate) stolen: u64,
}

impl Cores {
    /// The stolen time since `before`, in percent.
    pub(crate) fn stolen_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 * 100.0 / all as f64
    }
}

/// Parses the first line of `/proc/stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
pub(crate) fn all_cores(text: &str) -> Option<Cores> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let ticks: Vec<u64> = fields.take(8).map(|ticks| ticks.parse().ok()).collect::<Option<_>>()?;
    Some(Cores { all: ticks.iter().sum(), stolen: *ticks.get(7)? })
}

/// A size of `/proc/PID/status` or `/proc/meminfo` in KiB: `VmRSS`, `VmHWM`, `MemTotal`.
pub(crate) fn size_kib(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix("kB")?.trim().parse().ok()
}

/// The first field with this name in a file of `name: value` lines.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim()).next()
}

/// The numbers of a list of cores like `0-2,5`; empty if it is invalid.
pub(crate) fn cores(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse::<usize>().ok()?)
    });
    ranges.collect::<Option<Vec<_>>>().unwrap_or_default().into_iter().flatten().take(4096).collect()
}

/// `root` and all its descendants, from pairs of process and parent.
pub(crate) fn family(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![root];
    loop {
        let known = found.len();
        for (process, parent) in parents {
            if found.contains(parent) && !found.contains(process) {
                found.push(*process);
            }
        }
        if found.len() == known {
            return found;
        }
    }
}
