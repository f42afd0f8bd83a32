//! One worker: a thread with its own runtime, sockets, backend connections and counters.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::http1::{self, BufferPool};
use super::http2;
use super::limit::{ConnectionLimit, Place};
use super::linger;
use super::listener::{Accepting, ListenSocket, Listener};
use super::preface::{self, Spoken};
use super::proxy_protocol::{self, Expected};
use super::socket::{Carrier, Socket};
use super::tls::{self, Handshakes, Tls};
use super::waits::Limits;
use crate::acme::PROTOCOL;
use crate::config::plan::{ListenAddress, Protocols};
use crate::exchange::ClientConnection;
use crate::proxy::worker_state::{Snapshot, WorkerState};
use crate::splice::Pipes;
use crate::telemetry::clock;
use crate::telemetry::date::HttpDate;
use crate::telemetry::worker_telemetry::WorkerTelemetry;

/// How long a worker that can't accept (no descriptors left, say) waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often log buffers are handed over.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// How often old connections to backends are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// Kept by those who have still to begin something: whoever waits for the other end knows when all have.
pub(crate) type Begun = std::sync::mpsc::Sender<()>;

/// What the control thread asks of a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Answer requests that begin from now on under this plan.
    Adopt(Arc<Snapshot>),
    /// Accept connections on this socket too.
    Listen(Arc<Listener>, ListenSocket),
    /// Accept no more connections on this address.
    Unlisten(Arc<ListenAddress>),
    /// Accept no more connections; finish what runs. What comes with it is dropped once that has begun.
    Drain(Begun),
    /// End now.
    Stop,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Where it writes down what happens.
    pub ledger: Rc<WorkerTelemetry>,
    /// For bodies that the kernel moves.
    pub pipes: Rc<Pipes>,
    site: RefCell<Rc<WorkerState>>,
    is_draining: Cell<bool>,
    drain: Notify,
    limit: Arc<ConnectionLimit>,
    /// The last connection could not be accepted: that has been told.
    is_exhausted: Cell<bool>,
    /// What its connections need while they have requests.
    pub(super) buffers: Rc<BufferPool>,
    limits: RefCell<Limits>,
    date: RefCell<HttpDate>,
}

impl Worker {
    /// The plan that a request beginning now is answered under.
    #[must_use]
    pub(crate) fn site(&self) -> Rc<WorkerState> {
        Rc::clone(&self.site.borrow())
    }

    /// How many workers the process has.
    fn workers(&self) -> usize {
        self.site().plan().server.workers.get()
    }

    /// What the plan says of client connections.
    pub(super) fn limits(&self) -> Ref<'_, Limits> {
        self.limits.borrow()
    }

    /// Has this done with the present second as messages write it.
    pub(super) fn with_date<T>(&self, work: impl FnOnce(&str) -> T) -> T {
        work(self.date.borrow_mut().at(clock::now().wall))
    }

    /// Whether no more requests are taken than those under way.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.get()
    }

    /// Waits until no more requests are to be taken.
    pub(crate) async fn drained(&self) {
        let notified = self.drain.notified();
        if !self.is_draining.get() {
            notified.await;
        }
    }

    fn adopt(&self, generation: Arc<Snapshot>) {
        let before = self.site();
        self.ledger.set_form(generation.plan.log.access.clone());
        *self.limits.borrow_mut() = Limits::of(&generation.plan.server);
        *self.site.borrow_mut() = Rc::new(WorkerState::new(generation, Some(&before), &self.ledger.counters));
    }
}

/// Runs a worker until it is told to stop. To be called on a thread of its own.
///
/// # Errors
/// When the system can't give it a runtime.
pub(crate) fn run(
    generation: Arc<Snapshot>,
    ledger: WorkerTelemetry,
    limit: Arc<ConnectionLimit>,
    commands: mpsc::Receiver<Command>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    runtime.block_on(async {
        let ledger = Rc::new(ledger);
        let limits = Limits::of(&generation.plan.server);
        let site = Rc::new(WorkerState::new(generation, None, &ledger.counters));
        let worker = Rc::new(Worker {
            ledger,
            pipes: Rc::default(),
            site: RefCell::new(site),
            is_draining: Cell::new(false),
            drain: Notify::new(),
            limit,
            is_exhausted: Cell::new(false),
            buffers: Rc::default(),
            limits: RefCell::new(limits),
            date: RefCell::default(),
        });
        tokio::task::spawn_local(keep_house(Rc::clone(&worker)));
        obey(&worker, commands).await;
    });
    Ok(())
}

