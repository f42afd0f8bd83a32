//! One client connection: parked while it waits for a request, hyper's while it has one.
//!
//! A parked connection holds a socket and a few hundred bytes; hyper's buffers are made when the next request's first
//! byte is there, and given back when the connection has been idle for a moment. All its waits share one timer.

use std::convert::Infallible;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::TcpStream;

use super::linger;
use super::tap::{self, State, Tap};
use super::worker::Worker;
use crate::config::plan::Server;
use crate::exchange::body::Body;
use crate::exchange::timer::Timer;
use crate::exchange::tunnel::End;
use crate::exchange::{Answer, ClientConnection, Exchange, Head};
use crate::flow::finish::Open;
use crate::flow::site::Site;
use crate::flow::{self, Step, purge};
use crate::observe::record::Record;
use crate::observe::{clock, dice};
use crate::relay::Aside;

/// A connection that has been idle for so long is parked.
const PARK_AFTER: Duration = Duration::from_millis(250);

/// How much of an answer is handed to the socket at a time, and of a request's body is read at a time. Less costs
/// syscalls; buffers grow only as far as they are used.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// As good as never: a timer must be set for something.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a client is told whose request head took too long (RFC 9110 §15.5.9).
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a client is told that begins with HTTP/2 (RFC 9110 §15.6.6): to it hyper says nothing.
const NOT_HTTP_2: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How a time with hyper ended.
enum Ended {
    /// hyper is done with the connection; what it read beyond the last message.
    Done(TcpStream, Bytes),
    /// It waits for the next request; what has come of it.
    Idle(TcpStream, Bytes),
    /// What came is not a request; what is still to be said of that.
    Refused(TcpStream, &'static [u8]),
    /// Nothing can be said to this client any more.
    Broken,
}

/// Serves a client until either side closes.
pub async fn serve(worker: Rc<Worker>, stream: TcpStream) {
    let (Ok(peer), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else { return };
    let mut client = ClientConnection::new(peer, local, clock::mono());
    // The tap knows of stand-ins.
    client.aside = Aside::through(Rc::clone(&worker.pipes));
    let client = Rc::new(client);
    let mut wire = (stream, Bytes::new());
    let mut is_first = true;
    loop {
        let site = worker.site();
        let server = &site.plan().server;
        let wait_max = if is_first { server.header_timeout } else { server.idle_timeout };
        is_first = false;
        let (stream, read_ahead) = &wire;
        if read_ahead.is_empty() && !park(&worker, &client, stream, wait_max).await {
            return;
        }
        // Boxed, so that a parked connection does not carry the room that a busy or a closing one needs.
        match Box::pin(run(Rc::clone(&worker), Rc::clone(&client), wire, site)).await {
            Ended::Idle(stream, read_ahead) => wire = (stream, read_ahead),
            Ended::Refused(stream, last_words) => {
                // Never waited for: whoever leaves no room for a line has read nothing for long.
                let _unread = stream.try_write(last_words);
                return Box::pin(linger::close(stream)).await;
            }
            Ended::Done(stream, read_ahead) => {
                return match client.handover.take() {
                    Some(left) => (left.tunnel)(End { stream: Box::new(stream), read_ahead }).await,
                    None => Box::pin(linger::close(stream)).await,
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
    let mut byte = [0];
    tokio::select! {
        biased;
        // First, so that bytes which begin no request put nothing off.
        () = tokio::time::sleep_until(until) => false,
        // A new socket counts as readable until a read says otherwise: only a byte is a byte.
        byte = stream.peek(&mut byte) => byte.is_ok_and(|length| length > 0),
        // What the system has already and the runtime does not know of yet is still answered.
        () = drained => has_bytes(stream) && stream.readable().await.is_ok(),
    }
}

fn has_bytes(stream: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    SockRef::from(stream).peek(&mut byte).is_ok_and(|length| length > 0)
}

/// Lets hyper have the connection until it is done with it, or it has been idle for a moment.
async fn run(
    worker: Rc<Worker>,
    client: Rc<ClientConnection>,
    (stream, read_ahead): (TcpStream, Bytes),
    site: Rc<Site>,
) -> Ended {
    let server = &site.plan().server;
    let tap = Rc::new(State::new(Rc::clone(&client), server.header_bytes_max + 1, Rc::clone(&worker.room)));
    let service = {
        let (worker, client, tap) = (Rc::clone(&worker), Rc::clone(&client), Rc::clone(&tap));
        service_fn(move |request| answer(&worker, &client, &tap, request))
    };
    let io = TokioIo::new(Tap::new(stream, read_ahead, Rc::clone(&tap)));
    let mut http = http1::Builder::new()
        .max_buf_size(server.header_bytes_max.max(BUFFER_BYTES_MAX))
        .max_header_size(server.header_bytes_max)
        .serve_connection(io, service);
    let mut waits = Waits::new(&client, &tap, server);
    let mut drained = std::pin::pin!(worker.drained());
    let mut is_first = true;
    let mut is_last = false;
    let over = std::future::poll_fn(|cx| {
        if std::mem::take(&mut is_first) {
            client.interim.attach(cx.waker());
            // Only to be woken: `is_draining` says it.
            let _draining = drained.as_mut().poll(cx);
        }
        loop {
            if worker.is_draining() && client.is_busy.get() {
                // Before the poll, so that the answer says that it is the last.
                Pin::new(&mut http).graceful_shutdown();
            }
            if let Poll::Ready(done) = Pin::new(&mut http).poll(cx) {
                return Poll::Ready(Over::Hyper(done.err()));
            }
            // After it, so that a request which has come, or begun to, is still answered.
            if !is_last && worker.is_draining() && !tap.has_begun_head() {
                is_last = true;
                Pin::new(&mut http).graceful_shutdown();
                continue;
            }
            match ready!(waits.poll(cx)) {
                Wait::Exchange => {}
                Wait::Head => return Poll::Ready(Over::Slow),
                Wait::Write => return Poll::Ready(Over::Stuck),
                Wait::Idle => {
                    // Only hyper knows whether it stands between two messages. If not, what follows is no request.
                    Pin::new(&mut http).graceful_shutdown();
                    return Poll::Ready(match Pin::new(&mut http).poll(cx) {
                        Poll::Ready(Ok(())) => Over::Idle,
                        Poll::Ready(Err(error)) => Over::Hyper(Some(error)),
                        Poll::Pending => Over::Hyper(None),
                    });
                }
            }
        }
    })
    .await;
    let parts = http.into_parts();
    conclude(over, (&worker, &client, &tap), parts.io.into_inner().into_inner(), parts.read_buf)
}

/// What follows from the way in which a time with hyper was over.
fn conclude(
    over: Over,
    (worker, client, tap): (&Worker, &ClientConnection, &State),
    stream: TcpStream,
    read_ahead: Bytes,
) -> Ended {
    match over {
        Over::Hyper(None) => Ended::Done(stream, read_ahead),
        Over::Idle if tap::is_blank(&read_ahead) => Ended::Idle(stream, Bytes::new()),
        Over::Idle => Ended::Idle(stream, read_ahead),
        Over::Slow => {
            refused(worker, client, StatusCode::REQUEST_TIMEOUT, "request head too slow".to_owned());
            Ended::Refused(stream, TOO_SLOW)
        }
        Over::Hyper(Some(error)) if error.is_parse() => {
            let (status, last_words): (_, &[u8]) = if error.is_parse_version_h2() {
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, NOT_HTTP_2)
            } else if error.is_parse_too_large() {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, b"")
            } else {
                (StatusCode::BAD_REQUEST, b"")
            };
            refused(worker, client, status, error.to_string());
            Ended::Refused(stream, last_words)
        }
        Over::Hyper(Some(_)) | Over::Stuck => {
            // The end of the connection may be the end of an HTTP/1.0 body: what is cut short must not look whole.
            if tap.speaks_http_1_0() {
                let _closed = stream.set_zero_linger();
            }
            Ended::Broken
        }
    }
}

/// Counts and logs a request that never became one.
fn refused(worker: &Worker, client: &ClientConnection, status: StatusCode, fault: String) {
    let now = clock::now();
    let record = Record { status: Some(status), fault: Some(fault), ..Record::default() };
    worker.ledger.counters.unreadable.up();
    worker.ledger.begin();
    worker.ledger.end(&record, client.peer.ip().to_canonical(), now, now);
}

/// Why hyper's time with a connection is over.
enum Over {
    /// hyper says so.
    Hyper(Option<hyper::Error>),
    /// No request is under way, and none has come for a moment.
    Idle,
    /// A request's head took too long.
    Slow,
    /// The client takes nothing of what is written.
    Stuck,
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
    timer: Timer,
    /// When hyper got the connection.
    begun: Duration,
    head_since: Option<Duration>,
    /// The exchange's deadline that has passed, if one has.
    expired: Option<Duration>,
}

impl<'a> Waits<'a> {
    fn new(client: &'a ClientConnection, tap: &'a State, server: &'a Server) -> Self {
        Self { client, tap, server, timer: Timer::default(), begun: clock::mono(), head_since: None, expired: None }
    }

    /// Ready when what is waited for has taken too long. After [`Wait::Exchange`] whoever set the deadline is to be
    /// polled, and sees that it has passed; if nobody did, it is void.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Wait> {
        loop {
            let (due, wait) = self.due();
            ready!(self.timer.poll(due, cx));
            if wait != Wait::Exchange || self.expired != Some(due) {
                self.expired = Some(due);
                return Poll::Ready(wait);
            }
            self.client.deadline.clear();
        }
    }

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
        // What ended the last pause may be no more than an empty line.
        (self.client.idle_since.get().max(self.begun) + PARK_AFTER, Wait::Idle)
    }
}

/// Answers one request: reads clock and dice, and sends it down the spine.
fn answer(worker: &Worker, client: &Rc<ClientConnection>, tap: &Rc<State>, request: Request<Incoming>) -> Answering {
    client.is_busy.set(true);
    let signs = tap.signs(&request);
    let (head, body) = request.into_parts();
    let site = worker.site();
    let exchange = Exchange {
        started: clock::now(),
        dice: dice::roll(),
        head: Head { method: head.method, uri: head.uri, version: head.version, fields: head.headers.into() },
        body: Some(body),
        client: client.peer.ip().to_canonical(),
        connection: Rc::clone(client),
        signs,
        accept: None,
        key: 0,
        cache_status: None,
        tally: None,
        signature: site.signature().map(Rc::clone),
        record: Record::default(),
    };
    let mut open = Open::begin(exchange, Rc::clone(&worker.ledger));
    if !tap.is_flushed() {
        return Answering::Later(Box::pin(after(Rc::clone(tap), site, open)));
    }
    match flow::begin(&site, open.exchange()) {
        Ok(Step::Waits(mut way)) => Answering::Later(Box::pin(async move {
            let handled = flow::go_on(&site, open.exchange(), &mut way).await;
            open.answer(handled)
        })),
        Ok(Step::Sweeps(banned)) => Answering::Later(Box::pin(async move {
            let answer = purge::swept(&site, open.exchange(), &banned).await;
            open.answer(Ok(answer))
        })),
        Ok(Step::Answered(answer)) => Answering::Now(Some(open.answer(Ok(answer)))),
        Err(fault) => Answering::Now(Some(open.answer(Err(fault)))),
    }
}

/// Answers a request that came behind another one's answer, once that has gone out.
async fn after(tap: Rc<State>, site: Rc<Site>, mut open: Open) -> Answer {
    tap.flushed().await;
    let handled = match flow::begin(&site, open.exchange()) {
        Ok(Step::Waits(mut way)) => flow::go_on(&site, open.exchange(), &mut way).await,
        Ok(Step::Sweeps(banned)) => Ok(purge::swept(&site, open.exchange(), &banned).await),
        Ok(Step::Answered(answer)) => Ok(answer),
        Err(fault) => Err(fault),
    };
    open.answer(handled)
}

/// An answer, or its future. hyper moves what it is given, and keeps it in the connection: a future of ours is large,
/// so it lies elsewhere, and is not even made for what can be answered at once.
enum Answering {
    Now(Option<Answer>),
    Later(Pin<Box<dyn Future<Output = Answer>>>),
}

impl Future for Answering {
    type Output = Result<http::Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut answer = match self.get_mut() {
            Self::Now(answer) => match answer.take() {
                Some(answer) => answer,
                None => return Poll::Pending,
            },
            Self::Later(answering) => ready!(answering.as_mut().poll(cx)),
        };
        // Not before: hyper may find that the client has gone, and never ask.
        answer.body.begin();
        let mut response = http::Response::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.fields.into_map();
        Poll::Ready(Ok(response))
    }
}
