//! A running proxy: starts it, and gives the caller a handle to reload, drain and stop it.
//!
//! The handle sends commands to the control thread (`control`), over a bounded channel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::acme::Acme;
use crate::admin;
use crate::config::changes::Changes;
use crate::config::plan::Plan;
use crate::downstream::descriptors;
use crate::downstream::limit::ConnectionLimit;
use crate::telemetry::access_log::Writer;
use crate::telemetry::clock;
use crate::telemetry::counters::Counters;
use crate::telemetry::reload_log::ReloadLog;
use crate::telemetry::worker_telemetry::WorkerTelemetry;
use crate::upstream::resolver::{Resolver, System};
use crate::write_queue::WriteQueue;

mod control;
mod error;
mod gauges;
mod listeners;
pub mod preflight;

use self::control::{Control, OpenLog, Opened, Sockets, Started};
use self::listeners::Listeners;

pub use error::StartError;
pub use gauges::Gauges;
pub use listeners::Listening;

/// The capacity of the channel of commands to the control thread.
const COMMANDS_MAX: usize = 64;
/// How long [`Running::drain`] waits until all workers have begun to drain.
const DRAIN_BEGIN_MAX: Duration = Duration::from_secs(1);
/// How often [`Running::wait`] checks whether the drain is over.
const DRAIN_POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The handle of a running proxy. Dropping it stops the proxy at once.
#[derive(Debug)]
pub struct Running {
    control: mpsc::Sender<Control>,
    threads: Vec<JoinHandle<()>>,
    counters: Vec<Arc<Counters>>,
    writer: Writer,
    shutdown_timeout: Mutex<Duration>,
    admin: Option<SocketAddr>,
    write_queue: Option<Arc<WriteQueue>>,
    reloads: Arc<ReloadLog>,
}

/// Starts a proxy with a Plan. Returns when it accepts connections.
///
/// # Errors
/// When an address can't be listened on, a file can't be used, or the system has no threads left.
pub fn start(plan: Plan) -> Result<Running, StartError> {
    start_with(plan, Arc::new(System))
}

/// As [`start`], with a resolver for the names of backends other than the system's.
///
/// # Errors
/// As [`start`].
pub fn start_with(plan: Plan, resolver: Arc<dyn Resolver>) -> Result<Running, StartError> {
    let workers = plan.server.workers.get();
    let admin = plan.admin.as_ref().map(admin::open).transpose()?;
    if let Some(admin) = &admin {
        tracing::info!("the admin listener is at {admin}");
    }
    let acme = Arc::new(Acme::new(plan.server.state_dir.clone()));
    let clients = Listeners::new(Arc::clone(&acme)).prepare(&plan, workers)?;
    let writer = Writer::start(&plan.log.access_to).map_err(StartError::Log)?;
    let counters: Vec<Arc<Counters>> = (0..workers).map(|_| Arc::default()).collect();
    let shutdown_timeout = Mutex::new(plan.server.shutdown_timeout);
    let telemetry =
        counters.iter().map(|counters| WorkerTelemetry::new(Arc::clone(counters), writer.log(plan.log.access.clone())));
    let telemetry: Vec<WorkerTelemetry> = telemetry.collect();
    let (control, commands) = mpsc::channel(COMMANDS_MAX);
    let (ready, is_ready) = blocking::channel();
    let admin_address = admin.as_ref().and_then(admin::Opened::address);
    let sockets = Sockets { clients, admin };
    let descriptors = descriptors::raise();
    let limit = ConnectionLimit::new(descriptors::connections_max(plan.server.connections_max, descriptors));
    let log = OpenLog { writer: writer.clone(), target: plan.log.access_to.clone() };
    let reloads: Arc<ReloadLog> = Arc::default();
    let control_reloads = Arc::clone(&reloads);
    let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let opened = Opened { sockets, acme, telemetry, log, descriptors, limit, reloads: control_reloads };
        if let Err(error) = control::run(plan, resolver, opened, commands, &ready) {
            let _gone = ready.send(Err(StartError::Resources(error)));
        }
    })?;
    let mut running = Running {
        control,
        threads: vec![thread],
        counters,
        writer,
        shutdown_timeout,
        admin: admin_address,
        write_queue: None,
        reloads,
    };
    let Started { write_queue, rollout_counters } = is_ready.recv().unwrap_or(Err(StartError::Stopping))?;
    running.write_queue = write_queue;
    running.counters.push(rollout_counters);
    Ok(running)
}

