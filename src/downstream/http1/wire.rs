//! A client's socket and what was read of it, shared by the connection's loop and the body of the request under way.
//!
//! Only one of the two waits for the socket at a time: the body while its reader asks for more of it, else the loop, which
//! reads ahead within a bound and so sees that the client has left.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use http1::{BodyDecoder, BodyLimits, Event, Framing, HeadLimits};
use message::Lines;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::TcpStream;

use super::buffers::{BufferPool, Buffers, READ_BYTES};
use super::head::{self, Facts};
use super::output::Output;
use super::refusal::Refusal;
use crate::exchange::fault::Fault;
use crate::exchange::incoming::BodySource;
use crate::exchange::{ClientConnection, Head, Incoming};
use crate::observe::clock;
use crate::splice::Pipe;

/// How much of what comes behind a request is read before that is answered, in bytes.
const READ_AHEAD_MAX: usize = 16 * 1024;
/// How much of a body is read at a time, in bytes.
const BODY_READ_BYTES: usize = 64 * 1024;
/// Less room than this is not worth a call.
const ROOM_BYTES_MIN: usize = 2 * 1024;
/// The interim response for a client that waits to send its body (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The end of a chunked body without trailers, behind the content of a chunk.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// How a client's side of a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It sends no more.
    Half,
    /// The connection is broken.
    Broken,
}

/// The socket and what was read of it.
pub(super) struct Wire {
    /// `None`: the connection's loop is done with it.
    socket: RefCell<Option<TcpStream>>,
    input: RefCell<Input>,
    /// Since when the socket has taken nothing of what is to be written (monotonic time).
    stuck_since: Cell<Option<Duration>>,
    pool: Rc<BufferPool>,
    client: Rc<ClientConnection>,
}

#[derive(Default)]
struct Input {
    /// `None`: nothing has been read that is not used up.
    buffers: Option<Box<Buffers>>,
    closed: Option<Closed>,
    body: Body,
    /// The task of the connection's loop.
    task: Option<Waker>,
}

/// The body of the request under way.
#[derive(Default)]
struct Body {
    state: State,
    /// Somebody may still ask for it.
    is_read: bool,
    /// Its reader waits for the socket.
    waker: Option<Waker>,
    /// Its reader has waited in another task than the loop's.
    is_read_elsewhere: bool,
    /// Its client has not been told to send it.
    is_held: bool,
}

#[derive(Default)]
enum State {
    /// All of it was decoded.
    #[default]
    Whole,
    Partial(BodyDecoder),
    /// It can't be decoded further.
    Broken,
}

