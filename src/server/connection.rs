//! One client connection: parked while it waits for a request, hyper's while it has one.
//!
//! A parked connection holds a socket and a few hundred bytes; hyper's buffers are made when the next request's first
//! byte is there, and given back when the connection has been idle for a moment. All its waits share one timer.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::linger;
use super::tap::{State, Tap};
use super::timer::Timer;
use super::worker::Worker;
use crate::config::plan::Server;
use crate::exchange::body::Body;
use crate::exchange::deadline::Deadline;
use crate::exchange::interim::Interim;
use crate::exchange::tunnel::{End, Handover};
use crate::exchange::{ClientConnection, Exchange};
use crate::flow;
use crate::flow::site::Site;
use crate::observe::record::Record;
use crate::observe::{clock, dice};

/// A connection that has been idle for so long is parked.
const PARK_AFTER: Duration = Duration::from_secs(1);

/// As good as never: a timer must be set for something.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a client is told whose request head took too long (RFC 9110 §15.5.9).
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How a time with hyper ended.
enum Ended {
    /// hyper is done with the connection; what it read beyond the last message.
    Done(TcpStream, Bytes),
    /// It waits for the next request.
    Idle(TcpStream),
    /// A request head took too long.
    TooSlow(TcpStream),
    /// Nothing can be said to this client any more.
    Broken,
}

/// Serves a client until either side closes.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let client = Rc::new(ClientConnection {
        peer,
        local,
        deadline: Deadline::default(),
        interim: Interim::default(),
        handover: Handover::default(),
        is_busy: std::cell::Cell::new(false),
        idle_since: std::cell::Cell::new(clock::mono()),
        stamp: std::cell::RefCell::default(),
        known_host: std::cell::RefCell::default(),
    });
    let mut stream = stream;
    let mut is_first = true;
    loop {
        let site = worker.site();
        let server = &site.plan().server;
        let wait_max = if is_first { server.header_timeout } else { server.idle_timeout };
        is_first = false;
        if !park(&worker, &client, &stream, wait_max).await {
            return;
        }
        // Boxed, so that a parked connection does not carry the room that a busy one needs.
        match Box::pin(run(Rc::clone(&worker), Rc::clone(&client), stream, site)).await {
            Ended::Idle(idle) => stream = idle,
            Ended::TooSlow(mut stream) => {
                let _gone = stream.write_all(TOO_SLOW).await;
                return linger::close(stream).await;
            }
            Ended::Done(stream, read_ahead) => {
                return match client.handover.take() {
                    Some(tunnel) => tunnel(End { stream: Box::new(stream), read_ahead }).await,
                    None => linger::close(stream).await,
                };
            }
            Ended::Broken => return,
        }
    }
}

/// Waits for the first byte of a request. `false`: it did not come in time, or there will be none.
async fn park(worker: &Worker, client: &ClientConnection, stream: &TcpStream, wait_max: Duration) -> bool {
    let until = clock::instant(client.idle_since.get() + wait_max);
    let drained = worker.drained();
    tokio::select! {
        biased;
        readable = stream.readable() => readable.is_ok(),
        () = drained => false,
        () = tokio::time::sleep_until(until) => false,
    }
}

