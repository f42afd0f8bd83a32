//! A client that sends raw bytes and reads responses according to their framing.
//!
//! Panics with the bytes received so far if a response does not arrive, because a test cannot continue without it.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Instant;

use rustls::ClientConnection;
use socket2::{Domain, Socket, Type};

use crate::DEADLINE;
use crate::head::Head;
use crate::wire::{Framing, Stop, Stream, Wire};

/// The state of the connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The response was complete, and the connection is open.
    Kept,
    /// The response was complete, and the server closed the connection.
    Closed,
    /// The response was complete, and the server reset the connection.
    Reset,
    /// The connection ended before the response.
    CutShort,
}

/// A response as received.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its head.
    pub head: Head,
    /// The content of its body.
    pub body: Vec<u8>,
    /// Its body as received on the wire.
    pub body_wire: Vec<u8>,
    /// Its trailers, names in lower case.
    pub trailers: Vec<(String, String)>,
    /// The interim responses before it.
    pub interim: Vec<Head>,
    /// The state of the connection afterwards.
    pub ending: Ending,
    cache_status: String,
}

impl Response {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of the first field with this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    /// Asserts that the response is complete and has this status and body.
    ///
    /// # Panics
    /// If not; shows the response.
    #[track_caller]
    pub fn is(&self, status: u16, body: &str) -> &Self {
        let found = (self.status, self.text(), self.ending == Ending::CutShort);
        assert_eq!(found, (status, body.to_owned(), false), "in\n{}", self.head.text());
        self
    }

    /// Its `Cache-Status` lines, joined.
    #[must_use]
    pub fn cache_status(&self) -> &str {
        &self.cache_status
    }

    /// The `ttl` of its `Cache-Status`, in seconds.
    #[must_use]
    pub fn ttl(&self) -> Option<i64> {
        let parameters = self.cache_status.split("; ");
        parameters.filter_map(|parameter| parameter.strip_prefix("ttl=")).last()?.parse().ok()
    }

    /// Its `Age`, in seconds.
    #[must_use]
    pub fn age(&self) -> Option<i64> {
        self.field("age")?.parse().ok()
    }

    /// Asserts that forebay served it as a fresh hit.
    ///
    /// # Panics
    /// If not; shows the response.
    #[track_caller]
    pub fn is_hit(&self) -> &Self {
        let is_hit = self.cache_status.contains("forebay; hit; ttl=") && self.ttl().is_some_and(|ttl| ttl >= 0);
        assert!(is_hit, "no hit:\n{}{}", self.head.text(), self.text());
        self
    }

    /// Asserts that it was a miss, and was stored.
    ///
    /// # Panics
    /// If not; shows the response.
    #[track_caller]
    pub fn is_stored(&self) -> &Self {
        self.says("forebay; fwd=uri-miss; stored")
    }

    /// Asserts that it was a miss, and was not stored for this reason.
    ///
    /// # Panics
    /// If not; shows the response.
    #[track_caller]
    pub fn is_refused(&self, reason: &str) -> &Self {
        self.says(&format!("forebay; fwd=uri-miss; detail={reason}"))
    }

    /// Asserts the complete value of `Cache-Status`.
    ///
    /// # Panics
    /// If it differs; shows the response.
    #[track_caller]
    pub fn says(&self, cache_status: &str) -> &Self {
        assert_eq!(self.cache_status, cache_status, "in\n{}{}", self.head.text(), self.text());
        self
    }

    /// Asserts the beginning of `Cache-Status`.
    ///
    /// # Panics
    /// If it differs; shows the response.
    #[track_caller]
    pub fn says_first(&self, beginning: &str) -> &Self {
        let begins = self.cache_status.starts_with(beginning);
        assert!(begins, "not {beginning:?} in\n{}{}", self.head.text(), self.text());
        self
    }

