//! The required programs: their paths and versions, and how to install missing ones.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Fallible;
use crate::peers::Peer;

/// The programs required for the load and the processes, with their Debian packages.
const NEEDED: &[(&str, &str)] = &[("wrk", "wrk"), ("setpriv", "util-linux"), ("taskset", "util-linux")];

/// An installed program.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    /// Its path.
    pub(crate) path: PathBuf,
    /// Its version, in one line.
    pub(crate) version: String,
}

/// The programs of this machine.
pub(crate) struct Toolbox {
    /// The load generator.
    pub(crate) wrk: Tool,
    /// The proxies; forebay is the first.
    pub(crate) proxies: Vec<(Peer, Tool)>,
    /// The missing peers.
    pub(crate) missing: Vec<Peer>,
}

/// Finds all programs.
///
/// # Errors
/// Names what is missing, and the command that installs it.
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
            // It is reported once, for the peer with its usual fields.
            None if peer.sends_same_fields() => {}
            None => missing.push(*peer),
        }
    }
    let version = self::version(&wrk, "-v");
    Ok(Toolbox { wrk: Tool { path: wrk, version }, proxies, missing })
}

impl Toolbox {
    /// Whether there is a peer to compare with.
    ///
    /// # Errors
    /// The command that installs the peers.
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

/// Finds a program by name. Daemons may lie outside the `PATH` of ordinary users.
fn located(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The first line of its version output, from either stream.
fn version(program: &Path, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return "unknown".to_owned() };
    let both = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&both).lines().next().unwrap_or("unknown").trim().to_owned()
}
