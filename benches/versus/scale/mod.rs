//! How the cost of a request grows: with workers, with backends, routes, stored answers and connections.
//!
//! Forebay alone, each size of a thing beside the others in turns, so that ratios are taken within a round. What the
//! figures of a round are is said in `rounds` here; the works and peers of the ordinary benchmark are not touched.

pub(crate) mod fill;
pub(crate) mod life;
pub(crate) mod parts;
pub(crate) mod report;
pub(crate) mod rounds;
pub(crate) mod stage;

use std::path::Path;
use std::time::Duration;

use crate::Fallible;
use crate::interrupt;
use crate::machine::Machine;
use crate::scale::fill::Filled;
use crate::scale::life::{Checked, Life};
use crate::scale::rounds::Row;
use crate::scale::stage::{Crew, Stage};
use crate::tools::Toolbox;

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// One worker, and as many as cores.
    Workers,
    /// Backends in one upstream.
    Backends,
    /// Ten thousand backends checked, and no requests.
    Checks,
    /// Routes.
    Routes,
    /// Stored answers, and evicting them.
    Cache,
    /// Busy connections.
    Connections,
    /// Starting and reloading.
    Start,
}

impl Part {
    /// All, in the order of the report.
    pub(crate) const ALL: [Self; 7] =
        [Self::Workers, Self::Backends, Self::Checks, Self::Routes, Self::Cache, Self::Connections, Self::Start];

    /// What it is called on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Backends => "backends",
            Self::Checks => "checks",
            Self::Routes => "routes",
            Self::Cache => "cache",
            Self::Connections => "connections",
            Self::Start => "start",
        }
    }
}

/// What was found.
#[derive(Default)]
pub(crate) struct StreamingContent {
    /// What a request costs.
    pub(crate) rows: Vec<Row>,
    /// Caches that were filled.
    pub(crate) filled: Vec<Filled>,
    /// What checks cost by themselves.
    pub(crate) checked: Vec<Checked>,
    /// Starts and reloads.
    pub(crate) lives: Vec<Life>,
    /// What could not be measured, or not as large as it should be.
    pub(crate) notes: Vec<String>,
}

/// How is measured.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Rounds of each row.
    pub(crate) rounds: usize,
    /// Seconds of each.
    pub(crate) time: Duration,
    /// The most files that a process may open.
    pub(crate) files_max: Option<u64>,
}

/// Measures these parts.
pub(crate) fn run(
    parts: &[Part],
    toolbox: &Toolbox,
    machine: &Machine,
    folder: &Path,
    pace: Pace,
) -> Fallible<StreamingContent> {
    let mut growth = StreamingContent::default();
    let (pinned, beside) = machine.places(false);
    let crew = Crew { proxy: pinned, beside, threads: 1 };
    let stage = Stage::open(toolbox, folder, crew, pace)?;
    if let Some(reason) = stage.no_many_addresses() {
        growth
            .notes
            .push(format!("no row with more than one backend: loopback can't be listened on as a whole ({reason})"));
    }
    for part in parts {
        eprint!("{} ", part.name());
        let outcome = match part {
            Part::Workers => parts::workers(toolbox, machine, folder, pace, &mut growth),
            Part::Backends => parts::backends(&stage, &mut growth),
            Part::Checks => life::checks(&stage, &mut growth),
            Part::Routes => parts::routes(&stage, &mut growth),
            Part::Cache => parts::cache(&stage, &mut growth),
            Part::Connections => parts::connections(&stage, &mut growth),
            Part::Start => life::starts(&stage, &mut growth),
        };
        interrupt::go_on()?;
        if let Err(reason) = outcome {
            growth.notes.push(format!("{}: ended early: {reason}", part.name()));
        }
        eprintln!();
    }
    Ok(growth)
}