    /// Asserts the status.
    ///
    /// # Panics
    /// If it differs; shows the response.
    #[track_caller]
    pub fn is_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "in\n{}{}", self.head.text(), self.text());
        self
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    ///
    /// When the connection is refused.
    #[must_use]
    #[track_caller]
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE);
        Self::over(stream.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}")))
    }

    /// Connects to a Unix socket.
    ///
    /// # Panics
    ///
    /// When the connection is refused.
    #[must_use]
    #[track_caller]
    pub fn to_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path);
        let stream = stream.unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()));
        Self { wire: Wire::new(Stream::Unix(stream)) }
    }

    /// A client on an open stream.
    pub(crate) fn speaking(stream: Stream) -> Self {
        Self { wire: Wire::new(stream) }
    }

    /// The negotiated parameters of its TLS connection.
    ///
    /// # Panics
    ///
    /// If it does not use TLS.
    #[must_use]
    #[track_caller]
    pub fn tls(&self) -> &ClientConnection {
        self.wire.tls().expect("a TLS connection")
    }

    /// Shuts down its side of the socket; with TLS without a `close_notify`.
    pub fn cut(&mut self) -> &mut Self {
        self.wire.cut();
        self
    }

    /// Reads until the server ends the connection, and returns the bytes and whether the end was clean: a
    /// `close_notify`, or without TLS anything but a reset.
    ///
    /// # Panics
    /// If the server does not end it.
    ///
    /// When it does not end it.
    #[track_caller]
    pub fn read_to_end(&mut self) -> (Vec<u8>, bool) {
        let body = self.wire.body(Framing::UntilClosed, Instant::now() + DEADLINE);
        assert!(body.stop != Some(Stop::Late), "still open after {} bytes", body.bytes.len());
        (body.bytes, body.stop.is_none())
    }

    /// A client on a shared connection.
    #[must_use]
    pub fn over(stream: TcpStream) -> Self {
        Self { wire: Wire::new(Stream::Tcp(stream)) }
    }

    /// Connects from this address: any of 127.0.0.0/8 is local.
    ///
    /// # Panics
    ///
    /// If the connection is refused, or the address is not local.
    #[must_use]
    #[track_caller]
    pub fn from(source: [u8; 4], address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        let source = SocketAddr::from((IpAddr::from(source), 0));
        socket.bind(&source.into()).unwrap_or_else(|error| panic!("cannot bind {source}: {error}"));
        let connected = socket.connect_timeout(&address.into(), DEADLINE);
        connected.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        Self::over(socket.into())
    }

    /// Sends these bytes.
    ///
    /// # Panics
    /// If the server does not accept them any more.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire.send(bytes.as_ref()).unwrap_or_else(|error| panic!("cannot send: {error}"));
        self
    }

    /// Sends these bytes if the server still accepts them, for example after it may have rejected a request.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.wire.send(bytes.as_ref());
        self
    }

    /// Reads one head, interim or final.
    ///
    /// # Panics
    ///
    /// When none comes.
    #[track_caller]
    pub fn read_head(&mut self) -> Head {
        match self.wire.head(Instant::now() + DEADLINE) {
            Ok(head) => head,
            Err(stop) => panic!("no head but {stop:?}; received {:?}", String::from_utf8_lossy(self.wire.unread())),
        }
    }

    /// Reads the response to a request other than HEAD, and the interim responses before it.
    ///
    /// # Panics
    ///
    /// When no head comes, or the body neither ends nor breaks in time.
    #[track_caller]
    pub fn read_response(&mut self) -> Response {
        self.read_response_to("GET")
    }

    /// Reads the response to a request with this method, and the interim responses before it.
    ///
    /// # Panics
    ///
    /// When no head comes, or the body neither ends nor breaks in time.
    #[track_caller]
    pub fn read_response_to(&mut self, method: &str) -> Response {
        let mut interim = Vec::new();
        let (head, status) = loop {
            let head = self.read_head();
            let status = head.words().nth(1).and_then(|word| word.parse().ok());
            let Some(status) = status else { panic!("not a status line: {:?}", head.text()) };
            if !matches!(status, 100 | 102..=199) {
                break (head, status);
            }
            interim.push(head);
        };
        let framing = head.response_framing(method, status);
        let body = self.wire.body(framing, Instant::now() + DEADLINE);
        let ending = match body.stop {
            Some(Stop::Late) => {
                panic!("the body stalls after {:?}{:?}", head.text(), String::from_utf8_lossy(&body.bytes))
            }
            Some(Stop::Closed | Stop::Reset) => Ending::CutShort,
            None if framing == Framing::UntilClosed => Ending::Closed,
            None if closes(&head) => self.read_ending(),
            None => Ending::Kept,
        };
        let cache_status = head.fields("cache-status").join(", ");
        let (body_wire, trailers) = (body.wire, body.trailers);
        Response { status, head, body: body.bytes, body_wire, trailers, interim, ending, cache_status }
    }

    /// Reads at least one byte, and all that are available.
    ///
    /// # Panics
    /// If none arrives.
    #[track_caller]
    pub fn read_some(&mut self) -> Vec<u8> {
        self.wire.some(Instant::now() + DEADLINE).unwrap_or_else(|stop| panic!("no byte but {stop:?}"))
    }

    /// Reads until these bytes arrive, and returns all bytes up to them.
    ///
    /// # Panics
    /// If the connection ends, or the deadline passes.
    #[track_caller]
    pub fn read_until(&mut self, wanted: &str) -> String {
        let mut all = Vec::new();
        while !String::from_utf8_lossy(&all).contains(wanted) {
            match self.wire.some(Instant::now() + DEADLINE) {
                Ok(bytes) => all.extend(bytes),
                Err(stop) => panic!("{stop:?} instead of {wanted:?} after {:?}", String::from_utf8_lossy(&all)),
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    /// Reads until the server ends the connection in any way, and returns the bytes.
    ///
    /// # Panics
    /// If the server does not end it.
    #[track_caller]
    pub fn read_until_closed(&mut self) -> Vec<u8> {
        let body = self.wire.body(Framing::UntilClosed, Instant::now() + DEADLINE);
        assert!(body.stop != Some(Stop::Late), "still open after {:?}", String::from_utf8_lossy(&body.bytes));
        body.bytes
    }

    /// Whether the server has ended the connection.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.wire.peer_is_gone()
    }

    /// Shuts down the sending side.
    pub fn half_close(&mut self) -> &mut Self {
        self.wire.half_close();
        self
    }

    /// Resets the connection.
    pub fn reset(self) {
        self.wire.reset();
    }

    /// The local address of the connection.
    ///
    /// # Panics
    /// If the system does not know the connection any more.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.wire.local_address().expect("a connected socket has an address")
    }

    #[track_caller]
    fn read_ending(&mut self) -> Ending {
        match self.wire.some(Instant::now() + DEADLINE) {
            Ok(bytes) => panic!("bytes after the last response: {:?}", String::from_utf8_lossy(&bytes)),
            Err(Stop::Closed) => Ending::Closed,
            Err(Stop::Reset) => Ending::Reset,
            Err(Stop::Late) => panic!("the connection was to be closed and is not"),
        }
    }
}

/// Whether the server announces that this response is its last.
fn closes(head: &Head) -> bool {
    let is_old = head.start_line().starts_with("HTTP/1.0");
    head.names("connection", "close") || (is_old && !head.names("connection", "keep-alive"))
}
