//! Child processes: their cores, their costs, and that they end together with the benchmark.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Fallible;
use crate::figures::process_files;

/// The longest wait for a process to end on request.
const END_MAX: Duration = Duration::from_secs(3);
/// Written to `/proc/PID/clear_refs`, it resets the peak of resident memory (proc(5)).
const FORGET_PEAK: &str = "5";

/// The cores that a process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// One core, by number.
    Pinned(usize),
    /// Any.
    Anywhere,
}

impl Place {
    /// A command that runs `program` on these cores; the kernel ends it when the thread that starts it ends.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--"]);
        if let Self::Pinned(core) = self {
            command.args(["taskset", "-c", &core.to_string()]);
        }
        command.arg(program).stdin(Stdio::null());
        command
    }
}

/// A running process with its descendants, which end when it is dropped.
pub(crate) struct Child {
    process: std::process::Child,
}

impl Child {
    /// Starts the process. Call it on the main thread, whose end ends the child.
    pub(crate) fn start(mut command: Command) -> Fallible<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        Ok(Self { process: command.spawn().map_err(|error| format!("{program}: {error}"))? })
    }

    /// Its standard output, if it is a pipe and was not taken yet.
    pub(crate) fn take_output(&mut self) -> Option<ChildStdout> {
        self.process.stdout.take()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }

    /// Sends SIGHUP, to reload its configuration.
    pub(crate) fn hang_up(&self) -> Fallible<()> {
        Ok(kill_process(Pid::from_child(&self.process), Signal::HUP)?)
    }

    /// Processor time of the process and its descendants, in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let stats = self.family().into_iter().filter_map(|process| process_files::stat(&read(process, "stat")?));
        stats.map(|stat| stat.cpu).sum()
    }

    /// Resident memory of the process and its descendants, in KiB; shared pages count for each.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory("VmRSS")
    }

    /// The peak of resident memory since [`Child::forget_peak`], in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.memory("VmHWM")
    }

    /// Resets the peak. If the kernel does not allow it, the peak is that since the start.
    pub(crate) fn forget_peak(&self) {
        for process in self.family() {
            let _refused = fs::write(format!("/proc/{process}/clear_refs"), FORGET_PEAK);
        }
    }

    fn memory(&self, field: &str) -> u64 {
        let texts = self.family().into_iter().filter_map(|process| read(process, "status"));
        texts.filter_map(|text| process_files::size_kib(&text, field)).sum()
    }

    fn family(&self) -> Vec<u32> {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let parents = numbers.filter_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((process, process_files::stat(&read(process, "stat")?)?.parent))
        });
        process_files::family(self.process.id(), &parents.collect::<Vec<_>>())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let family = self.family();
        let _gone = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let deadline = Instant::now() + END_MAX;
        while !self.has_ended() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        if !self.has_ended() {
            let _gone = self.process.kill();
            let _ended = self.process.wait();
        }
        // Children of a killed process have no parent any more; those that still run must be ended, too.
        for orphan in family.into_iter().skip(1).filter(|process| Path::new(&format!("/proc/{process}")).exists()) {
            let orphan = i32::try_from(orphan).ok().and_then(Pid::from_raw);
            let _gone = orphan.map(|process| kill_process(process, Signal::TERM));
        }
    }
}

fn read(process: u32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/{file}")).ok()
}
