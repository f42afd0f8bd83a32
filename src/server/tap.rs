//! A thin wrapper of a client's socket, between the kernel and hyper.
//!
//! It sees what hyper's parser hides ([`Signs`]), writes what hyper's server can't (1xx responses, and bodies that the
//! kernel moves, see `relay`), and notes what the connection's loop must know of the socket: whether a head has begun,
//! whether a write is stuck.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Version};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::exchange::{ClientConnection, Signs, pieces};
use crate::observe::clock;
use crate::relay::Pipe;

/// A client's socket, watched.
#[derive(Debug)]
pub struct Tap {
    stream: TcpStream,
    /// What was read of the socket before it was watched.
    read_ahead: Bytes,
    state: Rc<State>,
    /// 1xx responses that are being written.
    interim: Vec<u8>,
    interim_written: usize,
}

/// Room for a head, lent to one of a worker's connections after the other: nearly always a head is read and parsed in
/// one go, and what they all use stays in the processor's cache.
#[derive(Debug, Default)]
pub struct Room(RefCell<Vec<u8>>);

impl Room {
    /// So much of it is kept, in bytes.
    const KEPT_MAX: usize = 4096;

    fn lend(&self) -> Vec<u8> {
        self.0.take()
    }

    fn take_back(&self, mut room: Vec<u8>) {
        room.clear();
        room.shrink_to(Self::KEPT_MAX);
        self.0.replace(room);
    }
}

/// What a tap has seen.
#[derive(Debug)]
pub struct State {
    /// What was read of a head that hyper has not parsed yet.
    head: RefCell<Vec<u8>>,
    head_bytes_max: usize,
    room: Rc<Room>,
    reads_head: Cell<bool>,
    speaks_http_1_0: Cell<bool>,
    is_flushed: Cell<bool>,
    stuck_since: Cell<Option<Duration>>,
    waits_for_flush: RefCell<Option<Waker>>,
    client: Rc<ClientConnection>,
}

impl State {
    /// What nothing has been seen of yet.
    #[must_use]
    pub fn new(client: Rc<ClientConnection>, head_bytes_max: usize, room: Rc<Room>) -> Self {
        Self {
            head: RefCell::default(),
            head_bytes_max,
            room,
            reads_head: Cell::new(true),
            speaks_http_1_0: Cell::new(false),
            is_flushed: Cell::new(true),
            stuck_since: Cell::new(None),
            waits_for_flush: RefCell::default(),
            client,
        }
    }

    /// Whether a request's head has begun and is not whole.
    #[must_use]
    pub fn has_begun_head(&self) -> bool {
        self.reads_head.get() && !is_blank(&self.head.borrow())
    }

    /// Whether the last request was HTTP/1.0, so that the end of the connection may be the end of its answer.
    #[must_use]
    pub fn speaks_http_1_0(&self) -> bool {
        self.speaks_http_1_0.get()
    }

