//! The machine: what a reader must know to interpret the figures, without its name.

use std::fs;
use std::thread;

use crate::figures::process_files;
use crate::process::Place;

/// The machine's properties.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// The processor's model.
    pub(crate) cpu: String,
    /// Cores that this process may use.
    pub(crate) cores: Vec<usize>,
    /// The kernel's release.
    pub(crate) kernel: String,
    /// The distribution.
    pub(crate) system: String,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// The load averages of 1, 5 and 15 minutes at the start of the benchmark.
    pub(crate) load: String,
}

impl Machine {
    /// This machine according to `/proc` and `/etc/os-release`; `unknown` where they say nothing.
    pub(crate) fn here() -> Self {
        let cpu_info = read("/proc/cpuinfo");
        let status = read("/proc/self/status");
        let cores = process_files::field(&status, "Cpus_allowed_list").map(process_files::cores).unwrap_or_default();
        let load = read("/proc/loadavg").split_ascii_whitespace().take(3).collect::<Vec<_>>().join(" ");
        let release = read("/etc/os-release");
        let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown");
        Self {
            cpu: process_files::field(&cpu_info, "model name").unwrap_or("unknown processor").to_owned(),
            cores: if cores.is_empty() { counted_cores() } else { cores },
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            system: system.trim_matches('"').to_owned(),
            memory_mib: process_files::size_kib(&read("/proc/meminfo"), "MemTotal").unwrap_or(0) / 1024,
            load,
        }
    }

    /// Processor and number of cores.
    pub(crate) fn short(&self) -> String {
        let cores = self.cores.len();
        format!("{}, {cores} core{}", self.cpu, if cores == 1 { "" } else { "s" })
    }

    /// The cores of the proxies, and those of the load generator and backend: the first core and the last, because
    /// neighbours in number may share hardware. With a single core nothing is pinned.
    pub(crate) fn places(&self, all_cores: bool) -> (Place, Place) {
        match (self.cores.first(), self.cores.last()) {
            (Some(first), Some(last)) if first != last && !all_cores => (Place::Pinned(*first), Place::Pinned(*last)),
            _ => (Place::Anywhere, Place::Anywhere),
        }
    }
}

/// The counters of all cores; `None` if the system has none.
pub(crate) fn cores() -> Option<process_files::Cores> {
    process_files::all_cores(&read("/proc/stat"))
}

fn counted_cores() -> Vec<usize> {
    (0..thread::available_parallelism().map_or(1, usize::from)).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}
