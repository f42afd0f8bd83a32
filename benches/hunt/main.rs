//! `cargo bench --bench hunt`: checks that responses are never mixed up between clients, and never look complete when
//! they are not.
//!
//! Every request has a unique number in its target, a field and its body; the backend puts it into the response's head
//! and body. Clients write in random framing and pieces, use pipelines, and leave at random times. Backends answer in
//! random framing, truncate, reset, answer early, and send more than was requested. One seed determines everything
//! except the timing of threads.

mod ask;
mod client;
mod origin;
mod proxy;
mod tally;
mod wire;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tempfile::TempDir;

use origin::Kind;
use proxy::{Backends, Proxy};
use tally::Tally;

/// Errors end the program, and are reported to the user.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The interval of reloads and progress reports.
const RELOAD_EVERY: Duration = Duration::from_secs(5);
/// The number of faults that end the hunt early.
const FAULTS_MAX: u64 = 200;

/// The command line.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long it lasts at most, in seconds
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// After how many requests it is over
    #[arg(long, default_value_t = 1_000_000)]
    requests: u64,
    /// Clients at once
    #[arg(long, default_value_t = 16)]
    clients: u64,
    /// What all is drawn from; left out: a new one
    #[arg(long)]
    seed: Option<u64>,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("not hunted: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether no fault was found.
fn run(arguments: &Arguments) -> Fallible<bool> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let tally = Arc::new(Tally::default());
    let folder = TempDir::new()?;
    let socket = folder.path().join("backend.sock");
    let backends = Backends {
        good: origin::start_tcp(Kind::Sound, &tally)?,
        flaky: origin::start_tcp(Kind::Flaky, &tally)?,
        late: origin::start_tcp(Kind::Sound, &tally)?,
        unix: origin::start_unix(&socket, &tally)?,
    };
    let proxy = Proxy::start(folder, &backends)?;
    let clients: Vec<_> = (0..arguments.clients)
        .map(|index| {
            let (address, tally) = (proxy.address, Arc::clone(&tally));
            std::thread::spawn(move || client::run(address, seed.wrapping_add(index), &tally))
        })
        .collect();
    let begun = Instant::now();
    let mut reloaded = begun;
    let is_enough = || tally.requests() >= arguments.requests || tally.faulty() >= FAULTS_MAX;
    while begun.elapsed().as_secs() < arguments.seconds && !is_enough() {
        std::thread::sleep(Duration::from_millis(200));
        if reloaded.elapsed() >= RELOAD_EVERY {
            reloaded = Instant::now();
            proxy.reload()?;
            println!("{:>5} s  {} requests, {} faults", begun.elapsed().as_secs(), tally.requests(), tally.faulty());
        }
    }
    tally.end();
    for client in clients {
        client.join().map_err(|_| "a client has panicked")?;
    }
    proxy.judge_rest(&tally)?;
    println!("{tally}seed {seed}: {}", if tally.faulty() == 0 { "passed" } else { "failed" });
    Ok(tally.faulty() == 0)
}
