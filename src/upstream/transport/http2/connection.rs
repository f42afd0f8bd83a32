//! A connection that many requests share: how busy it is, whether it takes more, and the task that moves its frames.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use http1::HEAD_BYTES_CAP;

use super::wire::{Heard, Wire};
use crate::config::plan::UpstreamHttp2;
use crate::exchange::timer::Timer;
use crate::telemetry::clock;
use crate::upstream::transport::socket::Socket;

/// How much of a request's body may wait in the buffer of a stream, in bytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// The largest window (RFC 9113 §6.9.1), in bytes.
const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

/// A connection that many requests share. Dropped, it takes no more, and closes when the last of them has ended.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    streams_max: usize,
    state: Rc<State>,
    /// Since when no stream is open (monotonic time).
    idle_since: Cell<Duration>,
    /// A stream has ended.
    has_served: Cell<bool>,
    /// Whether the backend is asked over TLS.
    pub(super) is_secure: bool,
}

/// What a connection and its task tell each other.
#[derive(Debug, Default)]
struct State {
    heard: Rc<Heard>,
    has_ended: Cell<bool>,
    /// A request has waited in vain: the backend is asked whether it is there.
    is_doubted: Cell<bool>,
    /// How many streams are open.
    streams: Cell<usize>,
    /// The task of the driver.
    waker: RefCell<Option<Waker>>,
}

impl Connection {
    /// How many streams are open.
    pub(super) fn streams(&self) -> usize {
        self.state.streams.get()
    }

    /// Whether it may take more requests, now or later.
    pub(super) fn is_open(&self) -> bool {
        // After a `GOAWAY` it is not ready for good.
        let mut sender = self.sender.clone();
        !self.state.has_ended.get()
            && matches!(sender.poll_ready(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
    }

    /// Whether it is not known to be silent.
    pub(super) fn is_trusted(&self) -> bool {
        !self.state.is_doubted.get()
    }

    /// Whether one more stream can be opened.
    pub(super) fn has_room(&self) -> bool {
        self.is_trusted() && self.streams() < self.streams_max.min(self.sender.current_max_send_streams())
    }

    /// Whether no stream has been open for longer than `age_max`.
    pub(super) fn is_idle(&self, now: Duration, age_max: Duration) -> bool {
        self.streams() == 0 && now.saturating_sub(self.idle_since.get()) > age_max
    }

    /// Whether it waits for a request, and has carried others: the backend may be about to close it.
    pub(super) fn is_at_rest(&self) -> bool {
        self.has_served.get() && self.streams() == 0
    }

    /// A stream takes its place.
    pub(super) fn enter(&self) {
        self.state.streams.set(self.streams() + 1);
    }

    /// A stream gives its place back.
    pub(super) fn leave(&self) {
        let left = self.streams().saturating_sub(1);
        self.state.streams.set(left);
        self.has_served.set(true);
        if left == 0 {
            self.idle_since.set(clock::mono());
        }
    }

    /// What opens a stream.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.sender.clone()
    }

    /// A request has waited in vain. The backend is asked whether it is there; until it answers, no stream is opened.
    pub(super) fn doubt(&self) {
        if !self.state.is_doubted.replace(true)
            && let Some(waker) = &*self.state.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

/// Moves the frames of a connection.
pub(super) struct Driver {
    connection: h2::client::Connection<Wire, Bytes>,
    pings: Option<PingPong>,
    state: Rc<State>,
    interval: Duration,
    timeout: Duration,
    timer: Timer,
    /// How many streams the backend allows.
    streams_max: usize,
    /// When something has come (monotonic time).
    heard_at: Duration,
    /// Since when the answer to a `PING` is awaited (monotonic time).
    asked_at: Option<Duration>,
}

/// What is due next.
#[derive(Clone, Copy)]
enum Due {
    /// To ask the backend whether it is there.
    Ask,
    /// To give the connection up: the backend has not answered.
    GiveUp,
}

/// Makes a connection of a socket, once the backend has begun to speak HTTP/2. The caller limits the time.
///
/// # Errors
/// When the socket breaks, or the backend speaks another protocol.
pub(super) async fn open(socket: Socket, plan: &UpstreamHttp2) -> io::Result<(Connection, Driver)> {
    let is_secure = matches!(socket, Socket::Tls(_));
    let state = Rc::new(State::default());
    let window = plan.streams_max.saturating_mul(plan.stream_window).clamp(plan.stream_window, WINDOW_BYTES_MAX);
    let wire = Wire { socket, heard: Rc::clone(&state.heard) };
    let streams_max = usize::try_from(plan.streams_max).unwrap_or(usize::MAX);
    let handshake = Builder::new()
        .enable_push(false)
        .initial_window_size(plan.stream_window)
        .initial_connection_window_size(window)
        .initial_max_send_streams(streams_max)
        .max_header_list_size(u32::try_from(HEAD_BYTES_CAP).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .handshake(wire)
        .await;
    let (sender, mut connection) = handshake.map_err(io_error)?;
    let pings = connection.ping_pong();
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(io_error(error))),
        Poll::Pending if state.heard.has_begun() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    })
    .await?;
    let now = clock::mono();
    let driver = Driver {
        connection,
        pings,
        state: Rc::clone(&state),
        interval: plan.ping_interval,
        timeout: plan.ping_timeout,
        timer: Timer::default(),
        streams_max,
        heard_at: now,
        asked_at: None,
    };
    Ok((
        Connection { sender, streams_max, state, idle_since: Cell::new(now), has_served: Cell::new(false), is_secure },
        driver,
    ))
}

fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() { error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into()) } else { io::Error::other(error) }
}