/// Lets hyper have the connection until it is done with it, or it has been idle for a moment.
async fn run(worker: Rc<Worker>, client: Rc<ClientConnection>, stream: TcpStream, site: Rc<Site>) -> Ended {
    let server = &site.plan().server;
    let tap = Rc::new(State::new(Rc::clone(&client), server.header_bytes_max + 1));
    let service = {
        let (worker, client, tap) = (Rc::clone(&worker), Rc::clone(&client), Rc::clone(&tap));
        service_fn(move |request| answer(Rc::clone(&worker), Rc::clone(&client), Rc::clone(&tap), request))
    };
    let io = TokioIo::new(Tap::new(stream, Rc::clone(&tap)));
    let mut http = http1::Builder::new()
        .max_buf_size(server.header_bytes_max.max(8192))
        .max_header_size(server.header_bytes_max)
        .serve_connection(io, service);
    let mut waits = Waits { client: &client, tap: &tap, server, head_since: None };
    let mut timer = Timer::default();
    let mut drained = std::pin::pin!(worker.drained());
    let mut is_first = true;
    let mut is_draining = false;
    let mut expired = None;
    let ended = std::future::poll_fn(|cx| {
        if std::mem::take(&mut is_first) {
            client.interim.attach(cx.waker());
            if drained.as_mut().poll(cx).is_ready() {
                is_draining = true;
                Pin::new(&mut http).graceful_shutdown();
            }
        } else if !is_draining && worker.is_draining() {
            is_draining = true;
            Pin::new(&mut http).graceful_shutdown();
        }
        loop {
            if let Poll::Ready(done) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(Over::Hyper(done.err()));
            }
            let (due, what) = waits.due();
            if timer.poll(due, cx).is_pending() {
                return Poll::Pending;
            }
            match what {
                // Whoever set the deadline sees that it has passed when it is polled again; if nobody did, it is void.
                Wait::Exchange if expired == Some(due) => client.deadline.clear(),
                Wait::Exchange => expired = Some(due),
                Wait::Head | Wait::Idle | Wait::Write => return Poll::Ready(Over::Wait(what)),
            }
        }
    })
    .await;
    let parts = http.into_parts();
    let stream = parts.io.into_inner().into_inner();
    match ended {
        Over::Hyper(None) => Ended::Done(stream, parts.read_buf),
        Over::Hyper(Some(error)) if error.is_parse() => {
            worker.ledger.counters.unreadable.up();
            Ended::Done(stream, Bytes::new())
        }
        Over::Hyper(Some(_)) | Over::Wait(Wait::Write | Wait::Exchange) => Ended::Broken,
        Over::Wait(Wait::Head) => Ended::TooSlow(stream),
        Over::Wait(Wait::Idle) => Ended::Idle(stream),
    }
}

/// Why hyper's time with a connection is over.
enum Over {
    Hyper(Option<hyper::Error>),
    Wait(Wait),
}

/// What a connection waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The rest of a request's head.
    Head,
    /// The next request.
    Idle,
    /// The client, to take what is written.
    Write,
    /// Something of the request under way.
    Exchange,
}

/// What a connection waits for, and until when.
struct Waits<'a> {
    client: &'a ClientConnection,
    tap: &'a State,
    server: &'a Server,
    head_since: Option<Duration>,
}

impl Waits<'_> {
    /// What ends first, and when (monotonic time).
    fn due(&mut self) -> (Duration, Wait) {
        let wait = self.without_write();
        match self.tap.stuck_since().map(|since| since + self.server.write_timeout) {
            Some(due) if due < wait.0 => (due, Wait::Write),
            Some(_) | None => wait,
        }
    }

    fn without_write(&mut self) -> (Duration, Wait) {
        if self.client.is_busy.get() || !self.tap.is_flushed() {
            self.head_since = None;
            return (self.client.deadline.at().unwrap_or(NEVER), Wait::Exchange);
        }
        self.tap.expect_head();
        if self.tap.has_begun_head() {
            let since = *self.head_since.get_or_insert_with(clock::mono);
            return (since + self.server.header_timeout, Wait::Head);
        }
        (self.client.idle_since.get() + PARK_AFTER, Wait::Idle)
    }
}

/// Answers one request: reads clock and dice, and sends it down the spine.
async fn answer(
    worker: Rc<Worker>,
    client: Rc<ClientConnection>,
    tap: Rc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    client.is_busy.set(true);
    let signs = tap.signs(&request);
    if !tap.is_flushed() {
        tap.flushed().await;
    }
    let (head, body) = request.into_parts();
    let exchange = Exchange {
        started: clock::now(),
        dice: dice::roll(),
        head,
        body: Some(body),
        client: client.peer.ip().to_canonical(),
        connection: client,
        signs,
        accept: None,
        key: 0,
        record: Record::default(),
    };
    Ok(flow::serve(worker.site(), Rc::clone(&worker.ledger), exchange).await)
}