/// What was decoded.
enum Decoded {
    Content(Bytes),
    Trailers(HeaderMap),
    End,
    NeedsMore,
    Broken,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, pool: Rc<BufferPool>, client: Rc<ClientConnection>) -> Self {
        Self {
            socket: RefCell::new(Some(socket)),
            input: RefCell::default(),
            stuck_since: Cell::new(None),
            pool,
            client,
        }
    }

    /// Says which task runs the connection's loop.
    pub(super) fn attach(&self, task: &Waker) {
        self.input.borrow_mut().task = Some(task.clone());
    }

    /// Reads at most `max` bytes more. 0: the client sends no more.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<usize>> {
        let mut socket = self.socket.borrow_mut();
        let Some(socket) = socket.as_mut() else { return Poll::Ready(Ok(0)) };
        let mut input = self.input.borrow_mut();
        let input = &mut *input;
        let buffer = &mut input.buffers.get_or_insert_with(|| self.pool.lend()).input;
        make_room(buffer, max);
        let read = ready!(pin!(socket.read_buf(&mut buffer.limit(max))).poll(cx));
        match &read {
            Ok(0) => input.closed = Some(Closed::Half),
            Ok(_) => {}
            Err(_broken) => input.closed = Some(Closed::Broken),
        }
        Poll::Ready(read)
    }

    /// Scans the next head. Returns its length once it is complete.
    ///
    /// # Errors
    /// [`Refusal`] if it is none.
    pub(super) fn scan(&self, limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let mut input = self.input.borrow_mut();
        let Some(buffers) = &mut input.buffers else { return Ok(None) };
        if !buffers.head.has_begun() {
            // Empty lines belong to no request (RFC 9112 §2.2).
            while buffers.input.starts_with(b"\r\n") {
                buffers.input.advance(2);
                buffers.head.reset();
            }
        }
        if buffers.input.is_empty() { Ok(None) } else { Ok(buffers.head.scan(&buffers.input, limits)?) }
    }

    /// Whether a head has begun that is not complete.
    pub(super) fn has_begun_head(&self) -> bool {
        self.input.borrow().buffers.as_ref().is_some_and(|buffers| buffers.head.has_begun())
    }

    /// Takes a head of this length, which was scanned, and begins with its body.
    ///
    /// # Errors
    /// [`Refusal`] if it can't be said what is asked for, or where the body ends.
    pub(super) fn take_head(&self, length: usize) -> Result<(Head, Facts), Refusal> {
        let mut input = self.input.borrow_mut();
        let input = &mut *input;
        let Some(Buffers { input: buffer, head, lines, .. }) = input.buffers.as_deref_mut() else {
            return Err(Refusal::Target);
        };
        let bytes = buffer.split_to(length.min(buffer.len())).freeze();
        let facts = head::facts(head, &bytes)?;
        let taken = head::head(head, bytes)?;
        head.reset();
        head.fields = std::mem::take(lines);
        let state = match facts.framing {
            Framing::None => State::Whole,
            framing @ (Framing::Length(_) | Framing::Chunked | Framing::UntilClose) => {
                State::Partial(BodyDecoder::new(framing, BodyLimits::default()))
            }
        };
        input.body = Body { state, is_held: facts.expects_continue, ..Body::default() };
        Ok((taken, facts))
    }

    /// The body of the request whose head was taken.
    pub(super) fn body(self: &Rc<Self>, framing: Framing) -> Incoming {
        let length = match framing {
            Framing::None => return Incoming::empty(),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        self.input.borrow_mut().body.is_read = true;
        Incoming::new(Rc::clone(self) as Rc<dyn BodySource>, length)
    }

    /// Whether all of the request under way has come, be it decoded or not.
    pub(super) fn has_whole_request(&self) -> bool {
        let input = self.input.borrow();
        let mut decoder = match input.body.state {
            State::Whole => return true,
            State::Broken => return false,
            State::Partial(decoder) => decoder,
        };
        let mut rest = input.buffers.as_ref().map(|buffers| &buffers.input[..]).unwrap_or_default();
        let mut trailers = Lines::default();
        loop {
            match decoder.decode(&mut rest, &mut trailers) {
                Ok(Event::Content(_)) => {}
                Ok(Event::End { .. }) => return true,
                Ok(Event::NeedsMore) | Err(_) => return false,
            }
        }
    }

    /// The final response begins: the client is not told any more to send its body.
    pub(super) fn begin_response(&self) {
        self.input.borrow_mut().body.is_held = false;
    }

    /// Whether another request may come behind the one under way, as far as its body is concerned: it is whole, or its
    /// reader may still see to that. What has come of a body that has no reader is thrown away.
    pub(super) fn may_go_on(&self) -> bool {
        let mut input = self.input.borrow_mut();
        if matches!(input.body.state, State::Whole) {
            return true;
        }
        while !input.body.is_read {
            match input.decode() {
                Decoded::Content(_) | Decoded::Trailers(_) => {}
                Decoded::End => return true,
                Decoded::NeedsMore | Decoded::Broken => return false,
            }
        }
        !matches!(input.body.state, State::Broken)
    }

    /// Whether the next request may be read: the body of the last one is whole.
    pub(super) fn is_between_requests(&self) -> bool {
        self.may_go_on() && matches!(self.input.borrow().body.state, State::Whole)
    }

    /// Ready when the client has left, or sends no more. Reads ahead, within a bound: unless the reader of the body does so
    /// in another task, since only one task can wait for the socket.
    pub(super) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Closed> {
        loop {
            let length = {
                let input = self.input.borrow();
                if let Some(closed) = input.closed {
                    return Poll::Ready(closed);
                }
                if input.body.waker.as_ref().is_some_and(|reader| !reader.will_wake(cx.waker())) {
                    return Poll::Pending;
                }
                input.buffers.as_ref().map_or(0, |buffers| buffers.input.len())
            };
            let room = READ_AHEAD_MAX.saturating_sub(length);
            if room == 0 {
                return Poll::Pending;
            }
            let _seen = ready!(self.poll_read(cx, room));
            if let Some(reader) = self.input.borrow_mut().body.waker.take() {
                reader.wake();
            }
        }
    }

    /// Whether the connection is known to be broken.
    pub(super) fn is_broken(&self) -> bool {
        self.input.borrow().closed == Some(Closed::Broken)
    }

    /// Whether the system has bytes of the client that were not read.
    pub(super) fn has_bytes(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let socket = self.socket.borrow();
        socket.as_ref().is_some_and(|socket| SockRef::from(socket).peek(&mut byte).is_ok_and(|length| length > 0))
    }

    /// Writes all that is to be written.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, output: &mut Output) -> Poll<io::Result<()>> {
        let mut socket = self.socket.borrow_mut();
        let Some(socket) = socket.as_mut() else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let before = output.left();
        let written = output.poll_write(cx, socket);
        self.note_write(output.left() < before, written.is_pending());
        written
    }

    /// Since when the client has taken nothing of what is to be written.
    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.stuck_since.get()
    }

    fn note_write(&self, has_moved: bool, is_pending: bool) {
        if !is_pending {
            self.stuck_since.set(None);
        } else if has_moved || self.stuck_since.get().is_none() {
            self.stuck_since.set(Some(clock::mono()));
        }
    }

    /// Moves bytes out of a pipe into the socket. Returns how many.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<io::Result<usize>> {
        let socket = self.socket.borrow();
        let Some(socket) = socket.as_ref() else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        loop {
            let ready = socket.poll_write_ready(cx);
            self.note_write(false, ready.is_pending());
            ready!(ready)?;
            match socket.try_io(Interest::WRITABLE, || pipe.drain(socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                drained => return Poll::Ready(drained),
            }
        }
    }

    /// What the buffers have for output.
    pub(super) fn lend_output(&self) -> Output {
        self.input.borrow_mut().buffers.as_mut().map(|buffers| std::mem::take(&mut buffers.output)).unwrap_or_default()
    }

    /// An index that was used up, for the next head.
    pub(super) fn keep_lines(&self, lines: Lines) {
        if let Some(buffers) = &mut self.input.borrow_mut().buffers {
            buffers.lines = lines;
        }
    }

    /// The connection is idle: gives the buffers back, unless something is left in them.
    pub(super) fn release(&self, output: &mut Output) {
        if let Some(mut buffers) = self.input.borrow_mut().buffers.take_if(|buffers| buffers.input.is_empty()) {
            buffers.output = std::mem::take(output);
            self.pool.take_back(buffers);
        }
    }

    /// The socket, and what was read of it ahead. A reader of the body gets no more.
    pub(super) fn take(&self) -> Option<(TcpStream, Bytes)> {
        let socket = self.socket.borrow_mut().take()?;
        let mut input = self.input.borrow_mut();
        let (buffers, reader) = (input.buffers.take(), input.body.waker.take());
        // It waits for a socket that says nothing to it any more.
        if let Some(reader) = reader {
            reader.wake();
        }
        Some((socket, buffers.map(|buffers| buffers.input.freeze()).unwrap_or_default()))
    }
}