async fn obey(worker: &Rc<Worker>, mut commands: mpsc::Receiver<Command>) {
    let mut listeners: HashMap<Arc<ListenAddress>, Listening> = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Adopt(generation) => worker.adopt(generation),
            Command::Listen(..) if worker.is_draining() => {}
            Command::Listen(listener, socket) => match Accepting::from_std(socket) {
                Ok(socket) => {
                    let (end, ended) = oneshot::channel();
                    let address = Arc::clone(&listener.address);
                    let door = Door { listener, socket, handshakes: Rc::default() };
                    let task = tokio::task::spawn_local(accept(Rc::clone(worker), door, ended));
                    listeners.insert(address, Listening { _end: end, task });
                }
                Err(error) => tracing::error!("can't listen on {}: {error}", listener.address),
            },
            Command::Unlisten(address) => {
                listeners.remove(&address);
            }
            Command::Drain(_begun) => {
                worker.is_draining.set(true);
                let tasks: Vec<JoinHandle<()>> = listeners.drain().map(|(_, listening)| listening.task).collect();
                for task in tasks {
                    let _panicked = task.await;
                }
                worker.drain.notify_waiters();
            }
            Command::Stop => return,
        }
    }
}

/// A socket that is listened on until this is dropped.
struct Listening {
    _end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// One listener of this worker.
struct Door {
    listener: Arc<Listener>,
    socket: Accepting,
    handshakes: Rc<Handshakes>,
}

/// Accepts connections until `ended`; then also those that clients have opened already.
async fn accept(worker: Rc<Worker>, door: Door, mut ended: oneshot::Receiver<()>) {
    loop {
        tokio::select! {
            biased;
            _dropped = &mut ended => break,
            () = accept_one(&worker, &door) => {}
        }
    }
    let Door { listener, socket, handshakes } = door;
    let Ok(socket) = socket.into_std() else { return };
    while let Some(place) = worker.limit.try_place() {
        match socket.accept_now() {
            Ok(socket) => admit(&worker, socket, (&listener, &handshakes), place),
            Err(_none) => return,
        }
    }
}

/// Accepts a connection, and serves it when there is a place for it. The place is asked for last: one that is kept for a
/// client who may come would be missing at another worker.
async fn accept_one(worker: &Rc<Worker>, door: &Door) {
    match door.socket.accept().await {
        Ok(socket) => {
            worker.is_exhausted.set(false);
            let place = worker.limit.place().await;
            admit(worker, socket, (&door.listener, &door.handshakes), place);
        }
        Err(error) if is_the_clients(&error) => {}
        Err(error) => {
            worker.ledger.counters.accept_failures.up();
            if !worker.is_exhausted.replace(true) {
                tracing::warn!("connections can't be accepted, they wait: {error}");
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

fn admit(worker: &Rc<Worker>, socket: Socket, door: (&Arc<Listener>, &Rc<Handshakes>), place: Place) {
    socket.tune();
    let Ok((peer, local)) = socket.ends() else { return };
    let (listener, handshakes) = door;
    let client = ClientConnection::accepted(peer, local, Arc::clone(&listener.address));
    let arrival = Arrival { socket, ahead: Bytes::new(), client, counted: Counted::begin(worker, place) };
    let expected = listener.proxy_headers.load().as_ref().map_or(Expected::Nothing, |rule| rule.expects(peer.ip()));
    let (worker, listener, handshakes) = (Rc::clone(worker), Arc::clone(listener), Rc::clone(handshakes));
    match expected {
        Expected::Nothing => begin(worker, arrival, &listener, handshakes),
        Expected::NoConnection => worker.ledger.counters.proxy_refusals.up(),
        Expected::Header { is_optional } => {
            tokio::task::spawn_local(async move {
                if let Some(arrival) = introduced(&worker, arrival, is_optional).await {
                    begin(worker, arrival, &listener, handshakes);
                }
            });
        }
    }
}

/// A connection that was accepted.
struct Arrival {
    socket: Socket,
    /// What was read of the client already.
    ahead: Bytes,
    client: ClientConnection,
    counted: Counted,
}

/// Reads what a load balancer says of the client in front of its bytes; `None`: the connection is of no use.
async fn introduced(worker: &Worker, mut arrival: Arrival, is_optional: bool) -> Option<Arrival> {
    let within = worker.limits().header_timeout;
    let counters = &worker.ledger.counters;
    let Some(begun) = proxy_protocol::read(&mut arrival.socket, is_optional, within).await else {
        counters.proxy_refusals.up();
        return None;
    };
    arrival.ahead = begun.ahead;
    if let Some(header) = begun.header {
        counters.proxy_headers.up();
        arrival.client = arrival.client.passed_on(header);
    }
    Some(arrival)
}

/// Begins to speak with a client.
fn begin(worker: Rc<Worker>, arrival: Arrival, listener: &Listener, handshakes: Rc<Handshakes>) {
    if let Some(tls) = listener.tls.load_full() {
        tokio::task::spawn_local(serve_tls(worker, arrival, (tls, handshakes)));
        return;
    }
    let Arrival { socket, ahead, client, counted } = arrival;
    let protocols = protocols(&worker, &client);
    let client = Rc::new(client);
    match (protocols.http1(), protocols.http2()) {
        (true, true) => drop(tokio::task::spawn_local(serve_either(worker, (socket, ahead), client, counted))),
        (_, false) => serve(worker, socket, client, Spoken::Http1(ahead), counted),
        (false, true) => serve(worker, socket, client, Spoken::Http2(ahead), counted),
    }
}

/// Serves a client that connects without TLS, over HTTP/1.1 or HTTP/2.
async fn serve_either(
    worker: Rc<Worker>,
    (mut socket, ahead): (Socket, Bytes),
    client: Rc<ClientConnection>,
    counted: Counted,
) {
    let within = worker.limits().header_timeout;
    let spoken = preface::read(&mut socket, ahead, within, worker.drained()).await;
    serve(worker, socket, client, spoken, counted);
}

/// Serves a client whose protocol is known, by a task of its own: the connection does not carry on the room that its
/// beginning needed.
fn serve(worker: Rc<Worker>, socket: Socket, client: Rc<ClientConnection>, spoken: Spoken, counted: Counted) {
    match spoken {
        Spoken::Http1(read) => drop(tokio::task::spawn_local(http1::serve(worker, socket, client, read, counted))),
        Spoken::Http2(read) => drop(tokio::task::spawn_local(async move {
            http2::serve(worker, socket, client, read).await;
            drop(counted);
        })),
        Spoken::Nothing => {}
    }
}

/// What is spoken where this client has connected.
fn protocols(worker: &Worker, client: &ClientConnection) -> Protocols {
    client.listener.as_ref().map_or(Protocols::Http1, |listener| worker.site().plan().protocols(listener))
}

/// Serves a client that speaks TLS, once it has shown who it is.
async fn serve_tls(worker: Rc<Worker>, arrival: Arrival, (tls, handshakes): (Arc<Tls>, Rc<Handshakes>)) {
    let Arrival { socket, ahead, client, counted } = arrival;
    let sharing = (worker.workers(), &*worker.ledger.counters);
    let secured = tls::secure(Carrier::new(socket, ahead), &tls, handshakes, sharing).await;
    drop(tls);
    let Some((socket, shown)) = secured else { return };
    let client = Rc::new(client.over_tls(shown));
    let spoken = match socket.chosen_protocol() {
        // The handshake was all that the authority wanted (RFC 8737 §3).
        Some(PROTOCOL) => return linger::close(socket).await,
        Some(b"h2") => Spoken::Http2(Bytes::new()),
        // A client that says nothing speaks HTTP/1.1 (RFC 9113 §3.2), unless that is not spoken.
        None if !protocols(&worker, &client).http1() => Spoken::Http2(Bytes::new()),
        Some(_) | None => Spoken::Http1(Bytes::new()),
    };
    serve(worker, socket, client, spoken, counted);
}

fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// A connection that is open, as it is counted.
pub(super) struct Counted {
    worker: Rc<Worker>,
    _place: Place,
}

impl Counted {
    fn begin(worker: &Rc<Worker>, place: Place) -> Self {
        worker.ledger.counters.connections.up();
        Self { worker: Rc::clone(worker), _place: place }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.worker.ledger.counters.connections.down();
    }
}

/// Hands over log buffers and drops old connections, for as long as the future is kept.
async fn keep_house(worker: Rc<Worker>) {
    let mut tidied = clock::mono();
    loop {
        tokio::time::sleep(FLUSH_EVERY).await;
        worker.ledger.flush();
        worker.site().generation.store.tick(clock::now());
        let now = clock::mono();
        if now.saturating_sub(tidied) >= TIDY_EVERY {
            tidied = now;
            for upstream in worker.site().upstreams() {
                upstream.tidy(now);
            }
        }
    }
}