    /// Whether all that hyper wrote has gone out.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.is_flushed.get()
    }

    /// Since when a write has been stuck, if one is.
    #[must_use]
    pub fn stuck_since(&self) -> Option<Duration> {
        self.stuck_since.get()
    }

    /// hyper has parsed this head: what did the bytes show?
    #[must_use]
    pub fn signs(&self, request: &Request<Incoming>) -> Signs {
        self.reads_head.set(false);
        self.speaks_http_1_0.set(request.version() == Version::HTTP_10);
        let head = self.head.take();
        let signs = read_signs(&head, request);
        self.room.take_back(head);
        signs
    }

    /// The answer is on its way: what is read from here on is the next head.
    pub fn expect_head(&self) {
        self.reads_head.set(true);
    }

    /// Waits until all that hyper wrote has gone out: only then can 1xx responses be told from what was before.
    pub async fn flushed(&self) {
        std::future::poll_fn(|cx| {
            if self.is_flushed.get() {
                return Poll::Ready(());
            }
            *self.waits_for_flush.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn read(&self, bytes: &[u8]) {
        if self.reads_head.get() {
            let mut head = self.head.borrow_mut();
            if head.capacity() == 0 {
                *head = self.room.lend();
            }
            let room = self.head_bytes_max.saturating_sub(head.len());
            head.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        }
    }

    fn note_write<T>(&self, polled: &Poll<io::Result<T>>) {
        match polled {
            Poll::Ready(_) => self.stuck_since.set(None),
            Poll::Pending if self.stuck_since.get().is_none() => self.stuck_since.set(Some(clock::mono())),
            Poll::Pending => {}
        }
    }
}

/// Whether these bytes are nothing but empty lines, which may come before a request (RFC 9112 §2.2).
#[must_use]
pub fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Looks for what hyper hides in the bytes of a head. Of a pipelined request the bytes may be gone, or not its own;
/// then hyper's reading stands: it cuts a fragment, and lets `Transfer-Encoding` win and closes after.
fn read_signs(head: &[u8], request: &Request<Incoming>) -> Signs {
    let chunked = request.headers().contains_key(http::header::TRANSFER_ENCODING);
    // Behind the first line a `#` means nothing, and what follows may be a long body.
    let begins = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
    let first_line = head.get(begins..).unwrap_or_default().split(|byte| *byte == b'\n').next().unwrap_or_default();
    if !chunked && !first_line.contains(&b'#') {
        return Signs::default();
    }
    let end = head.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(head.len());
    let head = head.get(..end).unwrap_or_default();
    let mut lines = head.split(|byte| *byte == b'\n').skip_while(|line| line.is_empty() || *line == b"\r");
    let has_fragment = lines.next().is_some_and(|line| line.contains(&b'#'));
    let has_two_lengths = chunked
        && lines.any(|line| {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            name.eq_ignore_ascii_case(b"content-length")
        });
    Signs { has_fragment, has_two_lengths }
}

impl Tap {
    /// Watches a socket, of which `read_ahead` was read already.
    #[must_use]
    pub fn new(stream: TcpStream, read_ahead: Bytes, state: Rc<State>) -> Self {
        Self { stream, read_ahead, state, interim: Vec::new(), interim_written: 0 }
    }

    /// The socket.
    #[must_use]
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Writes 1xx responses that wait. hyper has nothing of a response before them left to write.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let rest = self.interim.get(self.interim_written..).unwrap_or_default();
            if rest.is_empty() {
                self.interim.clear();
                self.interim_written = 0;
                match self.state.client.interim.take() {
                    Some(more) => self.interim = more,
                    None => return Poll::Ready(Ok(())),
                }
                continue;
            }
            let polled = Pin::new(&mut self.stream).poll_write(cx, rest);
            self.state.note_write(&polled);
            self.interim_written += ready!(polled)?;
        }
    }

    /// Moves bytes out of a pipe, at most so many.
    fn poll_drain(&self, cx: &mut Context<'_>, pipe: &Pipe, length: usize) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_io(Interest::WRITABLE, || pipe.drain(&self.stream, length)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                drained => {
                    self.state.client.aside.tidy();
                    return Poll::Ready(drained);
                }
            }
        }
    }

    /// Writes these pieces, of which some may stand in for what is in a pipe.
    fn poll_pieces(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let aside = &self.state.client.aside;
        if let Some((first, pipe)) = bufs.first().and_then(|first| Some((first, aside.stood_for(first)?))) {
            return self.poll_drain(cx, &pipe, first.len());
        }
        let real = bufs.iter().position(|buf| aside.stood_for(buf).is_some()).unwrap_or(bufs.len());
        pieces::poll_write(&mut self.stream, cx, bufs.get(..real).unwrap_or_default())
    }
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.read_ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let length = buf.remaining().min(self.read_ahead.len());
            buf.put_slice(&self.read_ahead.split_to(length));
        }
        self.state.read(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state.is_flushed.set(false);
        ready!(self.poll_interim(cx))?;
        let polled = if self.state.client.aside.is_open() {
            self.poll_pieces(cx, bufs)
        } else {
            pieces::poll_write(&mut self.stream, cx, bufs)
        };
        self.state.note_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        self.state.is_flushed.set(true);
        if let Some(waker) = self.state.waits_for_flush.borrow_mut().take() {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }

    /// hyper must not close the socket: it is ours to end (see `linger`), or to hand to a tunnel.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