/// Sees to it that some of `max` bytes can be read.
fn make_room(buffer: &mut BytesMut, max: usize) {
    let room = buffer.capacity() - buffer.len();
    if room < ROOM_BYTES_MIN.min(max) {
        buffer.reserve(max.clamp(READ_BYTES, BODY_READ_BYTES));
    }
}

impl Input {
    /// Decodes the next piece of the body from what was read.
    fn decode(&mut self) -> Decoded {
        let Self { buffers, body, .. } = self;
        let decoder = match &mut body.state {
            State::Whole => return Decoded::End,
            State::Broken => return Decoded::Broken,
            State::Partial(decoder) => decoder,
        };
        let Some(Buffers { input, head, .. }) = buffers.as_deref_mut() else { return Decoded::NeedsMore };
        let mut rest: &[u8] = input;
        let event = decoder.decode(&mut rest, &mut head.fields);
        let used = input.len() - rest.len();
        match event {
            Ok(Event::Content(content)) => {
                let length = content.len();
                input.advance(used - length);
                let content = input.split_to(length).freeze();
                if body_ends(decoder, input) {
                    head.reset();
                    body.state = State::Whole;
                }
                Decoded::Content(content)
            }
            Ok(Event::NeedsMore) => {
                input.advance(used);
                Decoded::NeedsMore
            }
            Ok(Event::End { trailers }) => {
                let trailers = head::trailers(&head.fields, trailers);
                input.advance(used);
                head.reset();
                body.state = State::Whole;
                if trailers.is_empty() { Decoded::End } else { Decoded::Trailers(trailers) }
            }
            Err(_malformed) => {
                body.state = State::Broken;
                Decoded::Broken
            }
        }
    }
}

/// Whether a body ends behind the content that was decoded last. If so, its end is taken from the input.
fn body_ends(decoder: &BodyDecoder, input: &mut BytesMut) -> bool {
    match decoder {
        BodyDecoder::Length(left) => *left == 0,
        BodyDecoder::Chunked(_) if decoder.content_left() == 0 && input.starts_with(LAST_CHUNK) => {
            input.advance(LAST_CHUNK.len());
            true
        }
        BodyDecoder::Chunked(_) | BodyDecoder::UntilClose => false,
    }
}

impl BodySource for Wire {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let mut input = self.input.borrow_mut();
            match input.decode() {
                Decoded::Content(content) => return Poll::Ready(Some(Ok(Frame::data(content)))),
                Decoded::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Decoded::End => return Poll::Ready(None),
                Decoded::Broken => return Poll::Ready(Some(Err(Fault::BodyBroken))),
                Decoded::NeedsMore => {}
            }
            if std::mem::take(&mut input.body.is_held)
                && input.buffers.as_ref().is_none_or(|buffers| buffers.input.is_empty())
            {
                self.client.interim.pass_on(CONTINUE);
            }
            input.body.waker = None;
            drop(input);
            match self.poll_read(cx, BODY_READ_BYTES) {
                Poll::Ready(Ok(0) | Err(_)) => self.input.borrow_mut().body.state = State::Broken,
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    let Input { body, task, .. } = &mut *self.input.borrow_mut();
                    body.is_read_elsewhere |= !task.as_ref().is_some_and(|task| task.will_wake(cx.waker()));
                    body.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.input.borrow().body.state, State::Whole)
    }

    fn leave(&self) {
        let mut input = self.input.borrow_mut();
        (input.body.is_read, input.body.waker) = (false, None);
        // From here on it is the loop that waits for the socket.
        if let Some(task) = input.task.as_ref().filter(|_| input.body.is_read_elsewhere) {
            task.wake_by_ref();
        }
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("socket", &self.socket.borrow()).finish_non_exhaustive()
    }
}
