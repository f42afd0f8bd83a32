//! Measures how the cost of a request grows with workers, backends, routes, stored responses and connections.
//!
//! Runs forebay alone. The sizes take turns, so that ratios are computed within a round. `rounds` in this folder
//! defines the figures; the workloads and peers of the ordinary benchmark are separate.

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

/// A part that can be measured separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// One worker, and one per core.
    Workers,
    /// Backends in one upstream.
    Backends,
    /// Health checks of ten thousand backends, without requests.
    Checks,
    /// Routes.
    Routes,
    /// Stored responses, and eviction.
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

    /// Its name on the command line.
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

/// The results.
#[derive(Default)]
pub(crate) struct ScaleReport {
    /// The costs of requests.
    pub(crate) rows: Vec<Row>,
    /// The filled caches.
    pub(crate) filled: Vec<Filled>,
    /// The costs of health checks.
    pub(crate) checked: Vec<Checked>,
    /// Starts and reloads.
    pub(crate) lives: Vec<Life>,
    /// What could not be measured, or only at a smaller size.
    pub(crate) notes: Vec<String>,
}

/// The parameters of a measurement.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// The rounds of each row.
    pub(crate) rounds: usize,
    /// The duration of each.
    pub(crate) time: Duration,
    /// The limit on open files per process.
    pub(crate) files_max: Option<u64>,
}

/// Measures these parts.
pub(crate) fn run(
    parts: &[Part],
    toolbox: &Toolbox,
    machine: &Machine,
    folder: &Path,
    pace: Pace,
) -> Fallible<ScaleReport> {
    let mut growth = ScaleReport::default();
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
