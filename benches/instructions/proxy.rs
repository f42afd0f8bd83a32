//! The proxy as a process under callgrind: started, watched until it sleeps, ended, and what it has executed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::Outcome;

/// How long any step may take; a machine that is this slow measures nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running proxy; killed when dropped.
pub(crate) struct Proxy {
    child: Child,
    /// Where it accepts clients.
    pub(crate) address: SocketAddr,
    _config: NamedTempFile,
}

impl Proxy {
    /// Starts it with this configuration; it has executed nothing for a client yet. `profile`: the file that callgrind
    /// writes at the end.
    ///
    /// # Errors
    /// When it does not come up.
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
        // Read on, so that it never waits for room to tell something.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(Self { child, address, _config: file })
    }

    /// Waits until all its threads sleep: it has done all that there was to do, up to the last look for more.
    ///
    /// That is what makes counts repeatable. If bytes came while it was still busy, it would find them on that look, or
    /// be woken for them, as chance will have it, and execute more or less.
    ///
    /// # Errors
    /// When it is gone, or never rests.
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

    /// Ends it in good order, so that its profile is written.
    ///
    /// # Errors
    /// When it fails, or does not end.
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

/// Whether each thread of a process is in the state `S` (proc(5), `/proc/PID/task/TID/stat`).
fn all_sleep(tasks: &str) -> Outcome<bool> {
    for task in fs::read_dir(tasks)? {
        // One that ends between the listing and the look is at rest too.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        // The name stands in parentheses and may hold some itself.
        if stat.rsplit_once(") ").is_none_or(|(_, rest)| !rest.starts_with('S')) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All instructions of a profile: its line `totals`.
///
/// # Errors
/// When there is no such line.
pub(crate) fn instructions(profile: &Path) -> Outcome<u64> {
    let text = fs::read_to_string(profile)?;
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals:"));
    Ok(total.ok_or("callgrind wrote no totals")?.trim().parse()?)
}
