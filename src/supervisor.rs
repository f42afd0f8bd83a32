//! A running proxy: starts the threads, reloads, drains, stops.
//!
//! One control thread owns the `SharedState` and the checks of backends; workers answer requests. They talk by messages
//! only.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;

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
use crate::telemetry::clock;
use crate::telemetry::counters::Counters;
use crate::telemetry::sink::Sink;
use crate::telemetry::worker_telemetry::WorkerTelemetry;
use crate::upstream::resolve;
use crate::upstream::resolver::{Resolver, System};
use crate::write_queue::WriteQueue;
use crate::write_queue::flush;

mod error;
mod gauges;
mod listeners;
pub mod preflight;

use self::listeners::{Listeners, New, Prepared};

pub use error::StartError;
pub use gauges::Gauges;
pub use listeners::Listening;

/// Commands on their way to one thread.
const COMMANDS_MAX: usize = 64;
/// How long a drain may take to begin.
const DRAIN_BEGIN_MAX: Duration = Duration::from_secs(1);
/// How long the end waits for what runs on threads of its own beside the control thread.
const BESIDE_MAX: Duration = Duration::from_secs(1);
/// How often a drain looks whether it is over.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// How often the files of certificates are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A running proxy. Dropping it stops everything at once.
#[derive(Debug)]
pub struct Running {
    control: mpsc::Sender<Control>,
    threads: Vec<JoinHandle<()>>,
    counters: Vec<Arc<Counters>>,
    writer: Writer,
    shutdown_timeout: Mutex<Duration>,
    admin: Option<SocketAddr>,
    /// What is written and not at its backend yet.
    desk: Option<Arc<WriteQueue>>,
}

enum Control {
    Reload(Box<Plan>, blocking::Sender<Result<Changes, StartError>>),
    Listening(blocking::Sender<Vec<Listening>>),
    Announce(blocking::Sender<Duration>),
    Drain(Begun),
    Stop,
}

/// Starts a proxy under a plan. Returns when it listens.
///
/// # Errors
/// When an address can't be listened on, or the system has no threads left.
pub fn start(plan: Plan) -> Result<Running, StartError> {
    start_with(plan, Arc::new(System))
}

/// Starts a proxy under a plan whose backends' names are looked up by this resolver. Returns when it listens.
///
/// # Errors
/// As [`start`].
pub fn start_with(plan: Plan, resolver: Arc<dyn Resolver>) -> Result<Running, StartError> {
    let workers = plan.server.workers.get();
    let admin = plan.admin.as_ref().map(admin::open).transpose()?;
    if let Some(admin) = &admin {
        tracing::info!("the admin listener is at {admin}");
    }
    let clients = Listeners::default().prepare(&plan, workers)?;
    let writer = Writer::start(&plan.log.access_to).map_err(StartError::Log)?;
    let counters: Vec<Arc<Counters>> = (0..workers).map(|_| Arc::default()).collect();
    let shutdown_timeout = Mutex::new(plan.server.shutdown_timeout);
    let ledgers =
        counters.iter().map(|counters| WorkerTelemetry::new(Arc::clone(counters), writer.log(plan.log.access.clone())));
    let ledgers: Vec<WorkerTelemetry> = ledgers.collect();
    let (control, commands) = mpsc::channel(COMMANDS_MAX);
    let (ready, is_ready) = blocking::channel();
    let admin_address = admin.as_ref().and_then(admin::Opened::address);
    let sockets = Sockets { clients, admin };
    let descriptors = descriptors::raise();
    let limit = ConnectionLimit::new(descriptors::connections_max(plan.server.connections_max, descriptors));
    let log = AccessLogOf { writer: writer.clone(), target: plan.log.access_to.clone() };
    let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let opened = Opened { sockets, ledgers, log, descriptors, limit };
        if let Err(error) = run_control(plan, resolver, opened, (commands, &ready)) {
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
        desk: None,
    };
    let (desk, beside) = is_ready.recv().unwrap_or(Err(StartError::Stopping))?;
    running.desk = desk;
    running.counters.push(beside);
    Ok(running)
}

