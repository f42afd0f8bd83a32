//! Opens connections to backends.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::backend::Backend;
use super::pool::{Connection, Link};
use super::upload::Upload;
use crate::config::plan::Address;
use crate::exchange::pieces::{JOINED_BYTES_MAX, joined};
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

/// Opens a stream to a backend; one of its addresses after the other if it has several. Each gets an equal share of
/// `limit`, so that one that swallows packets leaves time for the others; the caller keeps the limit as a whole.
///
/// # Errors
/// Those of the last address tried; `NotFound` if its name is not resolved.
pub async fn open(backend: &Backend, limit: Duration) -> io::Result<Socket> {
    if let Address::Unix(path) = &backend.address {
        return UnixStream::connect(path).await.map(Socket::Unix);
    }
    let addresses: Arc<Vec<SocketAddr>> = backend.resolved.load_full();
    let mut result = Err(io::Error::new(io::ErrorKind::NotFound, "its name is not resolved"));
    let share = limit / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    for address in addresses.iter() {
        result = match addresses.as_slice() {
            [_only] => TcpStream::connect(address).await,
            _ => tokio::time::timeout(share, TcpStream::connect(address)).await.unwrap_or_else(|_| {
                Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in its share of the time"))
            }),
        };
        if result.is_ok() {
            break;
        }
    }
    let stream = result?;
    stream.set_nodelay(true)?;
    Ok(Socket::Tcp(stream))
}

/// Opens an HTTP/1.1 connection to a backend, and starts the task that runs it.
///
/// # Errors
/// As [`open`].
pub async fn connect(backend: &Backend, limit: Duration, counters: &Arc<Counters>) -> io::Result<Connection> {
    let socket = open(backend, limit).await?;
    let link = Rc::new(Link::default());
    let socket = Heard { socket, link: Rc::clone(&link) };
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake::<_, Upload>(TokioIo::new(socket))
        .await
        .map_err(io::Error::other)?;
    tokio::task::spawn_local(run(connection, Rc::clone(&link), Open::begin(counters)));
    Ok(Connection { sender, link, reused: false })
}

/// Runs a connection until either side closes it, nobody uses it any more, or it stops being HTTP.
async fn run(mut connection: http1::Connection<TokioIo<Heard>, Upload>, link: Rc<Link>, _open: Open) {
    let ended = tokio::select! {
        biased;
        ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        () = link.is_left.notified() => return,
    };
    let switched = link.switched.borrow_mut().take();
    if let (Ok(()), Some(switched)) = (ended, switched) {
        let parts = connection.into_parts();
        let read_ahead: Bytes = parts.read_buf;
        let _taker_gone = switched.send(End { stream: Box::new(parts.io.into_inner().socket), read_ahead });
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
        match bufs {
            [only] => return self.poll_write(cx, only),
            several => {
                if let Some(whole) = joined(several, &mut [0; JOINED_BYTES_MAX]) {
                    return self.poll_write(cx, whole);
                }
            }
        }
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
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
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
