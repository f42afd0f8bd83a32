//! `cargo bench --bench instructions`: how many instructions the proxy executes for one request, and whether that has
//! grown.
//!
//! For each work the proxy runs twice under callgrind, with some requests and with twice as many; the difference,
//! divided, is what one more request costs, and start and end cancel out. The counts are held against
//! `benches/instructions.toml`. Kernel, caches and waiting are not in them: they say what the code does, not how long
//! it takes.

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

/// How many requests the shorter of two runs carries.
const REQUESTS: u32 = 2_000;

/// How long a run may take. It takes seconds; a proxy that waits for something of its own at each request would not end.
const RUN_MAX: Duration = Duration::from_secs(120);

/// What goes wrong here ends the program; a text for people is all that is made of it.
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

/// The works named on the command line; all when none is. Cargo puts a flag of its own there.
fn wanted() -> Outcome<Vec<Work>> {
    let names: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let mut works = works::all()?;
    if let Some(name) = names.iter().find(|name| works.iter().all(|work| work.name != **name)) {
        return Err(format!("there is no work {name:?}").into());
    }
    works.retain(|work| names.is_empty() || names.iter().any(|name| work.name == *name));
    Ok(works)
}

/// What one more request costs.
fn measured(work: &Work) -> Outcome<u64> {
    let few = total(work, REQUESTS)?;
    let many = total(work, 2 * REQUESTS)?;
    many.checked_sub(few).map(|more| more / u64::from(REQUESTS)).ok_or_else(|| "more requests cost less".into())
}

/// What the process costs from start to end, with so many requests.
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

/// Where callgrind writes; the longer run's file stays, for `callgrind_annotate`.
fn profile_of(work: &Work) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{}", work.name))
}
