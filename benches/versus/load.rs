//! The load generator: `wrk`, told to print exact numbers.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::Fallible;
use crate::figures::load_summary::{self, LoadSummary};
use crate::process::Place;
use crate::works::Work;

/// Runs `wrk` at a place, for a time.
pub(crate) struct Load {
    program: PathBuf,
    place: Place,
    threads: usize,
    get_script: PathBuf,
    post_script: PathBuf,
}

impl Load {
    /// Writes the scripts into `folder`.
    pub(crate) fn new(program: &Path, place: Place, threads: usize, folder: &Path) -> Fallible<Self> {
        let (summary, post) = (include_str!("peers/load.lua"), include_str!("peers/post.lua"));
        let (get_script, post_script) = (folder.join("get.lua"), folder.join("post.lua"));
        fs::write(&get_script, summary)?;
        fs::write(&post_script, format!("{post}{summary}"))?;
        Ok(Self { program: program.to_owned(), place, threads, get_script, post_script })
    }

    /// One run against a proxy. `time` is taken in whole seconds: wrk knows no others.
    pub(crate) fn run(&self, work: Work, to: SocketAddr, time: Duration) -> Fallible<LoadSummary> {
        let script = if work == Work::Post { &self.post_script } else { &self.get_script };
        let mut command = self.place.command(&self.program);
        command
            .arg(format!("-t{}", self.threads))
            .arg(format!("-c{}", work.connections().max(self.threads)))
            .arg(format!("-d{}s", time.as_secs().max(1)))
            .arg("-s")
            .arg(script)
            .arg(format!("http://{to}{}", work.path()))
            .stderr(Stdio::piped());
        let output = command.output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let summary = load_summary::parse(&printed);
        summary.ok_or_else(|| format!("wrk: {}{}", printed, String::from_utf8_lossy(&output.stderr)).into())
    }
}
