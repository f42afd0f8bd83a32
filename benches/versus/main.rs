//! `cargo bench --bench versus`: compares forebay with nginx, HAProxy and Varnish on the user's machine.
//!
//! Finds the peers, starts each with its own configurations (`peers/`), checks that each performs its workload,
//! measures them and a bare loop (`floor`) in turns, and writes tables, a chart and all configurations to
//! `benches/results/`. `benches/README.md` explains the figures.

mod arguments;
mod backend;
mod bench;
mod chart;
mod check;
mod client;
mod figures;
mod findings;
mod floor;
mod idle;
mod interrupt;
mod load;
mod machine;
mod peers;
mod process;
mod report;
mod rounds;
mod scale;
mod tools;
mod works;

use std::env;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::arguments::Arguments;
use crate::backend::{Backend, Reach};
use crate::bench::Bench;
use crate::figures::{calendar, text};
use crate::findings::ComparisonReport;
use crate::load::Load;
use crate::machine::Machine;
use crate::peers::Setting;
use crate::process::Place;
use crate::report::Circumstances;
use crate::rounds::Course;
use crate::scale::Pace;
use crate::tools::Toolbox;

/// Errors are reported to the user.
pub(crate) type Fallible<T> = Result<T, Box<dyn Error>>;

/// The most results of one machine and day.
const RESULTS_A_DAY_MAX: usize = 1_000;