impl Running {
    /// The TCP addresses that are listened on; for port 0 the ports that the system chose.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listening().into_iter().filter_map(|listening| listening.address).collect()
    }

    /// What is listened on.
    #[must_use]
    pub fn listening(&self) -> Vec<Listening> {
        let (answer, answered) = blocking::channel();
        let _stopping = self.control.blocking_send(Control::Listening(answer));
        answered.recv().unwrap_or_default()
    }

    /// The TCP address of the admin listener, if it has one; for port 0 with the port that the system chose.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Takes up another plan: requests under way finish under theirs, what was learnt of backends stays. Says what that
    /// has changed.
    ///
    /// # Errors
    /// When a new address can't be listened on; then nothing has changed.
    pub fn reload(&self, plan: Plan) -> Result<Changes, StartError> {
        let shutdown_timeout = plan.server.shutdown_timeout;
        let (answer, answered) = blocking::channel();
        let reload = Control::Reload(Box::new(plan), answer);
        self.control.blocking_send(reload).map_err(|_| StartError::Stopping)?;
        let changes = answered.recv().unwrap_or(Err(StartError::Stopping))?;
        *self.shutdown_timeout.lock() = shutdown_timeout;
        Ok(changes)
    }

    /// How long a drain may take, by the present plan.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        *self.shutdown_timeout.lock()
    }

    /// Opens the file of the access log again: log rotation has moved it away.
    pub fn reopen_log(&self) {
        self.writer.reopen();
    }

    /// Says that a drain is about to begin: `/ready` answers 503 from now on. Returns how long to wait before
    /// [`Running::drain`], by `server.drain_delay`.
    #[must_use]
    pub fn announce_drain(&self) -> Duration {
        let (answer, delay) = blocking::channel();
        let _stopping = self.control.blocking_send(Control::Announce(answer));
        delay.recv_timeout(DRAIN_BEGIN_MAX).unwrap_or_default()
    }

    /// Accepts no more connections, finishes what runs. Returns when that has begun, not when it is over.
    pub fn drain(&self) {
        let (begun, all_begun) = blocking::channel();
        let _stopping = self.control.blocking_send(Control::Drain(begun));
        let _closed_or_late = all_begun.recv_timeout(DRAIN_BEGIN_MAX);
    }

    /// Whether no client connection is left, and no queued write that waiting is of use for: what can't be sent now stays
    /// in the journal.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.gauges().connections == 0 && self.desk.as_ref().is_none_or(|desk| !desk.is_busy())
    }

    /// Waits until a drain is over, for `server.shutdown_timeout` at most, and stops.
    pub fn wait(self) {
        let until = clock::mono() + self.shutdown_timeout();
        while !self.is_drained() && clock::mono() < until {
            std::thread::sleep(DRAIN_LOOK);
        }
    }

    /// What it is busy with now.
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
            pending_writes: self.desk.as_ref().map_or(0, |desk| desk.pending()),
        }
    }

    /// What each worker has counted, and who sends copies.
    #[must_use]
    pub fn counters(&self) -> &[Arc<Counters>] {
        &self.counters
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pending) = self.desk.as_ref().map(|desk| desk.counts().pending).filter(|pending| *pending > 0) {
            tracing::warn!("journal: {pending} writes are left for the next start");
        }
        let _stopped = self.control.blocking_send(Control::Stop);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
        self.writer.finish();
    }
}

/// What was opened before the control thread began.
struct Opened {
    sockets: Sockets,
    ledgers: Vec<WorkerTelemetry>,
    log: AccessLogOf,
    /// How many may be open.
    descriptors: u64,
    limit: Arc<ConnectionLimit>,
}

