//! A client's socket and what was read of it, shared by the connection's loop and the body of the request under way.
//!
//! Only one of the two waits for the socket at a time: the body while its reader asks for more of it, else the loop, which
//! reads ahead within a bound and so sees that the client has left.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http_body::Frame;
use http1::{Framing, HeadLimits};
use message::Lines;
use policy::message::scheme::Scheme;
use tokio::io::AsyncReadExt as _;

use super::buffers::{BufferPool, READ_BYTES};
use super::head::Facts;
use super::input::{Closed, Decoded, Input, State};
use super::output::Output;
use crate::downstream::refusal::Refusal;
use crate::downstream::socket::Socket;
use crate::exchange::error::ProxyError;
use crate::exchange::incoming::BodySource;
use crate::exchange::stream::Stream;
use crate::exchange::{Head, Incoming};
use crate::proxy::fast_hit::PlainGet;
use crate::splice::{self, Pipe, Pipes};
use crate::telemetry::access_record::Request;
use crate::telemetry::clock;

/// How much of what comes behind a request is read before that is answered, in bytes.
const READ_AHEAD_MAX: usize = 16 * 1024;
/// How much of a body is read at a time, in bytes.
const BODY_READ_BYTES: usize = 64 * 1024;
/// Less room than this is not worth a call.
const ROOM_BYTES_MIN: usize = 2 * 1024;
/// The interim response for a client that waits to send its body (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The socket and what was read of it.
pub(super) struct Wire {
    shared: RefCell<Shared>,
    pool: Rc<BufferPool>,
    pipes: Rc<Pipes>,
    stream: Rc<Stream>,
}

struct Shared {
    /// `None`: the connection's loop is done with it.
    socket: Option<Socket>,
    input: Input,
    /// Since when the socket has taken nothing of what is to be written (monotonic time).
    stuck_since: Option<Duration>,
}

/// How far the next head has come.
pub(super) enum Progress {
    /// All of it is there, of this length.
    Whole(usize),
    /// The rest of it is awaited.
    Begun,
    /// It is awaited.
    None,
    /// The client sends no more.
    Closed,
}

impl Wire {
    /// `read` was read of the socket already.
    pub(super) fn new(
        (socket, read): (Socket, Bytes),
        pool: Rc<BufferPool>,
        pipes: Rc<Pipes>,
        stream: Rc<Stream>,
    ) -> Self {
        let mut input = Input::default();
        if !read.is_empty() {
            input.buffers.get_or_insert_with(|| pool.lend()).input.extend_from_slice(&read);
        }
        let shared = Shared { socket: Some(socket), input, stuck_since: None };
        Self { shared: RefCell::new(shared), pool, pipes, stream }
    }

    /// Says which task runs the connection's loop.
    pub(super) fn attach(&self, task: &Waker) {
        self.shared.borrow_mut().input.task = Some(task.clone());
    }

    /// Reads until the next head is there as a whole. Wakes the task of the loop when there is more to read.
    ///
    /// # Errors
    /// [`Refusal`] if what has come is none.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>, limits: &HeadLimits) -> Result<Progress, Refusal> {
        let shared = &mut *self.shared.borrow_mut();
        loop {
            if let Some(length) = shared.input.scan(limits)? {
                return Ok(Progress::Whole(length));
            }
            match shared.poll_read(cx, &self.pool, READ_BYTES) {
                Poll::Ready(Ok(0) | Err(_)) => return Ok(Progress::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if shared.input.has_begun_head() => return Ok(Progress::Begun),
                Poll::Pending => return Ok(Progress::None),
            }
        }
    }

