//! The load generator: `wrk` with exact numbers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Fallible;
use crate::figures::load_summary::{self, LoadSummary};
use crate::process::Place;
use crate::works::Work;

/// The longest wait for a response with many connections; otherwise wrk's own limit.
const ANSWER_MAX: &str = "30s";

/// The duration of a run without a set time.
const RUN_MAX: Duration = Duration::from_secs(120);

/// A request that is not a [`Work`].
#[derive(Debug, Clone)]
pub(crate) struct Asking {
    /// The script that makes requests; `None`: GET for `path`.
    pub(crate) script: Option<PathBuf>,
    /// The path, unless the script sets another.
    pub(crate) path: &'static str,
    /// The number of connections.
    pub(crate) connections: usize,
}

/// A run in progress.
pub(crate) struct Underway {
    process: std::process::Child,
}

/// Runs `wrk` on certain cores.
pub(crate) struct Load {
    program: PathBuf,
    place: Place,
    threads: usize,
    get_script: PathBuf,
    post_script: PathBuf,
    browser_script: PathBuf,
}

impl Load {
    /// Writes the scripts into `folder`.
    pub(crate) fn new(program: &Path, place: Place, threads: usize, folder: &Path) -> Fallible<Self> {
        let (summary, post) = (include_str!("peers/load.lua"), include_str!("peers/post.lua"));
        let script = |name: &str, before: &str| -> Fallible<PathBuf> {
            let file = folder.join(name);
            fs::write(&file, format!("{before}{summary}"))?;
            Ok(file)
        };
        Ok(Self {
            program: program.to_owned(),
            place,
            threads,
            get_script: script("get.lua", "")?,
            post_script: script("post.lua", post)?,
            browser_script: script("browser.lua", &headers(&Work::PassBrowser.fields()))?,
        })
    }

    /// Runs against a proxy for `time` in whole seconds, because wrk supports no others.
    pub(crate) fn run(&self, work: Work, to: SocketAddr, time: Duration) -> Fallible<LoadSummary> {
        let script = match work {
            Work::Post => Some(self.post_script.clone()),
            Work::PassBrowser | Work::HitBrowser => Some(self.browser_script.clone()),
            Work::PassSmall
            | Work::HitSmall
            | Work::HitLarge
            | Work::PassLarge
            | Work::PassHuge
            | Work::PassSmallLogged => None,
        };
        let asking = Asking { script, path: work.path(), connections: work.connections() };
        read(&self.command(&asking, to, time).output()?)
    }

    /// Begins a run that continues until it is ended or dropped. Responses may take long, because thousands of others
    /// are in progress.
    pub(crate) fn begin(&self, asking: &Asking, to: SocketAddr) -> Fallible<Underway> {
        let mut command = self.command(asking, to, RUN_MAX);
        command.args(["--timeout", ANSWER_MAX]).stdout(Stdio::piped());
        Ok(Underway { process: command.spawn()? })
    }

    fn command(&self, asking: &Asking, to: SocketAddr, time: Duration) -> Command {
        let mut command = self.place.command(&self.program);
        command
            .arg(format!("-t{}", self.threads))
            .arg(format!("-c{}", asking.connections.max(self.threads)))
            .arg(format!("-d{}s", time.as_secs().max(1)))
            .arg("-s")
            .arg(asking.script.as_ref().unwrap_or(&self.get_script))
            .arg(format!("http://{to}{}", asking.path))
            .stderr(Stdio::piped());
        command
    }
}

impl Underway {
    /// Ends the run.
    pub(crate) fn end(self) -> Fallible<LoadSummary> {
        kill_process(Pid::from_child(&self.process), Signal::INT)?;
        read(&self.process.wait_with_output()?)
    }
}

/// Field lines as Lua for wrk.
fn headers(lines: &str) -> String {
    let fields = lines.lines().filter_map(|line| line.split_once(": "));
    fields.map(|(name, value)| format!("wrk.headers[\"{name}\"] = \"{value}\"\n")).collect()
}

fn read(output: &Output) -> Fallible<LoadSummary> {
    let printed = String::from_utf8_lossy(&output.stdout);
    let summary = load_summary::parse(&printed);
    summary.ok_or_else(|| format!("wrk: {}{}", printed, String::from_utf8_lossy(&output.stderr)).into())
}
