//! A request and its response on one connection, both ways at once.
//!
//! The task that polls for the response also moves the request. So an answer that comes early is seen while the request
//! is still on its way, and the rest of the request goes on while the response's body is read. Dropping a call closes
//! the connection; [`Call::finish`] gives it back if it can carry another one. A connection keeps the place of its call;
//! all that belongs to one call is one value, which is made anew for the next.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use http1::{BodyDecoder, BodyLimits, Event, Framing, HeadLimits, Length, ResponseHead};
use message::{Fields, Lines};

use super::buffer::ReadBuffer;
use super::counted::Counted;
use super::head::{self, Head, RequestHead};
use super::sending::Sending;
use super::socket::Socket;
use crate::exchange::error::ProxyError;
use crate::splice::{self, Pipe};
use crate::upstream::upload::Upload;

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
    /// The backend says that it has not processed the request (RFC 9113 §8.7).
    #[error("refused before it was processed")]
    Unprocessed,
    /// What came is no HTTP/2, or not to be passed on.
    #[error("{0}")]
    Http2(Box<str>),
    /// The request's body can't be completed.
    #[error(transparent)]
    Request(ProxyError),
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::other(error.to_string())
    }
}

/// What is to be known of a request to understand its response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadRules {
    /// The limits of the head.
    pub limits: HeadLimits,
    /// The request's method is HEAD.
    pub to_head: bool,
}

/// A request and its response on one connection.
#[derive(Debug)]
pub(crate) struct Call {
    socket: Socket,
    /// Whether the connection has carried a request before.
    pub(super) is_reused: bool,
    /// Where the connection is counted, if anywhere.
    counted: Option<Counted>,
    sending: Sending,
    /// The head that came last, until it is taken.
    head: Head,
    receiving: Receiving,
}

/// The response of a call, as far as it has come.
#[derive(Debug)]
struct Receiving {
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

impl Default for Receiving {
    fn default() -> Self {
        Self {
            received: ReadBuffer::default(),
            partial: None,
            decoder: BodyDecoder::Length(0),
            trailers: Lines::default(),
            has_ended: false,
            is_reusable: true,
            has_received: false,
            is_splice_refused: false,
        }
    }
}

impl Call {
    /// A connection's call before its first request.
    pub(super) fn at_rest(socket: Socket, counted: Option<Counted>) -> Self {
        Self {
            socket,
            is_reused: false,
            counted,
            sending: Sending::default(),
            head: Head::default(),
            receiving: Receiving::default(),
        }
    }

    /// Takes a request up, on a connection that is at rest.
    pub(super) fn begin(&mut self, head: &RequestHead<'_>, body: Upload) {
        self.sending = Sending::new(head, body);
    }

    /// The connection's socket.
    pub(super) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Whether the connection has carried a request before.
    #[must_use]
    pub(crate) fn is_on_reused(&self) -> bool {
        self.is_reused
    }

    /// Whether the system has taken a byte of the request.
    #[must_use]
    pub(crate) fn has_sent(&self) -> bool {
        self.sending.written() > 0
    }

    /// Whether a byte of the response has come.
    #[must_use]
    pub(crate) fn has_received(&self) -> bool {
        self.receiving.has_received
    }