impl Driver {
    /// Moves frames until the connection ends. `look` is called when there may be room for more streams.
    pub(super) async fn run(mut self, mut look: impl FnMut()) {
        poll_fn(|cx| self.poll(cx, &mut look)).await;
        self.state.has_ended.set(true);
    }

    fn poll(&mut self, cx: &mut Context<'_>, look: &mut impl FnMut()) -> Poll<()> {
        self.state.attach(cx.waker());
        loop {
            if Pin::new(&mut self.connection).poll(cx).is_ready() {
                return Poll::Ready(());
            }
            if self.state.heard.take_new() {
                self.heard_at = clock::mono();
            }
            let streams_max = self.connection.max_concurrent_send_streams();
            if std::mem::replace(&mut self.streams_max, streams_max) < streams_max {
                look();
            }
            if self.asked_at.is_some() && self.poll_pong(cx) {
                self.asked_at = None;
                if self.state.is_doubted.take() {
                    look();
                }
            }
            let Some((at, due)) = self.due() else { return Poll::Pending };
            if self.timer.poll(at, cx).is_pending() {
                return Poll::Pending;
            }
            match due {
                Due::Ask => self.ask(),
                Due::GiveUp => return Poll::Ready(()),
            }
        }
    }

    fn due(&self) -> Option<(Duration, Due)> {
        if let Some(asked) = self.asked_at {
            return Some((asked + self.timeout, Due::GiveUp));
        }
        if self.state.is_doubted.get() {
            return Some((Duration::ZERO, Due::Ask));
        }
        let asks = self.state.streams.get() > 0 && !self.interval.is_zero();
        asks.then(|| (self.heard_at + self.interval, Due::Ask))
    }

    fn ask(&mut self) {
        // One that can't be sent is not answered either.
        let _sent = self.pings.as_mut().map(|pings| pings.send_ping(Ping::opaque()));
        self.asked_at = Some(clock::mono());
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>) -> bool {
        self.pings.as_mut().is_some_and(|pings| matches!(pings.poll_pong(cx), Poll::Ready(Ok(_))))
    }
}

impl State {
    fn attach(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }
}