/// The access log's writer, and where it writes to.
struct AccessLogOf {
    writer: Writer,
    target: LogTarget,
}

/// What is listened on.
struct Sockets {
    /// For clients.
    clients: Prepared,
    /// For people and programs that ask and direct.
    admin: Option<admin::Opened>,
}

/// What the control thread has made that others see: what is pending, and who counts beside the workers.
type Made = (Option<Arc<WriteQueue>>, Arc<Counters>);
type Ready = Result<Made, StartError>;
type Channels<'a> = (mpsc::Receiver<Control>, &'a blocking::Sender<Ready>);

fn run_control(
    plan: Plan,
    resolver: Arc<dyn Resolver>,
    opened: Opened,
    (commands, ready): Channels<'_>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    let house = runtime.block_on(async {
        let mut world = match SharedState::new(&plan, resolver) {
            Ok(world) => world,
            Err(error) => return Ok(Err(StartError::Begin(error))),
        };
        let generation = world.adopt(plan)?;
        House::open(world, &generation, opened).await.map(Ok)
    })?;
    let mut house = match house {
        Ok(house) => house,
        Err(error) => {
            let _gone = ready.send(Err(error));
            return Ok(());
        }
    };
    let _gone = ready.send(Ok((house.world.desk().cloned(), Arc::clone(house.world.rollout().counters()))));
    runtime.block_on(house.obey(commands));
    house.close(runtime);
    Ok(())
}

impl AccessLogOf {
    /// Opens another target; `None`: it is the same.
    fn open(&self, target: &LogTarget) -> io::Result<Option<Sink>> {
        (*target != self.target).then(|| Sink::open(target)).transpose()
    }
}

/// What the control thread keeps.
struct House {
    world: SharedState,
    /// The way of queued writes to their backends.
    backends: Rc<ToBackends>,
    workers: Vec<mpsc::Sender<Command>>,
    threads: Vec<JoinHandle<()>>,
    listeners: Listeners,
    /// The present plan.
    generation: Arc<Snapshot>,
    /// What the process was started with.
    started: Settings,
    /// What the admin listener sees.
    household: Arc<AdminService>,
    log: AccessLogOf,
    /// How many descriptors may be open.
    descriptors: u64,
    limit: Arc<ConnectionLimit>,
}

impl House {
    async fn open(world: SharedState, generation: &Arc<Snapshot>, opened: Opened) -> io::Result<Self> {
        let Opened { sockets, ledgers, log, descriptors, limit } = opened;
        let backends: Rc<ToBackends> = Rc::default();
        let counters =
            ledgers.iter().map(|ledger| &ledger.counters).chain([backends.counters(), world.rollout().counters()]);
        let counters = counters.map(Arc::clone).collect();
        let household = Arc::new(AdminService::new(Arc::clone(generation), counters, Arc::clone(world.rollout())));
        let mut house = Self {
            world,
            backends,
            household,
            workers: Vec::new(),
            threads: Vec::new(),
            listeners: Listeners::default(),
            generation: Arc::clone(generation),
            started: generation.plan.settings.clone(),
            log,
            descriptors,
            limit,
        };
        for (index, ledger) in ledgers.into_iter().enumerate() {
            let (sender, commands) = mpsc::channel(COMMANDS_MAX);
            let generation = Arc::clone(generation);
            let limit = Arc::clone(&house.limit);
            let run = move || {
                if let Err(error) = worker::run(generation, ledger, limit, commands) {
                    tracing::error!("a worker has ended: {error}");
                }
            };
            house.threads.push(std::thread::Builder::new().name(format!("worker-{index}")).spawn(run)?);
            house.workers.push(sender);
        }
        if let Some(admin) = sockets.admin {
            tokio::task::spawn_local(administer(admin, Arc::clone(&house.household)));
        }
        resolve::first(&generation.groups).await;
        house.backends.adopt(generation);
        if let Some(desk) = house.world.desk() {
            tokio::task::spawn_local(flush::run(Arc::clone(desk), Rc::new(Rc::clone(&house.backends))));
            let backends = Rc::clone(&house.backends);
            tokio::task::spawn_local(async move { backends.tidy().await });
        }
        let rollout = Arc::clone(house.world.rollout());
        tokio::task::spawn_local(controller::run(Arc::clone(&rollout)));
        tokio::task::spawn_local(async move { rollout.reports().run().await });
        house.listen(sockets.clients).await;
        house.household.now_ready();
        Ok(house)
    }

