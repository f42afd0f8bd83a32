//! The command line of the benchmark.

use std::path::PathBuf;

use clap::Parser;

use crate::peers::Peer;
use crate::scale::Part;
use crate::works::Work;

/// Measures forebay beside nginx, HAProxy and Varnish on this machine. Without arguments: the short form, six or seven
/// minutes.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench versus --", disable_version_flag = true)]
pub(crate) struct Arguments {
    /// 5 rounds of 1 s each (the default)
    #[arg(long, conflicts_with = "long")]
    short: bool,
    /// 15 rounds of 2 s each: about half an hour
    #[arg(long)]
    long: bool,
    /// How many rounds
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: Option<u16>,
    /// How long a round takes for each proxy, in whole seconds
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: Option<u16>,
    /// As many workers as there are cores, and nothing pinned
    #[arg(long)]
    pub(crate) all_cores: bool,
    /// How the cost of a request grows with workers, backends, routes, what is cached, and connections: forebay alone
    #[arg(long, conflicts_with_all = ["all_cores", "peers"])]
    pub(crate) scale: bool,
    /// Only these works, by letter: a,b,c,d,e,f,a13,b13,i,log; with `--scale` only these parts:
    /// workers,backends,checks,routes,cache,connections,start
    #[arg(long, value_delimiter = ',', value_name = "WORKS", value_parser = WORKS_AND_PARTS)]
    only: Vec<String>,
    /// Only these peers, as users run them and with forebay's fields; the floor is the bare loop
    #[arg(long, value_delimiter = ',', value_name = "PEERS", value_parser = ["nginx", "haproxy", "varnish", "floor"])]
    peers: Vec<String>,
    /// What the machine is called in the results; else by its processor
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<String>,
    /// Where the folder with the results is made
    #[arg(long, value_name = "FOLDER", default_value = "benches/results")]
    pub(crate) results: PathBuf,
    /// What `cargo bench` adds by itself
    #[arg(long, hide = true)]
    pub(crate) bench: bool,
}

/// The values of `--only`.
const WORKS_AND_PARTS: [&str; 17] = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "a13",
    "b13",
    "i",
    "log",
    "workers",
    "backends",
    "checks",
    "routes",
    "cache",
    "connections",
    "start",
];

impl Arguments {
    /// The rounds of each workload. Fewer with `--scale`, because there is more to start and to fill.
    pub(crate) fn rounds(&self) -> usize {
        usize::from(self.rounds.unwrap_or(match (self.scale, self.long) {
            (false, true) => 15,
            (true, true) => 9,
            (false, false) => 5,
            (true, false) => 3,
        }))
    }

    /// The seconds of each round.
    pub(crate) fn seconds(&self) -> u64 {
        u64::from(self.seconds.unwrap_or(if self.long { 2 } else { 1 }))
    }

    /// The selected workloads.
    pub(crate) fn works(&self) -> Vec<Work> {
        Work::ALL.into_iter().filter(|work| self.wants(work.letter())).collect()
    }

    /// The selected parts of `--scale`.
    pub(crate) fn parts(&self) -> Vec<Part> {
        Part::ALL.into_iter().filter(|part| self.wants(part.name())).collect()
    }

    /// Whether idle connections are measured.
    pub(crate) fn wants_idle(&self) -> bool {
        self.wants("i")
    }

    /// The selected peers.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        let wanted = |peer: &Peer| self.peers.is_empty() || self.peers.iter().any(|name| name == peer.package());
        Peer::PEERS.into_iter().filter(wanted).collect()
    }

    fn wants(&self, letter: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|one| one == letter)
    }
}
