//! Opens connections to backends.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::{Endpoint, Peer};
use super::pool::{self, Connection, Link};
use super::upload::Upload;
use crate::exchange::pieces;
use crate::exchange::tunnel::End;
use crate::observe::counters::Counters;

/// The longest response head, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// A stream to a backend.
#[derive(Debug)]
pub enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

/// Opens a stream to an endpoint. The caller limits the time. When this process has no descriptor left, a connection that
/// waits for a request is closed, and it is tried once more.
///
/// # Errors
/// What the system says.
pub async fn open(endpoint: &Endpoint) -> io::Result<Socket> {
    match open_once(endpoint).await {
        Err(error) if lacks_descriptor(&error) && pool::close_oldest() => open_once(endpoint).await,
        opened => opened,
    }
}

fn lacks_descriptor(error: &io::Error) -> bool {
    const LACKS: [rustix::io::Errno; 2] = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    rustix::io::Errno::from_io_error(error).is_some_and(|errno| LACKS.contains(&errno))
}

async fn open_once(endpoint: &Endpoint) -> io::Result<Socket> {
    match &endpoint.peer {
        Peer::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        Peer::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Socket::Tcp(stream))
        }
    }
}

/// Opens an HTTP/1.1 connection to an endpoint, and starts the task that runs it.
///
/// # Errors
/// As [`open`].
pub async fn connect(endpoint: &Endpoint, counters: &Arc<Counters>) -> io::Result<Connection> {
    let socket = open(endpoint).await?;
    let link = Rc::new(Link::default());
    let (sender, connection) = handshake(socket, &link).await?;
    let engine = Rc::new(Engine::default());
    *engine.running.borrow_mut() = Some((connection, Open::begin(counters)));
    tokio::task::spawn_local(run(Rc::clone(&engine), Rc::clone(&link)));
    Ok(Connection { sender, link, engine, reused: false })
}

async fn handshake(socket: Socket, link: &Rc<Link>) -> io::Result<(SendRequest<Upload>, Http)> {
    let socket = Heard { socket, link: Rc::clone(link) };
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX);
    builder.handshake(TokioIo::new(socket)).await.map_err(io::Error::other)
}

/// Runs a connection until either side closes it, nobody uses it any more, or it stops being HTTP.
async fn run(engine: Rc<Engine>, link: Rc<Link>) {
    let Some(ended) = std::future::poll_fn(|cx| engine.poll(cx)).await else { return };
    let switched = link.switched.borrow_mut().take();
    let taken = engine.take();
    if let (Ok(()), Some(switched), Some(taken)) = (ended, switched, taken) {
        let _taker_gone = switched.send(End { stream: Box::new(taken.socket), read_ahead: taken.read_ahead });
    }
}

type Http = http1::Connection<TokioIo<Heard>, Upload>;

/// hyper's part of a connection: run by a task of its own, and out of it while the stream is used without hyper.
#[derive(Default)]
pub struct Engine {
    running: RefCell<Option<(Http, Open)>>,
    /// The task that runs it.
    task: RefCell<Option<Waker>>,
    /// The connection's user has let go of it.
    is_left: Cell<bool>,
}

/// A stream that was taken back from hyper.
pub struct Taken {
    /// The stream.
    pub socket: Socket,
    /// What hyper has read of it and given to nobody.
    pub read_ahead: Bytes,
    open: Open,
}

impl Engine {
    /// Ready when the connection is at its end; with nothing when nobody uses it any more.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<()>>> {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        drop(task);
        match self.poll_http(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if self.is_left.get() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Nobody will use the connection again: its task ends.
    pub fn leave(&self) {
        self.is_left.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(task) = &*self.task.borrow() {
            task.wake_by_ref();
        }
    }

    fn poll_http(&self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match &mut *self.running.borrow_mut() {
            Some((http, _open)) => http.poll_without_shutdown(cx),
            None => Poll::Pending,
        }
    }

    /// Takes the stream back from hyper, which is told nothing.
    pub fn take(&self) -> Option<Taken> {
        let (http, open) = self.running.borrow_mut().take()?;
        let parts = http.into_parts();
        Some(Taken { socket: parts.io.into_inner().socket, read_ahead: parts.read_buf, open })
    }
}

impl Taken {
    /// Gives a stream that stands between two messages to hyper again. `false`: it can carry no more requests.
    pub fn give_back(self, connection: &mut Connection, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(Ok((sender, http))) = pin!(handshake(self.socket, &connection.link)).poll(cx) else {
            return false;
        };
        let engine = &connection.engine;
        *engine.running.borrow_mut() = Some((http, self.open));
        // Polled once at once: hyper takes no request before, and what has come beyond the message is seen.
        if engine.poll_http(cx).is_ready() {
            let _ended = engine.running.borrow_mut().take();
            return false;
        }
        connection.sender = sender;
        engine.wake();
        true
    }
}

/// Counts a connection as long as it is open.
struct Open(Arc<Counters>);

impl Open {
    fn begin(counters: &Arc<Counters>) -> Self {
        counters.backend_connections.up();
        Self(Arc::clone(counters))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.backend_connections.down();
    }
}

/// Whether it is this machine that has run out of something, rather than the backend that can't be reached.
#[must_use]
pub fn is_exhaustion(error: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL
    const OURS: [rustix::io::Errno; 5] = [
        rustix::io::Errno::MFILE,
        rustix::io::Errno::NFILE,
        rustix::io::Errno::NOBUFS,
        rustix::io::Errno::NOMEM,
        rustix::io::Errno::ADDRNOTAVAIL,
    ];
    rustix::io::Errno::from_io_error(error).is_some_and(|errno| OURS.contains(&errno))
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => pieces::poll_write(stream, cx, bufs),
            Self::Unix(stream) => pieces::poll_write(stream, cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// A stream on which 1xx responses are heard.
struct Heard {
    socket: Socket,
    link: Rc<Link>,
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        self.link.ear.hear(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.link.is_flushed.set(false);
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.is_flushed.set(false);
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.link.is_flushed.set(true);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
