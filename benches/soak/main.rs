//! `cargo bench --bench soak`: puts mixed load on the proxy for minutes, and checks that no resource leaks.
//!
//! Clients read hits and misses, upload, queue writes and purge; they leave in every phase of a request. Backends
//! accept writes, reject them, or are down. The configuration is reloaded continuously. After the load, the checks are:
//! no wrong byte, no unexpected response, and memory, descriptors and gauges as before.

mod client;
mod origin;
mod proxy;
mod verdict;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;

use client::Tally;
use proxy::Proxy;
use verdict::Sample;

/// Errors end the program, and are reported to the user.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The interval of reloads and samples.
const RELOAD_EVERY: Duration = Duration::from_secs(3);
/// The fraction of the load after which caches are full and allocators are warm: the reference for the end.
const WARM: f64 = 0.3;

/// The command line.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long the load lasts, in seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Clients at once
    #[arg(long, default_value_t = 12)]
    clients: usize,
    /// Cargo says so
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("not soaked: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the proxy has passed.
fn run(arguments: &Arguments) -> Fallible<bool> {
    let proxy = Proxy::start(origin::start()?)?;
    let tally = Arc::new(Tally::default());
    let length = Duration::from_secs(arguments.seconds);
    let warm = load(&proxy, &tally, (length.mul_f64(WARM), arguments.clients))?;
    println!("at rest  {warm}");
    let end = load(&proxy, &tally, (length.mul_f64(1.0 - WARM), arguments.clients))?;
    println!("at rest  {end}\n{tally}");
    let faults = verdict::faults(&warm, &end, &tally);
    faults.iter().for_each(|fault| println!("FAULT: {fault}"));
    println!("{}", if faults.is_empty() { "passed" } else { "failed" });
    Ok(faults.is_empty())
}

/// Runs this many clients for this time, with reloads. Returns the proxy's resources afterwards.
fn load(proxy: &Proxy, tally: &Arc<Tally>, (length, clients): (Duration, usize)) -> Fallible<Sample> {
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let (address, tally, is_over) = (proxy.address, Arc::clone(tally), Arc::clone(&is_over));
            std::thread::spawn(move || client::run(address, &tally, &is_over))
        })
        .collect();
    let begun = Instant::now();
    while begun.elapsed() < length {
        std::thread::sleep(RELOAD_EVERY);
        proxy.reload()?;
        println!("{:>5} s  {}; {} requests", begun.elapsed().as_secs(), proxy.sample()?, tally.requests());
    }
    is_over.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().map_err(|_| "a client has panicked")?;
    }
    proxy.at_rest()
}
