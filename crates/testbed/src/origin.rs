//! A scripted backend: HTTP/1.1 over blocking sockets, one thread per connection.
//!
//! Records what it receives, byte for byte. A [`Script`] determines its responses.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use socket2::{SockRef, Socket};

use crate::head::Head;
use crate::script::{Script, Step};
use crate::socket::{bound, on_one_port};
use crate::wire::{Stream, Wire};

/// The longest wait on a connection; longer than any test runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much of a request's body arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It was not read, or is being read.
    Unread,
    /// It arrived completely, or there is none.
    Complete,
    /// The connection ended, or the framing was invalid, before the end of the body.
    Broken,
}

/// A request as received by an origin.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its target, as in the request line.
    pub target: String,
    /// Its head.
    pub head: Head,
    /// The content of its body.
    pub body: Vec<u8>,
    /// Its body as received on the wire.
    pub body_wire: Vec<u8>,
    /// Its trailers.
    pub trailers: Vec<(String, String)>,
    /// How much of its body arrived.
    pub body_end: BodyEnd,
    /// The number of its connection, from 0.
    pub connection: usize,
}

/// A scripted backend on its own port. Stops when dropped.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    socket: Mutex<Listening>,
}

/// Whether the origin listens on its port.
#[derive(Debug)]
enum Listening {
    /// The listener, shared with the accepting thread.
    Up(TcpListener),
    /// A bound socket that refuses connections and reserves the port.
    Down(Socket),
}

#[derive(Debug)]
struct Shared {
    scripts: Mutex<Scripts>,
    requests: Mutex<Vec<Request>>,
    open: Mutex<HashMap<usize, TcpStream>>,
    accepted: AtomicUsize,
    abandoned: AtomicUsize,
    held: AtomicUsize,
    held_most: AtomicUsize,
    /// The number of calls of `go_down`; a connection ends when it has changed since its start.
    epoch: AtomicUsize,
}

#[derive(Debug)]
struct Scripts {
    once: VecDeque<Script>,
    by_path: HashMap<String, Script>,
    otherwise: Script,
}

/// What happens to a connection after a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Keep,
    Close,
    Reset,
}

