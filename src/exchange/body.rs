//! The body of an answer: nothing, some bytes, or a stream from elsewhere.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::deadline::Deadline;
use super::error::ProxyError;
use crate::splice::Pipe;

/// How much of a body that is there as a whole is given at once, in bytes, to those who ask for pieces of it: what a client
/// has not got yet counts as not sent.
const PIECE_BYTES: usize = 16 * 1024;

/// A body that flows from elsewhere, a backend say.
pub trait StreamingBody: http_body::Body<Data = Bytes, Error = ProxyError> {
    /// Another task polls it from now on: its waits count against that one's deadline.
    fn wait_under(self: Pin<&mut Self>, deadline: &Rc<Deadline>);

    /// Goes on with what does not depend on this body being read, such as sending the rest of the request's body: for a
    /// client that takes nothing now, but still sends.
    fn drive(self: Pin<&mut Self>, _cx: &mut Context<'_>) {}

    /// How many bytes of the body follow that the kernel can move without this process; 0: they must be read.
    fn spliceable_bytes(&self) -> u64 {
        0
    }

    /// Moves bytes that [`StreamingBody::spliceable_bytes`] counts into an empty pipe. Returns how many; 0: they can't be
    /// moved now, more must be read first. When all are in, the body may be at its end.
    fn poll_splice(self: Pin<&mut Self>, _cx: &mut Context<'_>, _pipe: &Pipe) -> Poll<Result<usize, ProxyError>> {
        Poll::Pending
    }
}

/// A body that flows from elsewhere, wherever that is.
pub(crate) type Flow = Pin<Box<dyn StreamingBody>>;

/// Told how an answer's way to the client goes. Dropped when the answer is written or given up.
pub trait BodyObserver {
    /// The answer is in the hands of the client's connection.
    fn began(&mut self);
    /// So many more bytes of the body were handed to the client's connection.
    fn sent(&mut self, bytes: usize);
    /// The body is whole: nothing more will come.
    fn whole(&mut self);
    /// The body broke off.
    fn broke(&mut self, fault: &ProxyError);
}

/// The body of an answer, and who is told how it went.
#[derive(Default)]
pub struct Body {
    content: Content,
    witness: Option<Box<dyn BodyObserver>>,
}

#[derive(Default)]
enum Content {
    #[default]
    Empty,
    Whole(Bytes),
    Flow(Flow),
}

impl Body {
    /// A body of these bytes.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        let content = if bytes.is_empty() { Content::Empty } else { Content::Whole(bytes) };
        Self { content, witness: None }
    }

    /// A body that flows from elsewhere.
    #[must_use]
    pub fn flow(flow: Flow) -> Self {
        Self { content: Content::Flow(flow), witness: None }
    }

    /// All of it, where that is there already.
    #[must_use]
    pub fn content(&self) -> Option<Bytes> {
        match &self.content {
            Content::Empty => Some(Bytes::new()),
            Content::Whole(bytes) => Some(bytes.clone()),
            Content::Flow(_) => None,
        }
    }

    /// Changes a body that flows.
    #[must_use]
    pub fn map_flow(mut self, change: impl FnOnce(Flow) -> Flow) -> Self {
        self.content = match self.content {
            Content::Flow(flow) => Content::Flow(change(flow)),
            other @ (Content::Empty | Content::Whole(_)) => other,
        };
        self
    }

    /// The body as a flow; `None`: it is empty.
    #[must_use]
    pub fn into_flow(self) -> Option<Flow> {
        match self.content {
            Content::Empty => None,
            Content::Whole(bytes) => Some(Box::pin(Whole(bytes))),
            Content::Flow(flow) => Some(flow),
        }
    }

    /// Lets someone know how the body's way goes.
    pub fn attach(&mut self, mut witness: Box<dyn BodyObserver>) {
        if http_body::Body::is_end_stream(self) {
            witness.whole();
        }
        self.witness = Some(witness);
    }

    /// The answer is in the hands of the client's connection.
    pub fn begin(&mut self) {
        if let Some(witness) = &mut self.witness {
            witness.began();
        }
    }

    /// Takes all of it, where that is there already: it counts as sent.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        let bytes = match std::mem::take(&mut self.content) {
            Content::Empty => Bytes::new(),
            Content::Whole(bytes) => bytes,
            flow @ Content::Flow(_) => {
                self.content = flow;
                return None;
            }
        };
        if let Some(witness) = &mut self.witness {
            witness.sent(bytes.len());
            witness.whole();
        }
        Some(bytes)
    }

    /// How many bytes follow that the kernel can move: see [`StreamingBody::spliceable_bytes`].
    #[must_use]
    pub fn spliceable_bytes(&self) -> u64 {
        match &self.content {
            Content::Flow(flow) => flow.spliceable_bytes(),
            Content::Empty | Content::Whole(_) => 0,
        }
    }

    /// Moves bytes into an empty pipe: see [`StreamingBody::poll_splice`]. They count as sent.
    ///
    /// # Errors
    /// Why the body broke off.
    pub fn poll_splice(&mut self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize, ProxyError>> {
        let Content::Flow(flow) = &mut self.content else { return Poll::Ready(Ok(0)) };
        let moved = ready!(flow.as_mut().poll_splice(cx, pipe));
        let has_ended = flow.is_end_stream();
        if let Some(witness) = &mut self.witness {
            match &moved {
                Ok(bytes) => witness.sent(*bytes),
                Err(fault) => witness.broke(fault),
            }
            if has_ended && moved.is_ok() {
                witness.whole();
            }
        }
        Poll::Ready(moved)
    }

    /// Goes on with what does not depend on the body being read: see [`StreamingBody::drive`].
    pub fn drive(&mut self, cx: &mut Context<'_>) {
        if let Content::Flow(flow) = &mut self.content {
            flow.as_mut().drive(cx);
        }
    }

    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        match &mut self.content {
            Content::Empty => Poll::Ready(None),
            Content::Whole(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE_BYTES));
                if bytes.is_empty() {
                    self.content = Content::Empty;
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Content::Flow(flow) => flow.as_mut().poll_frame(cx),
        }
    }
}

/// Bytes that are there already, as a flow.
struct Whole(Bytes);

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

impl StreamingBody for Whole {
    fn wait_under(self: Pin<&mut Self>, _deadline: &Rc<Deadline>) {}
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let body = &mut *self;
        let polled = body.poll_content(cx);
        let Some(witness) = &mut body.witness else { return polled };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                witness.sent(frame.data_ref().map_or(0, Bytes::len));
                // Nothing more is asked for once a body says that it is at its end.
                let ended = match &body.content {
                    Content::Empty => true,
                    Content::Whole(_) => false,
                    Content::Flow(flow) => flow.is_end_stream(),
                };
                if ended {
                    witness.whole();
                }
            }
            Poll::Ready(Some(Err(fault))) => witness.broke(fault),
            Poll::Ready(None) => witness.whole(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Whole(_) => false,
            Content::Flow(flow) => flow.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Flow(flow) => flow.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let content = match &self.content {
            Content::Empty => "empty",
            Content::Whole(_) => "whole",
            Content::Flow(_) => "flow",
        };
        f.debug_struct("Body").field("content", &content).finish_non_exhaustive()
    }
}
