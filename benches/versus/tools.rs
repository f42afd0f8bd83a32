//! The programs that the benchmark needs: where they are, their versions, and how to get those that are missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fallible;
use crate::peers::Peer;

/// What runs the load and the processes; without these nothing can be measured: program and Debian package.
const NEEDED: &[(&str, &str)] = &[("wrk", "wrk"), ("setpriv", "util-linux"), ("taskset", "util-linux")];

/// A program that was found.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What it says of its version, in one line.
    pub(crate) version: String,
}

/// What this machine has.
pub(crate) struct Toolbox {
    /// The load generator.
    pub(crate) wrk: Tool,
    /// The proxies; forebay is the first.
    pub(crate) proxies: Vec<(Peer, Tool)>,
    /// The peers that are not there.
    pub(crate) missing: Vec<Peer>,
}

/// Looks for everything.
///
/// # Errors
/// Says what is missing and the command that installs it.
pub(crate) fn find(wanted: &[Peer]) -> Fallible<Toolbox> {
    let lacking: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| located(program).is_none()).map(|(_, package)| *package).collect();
    let wrk = located("wrk").filter(|_| lacking.is_empty());
    let wrk = wrk.ok_or_else(|| format!("missing; get it with\n    {}", install(&lacking)))?;
    let forebay = PathBuf::from(env!("CARGO_BIN_EXE_forebay"));
    let version = version(&forebay, "--version");
    let mut proxies = vec![(Peer::Forebay, Tool { path: forebay, version })];
    let mut missing = Vec::new();
    for peer in wanted {
        if *peer == Peer::Floor {
            let version = format!("of {}", env!("CARGO_PKG_VERSION"));
            proxies.push((*peer, Tool { path: env::current_exe()?, version }));
            continue;
        }
        match located(peer.program()) {
            Some(path) => proxies.push((*peer, Tool { version: self::version(&path, peer.version_flag()), path })),
            // It is said once, of the peer as users run it.
            None if peer.sends_same_fields() => {}
            None => missing.push(*peer),
        }
    }
    let version = self::version(&wrk, "-v");
    Ok(Toolbox { wrk: Tool { path: wrk, version }, proxies, missing })
}

impl Toolbox {
    /// Whether there is anything to compare with.
    ///
    /// # Errors
    /// Says the command that installs the peers.
    pub(crate) fn has_a_peer(&self) -> Fallible<()> {
        if self.proxies.iter().any(|(peer, _)| *peer != Peer::Forebay) {
            return Ok(());
        }
        let packages: Vec<&str> = self.missing.iter().map(|peer| peer.package()).collect();
        Err(format!("there is no peer to measure against; get them with\n    {}", install(&packages)).into())
    }
}

/// The command that installs Debian packages.
pub(crate) fn install(packages: &[&str]) -> String {
    let mut names = packages.to_vec();
    names.sort_unstable();
    names.dedup();
    format!("apt-get install --no-install-recommends {}", names.join(" "))
}

/// A program by its name. Daemons lie where the `PATH` of ordinary users does not lead.
fn located(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The first line that it prints of itself, on whichever stream.
fn version(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return "unknown".to_owned() };
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&both).lines().next().unwrap_or("unknown").trim().to_owned()
}
