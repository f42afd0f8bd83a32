//! `cargo bench --bench instructions`: counts the instructions that the proxy executes for one request, and checks for
//! growth.
//!
//! For each workload the proxy runs twice under callgrind, with some requests and with twice as many; the difference,
//! divided, is the cost of one request without start and end. The counts are compared with `benches/instructions.toml`.
//! They exclude the kernel, caches and waiting: they measure the code, not its duration.

mod circumstances;
mod proxy;
mod record;
mod talk;
mod works;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use proxy::Proxy;
use record::{Record, Verdict};
use talk::Talk;
use works::Work;

/// The number of requests in the shorter run.
const REQUESTS: u32 = 2_000;

/// The longest duration of a run. It takes seconds; a proxy that waits in each request would not end.
const RUN_MAX: Duration = Duration::from_secs(120);

/// Errors end the program, and are only reported as text.
type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("not measured: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<ExitCode> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml");
    let here = circumstances::here()?;
    let mut record = Record::read(&file)?;
    let is_update = std::env::var_os("UPDATE").is_some();
    let differences = record.differences(&here);
    if !is_update && !differences.is_empty() {
        println!("Not measured: counts can't be compared, as benches/instructions.toml was written elsewhere.");
        differences.iter().for_each(|difference| println!("  {difference}"));
        return Ok(ExitCode::SUCCESS);
    }
    let mut has_failed = false;
    for work in wanted()? {
        let count = measured(&work)?;
        let verdict = record.verdict(work.name, count);
        println!("{:<12} {count:>7} instructions, {verdict}", work.name);
        record.set(work.name, count);
        has_failed |= !is_update && verdict.is_failure();
    }
    if is_update {
        record.write(&file, here)?;
    }
    if has_failed {
        eprintln!("{}", Verdict::REMEDY);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// The workloads named on the command line, or all. Cargo adds a flag of its own.
fn wanted() -> Outcome<Vec<Work>> {
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let mut works = works::all()?;
    if let Some(name) = names.iter().find(|name| works.iter().all(|work| work.name != **name)) {
        return Err(format!("there is no work {name:?}").into());
    }
    works.retain(|work| names.is_empty() || names.iter().any(|name| work.name == *name));
    Ok(works)
}

/// The cost of one more request.
fn measured(work: &Work) -> Outcome<u64> {
    let few = total(work, REQUESTS)?;
    let many = total(work, 2 * REQUESTS)?;
    many.checked_sub(few).map(|more| more / u64::from(REQUESTS)).ok_or_else(|| "more requests cost less".into())
}

/// The instructions of a complete process with this many requests.
fn total(work: &Work, requests: u32) -> Outcome<u64> {
    let profile = profile_of(work);
    let mut talk = Talk::open()?;
    let proxy = Proxy::start(&work.config(talk.backend()), &profile)?;
    talk.reach(&proxy)?;
    let begun = Instant::now();
    for nth in 0..requests {
        if begun.elapsed() > RUN_MAX {
            return Err(format!("{}: {nth} requests took more than {RUN_MAX:?}", work.name).into());
        }
        talk.exchange(&proxy, work, nth)?;
    }
    talk.hang_up();
    proxy.ended()?;
    proxy::instructions(&profile)
}

/// The output file of callgrind; that of the longer run is kept for `callgrind_annotate`.
fn profile_of(work: &Work) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{}", work.name))
}
