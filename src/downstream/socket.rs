//! A client's socket: TCP, Unix, or TLS over one of them, as the connection's loop reads and writes it.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::splice::Pipe;

/// What clients on a Unix socket count as: such a client has no address, and is on this machine.
const LOCAL_CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// What a Unix socket counts as where an HTTP/1.0 client does not name a host.
const LOCAL_SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 80);

/// Up to so many bytes are written without asking first whether the socket takes any: as a rule it takes all of them, and
/// to ask costs more.
const TRIED_BYTES_MAX: usize = 16 * 1024;

/// A client's socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<Carrier>>),
}

impl Socket {
    /// The addresses of the client and of this side.
    pub(super) fn ends(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        match self {
            Self::Tcp(socket) => Ok((socket.peer_addr()?, socket.local_addr()?)),
            Self::Unix(_) => Ok((LOCAL_CLIENT, LOCAL_SERVER)),
            Self::Tls(stream) => stream.get_ref().0.socket.ends(),
        }
    }

    /// The protocol that was chosen by ALPN.
    pub(super) fn chosen_protocol(&self) -> Option<&[u8]> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// Small writes go out at once.
    pub(super) fn tune(&self) {
        if let Self::Tcp(socket) = self {
            let _untuned = socket.set_nodelay(true);
        }
    }

    /// Whether the system has bytes of the client that were not read.
    pub(super) fn has_bytes(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = match self {
            Self::Tcp(socket) => SockRef::from(socket).peek(&mut byte),
            Self::Unix(socket) => SockRef::from(socket).peek(&mut byte),
            Self::Tls(stream) => return stream.get_ref().0.socket.has_bytes(),
        };
        peeked.is_ok_and(|length| length > 0)
    }

    /// Ready when a write may succeed.
    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_write_ready(cx),
            Self::Unix(socket) => socket.poll_write_ready(cx),
            Self::Tls(stream) => stream.get_ref().0.socket.poll_write_ready(cx),
        }
    }

    /// Ready when a read may succeed.
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(socket) => socket.poll_read_ready(cx),
            Self::Unix(socket) => socket.poll_read_ready(cx),
            Self::Tls(stream) => stream.get_ref().0.socket.poll_read_ready(cx),
        }
    }

    /// Moves at most `max` bytes into a pipe, and returns how many; 0: the client sends no more. `WouldBlock`: there are
    /// none now.
    pub(super) fn try_fill(&self, pipe: &Pipe, max: u64) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_io(Interest::READABLE, || pipe.fill(socket, max)),
            Self::Unix(socket) => socket.try_io(Interest::READABLE, || pipe.fill(socket, max)),
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Moves bytes out of a pipe, and returns how many. `WouldBlock`: the socket takes none now.
    pub(super) fn try_drain(&self, pipe: &Pipe) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_io(Interest::WRITABLE, || pipe.drain(socket)),
            Self::Unix(socket) => socket.try_io(Interest::WRITABLE, || pipe.drain(socket)),
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the kernel can move bytes from it and into it.
    pub(super) const fn can_splice(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => true,
            Self::Tls(_) => false,
        }
    }

    /// How many bytes of TLS the system has taken; 0 without TLS, where each write says so itself.
    pub(super) fn written(&self) -> u64 {
        match self {
            Self::Tcp(_) | Self::Unix(_) => 0,
            Self::Tls(stream) => stream.get_ref().0.written,
        }
    }

    /// What TLS is carried over, without what TLS has still to say; a plain socket is what it is.
    pub(super) fn into_plain(self) -> Self {
        match self {
            Self::Tcp(_) | Self::Unix(_) => self,
            Self::Tls(stream) => stream.into_inner().0.socket,
        }
    }

    /// Closes with a reset where the system knows such a thing.
    pub(super) fn reset(self) {
        match self {
            Self::Tcp(socket) => {
                let _closed = socket.set_zero_linger();
            }
            Self::Unix(_) => {}
            Self::Tls(stream) => stream.into_inner().0.socket.reset(),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) if bytes.len() <= TRIED_BYTES_MAX => match socket.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pin::new(socket).poll_write(cx, bytes),
                written => Poll::Ready(written),
            },
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Unix(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// What TLS is carried over.
#[derive(Debug)]
pub(super) struct Carrier {
    socket: Socket,
    /// What was read from the socket before TLS began.
    ahead: Bytes,
    /// How many bytes the system has taken.
    written: u64,
}

impl Carrier {
    pub(super) const fn new(socket: Socket, ahead: Bytes) -> Self {
        Self { socket, ahead, written: 0 }
    }

    fn count(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.written += *bytes as u64;
        }
        written
    }
}

impl AsyncRead for Carrier {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let carrier = self.get_mut();
        if carrier.ahead.is_empty() {
            return Pin::new(&mut carrier.socket).poll_read(cx, buffer);
        }
        buffer.put_slice(&carrier.ahead.split_to(carrier.ahead.len().min(buffer.remaining())));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Carrier {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let carrier = self.get_mut();
        let written = Pin::new(&mut carrier.socket).poll_write(cx, bytes);
        carrier.count(written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let carrier = self.get_mut();
        let written = Pin::new(&mut carrier.socket).poll_write_vectored(cx, pieces);
        carrier.count(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