    async fn listen(&mut self, opened: Prepared) {
        for New { listener, sockets } in self.listeners.add(opened) {
            for (worker, socket) in self.workers.iter().zip(sockets) {
                let _gone = worker.send(Command::Listen(Arc::clone(&listener), socket)).await;
            }
        }
    }

    async fn obey(&mut self, mut commands: mpsc::Receiver<Control>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                _due = looks.tick() => {
                    self.listeners.look();
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
                Control::Announce(answer) => {
                    self.household.now_drains();
                    let _gone = answer.send(self.generation.plan.server.drain_delay);
                }
                Control::Drain(begun) => self.drain(begun).await,
                Control::Stop => return,
            }
        }
    }

    async fn reload(&mut self, plan: Plan) -> Result<Changes, StartError> {
        let opened = self.listeners.prepare(&plan, self.workers.len())?;
        let log_target = self.log.open(&plan.log.access_to).map_err(StartError::Log)?;
        let changes = Changes::between(&self.generation.plan, &plan, (&self.started, self.world.desk().is_some()));
        let generation = self.world.adopt(plan)?;
        self.generation = Arc::clone(&generation);
        let connections_max = generation.plan.server.connections_max;
        self.limit.set(descriptors::connections_max(connections_max, self.descriptors));
        if let Some(target) = log_target {
            self.log.writer.set_target(target);
            self.log.target = generation.plan.log.access_to.clone();
        }
        // A name that is new has no endpoint before it is looked up: until then the plan before holds.
        resolve::first(&generation.groups).await;
        self.backends.adopt(&generation);
        self.household.adopt(Arc::clone(&generation));
        self.tell(|| Command::Adopt(Arc::clone(&generation))).await;
        self.listen(opened).await;
        for address in self.listeners.remove_others(&generation.plan) {
            self.tell(|| Command::Unlisten(Arc::clone(&address))).await;
        }
        Ok(changes)
    }

    /// Accepts no more, and sends at once what is written; what still runs when `server.shutdown_timeout` is over ends then.
    async fn drain(&self, begun: Begun) {
        self.household.now_drains();
        self.tell(|| Command::Drain(begun.clone())).await;
        if let Some(desk) = self.world.desk() {
            desk.drain();
        }
        let workers = self.workers.clone();
        let limit = self.generation.plan.server.shutdown_timeout;
        tokio::task::spawn_local(async move {
            tokio::time::sleep(limit).await;
            for worker in workers {
                let _gone = worker.send(Command::Stop).await;
            }
        });
    }

    async fn tell(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            let _gone = worker.send(command()).await;
        }
    }

    fn close(mut self, runtime: tokio::runtime::LocalRuntime) {
        runtime.block_on(self.tell(|| Command::Stop));
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
        self.world.rollout().close();
        if let Some(desk) = self.world.desk() {
            desk.journal().close();
        }
        drop(self);
        // What still runs beside it may be a look-up of a name that DNS does not answer.
        runtime.shutdown_timeout(BESIDE_MAX);
    }
}

/// Answers at the admin listener for as long as it is polled: it ends with the control thread.
async fn administer(admin: admin::Opened, household: Arc<AdminService>) {
    if let Err(error) = admin.serve(household, std::future::pending()).await {
        tracing::error!("the admin listener has ended: {error}");
    }
}
