//! A client's socket as hyper reads and writes it: what passes is metered, and the socket is there after hyper has ended.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::frames::{Frames, Meter};
use crate::downstream::socket::Socket;
use crate::telemetry::clock;

/// The error code for a client that exceeds a bound (RFC 9113 §7).
const ENHANCE_YOUR_CALM: u32 = 0xb;
/// The header of `GOAWAY` (RFC 9113 §6.8): eight bytes, no flags, the connection.
const GOAWAY_HEADER: [u8; 9] = [0, 0, 8, 7, 0, 0, 0, 0, 0];

/// The socket, shared by hyper and the connection's loop.
pub(super) struct Carrier(RefCell<Shared>);

struct Shared {
    /// `None`: the connection's loop is done with it.
    socket: Option<Socket>,
    /// What was read of it before.
    read: Bytes,
    received: Meter,
    sent: Frames,
    /// Since when the socket has taken nothing of what is to be written (monotonic time).
    stuck_since: Option<Duration>,
    /// Since when a header block is open.
    block_since: Option<Duration>,
}

impl Carrier {
    pub(super) fn new(socket: Socket, read: Bytes, resets_max: u32) -> Self {
        Self(RefCell::new(Shared {
            socket: Some(socket),
            read,
            received: Meter::new(resets_max),
            sent: Frames::default(),
            stuck_since: None,
            block_since: None,
        }))
    }

    /// Since when the client has taken nothing of what is to be written (monotonic time).
    pub(super) fn stuck_since(&self) -> Option<Duration> {
        self.0.borrow().stuck_since
    }

    /// Since when the client has a header block open (monotonic time).
    pub(super) fn block_since(&self) -> Option<Duration> {
        self.0.borrow().block_since
    }

    /// Whether the client has sent too much of something.
    pub(super) fn has_excess(&self) -> bool {
        self.0.borrow().received.has_excess
    }

    pub(super) fn take(&self) -> Option<Socket> {
        self.0.borrow_mut().socket.take()
    }

    /// Tells a client that has sent too much of something why its connection ends, unless it is in the middle of a frame.
    /// Returns the socket if the client can read it.
    pub(super) async fn say_goodbye(&self, mut socket: Socket, within: Duration) -> Option<Socket> {
        let last_stream = {
            let shared = self.0.borrow();
            shared.sent.is_between().then_some(shared.received.last_stream)
        };
        if let Some(last_stream) = last_stream {
            let mut frame = GOAWAY_HEADER.to_vec();
            frame.extend(last_stream.to_be_bytes());
            frame.extend(ENHANCE_YOUR_CALM.to_be_bytes());
            tokio::time::timeout(within, socket.write_all(&frame)).await.ok()?.ok()?;
        }
        Some(socket)
    }
}

impl Shared {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if self.read.is_empty() {
            let Some(socket) = &mut self.socket else { return Poll::Ready(Ok(())) };
            match ready!(Pin::new(socket).poll_read(cx, buffer)) {
                Ok(()) => {}
                // TLS that ends without a `close_notify`: frames say themselves what is whole.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        } else {
            let length = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read.split_to(length));
        }
        self.received.pass(buffer.filled().get(before..).unwrap_or_default(), clock::mono);
        match self.received.is_block_open {
            true => drop(self.block_since.get_or_insert_with(clock::mono)),
            false => self.block_since = None,
        }
        if self.received.has_excess {
            return Poll::Ready(Err(io::Error::other("the client has sent too many frames")));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, pieces: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(socket) = &mut self.socket else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let written = Pin::new(socket).poll_write_vectored(cx, pieces);
        match &written {
            Poll::Pending => drop(self.stuck_since.get_or_insert_with(clock::mono)),
            Poll::Ready(written) => {
                self.stuck_since = None;
                let mut left = *written.as_ref().unwrap_or(&0);
                for piece in pieces {
                    let length = left.min(piece.len());
                    self.sent.pass(piece.get(..length).unwrap_or_default(), |_| {});
                    left -= length;
                }
            }
        }
        written
    }
}

/// What hyper has of the socket.
pub(super) struct Transport(pub(super) Rc<Carrier>);

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.0.0.borrow_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.0.borrow_mut().poll_write(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.0.borrow_mut().poll_write(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0.0.borrow_mut().socket {
            Some(socket) => Pin::new(socket).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The connection's loop closes the socket, so that the client can read the last frames.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