impl Running {
    /// The TCP addresses of the client listeners, with the ports that the system chose for port 0.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening().into_iter().filter_map(|listening| listening.address).collect()
    }

    /// The client listeners, Unix sockets included.
    #[must_use]
    pub fn listening(&self) -> Vec<Listening> {
        let (answer, answered) = blocking::channel();
        let _stopping = self.control.blocking_send(Control::Listening(answer));
        answered.recv().unwrap_or_default()
    }

    /// The TCP address of the admin listener, with the port that the system chose for port 0; `None`: it has none.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Puts another Plan in force, and returns what differs. Requests in flight finish under the Plan that they began
    /// under; the shared state survives.
    ///
    /// # Errors
    /// When a new address can't be listened on, or a file can't be used; then nothing has changed.
    pub fn reload(&self, plan: Plan) -> Result<Changes, StartError> {
        let shutdown_timeout = plan.server.shutdown_timeout;
        let (answer, answered) = blocking::channel();
        let reload = Control::Reload(Box::new(plan), answer);
        self.control.blocking_send(reload).map_err(|_| StartError::Stopping)?;
        let changes = answered.recv().unwrap_or(Err(StartError::Stopping))?;
        *self.shutdown_timeout.lock() = shutdown_timeout;
        Ok(changes)
    }

    /// How long a drain may take: `server.shutdown_timeout` of the Plan in force.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        *self.shutdown_timeout.lock()
    }

    /// Opens the file of the access log again, after log rotation has moved it.
    pub fn reopen_log(&self) {
        self.writer.reopen();
    }

    /// Announces a drain: `/ready` answers 503 from now on. Returns how long to wait before [`Running::drain`]:
    /// `server.drain_delay`.
    #[must_use]
    pub fn announce_drain(&self) -> Duration {
        let (answer, delay) = blocking::channel();
        let _stopping = self.control.blocking_send(Control::AnnounceDrain(answer));
        delay.recv_timeout(DRAIN_BEGIN_MAX).unwrap_or_default()
    }

    /// Begins a drain: no more connections are accepted, requests in flight finish. Returns when all workers have begun,
    /// after 1 s at the latest.
    pub fn drain(&self) {
        let (begun, all_begun) = blocking::channel();
        let _stopping = self.control.blocking_send(Control::Drain(begun));
        let _closed_or_late = all_begun.recv_timeout(DRAIN_BEGIN_MAX);
    }

    /// Whether no client connection is left, and no queued write that can be sent now. Writes whose backend is not
    /// usable stay in the journal.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.gauges().connections == 0 && self.write_queue.as_ref().is_none_or(|queue| !queue.is_busy())
    }

    /// Waits until a drain is over, for `server.shutdown_timeout` at most, and stops.
    pub fn wait(self) {
        let until = clock::mono() + self.shutdown_timeout();
        while !self.is_drained() && clock::mono() < until {
            std::thread::sleep(DRAIN_POLL_INTERVAL);
        }
    }

    /// The current load.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let sum = |read: fn(&Counters) -> u64| {
            let sum: u64 = self.counters.iter().map(|counters| read(counters)).sum();
            usize::try_from(sum).unwrap_or(usize::MAX)
        };
        Gauges {
            connections: sum(|counters| counters.connections.get()),
            in_flight: sum(|counters| counters.exchanges.get()),
            backend_connections: sum(|counters| counters.backend_connections.get()),
            queued: sum(|counters| counters.queued.get()),
            following: sum(|counters| counters.following.get()),
            pending_writes: self.write_queue.as_ref().map_or(0, |queue| queue.pending()),
        }
    }

    /// The outcomes of reloads. The caller records them: a configuration that can't be read does not come as far as
    /// [`Running::reload`].
    #[must_use]
    pub fn reloads(&self) -> &ReloadLog {
        &self.reloads
    }

    /// The counters of each worker, and those of the mirrors.
    #[must_use]
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pending = self.write_queue.as_ref().map(|queue| queue.counts().pending);
        if let Some(pending) = pending.filter(|pending| *pending > 0) {
            tracing::warn!("journal: {pending} writes are left for the next start");
        }
        let _stopped = self.control.blocking_send(Control::Stop);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
        self.writer.finish();
    }
}
