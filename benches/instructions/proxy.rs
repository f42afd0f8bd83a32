//! The proxy as a process under callgrind: starts it, waits until it is idle, ends it, and reads its instruction count.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::Outcome;

/// The longest duration of a step; a slower machine cannot measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    child: Child,
    /// The address for clients.
    pub(crate) address: SocketAddr,
    _config: NamedTempFile,
}

impl Proxy {
    /// Starts the proxy with this configuration. `profile`: the file that callgrind writes at the end.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) fn start(config: &str, profile: &Path) -> Outcome<Self> {
        let mut file = NamedTempFile::new()?;
        file.write_all(config.as_bytes())?;
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", profile.display()));
        command.arg(env!("CARGO_BIN_EXE_forebay")).args(["run", "-c"]).arg(file.path()).env("NO_COLOR", "1");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let told = child.stderr.take().ok_or("it has no standard error")?;
        let mut lines = BufReader::new(told).lines();
        let mut heard = String::new();
        let address = loop {
            let Some(line) = lines.next().transpose()? else {
                let _ended = (child.kill(), child.wait());
                return Err(format!("the proxy did not start:\n{heard}").into());
            };
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.trim().parse()?;
            }
            heard.push_str(&line);
            heard.push('\n');
        };
        // Reads on, so that the proxy never blocks on a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(Self { child, address, _config: file })
    }

    /// Waits until all threads sleep, so that all work is done including the last poll.
    ///
    /// This makes counts repeatable. Bytes that arrive while it is busy would be found by that poll or cause a wakeup,
    /// at random, with different counts.
    ///
    /// # Errors
    /// If it has ended, or is never idle.
    pub(crate) fn rests(&self) -> Outcome<()> {
        let begun = Instant::now();
        let tasks = format!("/proc/{}/task", self.child.id());
        while !all_sleep(&tasks)? {
            if begun.elapsed() > PATIENCE {
                return Err("the proxy does not come to rest".into());
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Ends it cleanly, so that it writes its profile.
    ///
    /// # Errors
    /// If it fails, or does not end.
    pub(crate) fn ended(mut self) -> Outcome<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if begun.elapsed() > PATIENCE => return Err("the proxy does not end".into()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if status.success() { Ok(()) } else { Err(format!("the proxy ended with {status}").into()) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Whether each thread of a process is in state `S` (proc(5), `/proc/PID/task/TID/stat`).
fn all_sleep(tasks: &str) -> Outcome<bool> {
    for task in fs::read_dir(tasks)? {
        // A thread that has ended since the listing is idle, too.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        // The name is in parentheses, and may contain some.
        if stat.rsplit_once(") ").is_none_or(|(_, rest)| !rest.starts_with('S')) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The instructions in a profile: its line `totals`.
///
/// # Errors
/// If there is no such line.
pub(crate) fn instructions(profile: &Path) -> Outcome<u64> {
    let text = fs::read_to_string(profile)?;
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
    Ok(total.ok_or("callgrind wrote no totals")?.trim().parse()?)
}
