//! A connection's socket as `h2` reads it: notes that something has come, and refuses a backend that speaks another
//! protocol.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::upstream::transport::socket::Socket;

/// The type of the frame that a server sends first (RFC 9113 §3.4).
const SETTINGS: u8 = 4;
/// Where the header of a frame has its type.
const TYPE_AT: usize = 3;

/// What has come from a backend.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// How many bytes have come, as long as the type of the first frame has not.
    begun: Cell<usize>,
    /// Something has come since this was last looked at.
    is_new: Cell<bool>,
}

impl Heard {
    /// Whether the backend has begun to speak HTTP/2.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.get() > TYPE_AT
    }

    /// Whether something has come since this was last asked.
    pub(super) fn take_new(&self) -> bool {
        self.is_new.take()
    }

    /// So many bytes more have come.
    ///
    /// # Errors
    /// When they are not the beginning of HTTP/2.
    fn note(&self, bytes: &[u8]) -> io::Result<()> {
        self.is_new.set(true);
        let begun = self.begun.get();
        if begun > TYPE_AT {
            return Ok(());
        }
        if bytes.get(TYPE_AT - begun).is_some_and(|kind| *kind != SETTINGS) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/2"));
        }
        self.begun.set(begun + bytes.len());
        Ok(())
    }
}

/// A socket, and who notes what comes from it.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) socket: Socket,
    pub(super) heard: Rc<Heard>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match ready!(Pin::new(&mut self.socket).poll_read(cx, buffer)) {
            Ok(()) => {}
            // TLS that ends without a `close_notify`: frames say themselves what is whole.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Poll::Ready(Err(error)),
        }
        let read = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(if read.is_empty() { Ok(()) } else { self.heard.note(read) })
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_is_settings_however_its_bytes_come() {
        for pieces in 1..=9 {
            let heard = Heard::default();
            for piece in [0, 0, 6, SETTINGS, 0, 0, 0, 0, 0].chunks(pieces) {
                heard.note(piece).unwrap();
            }
            assert!(heard.has_begun() && heard.take_new() && !heard.take_new(), "{pieces}");
            let other = Heard::default();
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            assert!(answer.chunks(pieces).any(|piece| other.note(piece).is_err()), "{pieces}");
        }
    }
}
