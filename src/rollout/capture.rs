//! A look at an answer on its way to the client: what flows by is noted, nothing is changed or held up.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

use crate::exchange::Answer;
use crate::exchange::body::{Flow, Stream};
use crate::exchange::deadline::Deadline;
use crate::exchange::fault::Fault;

/// Pieces shorter than this are copied, so that they don't keep a whole read buffer alive.
const COPY_BELOW: usize = 4096;

/// An answer as it was seen.
#[derive(Debug)]
pub struct Seen {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body; `None`: longer than what is kept, or broken off.
    pub body: Option<Vec<Bytes>>,
}

/// Lets an answer through, and hands what was seen of it to `seen` when it is whole, longer than `bytes_max`, or given
/// up.
#[must_use]
pub fn watch(answer: Answer, bytes_max: usize, seen: oneshot::Sender<Seen>) -> Answer {
    let head = Seen { status: answer.status(), headers: answer.headers().clone(), body: Some(Vec::new()) };
    let (parts, body) = answer.into_parts();
    let mut sight = Sight { head: Some(head), bytes: 0, bytes_max, seen: Some(seen) };
    if let Some(whole) = body.content() {
        sight.piece(&whole);
        sight.end();
        return Answer::from_parts(parts, body);
    }
    Answer::from_parts(parts, body.map_flow(|flow| Box::pin(Capture { flow, sight })))
}

/// What has been seen so far.
struct Sight {
    head: Option<Seen>,
    bytes: usize,
    bytes_max: usize,
    seen: Option<oneshot::Sender<Seen>>,
}

impl Sight {
    fn piece(&mut self, piece: &Bytes) {
        self.bytes = self.bytes.saturating_add(piece.len());
        let Some(pieces) = self.head.as_mut().and_then(|head| head.body.as_mut()) else { return };
        if self.bytes > self.bytes_max {
            return self.give_up();
        }
        if !piece.is_empty() {
            pieces.push(if piece.len() < COPY_BELOW { Bytes::copy_from_slice(piece) } else { piece.clone() });
        }
    }

    fn end(&mut self) {
        if let Some((seen, head)) = self.seen.take().zip(self.head.take()) {
            let _nobody_waits = seen.send(head);
        }
    }

    fn give_up(&mut self) {
        if let Some(head) = &mut self.head {
            head.body = None;
        }
        self.end();
    }
}

/// A body that is looked at.
struct Capture {
    flow: Flow,
    sight: Sight,
}

impl http_body::Body for Capture {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Self { flow, sight } = &mut *self;
        let polled = flow.as_mut().poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(piece) = frame.data_ref() {
                    sight.piece(piece);
                }
                // Whoever reads asks no more once a body says that it is at its end.
                if flow.is_end_stream() {
                    sight.end();
                }
            }
            Poll::Ready(Some(Err(_broken))) => sight.give_up(),
            Poll::Ready(None) => sight.end(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.flow.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.flow.size_hint()
    }
}

impl Stream for Capture {
    fn wait_under(mut self: Pin<&mut Self>, deadline: &Rc<Deadline>) {
        self.flow.as_mut().wait_under(deadline);
    }
}

impl Drop for Capture {
    /// The client left.
    fn drop(&mut self) {
        self.sight.give_up();
    }
}
