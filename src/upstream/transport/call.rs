//! A request and its response on one connection, both ways at once.
//!
//! The task that polls for the response also moves the request. So an answer that comes early is seen while the request
//! is still on its way, and the rest of the request goes on while the response's body is read. Dropping a call closes
//! the connection; [`Call::finish`] gives it back if it can carry another one.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use http1::{BodyDecoder, BodyLimits, Event, Framing, HeadLimits, Length, ResponseHead};
use message::{Fields, Lines};

use super::buffer::ReadBuffer;
use super::connect::Socket;
use super::connection::{Connection, Counted};
use super::head::{self, Head, RequestHead};
use super::sending::Sending;
use crate::exchange::fault::Fault;
use crate::splice::{self, Pipe};
use crate::upstream::upload::Upload;

thread_local! {
    /// Memory for the next response's head: it is rarely in use for longer than one poll.
    static SPARE: Cell<ResponseHead> = Cell::default();
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection ended or broke.
    #[error("closed before its end")]
    Closed,
    /// What came is no response, or one that is not passed on.
    #[error(transparent)]
    Malformed(http1::Error),
    /// The head can't be held in a header map.
    #[error("header fields that can't be held")]
    Unholdable,
    /// More interim responses than anyone needs.
    #[error("too many 1xx responses")]
    InterimStorm,
    /// The backend switched protocols before it had the whole request.
    #[error("it switches protocols before it has the whole request")]
    EarlySwitch,
    /// The request's body can't be completed.
    #[error(transparent)]
    Request(Fault),
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error.to_string())
    }
}

/// What is to be known of a request to understand its response.
#[derive(Clone, Copy, Debug)]
pub struct HeadRules {
    /// The limits of the head.
    pub limits: HeadLimits,
    /// The request's method is HEAD.
    pub to_head: bool,
}

/// A request and its response on one connection.
#[derive(Debug)]
pub struct Call {
    connection: Connection,
    sending: Sending,
    received: ReadBuffer,
    /// The head as far as it has come, where it did not come as a whole.
    partial: Option<Box<ResponseHead>>,
    decoder: BodyDecoder,
    /// The trailers as far as they have come.
    trailers: Lines,
    /// The response's body has ended.
    has_ended: bool,
    /// Nothing in the heads that came speaks against using the connection again.
    is_reusable: bool,
    /// A byte of the response has come.
    has_received: bool,
    /// The system moves nothing from this connection's socket into a pipe.
    is_splice_refused: bool,
}

impl Call {
    /// Begins a call. Nothing is sent before it is polled.
    #[must_use]
    pub fn new(connection: Connection, head: &RequestHead<'_>, body: Upload) -> Box<Self> {
        // It is handed on from step to step until the response's end; by address, not by its hundreds of bytes.
        Box::new(Self {
            connection,
            sending: Sending::new(head, body),
            received: ReadBuffer::default(),
            partial: None,
            decoder: BodyDecoder::Length(0),
            trailers: Lines::default(),
            has_ended: false,
            is_reusable: true,
            has_received: false,
            is_splice_refused: false,
        })
    }

    /// Whether the connection has carried a request before.
    #[must_use]
    pub fn is_on_reused(&self) -> bool {
        self.connection.is_reused
    }

    /// Whether the system has taken a byte of the request.
    #[must_use]
    pub fn has_sent(&self) -> bool {
        self.sending.written() > 0
    }

    /// Whether a byte of the response has come.
    #[must_use]
    pub fn has_received(&self) -> bool {
        self.has_received
    }

