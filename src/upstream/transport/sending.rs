//! The request of a call on its way: the head and what is there of a short body in one write, then the body as it comes.
//!
//! The kernel moves a long body that has no other reader from the client's socket through a pipe (`splice`).

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::{Body as _, Frame};
use http1::{CRLF, ChunkHeader, Length};
use tokio::io::AsyncWrite as _;

use super::head::{self, RequestHead};
use super::socket::Socket;
use crate::exchange::error::ProxyError;
use crate::splice::Pipe;
use crate::upstream::upload::Upload;

/// Content up to this length is copied behind the head or the chunk's line: one `send` costs the kernel less than a
/// `writev`, by more than the copy costs.
const JOINED_BYTES_MAX: usize = 2048;
/// Once so many bytes are staged, no more of the body is asked for until they are out.
const STAGED_BYTES_MAX: usize = 16 * 1024;
/// A body of which fewer bytes are still to come is copied: moving them would cost as much.
const SPLICED_BYTES_MIN: u64 = 64 * 1024;
/// The end of a chunk, and of a chunked body without trailers.
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";
/// The most memory that is kept for the next head, in bytes.
const SPARE_BYTES_MAX: usize = 16 * 1024;

thread_local! {
    /// Memory for the next head: it is rarely in use for longer than one poll.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A request on its way to a backend.
#[derive(Debug)]
pub(super) struct Sending {
    /// What goes out first, from `sent` on: the head, chunk lines, short content.
    staged: Vec<u8>,
    sent: usize,
    /// Content that goes out behind it.
    content: Bytes,
    /// What goes out behind that.
    end: &'static [u8],
    body: Upload,
    framing: Framing,
    state: State,
    moving: Moving,
    /// How much the system has taken, in bytes.
    written: u64,
}

/// How content is moved by the kernel.
#[derive(Debug)]
enum Moving {
    /// It has not begun.
    Not,
    /// There is no pipe to be had.
    Refused,
    Through(Box<Piped>),
}

/// What goes out behind all that is staged.
#[derive(Debug)]
struct Piped {
    pipe: Pipe,
    /// What goes out behind what is in the pipe.
    end: &'static [u8],
    /// More must be read before what follows can be moved.
    must_read: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// So many bytes of content are still to come.
    Length(u64),
    Chunked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More of the body is to come.
    Open,
    /// All of it is staged.
    Ended,
    /// The connection takes no more.
    Broken,
}

/// Nothing to send.
impl Default for Sending {
    fn default() -> Self {
        Self {
            staged: Vec::new(),
            sent: 0,
            content: Bytes::new(),
            end: &[],
            body: Upload::Empty,
            framing: Framing::Length(0),
            state: State::Ended,
            moving: Moving::Not,
            written: 0,
        }
    }
}

impl Sending {
    /// Stages a request's head.
    pub(super) fn new(head: &RequestHead<'_>, body: Upload) -> Self {
        let (length, framing, state) = match &body {
            Upload::Empty => (Length::Undeclared, Framing::Length(0), State::Ended),
            Upload::Stream { source, .. } => match source.length() {
                Some(length) => (Length::Known(length), Framing::Length(length), State::Open),
                None => (Length::Chunked, Framing::Chunked, State::Open),
            },
        };
        let mut staged = SPARE.take();
        head::write_request(&mut staged, head, length);
        Self { staged, body, framing, state, ..Self::default() }
    }

    /// Whether the request is out as a whole.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Ended && !self.has_bytes() && self.pipe().is_none()
    }

    /// Whether nothing more will be sent.
    pub(super) fn is_over(&self) -> bool {
        self.state == State::Broken || self.is_complete()
    }

    /// How much of the request the system has taken, in bytes.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Sends what there is to send. Ready when nothing more will be: the request is complete, or the connection takes no
    /// more of it, which is no error, since the backend may have answered before.
    ///
    /// # Errors
    /// That of the body: the request can't be completed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Result<(), ProxyError>> {
        if !socket.can_splice() {
            self.moving = Moving::Refused;
        }
        while !self.is_over() {
            let is_awaited = match self.poll_gather(cx) {
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(fault)) => {
                    self.break_off();
                    return Poll::Ready(Err(fault));
                }
                Poll::Pending => true,
            };
            if self.has_bytes() {
                match ready!(self.poll_write(cx, socket)) {
                    Ok(count) if count > 0 => self.wrote(count),
                    Ok(_) | Err(_) => self.break_off(),
                }
            } else if let Some(pipe) = self.pipe() {
                match ready!(socket.poll_write_with(cx, |socket| pipe.drain(socket))) {
                    Ok(count) if count > 0 => self.drained(count),
                    Ok(_) | Err(_) => self.break_off(),
                }
            } else if is_awaited {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Stages of the body what is there, as long as there is room.
    fn poll_gather(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        while self.has_room() {
            if self.is_to_move() {
                ready!(self.poll_move(cx))?;
            } else {
                let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
                if let Moving::Through(piped) = &mut self.moving {
                    piped.must_read = false;
                }
                self.stage(frame)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn has_bytes(&self) -> bool {
        self.sent < self.staged.len() || !self.content.is_empty() || !self.end.is_empty()
    }

    /// The pipe, if something is in it.
    fn pipe(&self) -> Option<&Pipe> {
        match &self.moving {
            Moving::Through(piped) if !piped.pipe.is_empty() => Some(&piped.pipe),
            Moving::Through(_) | Moving::Not | Moving::Refused => None,
        }
    }

    /// Whether more of the body may be staged: nothing is to go out behind what is staged.
    fn has_room(&self) -> bool {
        let is_behind_all = self.content.is_empty() && self.end.is_empty() && self.pipe().is_none();
        self.state == State::Open && is_behind_all && self.staged.len() < STAGED_BYTES_MAX
    }

    /// Whether what comes next is to be moved by the kernel. If so, there is a pipe.
    fn is_to_move(&mut self) -> bool {
        let least = match (&self.moving, self.framing) {
            (Moving::Refused, _) => return false,
            (Moving::Through(piped), _) if piped.must_read => return false,
            (Moving::Through(_), _) => 1,
            (Moving::Not, Framing::Length(left)) if left < SPLICED_BYTES_MIN => return false,
            (Moving::Not, Framing::Length(_) | Framing::Chunked) => SPLICED_BYTES_MIN,
        };
        if self.body.spliceable_bytes() < least {
            return false;
        }
        if let Moving::Not = self.moving {
            self.moving = match self.body.lend_pipe() {
                Some(pipe) => Moving::Through(Box::new(Piped { pipe, end: &[], must_read: false })),
                None => Moving::Refused,
            };
        }
        matches!(self.moving, Moving::Through(_))
    }

    /// Moves some of the body into the pipe, which is empty.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        let Moving::Through(piped) = &mut self.moving else { return Poll::Ready(Ok(())) };
        let moved = ready!(self.body.poll_splice(cx, &piped.pipe))?;
        piped.must_read = moved == 0;
        if moved > 0 {
            let end = self.frame(moved)?;
            if let Moving::Through(piped) = &mut self.moving {
                piped.end = end;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The system has taken so much out of the pipe.
    fn drained(&mut self, count: usize) {
        self.written += u64::try_from(count).unwrap_or(u64::MAX);
        if let Moving::Through(piped) = &mut self.moving
            && piped.pipe.is_empty()
        {
            self.end = std::mem::take(&mut piped.end);
            if self.state == State::Ended {
                self.moving = Moving::Not;
            }
        }
    }

    fn stage(&mut self, frame: Option<Result<Frame<Bytes>, ProxyError>>) -> Result<(), ProxyError> {
        let Some(frame) = frame.transpose()? else { return self.stage_end() };
        match frame.into_data() {
            Ok(content) if content.is_empty() => Ok(()),
            Ok(content) => self.stage_content(content),
            Err(frame) => match (self.framing, frame.into_trailers()) {
                (Framing::Chunked, Ok(trailers)) => {
                    head::write_trailers(&mut self.staged, &trailers);
                    self.state = State::Ended;
                    Ok(())
                }
                (Framing::Length(_), _) | (_, Err(_)) => Ok(()),
            },
        }
    }

    fn stage_content(&mut self, content: Bytes) -> Result<(), ProxyError> {
        let end = self.frame(content.len())?;
        if content.len() <= JOINED_BYTES_MAX {
            self.staged.extend_from_slice(&content);
            self.staged.extend_from_slice(end);
        } else {
            (self.content, self.end) = (content, end);
        }
        Ok(())
    }

    /// Takes note of the next so many bytes of content, and stages what goes out before them. Returns what goes out behind.
    fn frame(&mut self, bytes: usize) -> Result<&'static [u8], ProxyError> {
        let is_last = self.body.is_end_stream();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let end: &[u8] = match self.framing {
            Framing::Length(left) => {
                let left = left.checked_sub(bytes).ok_or(ProxyError::BodyBroken)?;
                if is_last && left > 0 {
                    return Err(ProxyError::BodyBroken);
                }
                self.framing = Framing::Length(left);
                &[]
            }
            Framing::Chunked => {
                let header = NonZeroU64::new(bytes).map(ChunkHeader::new);
                self.staged.extend_from_slice(header.as_ref().map_or(&[], ChunkHeader::as_bytes));
                if is_last { LAST_CHUNK_END } else { CRLF }
            }
        };
        if is_last {
            self.state = State::Ended;
        }
        Ok(end)
    }

    fn stage_end(&mut self) -> Result<(), ProxyError> {
        match self.framing {
            Framing::Length(0) => {}
            Framing::Length(_) => return Err(ProxyError::BodyBroken),
            Framing::Chunked => http1::write_last_chunk(&mut self.staged, None),
        }
        self.state = State::Ended;
        Ok(())
    }

    fn poll_write(&self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<usize>> {
        let staged = self.staged.get(self.sent..).unwrap_or_default();
        if self.content.is_empty() && self.end.is_empty() {
            // A connection that was idle takes something, as a rule: there is nothing to be waited for.
            if self.written == 0
                && let Poll::Ready(written) = socket.poll_try_write(staged)
            {
                return Poll::Ready(written);
            }
            return Pin::new(socket).poll_write(cx, staged);
        }
        let pieces = [staged, &self.content, self.end].map(IoSlice::new);
        Pin::new(socket).poll_write_vectored(cx, &pieces)
    }

    fn wrote(&mut self, count: usize) {
        self.written += u64::try_from(count).unwrap_or(u64::MAX);
        let staged = count.min(self.staged.len() - self.sent);
        self.sent += staged;
        let content = (count - staged).min(self.content.len());
        self.content.advance(content);
        self.end = self.end.get(count - staged - content..).unwrap_or_default();
        if self.sent == self.staged.len() {
            self.sent = 0;
            self.staged.clear();
            if self.is_complete() && (1..=SPARE_BYTES_MAX).contains(&self.staged.capacity()) {
                SPARE.set(std::mem::take(&mut self.staged));
            }
        }
    }

    fn break_off(&mut self) {
        self.state = State::Broken;
        self.body = Upload::Empty;
        self.content = Bytes::new();
        self.moving = Moving::Not;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;

    use http::{Method, Uri};
    use message::Fields;

    use super::*;
    use crate::exchange::Incoming;
    use crate::exchange::incoming::BodySource;
    use crate::telemetry::counters::Counters;
    use crate::upstream::upload::{Limits, ReplayBody};

    /// Pieces of a body, all of them there, as long as there are any.
    struct Pieces {
        piece: &'static [u8],
        left: Cell<usize>,
    }

    impl BodySource for Pieces {
        fn poll_frame(&self, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
            let Some(left) = self.left.get().checked_sub(1) else { return Poll::Ready(None) };
            self.left.set(left);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(self.piece)))))
        }

        fn has_ended(&self) -> bool {
            self.left.get() == 0
        }

        fn leave(&self) {}
    }

    /// A chunked request whose body consists of so many such pieces.
    fn sending(piece: &'static [u8], count: usize) -> (Sending, Rc<Pieces>) {
        let pieces = Rc::new(Pieces { piece, left: Cell::new(count) });
        let limits = Limits { bytes_max: None, stall_max: Duration::MAX, rate_min: 0, kept_max: 0 };
        let source = ReplayBody::new(Incoming::new(pieces.clone(), None), false, limits, Arc::<Counters>::default());
        let (target, fields) = (Uri::from_static("/"), Fields::new());
        let head = RequestHead { method: &Method::PUT, target: &target, fields: &fields, host: None };
        (Sending::new(&head, Rc::new(source).upload(Duration::ZERO)), pieces)
    }

    /// Runs `test` with a socket and its backend's end.
    fn run(test: impl AsyncFnOnce(Socket, UnixStream)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            test(Socket::Unix(tokio::net::UnixStream::from_std(ours).unwrap()), theirs).await;
        });
    }

    #[test]
    fn the_end_of_a_chunk_goes_out_before_the_next_one_wherever_the_system_stops() {
        let piece = &[b'x'; JOINED_BYTES_MAX + 1];
        let chunk = [b"801\r\n".as_slice(), piece, b"\r\n"].concat();
        let expected = [chunk.as_slice(), &chunk, b"0\r\n\r\n"].concat();
        for cut in 0..=4 {
            run(async |mut socket, mut backend| {
                let (mut sending, pieces) = sending(piece, 2);
                sending.wrote(sending.staged.len());
                sending.stage_content(Bytes::from_static(piece)).unwrap();
                pieces.left.set(1);
                let taken = chunk.len() - cut;
                sending.wrote(taken);
                std::future::poll_fn(|cx| sending.poll(cx, &mut socket)).await.unwrap();
                drop(socket);
                let mut received = chunk.get(..taken).unwrap().to_vec();
                backend.read_to_end(&mut received).unwrap();
                assert!(received == expected, "{cut} bytes were left");
            });
        }
    }

    #[test]
    fn a_backend_that_takes_nothing_gets_no_more_of_the_body_gathered() {
        run(async |mut socket, _backend| {
            let (mut sending, _pieces) = sending(b"a small piece", 1_000_000);
            for _ in 0..10_000 {
                let polled = std::future::poll_fn(|cx| Poll::Ready(sending.poll(cx, &mut socket))).await;
                assert!(polled.is_pending());
                tokio::task::yield_now().await;
            }
            assert!(sending.staged.len() < 2 * STAGED_BYTES_MAX, "{}", sending.staged.len());
        });
    }
}