    /// What `find` finds for a head of this length, which was scanned, if that is plain.
    pub(super) fn find<T>(&self, length: usize, find: impl FnOnce(&PlainGet<'_>) -> Option<T>) -> Option<T> {
        find(&self.shared.borrow().input.plain_get(length)?)
    }

    /// A head of this length, which was scanned, as the log has it.
    pub(super) fn logged(&self, length: usize, scheme: Scheme) -> Option<Request> {
        self.shared.borrow().input.logged(length, scheme)
    }

    /// Is done with a plain head of this length.
    pub(super) fn skip_head(&self, length: usize) {
        self.shared.borrow_mut().input.skip_head(length);
    }

    /// Takes a head of this length, which was scanned, and begins with its body.
    ///
    /// # Errors
    /// [`Refusal`] if it can't be said what is asked for, or where the body ends.
    pub(super) fn take_head(&self, length: usize) -> Result<(Head, Facts), Refusal> {
        self.shared.borrow_mut().input.take_head(length)
    }

    /// The request that is being scanned, as far as that is known.
    pub(super) fn request(&self, scheme: Scheme) -> Option<Request> {
        self.shared.borrow().input.request(scheme)
    }

    /// The body of the request whose head was taken.
    pub(super) fn body(self: &Rc<Self>, framing: Framing) -> Incoming {
        let length = match framing {
            Framing::None => return Incoming::empty(),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        self.shared.borrow_mut().input.body.is_read = true;
        Incoming::new(Rc::clone(self) as Rc<dyn BodySource>, length)
    }

    /// Whether all of the request under way has come, be it decoded or not.
    pub(super) fn has_whole_request(&self) -> bool {
        self.shared.borrow().input.has_whole_request()
    }

    /// The final response begins: see [`Input::begin_response`].
    pub(super) fn begin_response(&self) -> bool {
        self.shared.borrow_mut().input.begin_response()
    }

    /// Whether the body of the request under way was decoded as a whole, so that the next request may be read.
    pub(super) fn has_whole_body(&self) -> bool {
        matches!(self.shared.borrow().input.body.state, State::Whole)
    }

    /// Reads the rest of a request's body and throws it away, once its reader has left: at most `left` bytes. Ready with
    /// whether its end has come; if not, what follows is no request.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>, left: &mut usize) -> Poll<bool> {
        let shared = &mut *self.shared.borrow_mut();
        loop {
            shared.input.discard();
            match shared.input.body.state {
                State::Whole => return Poll::Ready(true),
                State::Broken => return Poll::Ready(false),
                State::Partial(_) => {}
            }
            if shared.input.body.is_read {
                // The loop has nothing else to do: a reader that is still there has a task of its own.
                shared.input.body.is_read_elsewhere = true;
                return Poll::Pending;
            }
            if *left == 0 || shared.input.closed.is_some() {
                return Poll::Ready(false);
            }
            match ready!(shared.poll_read(cx, &self.pool, READ_BYTES.min(*left))) {
                Ok(0) | Err(_) => return Poll::Ready(false),
                Ok(length) => *left = left.saturating_sub(length),
            }
        }
    }

    /// Ready when the client has left, or sends no more. Reads ahead, within a bound: unless the reader of the body does so
    /// in another task, since only one task can wait for the socket.
    pub(super) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Closed> {
        let shared = &mut *self.shared.borrow_mut();
        loop {
            if let Some(closed) = shared.input.closed {
                return Poll::Ready(closed);
            }
            if shared.input.body.waker.as_ref().is_some_and(|reader| !reader.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            let room = READ_AHEAD_MAX.saturating_sub(shared.input.unread().len());
            if room == 0 {
                return Poll::Pending;
            }
            let _seen = ready!(shared.poll_read(cx, &self.pool, room));
            if let Some(reader) = shared.input.body.waker.take() {
                reader.wake();
            }
        }
    }

    /// Whether the connection is known to be broken.
    pub(super) fn is_broken(&self) -> bool {
        self.shared.borrow().input.closed == Some(Closed::Broken)
    }

    /// Whether the system has bytes of the client that were not read.
    pub(super) fn has_bytes(&self) -> bool {
        self.shared.borrow().socket.as_ref().is_some_and(Socket::has_bytes)
    }

    /// Writes all that is to be written.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, output: &mut Output) -> Poll<io::Result<()>> {
        let shared = &mut *self.shared.borrow_mut();
        let Some(socket) = &mut shared.socket else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let before = (output.left(), socket.written());
        let written = output.poll_write(cx, socket);
        let has_moved = before != (output.left(), socket.written());
        shared.note_write(has_moved, written.is_pending());
        written
    }

    /// Whether the kernel can move bytes into the socket.
    pub(super) fn can_splice(&self) -> bool {
        self.shared.borrow().socket.as_ref().is_some_and(Socket::can_splice)
    }

    /// Since when the client has taken nothing of what is to be written (monotonic time).
    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.shared.borrow().stuck_since
    }

    /// Moves bytes out of a pipe into the socket. Returns how many.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<io::Result<usize>> {
        let shared = &mut *self.shared.borrow_mut();
        loop {
            let Some(socket) = &shared.socket else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
            let ready = socket.poll_write_ready(cx);
            let drained = match &ready {
                Poll::Ready(Ok(())) => socket.try_drain(pipe),
                Poll::Ready(Err(_)) | Poll::Pending => Ok(0),
            };
            shared.note_write(false, ready.is_pending());
            ready!(ready)?;
            match drained {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                drained => return Poll::Ready(drained),
            }
        }
    }

    /// What the buffers have for output.
    pub(super) fn lend_output(&self) -> Box<Output> {
        let buffers = &mut self.shared.borrow_mut().input.buffers;
        buffers.as_mut().and_then(|buffers| buffers.output.take()).unwrap_or_default()
    }

    /// An index that was used up, for the next head.
    pub(super) fn keep_lines(&self, lines: Lines) {
        if let Some(buffers) = &mut self.shared.borrow_mut().input.buffers {
            buffers.lines = lines;
        }
    }

    /// The connection is idle: gives the buffers back, unless something is left in them.
    pub(super) fn release(&self, output: &mut Option<Box<Output>>) {
        let shared = &mut *self.shared.borrow_mut();
        if let Some(mut buffers) = shared.input.buffers.take_if(|buffers| buffers.input.is_empty()) {
            buffers.output = output.take();
            self.pool.take_back(buffers);
        }
    }

    /// The socket, and what was read of it ahead. A reader of the body gets no more.
    pub(super) fn take(&self) -> Option<(Socket, Bytes)> {
        let shared = &mut *self.shared.borrow_mut();
        let socket = shared.socket.take()?;
        // It waits for a socket that says nothing to it any more.
        if let Some(reader) = shared.input.body.waker.take() {
            reader.wake();
        }
        let buffers = shared.input.buffers.take();
        Some((socket, buffers.map(|buffers| buffers.input.freeze()).unwrap_or_default()))
    }
}