    /// Sends the request and waits for the head of the final response. Interim responses are given to `interim`, in their
    /// order; it says `false` when there were too many.
    ///
    /// # Errors
    /// [`Error`]; the call is over.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        rules: &HeadRules,
        mut interim: impl FnMut(StatusCode, Fields) -> bool,
    ) -> Poll<Result<Head, Error>> {
        loop {
            // Also after each interim response: one may have released the body.
            self.poll_sending(cx)?;
            while let Some(head) = self.scan(rules)? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(head));
                }
                if !interim(head.status, head.fields) {
                    return Poll::Ready(Err(Error::InterimStorm));
                }
                self.poll_sending(cx)?;
            }
            if ready!(self.poll_fill(cx)).map_err(|_| Error::Closed)? == 0 {
                return Poll::Ready(Err(Error::Closed));
            }
            self.has_received = true;
        }
    }

    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if !self.sending.is_over()
            && let Poll::Ready(Err(fault)) = self.sending.poll(cx, &mut self.connection.socket)
        {
            return Err(Error::Request(fault));
        }
        Ok(())
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.received.poll_fill(cx, &mut self.connection.socket)
    }

    /// Takes the next head out of what was received, if it is there as a whole.
    fn scan(&mut self, rules: &HeadRules) -> Result<Option<Head>, Error> {
        if self.received.is_empty() {
            return Ok(None);
        }
        let mut head = self.partial.take().map_or_else(|| SPARE.take(), |head| *head);
        let Some(end) = head.scan(&self.received, &rules.limits).map_err(Error::Malformed)? else {
            self.partial = Some(Box::new(head));
            return Ok(None);
        };
        let bytes = self.received.take(end);
        let declared = self.settle(&head, &bytes, rules)?;
        let converted = head::response(&mut head, bytes, declared).ok_or(Error::Unholdable);
        head.reset();
        SPARE.set(head);
        converted.map(Some)
    }

    /// Says how the body of a response will end, and what its head is to declare.
    fn settle(&mut self, head: &ResponseHead, bytes: &[u8], rules: &HeadRules) -> Result<Length, Error> {
        if head.status().code() == StatusCode::SWITCHING_PROTOCOLS.as_u16() && !self.sending.is_complete() {
            return Err(Error::EarlySwitch);
        }
        let method = if rules.to_head { message::Method::Head } else { message::Method::Get };
        let framing = http1::response_framing(head, bytes, method).map_err(Error::Malformed)?;
        self.is_reusable &= framing.is_reusable && http1::persists(head.version(), head.view(bytes));
        if head.status().is_interim() {
            return Ok(Length::Undeclared);
        }
        self.decoder = BodyDecoder::new(framing.framing, BodyLimits::default());
        self.has_ended = framing.framing == Framing::None;
        Ok(framing.declared)
    }

    /// The next piece of the response's body, or its trailers; `None` at its end. Moves the rest of the request too.
    ///
    /// # Errors
    /// [`Error`]; the call is over.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        if self.has_ended {
            return Poll::Ready(Ok(None));
        }
        self.poll_sending(cx)?;
        loop {
            if let Some(frame) = self.decode()? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.has_ended {
                return Poll::Ready(Ok(None));
            }
            if ready!(self.poll_fill(cx)).map_err(|_| Error::Closed)? == 0 {
                self.decoder.finish().map_err(|_| Error::Closed)?;
                self.has_ended = true;
            }
        }
    }

    /// What there is of the body in what was received.
    fn decode(&mut self) -> Result<Option<Frame<Bytes>>, Error> {
        let mut input = &*self.received;
        let event = self.decoder.decode(&mut input, &mut self.trailers).map_err(Error::Malformed)?;
        let consumed = self.received.len() - input.len();
        match event {
            Event::NeedsMore => {
                self.received.skip(consumed);
                Ok(None)
            }
            Event::Content(content) => {
                let length = content.len();
                self.received.skip(consumed - length);
                let content = self.received.take(length);
                self.look_for_end();
                Ok(Some(Frame::data(content)))
            }
            Event::End { trailers: section } => {
                let length = section.len();
                self.received.skip(consumed - length);
                let section = self.received.take(length);
                self.has_ended = true;
                if self.trailers.received_count() == 0 {
                    return Ok(None);
                }
                let trailers = head::trailers(&self.trailers, &section).ok_or(Error::Unholdable)?;
                Ok(Some(Frame::trailers(trailers)))
            }
        }
    }

    /// Takes note of the body's end, if it is there already and without trailers: so the last piece is known to be it.
    fn look_for_end(&mut self) {
        if let BodyDecoder::Length(left) = self.decoder {
            self.has_ended = left == 0;
            return;
        }
        let (mut decoder, mut input, mut trailers) = (self.decoder, &*self.received, Lines::default());
        if let Ok(Event::End { .. }) = decoder.decode(&mut input, &mut trailers)
            && trailers.received_count() == 0
        {
            let consumed = self.received.len() - input.len();
            self.received.skip(consumed);
            self.has_ended = true;
        }
    }

    /// Moves the rest of the request, for a response that is not read now.
    ///
    /// # Errors
    /// [`Error::Request`]; the call is over.
    pub fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        self.poll_sending(cx)
    }

    /// Whether the response's body has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// How many bytes of the body are still to come, where its head says so.
    #[must_use]
    pub fn length_left(&self) -> Option<u64> {
        if let BodyDecoder::Length(left) = self.decoder { Some(left) } else { None }
    }

    /// How many bytes of content come next that the system can move into a pipe.
    #[must_use]
    pub fn spliceable_bytes(&self) -> u64 {
        let is_plain = self.received.is_empty() && self.sending.is_complete() && !self.is_splice_refused;
        match self.decoder {
            BodyDecoder::Length(_) | BodyDecoder::Chunked(_) if is_plain => self.decoder.content_left(),
            BodyDecoder::Length(_) | BodyDecoder::Chunked(_) | BodyDecoder::UntilClose => 0,
        }
    }

    /// Moves some of the bytes that [`Call::spliceable_bytes`] counts into an empty pipe, and returns how many. None: the
    /// system refuses; from now on they must be read.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn poll_splice(&mut self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize, Error>> {
        let left = self.spliceable_bytes();
        let moved = ready!(self.connection.socket.poll_read_with(cx, |socket| pipe.fill(socket, left)));
        match moved {
            Ok(0) => Poll::Ready(Err(Error::Closed)),
            Ok(moved) => {
                self.decoder.skip(u64::try_from(moved).unwrap_or(u64::MAX));
                self.has_ended = self.length_left() == Some(0);
                Poll::Ready(Ok(moved))
            }
            Err(error) if splice::is_refusal(&error) => {
                pipe.refuse();
                self.is_splice_refused = true;
                Poll::Ready(Ok(0))
            }
            Err(_) => Poll::Ready(Err(Error::Closed)),
        }
    }

    /// The connection, if it can carry another request: request and response are whole, and nothing came behind them.
    #[must_use]
    pub fn finish(self: Box<Self>) -> Option<Connection> {
        let is_between_two =
            self.has_ended && self.is_reusable && self.sending.is_complete() && self.received.is_empty();
        is_between_two.then_some(self.connection)
    }

    /// The stream of a connection that has switched protocols, what was read of it already, and what counts it.
    #[must_use]
    pub fn into_stream(mut self: Box<Self>) -> (Socket, Bytes, Option<Counted>) {
        let read_ahead = self.received.take(usize::MAX);
        (self.connection.socket, read_ahead, self.connection.counted)
    }
}

#[cfg(test)]
mod tests;
