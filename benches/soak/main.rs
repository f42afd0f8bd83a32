//! `cargo bench --bench soak`: the proxy under everything at once, for minutes, and whether anything is left behind.
//!
//! Clients read hits and misses, upload, queue writes and purge; they leave in every phase of a request. Backends take
//! writes, refuse them, or are not there. The configuration is reloaded all the while. Then the load ends, and the
//! verdict is taken: no wrong byte, no unexpected answer, and memory, descriptors and gauges as they were.

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

/// What goes wrong here ends the program; a person reads why.
type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How often the configuration is reloaded, and a sample printed.
const RELOAD_EVERY: Duration = Duration::from_secs(3);
/// The share of the load after which caches are full and allocators warm: the end is compared with the rest after it.
const WARM: f64 = 0.3;

/// What the command line says.
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

/// Load by so many clients for so long, and reloads meanwhile. Returns what the proxy takes when it is over.
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