impl Shared {
    /// Reads at most `max` bytes more. 0: the client sends no more.
    fn poll_read(&mut self, cx: &mut Context<'_>, pool: &BufferPool, max: usize) -> Poll<io::Result<usize>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(0)) };
        let buffer = &mut self.input.buffers.get_or_insert_with(|| pool.lend()).input;
        make_room(buffer, max);
        let read = ready!(pin!(socket.read_buf(&mut buffer.limit(max))).poll(cx));
        match &read {
            Ok(0) => self.input.closed = Some(Closed::Half),
            Ok(_) => {}
            // TLS that ends without a `close_notify`. No request is delimited by its end, so nothing passes for whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.input.closed = Some(Closed::Half),
            Err(_broken) => self.input.closed = Some(Closed::Broken),
        }
        Poll::Ready(read)
    }

    fn note_write(&mut self, has_moved: bool, is_pending: bool) {
        if !is_pending {
            self.stuck_since = None;
        } else if has_moved || self.stuck_since.is_none() {
            self.stuck_since = Some(clock::mono());
        }
    }
}

/// Sees to it that some of `max` bytes can be read.
fn make_room(buffer: &mut BytesMut, max: usize) {
    let room = buffer.capacity() - buffer.len();
    if room < ROOM_BYTES_MIN.min(max) {
        buffer.reserve(max.clamp(READ_BYTES, BODY_READ_BYTES));
    }
}

impl BodySource for Wire {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let shared = &mut *self.shared.borrow_mut();
        loop {
            match shared.input.decode() {
                Decoded::Content(content) => return Poll::Ready(Some(Ok(Frame::data(content)))),
                Decoded::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Decoded::End => return Poll::Ready(None),
                Decoded::Broken => return Poll::Ready(Some(Err(ProxyError::BodyBroken))),
                Decoded::NeedsMore => {}
            }
            if std::mem::take(&mut shared.input.body.is_held) && shared.input.unread().is_empty() {
                self.stream.interim.pass_on(CONTINUE);
            }
            shared.input.body.waker = None;
            match shared.poll_read(cx, &self.pool, BODY_READ_BYTES) {
                Poll::Ready(Ok(0) | Err(_)) => shared.input.body.state = State::Broken,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    shared.input.await_socket(cx);
                    return Poll::Pending;
                }
            }
        }
    }

    fn spliceable_bytes(&self) -> u64 {
        let shared = self.shared.borrow();
        if shared.socket.as_ref().is_some_and(Socket::can_splice) { shared.input.spliceable_bytes() } else { 0 }
    }

    fn lend_pipe(&self) -> Option<Pipe> {
        self.pipes.lend()
    }

    fn poll_splice(&self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize, ProxyError>> {
        let Shared { socket, input, .. } = &mut *self.shared.borrow_mut();
        let Some(socket) = socket else { return Poll::Ready(Err(ProxyError::BodyBroken)) };
        let left = input.spliceable_bytes();
        input.body.waker = None;
        let moved = loop {
            if socket.poll_read_ready(cx).is_pending() {
                input.await_socket(cx);
                return Poll::Pending;
            }
            match socket.try_fill(pipe, left) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                moved => break moved,
            }
        };
        input.closed = match moved {
            Ok(0) => Some(Closed::Half),
            Ok(moved) => {
                input.skip(moved);
                return Poll::Ready(Ok(moved));
            }
            Err(error) if splice::is_refusal(&error) => {
                pipe.refuse();
                return Poll::Ready(Ok(0));
            }
            Err(_broken) => Some(Closed::Broken),
        };
        input.body.state = State::Broken;
        Poll::Ready(Err(ProxyError::BodyBroken))
    }

    fn has_ended(&self) -> bool {
        self.has_whole_body()
    }

    fn leave(&self) {
        let Input { body, task, .. } = &mut self.shared.borrow_mut().input;
        (body.is_read, body.waker) = (false, None);
        // From here on it is the loop that waits for the socket.
        if let Some(task) = task.as_ref().filter(|_| body.is_read_elsewhere) {
            task.wake_by_ref();
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("socket", &self.shared.borrow().socket).finish_non_exhaustive()
    }
}
