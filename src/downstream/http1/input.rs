//! What was read of a client's socket and not used yet: the head that is being scanned, the body that is being decoded.

use std::task::{Context, Waker};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http1::{BodyDecoder, BodyLimits, Event, Framing, HeadLimits};
use message::Lines;
use policy::message::scheme::Scheme;

use super::buffers::Buffers;
use super::head::{self, Facts};
use crate::downstream::refusal::Refusal;
use crate::exchange::Head;
use crate::proxy::fast_hit::PlainGet;
use crate::telemetry::access_record::Request;

/// The longest rest of a request's body that is read and thrown away, in bytes, so that its connection can be used again.
/// To read so much costs about what a new connection costs; a longer one is not worth it.
pub(super) const DISCARDED_BYTES_MAX: usize = 256 * 1024;
/// The end of a chunked body without trailers, behind the content of a chunk.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// How a client's side of a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// It sends no more.
    Half,
    /// The connection is broken.
    Broken,
}

/// What was read, and how far it is understood.
#[derive(Default)]
pub(super) struct Input {
    /// `None`: nothing has been read that is not used up.
    pub(super) buffers: Option<Box<Buffers>>,
    pub(super) closed: Option<Closed>,
    pub(super) body: Body,
    /// The task of the connection's loop.
    pub(super) task: Option<Waker>,
}

/// The body of the request under way.
#[derive(Default)]
pub(super) struct Body {
    pub(super) state: State,
    /// Somebody may still ask for it.
    pub(super) is_read: bool,
    /// Its reader waits for the socket.
    pub(super) waker: Option<Waker>,
    /// Its reader is in another task than the loop's. The last reader wakes that task when it goes.
    pub(super) is_read_elsewhere: bool,
    /// Its client has not been told to send it.
    pub(super) is_held: bool,
}

#[derive(Default)]
pub(super) enum State {
    /// All of it was decoded.
    #[default]
    Whole,
    Partial(BodyDecoder),
    /// It can't be decoded further.
    Broken,
}

/// What was decoded.
pub(super) enum Decoded {
    Content(Bytes),
    Trailers(HeaderMap),
    End,
    NeedsMore,
    Broken,
}

impl Input {
    /// Scans the next head. Returns its length once it is complete.
    ///
    /// # Errors
    /// [`Refusal`] if it is none.
    pub(super) fn scan(&mut self, limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let Some(buffers) = self.buffers.as_deref_mut() else { return Ok(None) };
        if !buffers.head.has_begun() {
            // Empty lines belong to no request (RFC 9112 §2.2).
            while buffers.input.starts_with(b"\r\n") {
                buffers.input.advance(2);
                buffers.head.reset();
            }
        }
        if buffers.input.is_empty() { Ok(None) } else { Ok(buffers.head.scan(&buffers.input, limits)?) }
    }

    /// Whether a head has begun that is not complete.
    pub(super) fn has_begun_head(&self) -> bool {
        self.buffers.as_ref().is_some_and(|buffers| buffers.head.has_begun())
    }

    /// Takes a head of this length, which was scanned, and begins with its body.
    ///
    /// # Errors
    /// [`Refusal`] if it can't be said what is asked for, or where the body ends.
    pub(super) fn take_head(&mut self, length: usize) -> Result<(Head, Facts), Refusal> {
        let Some(Buffers { input, head, lines, .. }) = self.buffers.as_deref_mut() else {
            return Err(Refusal::Target);
        };
        let length = length.min(input.len());
        let facts = head::facts(head, input.get(..length).unwrap_or_default())?;
        let taken = head::head(head, input.split_to(length).freeze());
        std::mem::swap(&mut head.fields, lines);
        head.reset();
        let taken = taken?;
        let state = match facts.framing {
            Framing::None => State::Whole,
            framing @ (Framing::Length(_) | Framing::Chunked | Framing::UntilClose) => {
                State::Partial(BodyDecoder::new(framing, BodyLimits::default()))
            }
        };
        self.body = Body { state, is_held: facts.expects_continue, ..Body::default() };
        Ok((taken, facts))
    }

