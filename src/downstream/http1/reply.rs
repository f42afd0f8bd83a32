//! A response on its way to a client: its body framed and written as it comes, or moved by the kernel.

use std::num::NonZeroU64;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http1::CRLF;

use super::output::Output;
use super::response::Framing;
use super::wire::Wire;
use crate::exchange::body::Body;
use crate::splice::{Pipe, Pipes};

/// A body of which fewer bytes are still to come is copied: moving them would cost as much.
const SPLICED_BYTES_MIN: u64 = 64 * 1024;

/// The response can't be completed: its connection must end visibly broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// A response whose head is in the output.
pub(super) struct Reply {
    /// `None`: all of it is in the output or in the pipe, or has gone. Dropped before the last of it is written, so that
    /// the exchange has ended once its client has all of it.
    body: Option<Body>,
    framing: Framing,
    /// What ends the body is in the output, or has gone.
    has_ended: bool,
    /// The body has broken off: what came of it before goes out, and nothing else.
    is_broken: bool,
    /// The body is awaited, not the client.
    awaits_body: bool,
    splicing: Splicing,
}

/// What is known of moving a body by the kernel.
#[derive(Default)]
struct Splicing {
    pipe: Option<Pipe>,
    /// What is in the pipe is a chunk whose end has not been written.
    is_chunk_open: bool,
    /// No pipe is to be had.
    is_refused: bool,
    /// More must be read before what follows can be moved.
    must_read: bool,
}

impl Reply {
    /// Begins to write a body. One that is there as a whole joins the head, and its exchange has ended: nothing is left.
    pub(super) fn begin(mut body: Body, framing: Framing, output: &mut Output) -> Option<Box<Self>> {
        let whole = match framing {
            Framing::None => return None,
            Framing::Length(_) | Framing::UntilClose => body.take_whole(),
            Framing::Chunked => None,
        };
        if let Some(whole) = whole {
            output.push(whole);
            return None;
        }
        Some(Box::new(Self {
            body: Some(body),
            framing,
            has_ended: false,
            is_broken: false,
            awaits_body: false,
            splicing: Splicing::default(),
        }))
    }

    /// Whether it was the body that the last poll waited for.
    pub(super) const fn awaits_body(&self) -> bool {
        self.awaits_body
    }