impl Origin {
    /// Starts an origin that plays this script for every request.
    ///
    /// # Panics
    /// If no port is available.
    #[must_use]
    pub fn start(otherwise: Script) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::on(bound(any).unwrap_or_else(|error| panic!("cannot bind {any}: {error}")), otherwise)
    }

    /// Starts an origin on each of these addresses, all on one port, like the addresses of one name. They answer 200
    /// with their index: "0", "1", …
    ///
    /// # Panics
    /// If no port is free on all of them.
    ///
    /// When no port is free on all of them.
    #[must_use]
    pub fn of_one_name(addresses: &[&str]) -> Vec<Self> {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an IP address")).collect();
        let sockets = on_one_port(&addresses);
        sockets.into_iter().enumerate().map(|(place, socket)| Self::on(socket, crate::ok(&place.to_string()))).collect()
    }

    fn on(socket: Socket, otherwise: Script) -> Self {
        let address =
            socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            scripts: Mutex::new(Scripts { once: VecDeque::new(), by_path: HashMap::new(), otherwise }),
            requests: Mutex::default(),
            open: Mutex::default(),
            accepted: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            held_most: AtomicUsize::new(0),
            epoch: AtomicUsize::new(0),
        });
        let origin = Self { address, shared, socket: Mutex::new(Listening::Down(socket)) };
        origin.come_back();
        origin
    }

    /// Starts `count` origins that answer 200 with their index: "0", "1", …
    #[must_use]
    pub fn row(count: usize) -> Vec<Self> {
        (0..count).map(|place| Self::start(crate::ok(&place.to_string()))).collect()
    }

    /// An origin whose port refuses connections until [`Origin::come_back`].
    #[must_use]
    pub fn refusing(otherwise: Script) -> Self {
        let origin = Self::start(otherwise);
        origin.go_down();
        origin
    }

    /// Plays another script from now on, for paths without a script of their own.
    pub fn now(&self, script: Script) {
        self.shared.scripts().otherwise = script;
    }

    /// Plays this script for requests for this path (without query) from now on.
    pub fn at(&self, path: &str, script: Script) {
        self.shared.scripts().by_path.insert(path.to_owned(), script);
    }

    /// Plays this script for one request, before any other; several are played in order.
    pub fn once(&self, script: Script) {
        self.shared.scripts().once.push_back(script);
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As a backend of a configuration with these keys: `origin.with("weight = 3")`.
    #[must_use]
    pub fn with(&self, keys: &str) -> String {
        format!("{{ url = \"{}\", {keys} }}", self.url())
    }

    /// The requests whose head has arrived, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests().clone()
    }

    /// The latest request.
    ///
    /// # Panics
    /// If there was none.
    #[must_use]
    #[track_caller]
    pub fn last(&self) -> Request {
        self.requests().pop().expect("the origin has seen a request")
    }

    /// The number of requests.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.shared.requests().len()
    }

    /// The number of requests with this method and target: `origin.count("GET /a")`.
    #[must_use]
    pub fn count(&self, method_and_target: &str) -> usize {
        let is_meant = |request: &&Request| format!("{} {}", request.method, request.target) == method_and_target;
        self.shared.requests().iter().filter(is_meant).count()
    }

    /// The number of them whose body has been read completely.
    #[must_use]
    pub fn count_whole(&self, method_and_target: &str) -> usize {
        let is_meant = |request: &&Request| format!("{} {}", request.method, request.target) == method_and_target;
        let is_whole = |request: &&Request| request.body_end == BodyEnd::Complete;
        self.shared.requests().iter().filter(is_meant).filter(is_whole).count()
    }

    /// The number of connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// The number of open connections.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open().len()
    }

    /// The number of requests that the peer gave up while they waited for a response.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.shared.abandoned.load(Ordering::SeqCst)
    }

    /// The number of requests that wait at a gate or hang.
    #[must_use]
    pub fn held(&self) -> usize {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// The largest number of requests that waited at the same time.
    #[must_use]
    pub fn held_most(&self) -> usize {
        self.shared.held_most.load(Ordering::SeqCst)
    }

    /// Refuses new connections and resets the open ones; returns when they are gone.
    ///
    /// # Panics
    /// If a connection remains.
    pub fn go_down(&self) {
        let mut socket = self.socket.lock().expect("no holder of the socket panics");
        if let Listening::Up(listener) = &*socket {
            self.shared.epoch.fetch_add(1, Ordering::SeqCst);
            // Ends the accepting thread's wait, and the listening itself.
            let _ = SockRef::from(listener).shutdown(Shutdown::Both);
            *socket = Listening::Down(bound(self.address).expect("the port is still ours"));
        }
        drop(socket);
        crate::eventually("the connections of an origin that went down end", || {
            // Only shuts down reading, so that each thread can still reset.
            self.shared.open().values().for_each(|stream| drop(stream.shutdown(Shutdown::Read)));
            self.open() == 0
        });
    }

    /// Listens again on the same port. Has no effect if it is up.
    ///
    /// # Panics
    /// If the port was lost.
    pub fn come_back(&self) {
        let mut socket = self.socket.lock().expect("no holder of the socket panics");
        if let Listening::Down(silent) = &*socket {
            silent.listen(1024).expect("a bound socket can listen");
            let listener = TcpListener::from(silent.try_clone().expect("a socket can be cloned"));
            let accepting = listener.try_clone().expect("a socket can be cloned");
            *socket = Listening::Up(listener);
            let shared = Arc::clone(&self.shared);
            std::thread::spawn(move || shared.accept(&accepting));
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.go_down();
        }
    }
}

impl Shared {
    fn scripts(&self) -> MutexGuard<'_, Scripts> {
        self.scripts.lock().expect("no holder of the scripts panics")
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Request>> {
        self.requests.lock().expect("no holder of the requests panics")
    }

    fn open(&self) -> MutexGuard<'_, HashMap<usize, TcpStream>> {
        self.open.lock().expect("no holder of the connections panics")
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let epoch = self.epoch.load(Ordering::SeqCst);
        while let Ok((stream, _)) = listener.accept() {
            let id = self.accepted.fetch_add(1, Ordering::SeqCst);
            let Ok(other) = stream.try_clone() else { continue };
            self.open().insert(id, other);
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                let mut wire = Wire::new(Stream::Tcp(stream));
                let after = shared.serve(&mut wire, id, epoch);
                // Drops the registry's handle first, because a reset requires the last one.
                let registered = shared.open().remove(&id);
                drop(registered);
                if after == After::Reset { wire.reset() } else { drop(wire) }
            });
        }
    }

    fn is_down(&self, epoch: usize) -> bool {
        self.epoch.load(Ordering::SeqCst) != epoch
    }

    /// Plays scripts on a connection until it ends.
    fn serve(&self, wire: &mut Wire, id: usize, epoch: usize) -> After {
        loop {
            let Ok(head) = wire.head(Instant::now() + PATIENCE) else {
                return if self.is_down(epoch) { After::Reset } else { After::Close };
            };
            let wants_close = head.names("connection", "close") || head.start_line().ends_with("HTTP/1.0");
            let (place, script) = self.note(head, id);
            match (Exchange { shared: self, wire, place, epoch }).play(&script) {
                _ if self.is_down(epoch) => return After::Reset,
                After::Keep if wants_close => return After::Close,
                After::Keep => {}
                after @ (After::Close | After::Reset) => return after,
            }
        }
    }

    /// Records the request, and selects the script for it.
    fn note(&self, head: Head, connection: usize) -> (usize, Script) {
        let mut words = head.words().map(str::to_owned);
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        drop(words);
        let path = target.split('?').next().unwrap_or_default().to_owned();
        let (body, body_wire, trailers) = (Vec::new(), Vec::new(), Vec::new());
        let request =
            Request { method, target, head, body, body_wire, trailers, body_end: BodyEnd::Unread, connection };
        let mut scripts = self.scripts();
        let once = scripts.once.pop_front();
        let script = once.unwrap_or_else(|| scripts.by_path.get(&path).unwrap_or(&scripts.otherwise).clone());
        let mut requests = self.requests();
        requests.push(request);
        (requests.len() - 1, script)
    }
}