    /// What a head of this length asks for, which was scanned, if that is plain.
    pub(super) fn plain_get(&self, length: usize) -> Option<PlainGet<'_>> {
        let buffers = self.buffers.as_deref()?;
        head::plain_get(&buffers.head, buffers.input.get(..length)?)
    }

    /// A head of this length, which was scanned, as the log has it.
    pub(super) fn logged(&self, length: usize, scheme: Scheme) -> Option<Request> {
        let buffers = self.buffers.as_deref()?;
        head::logged(&buffers.head, buffers.input.get(..length)?, scheme)
    }

    /// Is done with a plain head of this length: it has been answered.
    pub(super) fn skip_head(&mut self, length: usize) {
        self.body = Body::default();
        if let Some(Buffers { input, head, .. }) = self.buffers.as_deref_mut() {
            head.reset();
            if length < input.len() { input.advance(length) } else { input.clear() }
        }
    }

    /// The request that is being scanned, as far as that is known.
    pub(super) fn request(&self, scheme: Scheme) -> Option<Request> {
        let buffers = self.buffers.as_deref()?;
        head::request(&buffers.head, &buffers.input, scheme)
    }

    /// Whether all of the request under way has come, be it decoded or not.
    pub(super) fn has_whole_request(&self) -> bool {
        let mut decoder = match self.body.state {
            State::Whole => return true,
            State::Broken => return false,
            State::Partial(decoder) => decoder,
        };
        let mut rest = self.unread();
        let mut trailers = Lines::default();
        loop {
            match decoder.decode(&mut rest, &mut trailers) {
                Ok(Event::Content(_)) => {}
                Ok(Event::End { .. }) => return true,
                Ok(Event::NeedsMore) | Err(_) => return false,
            }
        }
    }

    /// What was read and not used yet.
    pub(super) fn unread(&self) -> &[u8] {
        self.buffers.as_ref().map(|buffers| &buffers.input[..]).unwrap_or_default()
    }

    /// The final response begins: the client is not told any more to send its body. Returns whether another request may
    /// come behind the one under way, as far as its body is concerned: it is whole, or its reader may still see to that,
    /// or the rest of it is short enough to be thrown away.
    pub(super) fn begin_response(&mut self) -> bool {
        if matches!(self.body.state, State::Whole) {
            return true;
        }
        // A client that has waited in vain may send the body or not: what follows could be either.
        if std::mem::take(&mut self.body.is_held) && self.unread().is_empty() {
            return false;
        }
        self.discard();
        match self.body.state {
            State::Whole => true,
            State::Broken => false,
            State::Partial(_) if self.body.is_read => true,
            State::Partial(BodyDecoder::Length(left)) => left <= DISCARDED_BYTES_MAX as u64,
            State::Partial(BodyDecoder::Chunked(_) | BodyDecoder::UntilClose) => false,
        }
    }

    /// How many bytes of the body's content come next that the kernel can move: nothing of them was read.
    pub(super) fn spliceable_bytes(&self) -> u64 {
        match &self.body.state {
            State::Partial(decoder) if !self.body.is_held && self.unread().is_empty() => match decoder {
                BodyDecoder::Length(_) | BodyDecoder::Chunked(_) => decoder.content_left(),
                BodyDecoder::UntilClose => 0,
            },
            State::Whole | State::Partial(_) | State::Broken => 0,
        }
    }

    /// Takes note of content that was moved and not read.
    pub(super) fn skip(&mut self, bytes: usize) {
        let State::Partial(decoder) = &mut self.body.state else { return };
        decoder.skip(u64::try_from(bytes).unwrap_or(u64::MAX));
        if let BodyDecoder::Length(0) = decoder {
            self.body.state = State::Whole;
            if let Some(buffers) = &mut self.buffers {
                buffers.head.reset();
            }
        }
    }

    /// The reader of the body waits for the socket.
    pub(super) fn await_socket(&mut self, cx: &Context<'_>) {
        self.body.is_read_elsewhere |= !self.task.as_ref().is_some_and(|task| task.will_wake(cx.waker()));
        self.body.waker = Some(cx.waker().clone());
    }

    /// Throws away what has come of a body that has no reader.
    pub(super) fn discard(&mut self) {
        while !self.body.is_read && matches!(self.decode(), Decoded::Content(_) | Decoded::Trailers(_)) {}
    }

    /// Decodes the next piece of the body from what was read.
    pub(super) fn decode(&mut self) -> Decoded {
        let Self { buffers, body, .. } = self;
        let decoder = match &mut body.state {
            State::Whole => return Decoded::End,
            State::Broken => return Decoded::Broken,
            State::Partial(decoder) => decoder,
        };
        let Some(Buffers { input, head, .. }) = buffers.as_deref_mut() else { return Decoded::NeedsMore };
        let mut rest: &[u8] = input;
        let event = decoder.decode(&mut rest, &mut head.fields);
        let used = input.len() - rest.len();
        match event {
            Ok(Event::Content(content)) => {
                let length = content.len();
                input.advance(used - length);
                let content = input.split_to(length).freeze();
                if body_ends(decoder, input) {
                    head.reset();
                    body.state = State::Whole;
                }
                Decoded::Content(content)
            }
            Ok(Event::NeedsMore) => {
                input.advance(used);
                Decoded::NeedsMore
            }
            Ok(Event::End { trailers }) => {
                let trailers = head::trailers(&head.fields, trailers);
                input.advance(used);
                head.reset();
                body.state = State::Whole;
                if trailers.is_empty() { Decoded::End } else { Decoded::Trailers(trailers) }
            }
            Err(_malformed) => {
                body.state = State::Broken;
                Decoded::Broken
            }
        }
    }
}

/// Whether a body ends behind the content that was decoded last. If so, its end is taken from the input.
fn body_ends(decoder: &BodyDecoder, input: &mut BytesMut) -> bool {
    match decoder {
        BodyDecoder::Length(left) => *left == 0,
        BodyDecoder::Chunked(_) if decoder.content_left() == 0 && input.starts_with(LAST_CHUNK) => {
            input.advance(LAST_CHUNK.len());
            true
        }
        BodyDecoder::Chunked(_) | BodyDecoder::UntilClose => false,
    }
}
