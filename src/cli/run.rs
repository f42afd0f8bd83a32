//! `forebay run`: the proxy, until a signal ends it.
//!
//! SIGHUP reads the file again; SIGUSR1 changes nothing; SIGTERM and SIGINT drain, a second one stops at once.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use super::check::summary;
use super::{EXIT_FAILED, EXIT_USAGE, output};
use crate::config::plan::{Level, Plan};
use crate::config::problem::Problems;
use crate::config::{Checked, Source};
use crate::observe::{clock, events};
use crate::running::{self, Running, StartError};

/// How often a drain looks whether it is over.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Runs the proxy with this configuration.
#[must_use]
pub fn run(source: Source) -> ExitCode {
    let Checked { plan, warnings } = match source.check() {
        Ok(checked) => checked,
        Err(problems) => {
            output::complain(&problems.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let served = events::start(level(plan.log.level)).map_err(StartError::from).and_then(|_events| {
        raise_descriptor_limit();
        warn(&warnings);
        serve(&source, plan)
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format!("forebay: {error}\n"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn serve(source: &Source, plan: Plan) -> Result<(), StartError> {
    // The process is told of signals from here on, so that none is lost while it starts.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::listen()?
    };
    let shutdown_timeout = plan.server.shutdown_timeout;
    let summary = summary(&plan);
    let running = running::start(plan)?;
    for address in running.addresses() {
        tracing::info!("listening on http://{address}");
    }
    tracing::info!("{summary}");
    while runtime.block_on(signals.next()) == Asked::Reload {
        reload(source, &running);
    }
    tracing::info!("draining: {} connections, {shutdown_timeout:?} at most", running.gauges().connections);
    running.drain();
    let finished = runtime.block_on(async {
        tokio::select! {
            finished = drained(&running, shutdown_timeout) => finished,
            () = signals.end() => false,
        }
    });
    let left = running.gauges();
    if finished {
        tracing::info!("drained");
    } else {
        tracing::warn!(connections = left.connections, requests = left.in_flight, "stopped before all had finished");
    }
    Ok(())
}

async fn drained(running: &Running, limit: Duration) -> bool {
    let until = clock::mono() + limit;
    while !running.is_drained() {
        if clock::mono() >= until {
            return false;
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
    true
}

/// Tells the event log what is probably not meant in a configuration.
fn warn(warnings: &Problems) {
    if !warnings.is_empty() {
        tracing::warn!("the configuration is used, and may not do what it is meant to:\n{warnings}");
    }
}

fn reload(source: &Source, running: &Running) {
    if *source == Source::Stdin {
        tracing::error!("not reloaded, nothing has changed: the configuration came from standard input");
        return;
    }
    let Checked { plan, warnings } = match source.check() {
        Ok(checked) => checked,
        Err(problems) => {
            tracing::error!("not reloaded, nothing has changed:\n{problems}");
            return;
        }
    };
    warn(&warnings);
    let summary = summary(&plan);
    match running.reload(plan) {
        Ok(()) => tracing::info!("reloaded: {summary}"),
        Err(error) => tracing::error!("not reloaded, nothing has changed: {error}"),
    }
}

pub(super) fn level(level: Level) -> LevelFilter {
    match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    }
}

/// Every connection needs a descriptor: takes as many as the system lets us have.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Reload,
    End,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    /// Asks to open log files anew. There are none: what logs go to is not ours. Not to be ended by it is enough.
    _user: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _user: signal(SignalKind::user_defined1())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
        }
    }

    /// Waits for a signal that asks for the end.
    async fn end(&mut self) {
        while self.next().await == Asked::Reload {}
    }
}