/// A request being answered.
struct Exchange<'a> {
    shared: &'a Shared,
    wire: &'a mut Wire,
    place: usize,
    epoch: usize,
}

impl Exchange<'_> {
    fn play(&mut self, script: &Script) -> After {
        for step in &script.steps {
            let after = self.step(step);
            if after != After::Keep {
                return after;
            }
        }
        After::Keep
    }

    fn step(&mut self, step: &Step) -> After {
        match step {
            Step::Send(bytes) => self.send(bytes),
            Step::Answer { status, fields, body } => self.answer(*status, fields, body),
            Step::Validate { etag, fields, body } => {
                let head = self.request().head;
                let is_known = [etag, "*"].iter().any(|tag| head.names("if-none-match", tag));
                let fields = [&[("ETag".to_owned(), etag.clone())], fields.as_slice()].concat();
                self.answer(if is_known { 304 } else { 200 }, &fields, body)
            }
            Step::Ranged { fields, body } => {
                let (status, fields, bytes) = self.request().head.ranged(fields, body);
                self.answer(status, &fields, bytes)
            }
            Step::Drip(bytes, pause) => {
                for byte in bytes {
                    if self.send(&[*byte]) != After::Keep || self.shared.is_down(self.epoch) {
                        return After::Close;
                    }
                    std::thread::sleep(*pause);
                }
                After::Keep
            }
            Step::Flood(bytes) => {
                while self.send(bytes) == After::Keep && !self.shared.is_down(self.epoch) {}
                After::Close
            }
            Step::Wait(gate) => self.hold(|| gate.is_open_within(Duration::from_millis(2))),
            Step::Hang => self.hold(|| {
                std::thread::sleep(Duration::from_millis(2));
                false
            }),
            Step::ReadBody => self.read_body(),
            Step::Echo => {
                let request = self.request();
                let whole = [request.head.text().as_bytes(), &request.body_wire].concat();
                self.answer(200, &[], &whole)
            }
            Step::Close => After::Close,
            Step::Reset => After::Reset,
            Step::Tunnel => self.tunnel(),
        }
    }

    fn request(&self) -> Request {
        self.shared.requests()[self.place].clone()
    }

    fn send(&mut self, bytes: &[u8]) -> After {
        if self.wire.send(bytes).is_ok() { After::Keep } else { After::Close }
    }

    fn answer(&mut self, status: u16, fields: &[(String, String)], body: &[u8]) -> After {
        let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        if !matches!(status, 204 | 304) {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let is_bodiless = self.request().method == "HEAD" || matches!(status, 204 | 304);
        let body = if is_bodiless { &[] } else { body };
        self.send(&[head.as_bytes(), body].concat())
    }

    fn read_body(&mut self) -> After {
        let framing = self.request().head.request_framing();
        let body = self.wire.body(framing, Instant::now() + PATIENCE);
        let is_broken = body.stop.is_some();
        let request = &mut self.shared.requests()[self.place];
        request.body = body.bytes;
        request.body_wire = body.wire;
        request.trailers = body.trailers;
        request.body_end = if is_broken { BodyEnd::Broken } else { BodyEnd::Complete };
        if is_broken { After::Close } else { After::Keep }
    }

    /// Blocks until `is_over` holds, the peer leaves or the origin goes down.
    fn hold(&mut self, mut is_over: impl FnMut() -> bool) -> After {
        let held = self.shared.held.fetch_add(1, Ordering::SeqCst) + 1;
        self.shared.held_most.fetch_max(held, Ordering::SeqCst);
        let begun = Instant::now();
        let after = loop {
            if is_over() {
                break After::Keep;
            }
            if self.shared.is_down(self.epoch) || begun.elapsed() > PATIENCE {
                break After::Reset;
            }
            if self.wire.peer_is_gone() {
                self.shared.abandoned.fetch_add(1, Ordering::SeqCst);
                break After::Close;
            }
        };
        self.shared.held.fetch_sub(1, Ordering::SeqCst);
        after
    }

    fn tunnel(&mut self) -> After {
        while let Ok(bytes) = self.wire.some(Instant::now() + PATIENCE) {
            if self.send(&bytes) != After::Keep {
                break;
            }
        }
        After::Close
    }
}
