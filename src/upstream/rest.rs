//! The rest of a response body, moved by the kernel from the backend's stream (see `relay`).
//!
//! Takes the stream back from hyper in the middle of a body, and says when the body is whole. Which bodies are worth it,
//! and what follows from their end, is `reply`'s to say.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::io::{AsyncRead as _, Interest, ReadBuf};

use super::dial::{Socket, Taken};
use super::pool::Connection;
use crate::relay::{self, Aside, Pipe};

/// How much is read at a time where the system can't move it, in bytes.
const COPY_BYTES: usize = 64 * 1024;

/// The rest of a response body.
pub struct Rest {
    taken: Taken,
    /// What hyper had read of it.
    ahead: Bytes,
    /// How many bytes are still to come behind that.
    left: u64,
    /// `None`: the system can't move them.
    pipe: Option<Rc<Pipe>>,
    /// hyper has read beyond the body: what comes next is no answer to anything.
    is_overfull: bool,
}

/// How a wait for more of a body stands.
pub enum Waits {
    /// For the backend.
    Backend,
    /// For the client, which has not taken what came before.
    Client,
}

impl Rest {
    /// Takes the stream back from hyper, with what it has read of `incoming`, of which `left` bytes are still to come.
    ///
    /// `None`: there is no pipe, or hyper has let go of the stream already; then `incoming` goes on, or says why.
    #[must_use]
    pub fn begin(connection: &Connection, (incoming, left): (&mut Incoming, u64), aside: &Aside) -> Option<Self> {
        let pipe = aside.open()?;
        let Some(mut taken) = connection.engine.take() else {
            aside.close();
            return None;
        };
        let mut ahead = BytesMut::new();
        // Given to `incoming` and not asked for yet. It breaks off behind that: hyper is gone.
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *incoming).poll_frame(&mut cx) {
            ahead.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        }
        ahead.extend_from_slice(&std::mem::take(&mut taken.read_ahead));
        let is_overfull = ahead.len() as u64 > left;
        ahead.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - ahead.len() as u64;
        Some(Self { taken, ahead: ahead.freeze(), left, pipe: Some(pipe), is_overfull })
    }

    /// How many bytes are still to come.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left + self.ahead.len() as u64
    }

    /// The next bytes, or what stands in for them. Nothing: the stream has ended early.
    ///
    /// # Errors
    /// The stream's.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let piece = if self.ahead.is_empty() {
            let piece = ready!(self.poll_rest(cx))?;
            self.left = self.left.saturating_sub(piece.len() as u64);
            piece
        } else {
            std::mem::take(&mut self.ahead)
        };
        if let Some(pipe) = self.pipe.as_ref().filter(|_| self.left() == 0) {
            pipe.finish();
        }
        Poll::Ready(Ok(piece))
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        match ready!(self.poll_fill(cx)) {
            Err(error) if relay::is_refusal(&error) => {
                if let Some(pipe) = self.pipe.take() {
                    pipe.refuse();
                }
                self.poll_copy(cx)
            }
            filled => Poll::Ready(filled),
        }
    }

    /// Whom a poll that was not ready waits for.
    #[must_use]
    pub fn waits(&self) -> Waits {
        match &self.pipe {
            Some(pipe) if !pipe.is_empty() => Waits::Client,
            Some(_) | None => Waits::Backend,
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Some(pipe) = &self.pipe else { return self.poll_copy(cx) };
        // Only into an empty pipe: so what would block can only be the backend.
        if !pipe.is_empty() {
            pipe.wait(cx.waker());
            return Poll::Pending;
        }
        loop {
            let filled = match &self.taken.socket {
                Socket::Tcp(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_io(Interest::READABLE, || pipe.fill(stream.as_fd(), self.left))
                }
                Socket::Unix(stream) => {
                    ready!(stream.poll_read_ready(cx))?;
                    stream.try_io(Interest::READABLE, || pipe.fill(stream.as_fd(), self.left))
                }
            };
            match filled {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                filled => return Poll::Ready(filled),
            }
        }
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let mut piece = vec![0; usize::try_from(self.left).unwrap_or(usize::MAX).min(COPY_BYTES)];
        let mut buffer = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.taken.socket).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        piece.truncate(length);
        Poll::Ready(Ok(piece.into()))
    }

    /// All has come: gives the stream to hyper again. `false`: it can carry no more requests.
    pub fn end(self, connection: &mut Connection, cx: &mut Context<'_>) -> bool {
        !self.is_overfull && self.taken.give_back(connection, cx)
    }
}