    /// Writes until all is written.
    ///
    /// # Errors
    /// [`Broken`] if the body has broken off, or the client takes no more.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wire: &Wire,
        output: &mut Output,
        pipes: &Rc<Pipes>,
    ) -> Poll<Result<(), Broken>> {
        self.awaits_body = false;
        loop {
            let filled = self.fill(cx, wire, output, pipes);
            if !output.is_empty() && wire.poll_write(cx, output).map_err(|_| Broken)?.is_pending() {
                return self.wait_for_client(cx);
            }
            if filled.is_pending() {
                return self.wait_for_body();
            }
            if let Some(pipe) = self.splicing.pipe.as_ref().filter(|pipe| !pipe.is_empty()) {
                match wire.poll_drain(cx, pipe) {
                    Poll::Ready(drained) => drained.map_err(|_| Broken).map(drop)?,
                    Poll::Pending => return self.wait_for_client(cx),
                }
            } else if self.is_broken {
                return Poll::Ready(Err(Broken));
            } else if self.has_ended {
                if output.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            } else if std::mem::take(&mut self.splicing.is_chunk_open) {
                output.end(CRLF);
            } else if self.body.is_none() {
                self.end(output, None);
            } else if self.is_splicing() && self.splice(cx, output).is_pending() {
                return self.wait_for_body();
            }
        }
    }

    fn wait_for_body(&mut self) -> Poll<Result<(), Broken>> {
        self.awaits_body = true;
        Poll::Pending
    }

    fn wait_for_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if let Some(body) = &mut self.body {
            body.drive(cx);
        }
        Poll::Pending
    }

    /// Adds to the output what the body has, as long as there is room. Ready also when what follows is to be moved.
    fn fill(&mut self, cx: &mut Context<'_>, wire: &Wire, output: &mut Output, pipes: &Rc<Pipes>) -> Poll<()> {
        while output.has_room() && !self.is_in_pipe() {
            let Some(body) = &mut self.body else { break };
            if self.splicing.begins(body.spliceable_bytes(), wire, pipes) {
                break;
            }
            let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
            self.splicing.must_read = false;
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(content))) => {
                    let has_ended = body.is_end_stream();
                    self.push(content, output);
                    if has_ended {
                        self.end(output, None);
                    }
                }
                Some(Ok(Err(frame))) => {
                    // Behind trailers comes nothing but the end, of which some bodies are told only when they are asked.
                    let _end = Pin::new(&mut *body).poll_frame(cx);
                    self.end(output, frame.into_trailers().ok());
                }
                Some(Err(_fault)) => self.break_off(),
                None => self.end(output, None),
            }
        }
        Poll::Ready(())
    }

    fn push(&mut self, content: Bytes, output: &mut Output) {
        let Some(framing) = self.framing.less(content.len()) else { return self.break_off() };
        self.framing = framing;
        match framing {
            Framing::Chunked => output.push_chunk(content),
            Framing::None | Framing::Length(_) | Framing::UntilClose => output.push(content),
        }
    }

    fn break_off(&mut self) {
        (self.body, self.is_broken) = (None, true);
    }

    /// All of the body has come: adds what says so.
    fn end(&mut self, output: &mut Output, trailers: Option<HeaderMap>) {
        if self.is_broken || matches!(self.framing, Framing::Length(left) if left > 0) {
            return self.break_off();
        }
        (self.body, self.has_ended) = (None, true);
        if self.framing == Framing::Chunked {
            output.end(b"0\r\n");
            for (name, value) in &trailers.unwrap_or_default() {
                for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), CRLF] {
                    output.end(part);
                }
            }
            output.end(CRLF);
        }
    }

    fn is_in_pipe(&self) -> bool {
        self.splicing.is_chunk_open || self.splicing.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty())
    }

    fn is_splicing(&self) -> bool {
        let bytes = self.body.as_ref().map_or(0, Body::spliceable_bytes);
        self.splicing.pipe.is_some() && !self.splicing.must_read && bytes > 0
    }

    /// Moves some of the body into the pipe, which is empty, as is the output.
    fn splice(&mut self, cx: &mut Context<'_>, output: &mut Output) -> Poll<()> {
        let (Some(body), Some(pipe)) = (&mut self.body, &self.splicing.pipe) else { return Poll::Ready(()) };
        let Ok(moved) = ready!(body.poll_splice(cx, pipe)) else {
            self.break_off();
            return Poll::Ready(());
        };
        let Some(length) = NonZeroU64::new(moved as u64) else {
            self.splicing.must_read = true;
            return Poll::Ready(());
        };
        if body.is_end_stream() {
            self.body = None;
        }
        let Some(framing) = self.framing.less(moved) else {
            self.break_off();
            return Poll::Ready(());
        };
        self.framing = framing;
        if framing == Framing::Chunked {
            output.begin_chunk(length);
            self.splicing.is_chunk_open = true;
        }
        Poll::Ready(())
    }
}

impl Splicing {
    /// Whether so many bytes that could be moved are worth it. If so, there is a pipe.
    fn begins(&mut self, bytes: u64, wire: &Wire, pipes: &Rc<Pipes>) -> bool {
        if self.must_read || self.is_refused || bytes == 0 {
            return false;
        }
        if self.pipe.is_none() && bytes >= SPLICED_BYTES_MIN {
            self.pipe = if wire.can_splice() { pipes.lend() } else { None };
            self.is_refused = self.pipe.is_none();
        }
        self.pipe.is_some()
    }
}
