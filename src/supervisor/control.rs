//! The control thread: owns the `SharedState`, starts the workers, and puts each new Plan in force.
//!
//! It runs the active checks, the admin listener, the sweep of the cache, the canaries and the sender of queued writes,
//! away from the workers, which answer requests. It sends commands to each worker over a bounded channel.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::error::StartError;
use super::listeners::{Listeners, Listening, New, Prepared};
use crate::acme::{Acme, manager};
use crate::admin;
use crate::admin_service::AdminService;
use crate::config::changes::Changes;
use crate::config::plan::{LogTarget, Plan};
use crate::config::settings::Settings;
use crate::downstream::descriptors;
use crate::downstream::limit::ConnectionLimit;
use crate::downstream::worker::{self, Begun, Command};
use crate::proxy::flush::ToBackends;
use crate::proxy::worker_state::Snapshot;
use crate::rollout::controller;
use crate::shared_state::SharedState;
use crate::telemetry::access_log::Writer;
use crate::telemetry::counters::Counters;
use crate::telemetry::reload_log::ReloadLog;
use crate::telemetry::sink::Sink;
use crate::telemetry::window;
use crate::telemetry::worker_telemetry::WorkerTelemetry;
use crate::upstream::resolve;
use crate::upstream::resolver::Resolver;
use crate::write_queue::{WriteQueue, flush};

/// The capacity of the channel of commands to a worker.
const COMMANDS_MAX: usize = 64;
/// How long the control thread waits at its end for blocking tasks of its runtime.
const BLOCKING_TASKS_MAX: Duration = Duration::from_secs(1);
/// How often the files of certificates are checked for changes.
const CERTIFICATE_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A command to the control thread.
pub(super) enum Control {
    Reload(Box<Plan>, blocking::Sender<Result<Changes, StartError>>),
    Listening(blocking::Sender<Vec<Listening>>),
    AnnounceDrain(blocking::Sender<Duration>),
    Drain(Begun),
    Stop,
}

/// What is opened before the control thread starts, so that its caller gets the error.
pub(super) struct Opened {
    pub(super) sockets: Sockets,
    /// Certificates that renew themselves.
    pub(super) acme: Arc<Acme>,
    /// One for each worker.
    pub(super) telemetry: Vec<WorkerTelemetry>,
    pub(super) log: OpenLog,
    /// The limit of open file descriptors.
    pub(super) descriptors: u64,
    pub(super) limit: Arc<ConnectionLimit>,
    pub(super) reloads: Arc<ReloadLog>,
}

/// The access log's writer, and the target that it has open.
pub(super) struct OpenLog {
    pub(super) writer: Writer,
    pub(super) target: LogTarget,
}

/// The listening sockets.
pub(super) struct Sockets {
    pub(super) clients: Prepared,
    pub(super) admin: Option<admin::Opened>,
}

/// What the control thread has created and the handle needs.
pub(super) struct Started {
    pub(super) write_queue: Option<Arc<WriteQueue>>,
    pub(super) rollout_counters: Arc<Counters>,
}

/// What the control thread sends once it has started.
type Ready = Result<Started, StartError>;

/// Runs the control thread until a command stops it or its sender is gone. Sends on `ready` once the proxy accepts
/// connections, or why it does not.
///
/// # Errors
/// When a runtime or a thread can't be started.
pub(super) fn run(
    plan: Plan,
    resolver: Arc<dyn Resolver>,
    opened: Opened,
    commands: mpsc::Receiver<Control>,
    ready: &blocking::Sender<Ready>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    let supervisor = runtime.block_on(async {
        let mut shared_state = match SharedState::new(&plan, resolver, Arc::clone(&opened.acme.published)) {
            Ok(shared_state) => shared_state,
            Err(error) => return Ok(Err(StartError::Begin(error))),
        };
        let snapshot = shared_state.adopt(plan)?;
        Supervisor::start(shared_state, &snapshot, opened).await.map(Ok)
    })?;
    let mut supervisor = match supervisor {
        Ok(supervisor) => supervisor,
        Err(error) => {
            let _gone = ready.send(Err(error));
            return Ok(());
        }
    };
    let _gone = ready.send(Ok(Started {
        write_queue: supervisor.shared_state.write_queue().cloned(),
        rollout_counters: Arc::clone(supervisor.shared_state.rollout().counters()),
    }));
    runtime.block_on(supervisor.run(commands));
    supervisor.stop(runtime);
    Ok(())
}