fn main() -> ExitCode {
    let outcome = match env::args().nth(1).as_deref() {
        Some(backend::ARGUMENT) => backend::serve(),
        Some(floor::ARGUMENT) => floor::serve(),
        // Programs that look for tests start it like this; it has none.
        None | Some("--list") => {
            eprintln!("`cargo bench --bench versus` measures; nothing was done now");
            Ok(())
        }
        Some(_) => begin(&Arguments::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn begin(arguments: &Arguments) -> Fallible<()> {
    let peers = if arguments.scale { Vec::new() } else { arguments.peers() };
    let toolbox = tools::find(&peers)?;
    interrupt::listen()?;
    let files_max = raise_file_limit();
    let machine = Machine::here();
    if arguments.scale {
        scale(arguments, toolbox, machine, files_max)
    } else {
        compare(arguments, toolbox, machine, files_max)
    }
}

/// The ordinary benchmark: forebay and its peers.
fn compare(arguments: &Arguments, toolbox: Toolbox, machine: Machine, files_max: Option<u64>) -> Fallible<()> {
    toolbox.has_a_peer()?;
    let (proxy_place, other_place) = machine.places(arguments.all_cores);
    let workers = if arguments.all_cores { machine.cores.len() } else { 1 };
    let pinned = proxy_place != Place::Anywhere;
    announce(&toolbox, &machine, pinned);

    let folder = tempfile::Builder::new().prefix("versus-").tempdir()?;
    let in_memory = tempfile::Builder::new().prefix("versus-").tempdir_in("/dev/shm");
    let memory_folder = in_memory.as_ref().map_or(folder.path(), tempfile::TempDir::path).to_owned();
    let backend = Backend::start(&other_place, Reach::One)?;
    let load = Load::new(&toolbox.wrk.path, other_place, workers, folder.path())?;
    let setting = Setting {
        folder: folder.path().to_owned(),
        memory_folder,
        backend: backend.address(),
        place: proxy_place,
        workers,
    };
    let course = Course {
        load: &load,
        backend: &backend,
        rounds: arguments.rounds(),
        time: Duration::from_secs(arguments.seconds()),
        go_on: &interrupt::go_on,
    };
    let mut bench = Bench {
        toolbox: &toolbox,
        setting: &setting,
        course: &course,
        files_max,
        found: ComparisonReport::default(),
        configurations: Vec::new(),
    };
    bench.run(arguments)?;
    let circumstances = circumstances(arguments, &toolbox, machine, (workers, pinned))?;
    publish(arguments, &circumstances, &bench.found, &bench.configurations)
}

/// The growth of costs: forebay alone.
fn scale(arguments: &Arguments, toolbox: Toolbox, machine: Machine, files_max: Option<u64>) -> Fallible<()> {
    let parts = arguments.parts();
    if parts.is_empty() {
        return Err("`--only` names no part of `--scale`".into());
    }
    let pinned = machine.places(false).0 != Place::Anywhere;
    announce(&toolbox, &machine, pinned);
    let folder = tempfile::Builder::new().prefix("versus-").tempdir()?;
    let time = Duration::from_secs(arguments.seconds());
    let pace = Pace { rounds: arguments.rounds(), time, files_max };
    let growth = scale::run(&parts, &toolbox, &machine, folder.path(), pace)?;
    let circumstances = circumstances(arguments, &toolbox, machine, (1, pinned))?;
    let folder = results_folder(arguments, &circumstances, "scale.md")?;
    fs::write(folder.join("scale.md"), scale::report::report(&circumstances, &growth, files_max))?;
    println!("{}\nwritten to {}", scale::report::tables(&growth), folder.display());
    Ok(())
}

fn circumstances(
    arguments: &Arguments,
    toolbox: &Toolbox,
    machine: Machine,
    (workers, pinned): (usize, bool),
) -> Fallible<Circumstances> {
    Ok(Circumstances {
        date: calendar::date(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?),
        versions: versions(toolbox),
        arguments: env::args().skip(1).filter(|argument| argument != "--bench").collect::<Vec<_>>().join(" "),
        rounds: arguments.rounds(),
        seconds: arguments.seconds(),
        workers,
        pinned,
        machine,
    })
}

/// Prints what will be measured, and how long it takes.
fn announce(toolbox: &Toolbox, machine: &Machine, pinned: bool) {
    eprintln!("{}; {}", machine.short(), if pinned { "one core for each proxy" } else { "nothing is pinned" });
    if machine.cores.len() < 2 {
        eprintln!(
            "There is one core only: the load generator takes its time from the proxies. Take no figure for more."
        );
    }
    for (name, version) in versions(toolbox) {
        eprintln!("  {name}: {version}");
    }
    for peer in &toolbox.missing {
        eprintln!("  {}: not found; {}", peer.name(), tools::install(&[peer.package()]));
    }
}

fn versions(toolbox: &Toolbox) -> Vec<(String, String)> {
    let once = toolbox.proxies.iter().filter(|(peer, _)| !peer.sends_same_fields());
    let proxies = once.map(|(peer, tool)| (peer.name().to_owned(), tool.version.clone()));
    proxies.chain([("wrk".to_owned(), toolbox.wrk.version.clone())]).collect()
}

/// Prints the tables and writes the results folder.
fn publish(
    arguments: &Arguments,
    circumstances: &Circumstances,
    found: &ComparisonReport,
    configurations: &[(String, String)],
) -> Fallible<()> {
    let folder = results_folder(arguments, circumstances, "report.md")?;
    fs::write(folder.join("report.md"), report::report(circumstances, found, configurations))?;
    let title = format!("Side by side, {}, {}", circumstances.date, circumstances.machine.short());
    fs::write(folder.join("chart.svg"), chart::chart(&title, found))?;
    for (name, configuration) in configurations {
        fs::write(folder.join(name), configuration)?;
    }
    println!("{}written to {}", report::tables(found), folder.display());
    Ok(())
}

/// The folder for this day and machine, with a number if a report exists already, so that no result is overwritten.
fn results_folder(arguments: &Arguments, circumstances: &Circumstances, report: &str) -> Fallible<PathBuf> {
    let machine = arguments.machine.clone().unwrap_or_else(|| circumstances.machine.short());
    let name = format!("{}-{}", circumstances.date, text::slug(&machine));
    let numbered = (2..RESULTS_A_DAY_MAX).map(|number| format!("{name}-{number}"));
    for name in std::iter::once(name.clone()).chain(numbered) {
        let folder = arguments.results.join(name);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        if !folder.join(report).exists() {
            return Ok(folder);
        }
    }
    Err("too many results of one day".into())
}

/// Raises the limit of open files of this process and its children to the maximum; returns it, `None` for no limit.
fn raise_file_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}