    /// Sends the request and waits for the head of the final response, which [`Call::head`] then is. Interim responses are
    /// given to `interim`, in their order; it says `false` when there were too many.
    ///
    /// # Errors
    /// [`Error`]; the call is over.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        rules: &HeadRules,
        mut interim: impl FnMut(StatusCode, Fields) -> bool,
    ) -> Poll<Result<(), Error>> {
        loop {
            // Also after each interim response: one may have released the body.
            self.poll_sending(cx)?;
            while self.scan(rules)? {
                let status = self.head.status;
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(()));
                }
                if !interim(status, self.take_head().fields) {
                    return Poll::Ready(Err(Error::InterimStorm));
                }
                self.poll_sending(cx)?;
            }
            if ready!(self.poll_fill(cx)).map_err(|_| Error::Closed)? == 0 {
                return Poll::Ready(Err(Error::Closed));
            }
            self.receiving.has_received = true;
        }
    }

    /// The head of the final response, once it has come and until it is taken.
    #[must_use]
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// Takes the head of the final response.
    pub(crate) fn take_head(&mut self) -> Head {
        std::mem::take(&mut self.head)
    }

    #[inline]
    fn poll_sending(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        if !self.sending.is_over()
            && let Poll::Ready(Err(fault)) = self.sending.poll(cx, &mut self.socket)
        {
            return Err(Error::Request(fault));
        }
        Ok(())
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.receiving.received.poll_fill(cx, &mut self.socket)
    }

    /// Looks for the next head in what was received. Whether it is there as a whole.
    fn scan(&mut self, rules: &HeadRules) -> Result<bool, Error> {
        if self.receiving.received.is_empty() {
            return Ok(false);
        }
        let Some(head) = self.receiving.scan(rules, self.sending.is_complete())? else { return Ok(false) };
        self.head = head;
        Ok(true)
    }

    /// All of the response's body, where it has come as a whole already, its length was declared, and the request is out:
    /// then nothing is left to be done.
    pub(crate) fn take_whole(&mut self) -> Option<Bytes> {
        if self.receiving.has_ended || self.sending.is_complete() { self.receiving.take_whole() } else { None }
    }

    /// The next piece of the response's body, or its trailers; `None` at its end. Moves the rest of the request too.
    ///
    /// # Errors
    /// [`Error`]; the call is over.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        if self.receiving.has_ended {
            return Poll::Ready(Ok(None));
        }
        self.poll_sending(cx)?;
        loop {
            if let Some(frame) = self.receiving.decode()? {
                return Poll::Ready(Ok(Some(frame)));
            }
            if self.receiving.has_ended {
                return Poll::Ready(Ok(None));
            }
            if ready!(self.poll_fill(cx)).map_err(|_| Error::Closed)? == 0 {
                self.receiving.decoder.finish().map_err(|_| Error::Closed)?;
                self.receiving.has_ended = true;
            }
        }
    }

    /// Moves the rest of the request, for a response that is not read now.
    ///
    /// # Errors
    /// [`Error::Request`]; the call is over.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        self.poll_sending(cx)
    }

    /// Whether the response's body has ended.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.receiving.has_ended
    }

    /// How many bytes of the body are still to come, where its head says so.
    #[must_use]
    pub(crate) fn length_left(&self) -> Option<u64> {
        if let BodyDecoder::Length(left) = self.receiving.decoder { Some(left) } else { None }
    }

    /// How many bytes of content come next that the system can move into a pipe.
    #[must_use]
    pub(crate) fn spliceable_bytes(&self) -> u64 {
        let receiving = &self.receiving;
        let can_splice = !receiving.is_splice_refused && self.socket.can_splice();
        let is_plain = can_splice && receiving.received.is_empty() && self.sending.is_complete();
        match receiving.decoder {
            BodyDecoder::Length(_) | BodyDecoder::Chunked(_) if is_plain => receiving.decoder.content_left(),
            BodyDecoder::Length(_) | BodyDecoder::Chunked(_) | BodyDecoder::UntilClose => 0,
        }
    }

    /// Moves some of the bytes that [`Call::spliceable_bytes`] counts into an empty pipe, and returns how many. None: the
    /// system refuses; from now on they must be read.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub(crate) fn poll_splice(&mut self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize, Error>> {
        let left = self.spliceable_bytes();
        let moved = ready!(self.socket.poll_read_with(cx, |socket| pipe.fill(socket, left)));
        match moved {
            Ok(0) => Poll::Ready(Err(Error::Closed)),
            Ok(moved) => {
                self.receiving.decoder.skip(u64::try_from(moved).unwrap_or(u64::MAX));
                self.receiving.has_ended = self.length_left() == Some(0);
                Poll::Ready(Ok(moved))
            }
            Err(error) if splice::is_refusal(&error) => {
                pipe.refuse();
                self.receiving.is_splice_refused = true;
                Poll::Ready(Ok(0))
            }
            Err(_) => Poll::Ready(Err(Error::Closed)),
        }
    }

    /// Whether the connection can carry another request: request and response are whole, and nothing came behind them.
    /// Then nothing of this call is left.
    pub(super) fn come_to_rest(&mut self) -> bool {
        let receiving = &self.receiving;
        let is_whole = receiving.has_ended && receiving.is_reusable && receiving.received.is_empty();
        if !is_whole || !self.sending.is_complete() {
            return false;
        }
        self.sending = Sending::default();
        self.receiving = Receiving::default();
        true
    }

    /// The stream of a connection that has switched protocols, what was read of it already, and what counts it.
    #[must_use]
    pub(crate) fn into_stream(mut self: Box<Self>) -> (Socket, Bytes, Option<Counted>) {
        let read_ahead = self.receiving.received.take(usize::MAX);
        (self.socket, read_ahead, self.counted)
    }
}

impl Receiving {
    /// Takes the next head out of what was received, if it is there as a whole.
    fn scan(&mut self, rules: &HeadRules, is_request_out: bool) -> Result<Option<Head>, Error> {
        let mut head = self.partial.take().or_else(|| head::SPARE.take()).unwrap_or_default();
        let Some(end) = head.scan(&self.received, &rules.limits).map_err(Error::Malformed)? else {
            self.partial = Some(head);
            return Ok(None);
        };
        let bytes = self.received.take(end);
        let declared = self.settle(&head, &bytes, rules, is_request_out)?;
        let converted = head::response(&mut head, bytes, declared).ok_or(Error::Unholdable);
        head.reset();
        head::SPARE.set(Some(head));
        converted.map(Some)
    }

    /// Says how the body of a response will end, and what its head is to declare.
    fn settle(
        &mut self,
        head: &ResponseHead,
        bytes: &[u8],
        rules: &HeadRules,
        is_request_out: bool,
    ) -> Result<Length, Error> {
        if head.status().code() == StatusCode::SWITCHING_PROTOCOLS.as_u16() && !is_request_out {
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

    /// All of the body, where it has come as a whole and its length was declared.
    fn take_whole(&mut self) -> Option<Bytes> {
        let BodyDecoder::Length(left) = self.decoder else { return None };
        let length = usize::try_from(left).ok().filter(|left| *left <= self.received.len())?;
        self.decoder.skip(left);
        self.has_ended = true;
        Some(self.received.take(length))
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
}

#[cfg(test)]
mod tests;