impl OpenLog {
    /// Opens a new target; `None` if it is the one that is open.
    fn open(&self, target: &LogTarget) -> io::Result<Option<Sink>> {
        (*target != self.target).then(|| Sink::open(target)).transpose()
    }
}

/// The state of the control thread.
struct Supervisor {
    shared_state: SharedState,
    /// Sends queued writes to their backends.
    backends: Rc<ToBackends>,
    workers: Vec<mpsc::Sender<Command>>,
    threads: Vec<JoinHandle<()>>,
    listeners: Listeners,
    /// The Plan in force.
    snapshot: Arc<Snapshot>,
    /// The settings that the process was started with: some keys take effect only at a start.
    started: Settings,
    admin_service: Arc<AdminService>,
    log: OpenLog,
    /// The limit of open file descriptors.
    descriptors: u64,
    limit: Arc<ConnectionLimit>,
}

impl Supervisor {
    /// Starts the workers and the tasks of the control thread, then opens the listeners to clients.
    async fn start(shared_state: SharedState, snapshot: &Arc<Snapshot>, opened: Opened) -> io::Result<Self> {
        let Opened { sockets, acme, telemetry, log, descriptors, limit, reloads } = opened;
        let backends: Rc<ToBackends> = Rc::default();
        let rollout = Arc::clone(shared_state.rollout());
        let counters = telemetry.iter().map(|telemetry| &telemetry.counters);
        let counters = counters.chain([backends.counters(), rollout.counters()]).map(Arc::clone).collect();
        let (snapshot_in_force, acme_of_admin) = (Arc::clone(snapshot), Arc::clone(&acme));
        let admin_service =
            AdminService::new(snapshot_in_force, counters, Arc::clone(&rollout), reloads, acme_of_admin);
        let admin_service = Arc::new(admin_service);
        let mut supervisor = Self {
            shared_state,
            backends,
            admin_service,
            workers: Vec::new(),
            threads: Vec::new(),
            listeners: Listeners::new(Arc::clone(&acme)),
            snapshot: Arc::clone(snapshot),
            started: snapshot.plan.settings.clone(),
            log,
            descriptors,
            limit,
        };
        supervisor.start_workers(telemetry)?;
        if let Some(admin) = sockets.admin {
            tokio::task::spawn_local(serve_admin(admin, Arc::clone(&supervisor.admin_service)));
            tokio::task::spawn_local(tick(Arc::clone(&supervisor.admin_service)));
        }
        resolve::first(&snapshot.groups).await;
        supervisor.backends.adopt(snapshot);
        if let Some(write_queue) = supervisor.shared_state.write_queue() {
            tokio::task::spawn_local(flush::run(Arc::clone(write_queue), Rc::new(Rc::clone(&supervisor.backends))));
            let backends = Rc::clone(&supervisor.backends);
            tokio::task::spawn_local(async move { backends.tidy().await });
        }
        tokio::task::spawn_local(controller::run(Arc::clone(&rollout)));
        tokio::task::spawn_local(async move { rollout.reports().run().await });
        supervisor.listen(sockets.clients).await;
        tokio::task::spawn_local(manager::run(acme));
        supervisor.admin_service.set_ready();
        Ok(supervisor)
    }

