//! `forebay run`: runs the proxy until a signal ends it.
//!
//! SIGHUP reloads the configuration, SIGUSR1 reopens log files. SIGTERM, SIGINT and SIGQUIT drain; a second one of them
//! stops at once. SIGUSR2 is ignored.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use super::check::summary;
use super::{EXIT_FAILED, EXIT_USAGE, output};
use crate::config::changes::Changes;
use crate::config::plan::{Level, LogTarget, Plan};
use crate::config::problem::Problems;
use crate::config::{Checked, Source};
use crate::supervisor::{self, Running, StartError};
use crate::telemetry::events::Events;
use crate::telemetry::sink::Sink;
use crate::telemetry::{clock, events};

/// How often a drain checks whether it is over.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Runs the proxy with this configuration.
#[must_use]
pub(crate) fn run(source: Source) -> ExitCode {
    let Checked { plan, warnings } = match source.check() {
        Ok(checked) => checked,
        Err(problems) => {
            output::print_error(&problems.to_string());
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let served =
        events::start(level(plan.log.level), &plan.log.events_to).map_err(StartError::Log).and_then(|events| {
            warn(&warnings);
            serve(&source, plan, events)
        });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::print_error(&format!("forebay: {error}\n"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn serve(source: &Source, plan: Plan, events: Events) -> Result<(), StartError> {
    // Before the start, so that a signal during the start is not lost.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::listen()?
    };
    let summary = summary(&plan);
    let events_to = plan.log.events_to.clone();
    let mut process = Process { running: supervisor::start(plan)?, events, events_to };
    for listening in process.running.listening() {
        tracing::info!("listening on {}", listening.url);
    }
    tracing::info!("{summary}");
    loop {
        match runtime.block_on(signals.next()) {
            SignalAction::Reload => process.reload(source),
            SignalAction::Reopen => process.reopen_logs(),
            SignalAction::Upgrade => tracing::info!("SIGUSR2 is ignored: this version can't be replaced while it runs"),
            SignalAction::End => break,
        }
    }
    let finished = process.drain(&runtime, &mut signals);
    let left = process.running.gauges();
    if finished {
        tracing::info!("drained");
    } else {
        tracing::warn!(
            connections = left.connections,
            requests = left.in_flight,
            "stopped before all requests had finished"
        );
    }
    Ok(())
}

/// A running proxy and its event log.
struct Process {
    // Dropped before `events`, so that the events of its end are written.
    running: Running,
    events: Events,
    events_to: LogTarget,
}

impl Process {
    /// Drains: accepts no more connections, and waits for those that are open. `false`: some were still open after
    /// `server.shutdown_timeout`, or a second signal came.
    fn drain(&self, runtime: &Runtime, signals: &mut Signals) -> bool {
        let limit = self.running.shutdown_timeout();
        let delay = self.running.announce_drain();
        if !delay.is_zero() {
            tracing::info!("draining in {delay:?}: until then connections are accepted, and /ready answers 503");
            let is_over = runtime.block_on(async {
                tokio::select! {
                    () = tokio::time::sleep(delay) => true,
                    () = signals.end(self) => false,
                }
            });
            if !is_over {
                return false;
            }
        }
        tracing::info!("draining: {} connections, {limit:?} at most", self.running.gauges().connections);
        self.running.drain();
        runtime.block_on(async {
            tokio::select! {
                finished = drained(&self.running, limit) => finished,
                () = signals.end(self) => false,
            }
        })
    }

    fn reopen_logs(&self) {
        self.running.reopen_log();
        self.events.reopen();
        tracing::info!("log files are opened again");
    }

    fn reload(&mut self, source: &Source) {
        if *source == Source::Stdin {
            tracing::error!("not reloaded, nothing has changed: the configuration came from standard input");
            return;
        }
        let Checked { plan, warnings } = match source.check() {
            Ok(checked) => checked,
            Err(problems) => {
                self.running.reloads().failed(&problems.to_string());
                tracing::error!("not reloaded, nothing has changed:\n{problems}");
                return;
            }
        };
        let summary = summary(&plan);
        match self.adopt(plan) {
            Ok(changes) => {
                warn(&warnings);
                self.running.reloads().succeeded(&format!("{summary}; {changes}"));
                tracing::info!("reloaded: {summary}; {changes}");
                if let Some(waiting) = changes.next_start() {
                    tracing::warn!("takes effect at the next start: {waiting}");
                }
            }
            Err(error) => {
                self.running.reloads().failed(&error.to_string());
                tracing::error!("not reloaded, nothing has changed: {error}");
            }
        }
    }

    fn adopt(&mut self, plan: Plan) -> Result<Changes, StartError> {
        let (events_to, level) = (plan.log.events_to.clone(), level(plan.log.level));
        let target = if events_to == self.events_to { None } else { Some(Sink::open(&events_to)) };
        let target = target.transpose().map_err(StartError::Log)?;
        let changes = self.running.reload(plan)?;
        self.events.set_level(level);
        if let Some(target) = target {
            self.events.set_target(target);
            self.events_to = events_to;
        }
        Ok(changes)
    }
}

async fn drained(running: &Running, limit: Duration) -> bool {
    let until = clock::mono() + limit;
    while !running.is_drained() {
        if clock::mono() >= until {
            return false;
        }
        tokio::time::sleep(DRAIN_POLL_INTERVAL).await;
    }
    true
}

/// Logs the warnings of a configuration.
fn warn(warnings: &Problems) {
    if !warnings.is_empty() {
        tracing::warn!("the configuration is used, with warnings:\n{warnings}");
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

/// What to do on a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SignalAction {
    Reload,
    Reopen,
    Upgrade,
    End,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    user_1: Signal,
    user_2: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.hangup.recv() => SignalAction::Reload,
            _ = self.terminate.recv() => SignalAction::End,
            _ = self.interrupt.recv() => SignalAction::End,
            _ = self.quit.recv() => SignalAction::End,
            _ = self.user_1.recv() => SignalAction::Reopen,
            _ = self.user_2.recv() => SignalAction::Upgrade,
        }
    }

    /// Waits for a signal that ends the process. Log files are still reopened; the configuration is not reloaded.
    async fn end(&mut self, process: &Process) {
        loop {
            match self.next().await {
                SignalAction::Reload => tracing::warn!("not reloaded: the proxy is stopping"),
                SignalAction::Reopen => process.reopen_logs(),
                SignalAction::Upgrade => {}
                SignalAction::End => return,
            }
        }
    }
}
