//! What the kernel tells of processes: the texts of `/proc/PID/stat`, `/proc/PID/status`,
//! `/proc/stat` and `/proc/cpuinfo`, read.

use std::time::Duration;

/// The kernel's unit of processor time in `/proc`: `USER_HZ` is 100 on every architecture that the peers are built for.
const TICK: Duration = Duration::from_millis(10);

/// What `/proc/PID/stat` says of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Who started it.
    pub(crate) parent: u32,
    /// Processor time of all its threads, user and system, in steps of 10 ms.
    pub(crate) cpu: Duration,
}

/// Reads `/proc/PID/stat` (proc(5)): fields 4, 14 and 15. The name in field 2 may hold blanks and parentheses.
pub(crate) fn stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let parent = fields.nth(1)?.parse().ok()?;
    let user: u32 = fields.nth(9)?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(Stat { parent, cpu: TICK * user.checked_add(system)? })
}

/// What `/proc/stat` says of all cores together since the machine's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cores {
    /// All of their time, in ticks.
    pub(crate) all: u64,
    /// What the host gave to others while somebody here would have run, in ticks.
    pub(crate) stolen: u64,
}

impl Cores {
    /// How much of the time since `before` was stolen, in percent.
    pub(crate) fn stolen_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.stolen.saturating_sub(before.stolen) as f64 * 100.0 / all as f64
    }
}

/// Reads the first line of `/proc/stat` (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
pub(crate) fn all_cores(text: &str) -> Option<Cores> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace();
    let ticks: Vec<u64> = fields.take(8).map(|ticks| ticks.parse().ok()).collect::<Option<_>>()?;
    Some(Cores { all: ticks.iter().sum(), stolen: *ticks.get(7)? })
}

/// A size of `/proc/PID/status` or `/proc/meminfo` in KiB: `VmRSS`, `VmHWM`, `MemTotal`.
pub(crate) fn size_kib(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix("kB")?.trim().parse().ok()
}

/// A field of a file of `name: value` lines; the first of that name.
pub(crate) fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(found, _)| found.trim() == name).map(|(_, value)| value.trim()).next()
}

/// The numbers of a list of cores as `0-2,5`; empty when it isn't one.
pub(crate) fn cores(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse::<usize>().ok()?)
    });
    ranges.collect::<Option<Vec<_>>>().unwrap_or_default().into_iter().flatten().take(4096).collect()
}

/// `root` and all that descend from it, out of pairs of a process and its parent.
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