    fn start_workers(&mut self, telemetry: Vec<WorkerTelemetry>) -> io::Result<()> {
        for (index, telemetry) in telemetry.into_iter().enumerate() {
            let (sender, commands) = mpsc::channel(COMMANDS_MAX);
            let (snapshot, limit) = (Arc::clone(&self.snapshot), Arc::clone(&self.limit));
            let run = move || {
                if let Err(error) = worker::run(snapshot, telemetry, limit, commands) {
                    tracing::error!("a worker has ended: {error}");
                }
            };
            self.threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(run)?);
            self.workers.push(sender);
        }
        Ok(())
    }

    async fn listen(&mut self, opened: Prepared) {
        for New { listener, sockets } in self.listeners.add(opened) {
            for (worker, socket) in self.workers.iter().zip(sockets) {
                let _gone = worker.send(Command::Listen(Arc::clone(&listener), socket)).await;
            }
        }
        self.admin_service.set_listeners(self.listeners.all());
    }

    /// Executes commands until one stops the proxy, and polls the files of certificates.
    async fn run(&mut self, mut commands: mpsc::Receiver<Control>) {
        let mut certificate_polls = tokio::time::interval(CERTIFICATE_POLL_INTERVAL);
        certificate_polls.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                _due = certificate_polls.tick() => {
                    self.listeners.check_certificates();
                    self.admin_service.set_certificates(self.listeners.certificates());
                    continue;
                }
            };
            let Some(command) = command else { return };
            match command {
                Control::Reload(plan, answer) => {
                    let _gone = answer.send(self.reload(*plan).await);
                }
                Control::Listening(answer) => {
                    let _gone = answer.send(self.listeners.listening());
                }
                Control::AnnounceDrain(answer) => {
                    self.admin_service.set_draining();
                    let _gone = answer.send(self.snapshot.plan.server.drain_delay);
                }
                Control::Drain(begun) => self.drain(begun).await,
                Control::Stop => return,
            }
        }
    }

    async fn reload(&mut self, plan: Plan) -> Result<Changes, StartError> {
        let opened = self.listeners.prepare(&plan, self.workers.len())?;
        let log_target = self.log.open(&plan.log.access_to).map_err(StartError::Log)?;
        let has_journal = self.shared_state.write_queue().is_some();
        let changes = Changes::between(&self.snapshot.plan, &plan, (&self.started, has_journal));
        let snapshot = self.shared_state.adopt(plan)?;
        self.snapshot = Arc::clone(&snapshot);
        let connections_max = snapshot.plan.server.connections_max;
        self.limit.set(descriptors::connections_max(connections_max, self.descriptors));
        if let Some(target) = log_target {
            self.log.writer.set_target(target);
            self.log.target = snapshot.plan.log.access_to.clone();
        }
        // A new name has no endpoint until it is resolved: workers keep the old Plan until then.
        resolve::first(&snapshot.groups).await;
        self.backends.adopt(&snapshot);
        self.admin_service.adopt(Arc::clone(&snapshot));
        self.send_to_workers(|| Command::Adopt(Arc::clone(&snapshot))).await;
        self.listen(opened).await;
        for address in self.listeners.remove_others(&snapshot.plan) {
            self.send_to_workers(|| Command::Unlisten(Arc::clone(&address))).await;
        }
        self.admin_service.set_listeners(self.listeners.all());
        Ok(changes)
    }

    /// Stops accepting connections, and sends queued writes without waiting for their flush interval. After
    /// `server.shutdown_timeout` the workers stop, and abort the requests that are still in flight.
    async fn drain(&self, begun: Begun) {
        self.admin_service.set_draining();
        self.send_to_workers(|| Command::Drain(begun.clone())).await;
        if let Some(write_queue) = self.shared_state.write_queue() {
            write_queue.drain();
        }
        let workers = self.workers.clone();
        let limit = self.snapshot.plan.server.shutdown_timeout;
        tokio::task::spawn_local(async move {
            tokio::time::sleep(limit).await;
            for worker in workers {
                let _gone = worker.send(Command::Stop).await;
            }
        });
    }

    async fn send_to_workers(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _gone = worker.send(command()).await;
        }
    }

    /// Stops the workers, then the mirrors and the journal.
    fn stop(mut self, runtime: tokio::runtime::LocalRuntime) {
        runtime.block_on(self.send_to_workers(|| Command::Stop));
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
        self.shared_state.rollout().close();
        if let Some(write_queue) = self.shared_state.write_queue() {
            write_queue.journal().close();
        }
        drop(self);
        // A blocking task may be a name look-up that DNS never answers.
        runtime.shutdown_timeout(BLOCKING_TASKS_MAX);
    }
}

/// Keeps the windows over the latest requests, which the admin API shows.
async fn tick(service: Arc<AdminService>) {
    let mut ticks = tokio::time::interval(window::TICK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        service.tick();
    }
}

/// Serves the admin listener until the runtime of the control thread ends.
async fn serve_admin(admin: admin::Opened, service: Arc<AdminService>) {
    if let Err(error) = admin.serve(service, std::future::pending()).await {
        tracing::error!("the admin listener has ended: {error}");
    }
}
