//! Copies a response's body for comparison while it is sent to the client, without changing or delaying it.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::{Frame, SizeHint};
use message::Fields;
use tokio::sync::oneshot;

use crate::exchange::Answer;
use crate::exchange::body::{Flow, StreamingBody};
use crate::exchange::deadline::Deadline;
use crate::exchange::error::ProxyError;

/// Shorter pieces are copied into one buffer, because each would otherwise keep a complete read buffer alive.
const COPY_BELOW: usize = 4096;

/// A copied response.
#[derive(Debug)]
pub(crate) struct RecordedResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its fields.
    pub headers: Fields,
    /// Its body; `None`: longer than the limit, or incomplete.
    pub body: Option<Vec<Bytes>>,
}

/// Passes a response through, and sends a copy to `seen` when the body is complete, exceeds `bytes_max`, or is dropped.
#[must_use]
pub(crate) fn watch(answer: Answer, bytes_max: usize, seen: oneshot::Sender<RecordedResponse>) -> Answer {
    let head = RecordedResponse { status: answer.status, headers: answer.fields.compact(), body: Some(Vec::new()) };
    let mut recording = Recording { head: Some(head), tail: BytesMut::new(), bytes: 0, bytes_max, seen: Some(seen) };
    if let Some(whole) = answer.body.content() {
        recording.piece(&whole);
        recording.end();
        return answer;
    }
    Answer { body: answer.body.map_flow(|flow| Box::pin(Tee { flow, recording })), ..answer }
}

/// The copy so far.
struct Recording {
    head: Option<RecordedResponse>,
    /// The latest short pieces, joined.
    tail: BytesMut,
    bytes: usize,
    bytes_max: usize,
    seen: Option<oneshot::Sender<RecordedResponse>>,
}

impl Recording {
    fn piece(&mut self, piece: &Bytes) {
        self.bytes = self.bytes.saturating_add(piece.len());
        let Some(pieces) = self.head.as_mut().and_then(|head| head.body.as_mut()) else { return };
        // The receiver may have given up long before a slow client has read the complete body.
        let is_wanted = self.seen.as_ref().is_some_and(|seen| !seen.is_closed());
        if self.bytes > self.bytes_max || !is_wanted {
            return self.give_up();
        }
        if piece.len() < COPY_BELOW {
            return self.tail.extend_from_slice(piece);
        }
        if !self.tail.is_empty() {
            pieces.push(self.tail.split().freeze());
        }
        pieces.push(piece.clone());
    }

    fn end(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        if let Some((seen, mut head)) = self.seen.take().zip(self.head.take()) {
            if let Some(pieces) = head.body.as_mut().filter(|_| !tail.is_empty()) {
                pieces.push(tail.freeze());
            }
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

/// A body that is copied.
struct Tee {
    flow: Flow,
    recording: Recording,
}

impl http_body::Body for Tee {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let Self { flow, recording } = &mut *self;
        let polled = flow.as_mut().poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(piece) = frame.data_ref() {
                    recording.piece(piece);
                }
                // A reader may not poll again after the body reports its end.
                if flow.is_end_stream() {
                    recording.end();
                }
            }
            Poll::Ready(Some(Err(_broken))) => recording.give_up(),
            Poll::Ready(None) => recording.end(),
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

impl StreamingBody for Tee {
    fn wait_under(mut self: Pin<&mut Self>, deadline: &Rc<Deadline>) {
        self.flow.as_mut().wait_under(deadline);
    }

    fn drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) {
        self.flow.as_mut().drive(cx);
    }
}

impl Drop for Tee {
    /// The client left before the end.
    fn drop(&mut self) {
        self.recording.give_up();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Waker;

    use http_body::Body as _;

    use super::*;
    use crate::exchange::body::Body;

    /// Bytes whose liveness a test can observe.
    struct Owned {
        _mark: Arc<()>,
    }

    impl AsRef<[u8]> for Owned {
        fn as_ref(&self) -> &[u8] {
            &[0; 2 * COPY_BELOW]
        }
    }

    /// An endless body of equal pieces.
    struct Endless(Arc<()>);

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = ProxyError;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(Owned { _mark: Arc::clone(&self.0) })))))
        }
    }

    impl StreamingBody for Endless {
        fn wait_under(self: Pin<&mut Self>, _: &Rc<Deadline>) {}
    }

    fn watched(mark: &Arc<()>, seen: oneshot::Sender<RecordedResponse>) -> Body {
        let flow: Flow = Box::pin(Endless(Arc::clone(mark)));
        watch(Answer::new(Body::flow(flow)), usize::MAX, seen).body
    }

    fn piece(body: &mut Body) {
        let polled = Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Some(Ok(_)))));
    }

    #[test]
    fn nothing_is_kept_for_one_who_has_given_up() {
        let mark = Arc::new(());
        let (sender, seen) = oneshot::channel();
        let mut body = watched(&mark, sender);
        piece(&mut body);
        piece(&mut body);
        assert_eq!(Arc::strong_count(&mark), 4, "two pieces are kept, beside the test's and the body's");
        drop(seen);
        piece(&mut body);
        assert_eq!(Arc::strong_count(&mark), 2);
    }

    #[test]
    fn a_body_of_many_short_pieces_is_one_in_the_end_and_in_order() {
        let (sender, mut seen) = oneshot::channel();
        let head = RecordedResponse { status: StatusCode::OK, headers: Fields::new(), body: Some(Vec::new()) };
        let mut recording =
            Recording { head: Some(head), tail: BytesMut::new(), bytes: 0, bytes_max: 1 << 20, seen: Some(sender) };
        let long = Bytes::from(vec![b'x'; COPY_BELOW]);
        let pieces = (0..1000).map(|_| Bytes::from_static(b"ab")).chain([long.clone(), Bytes::new(), long]);
        let pieces: Vec<Bytes> = pieces.chain([Bytes::from_static(b"end")]).collect();
        pieces.iter().for_each(|piece| recording.piece(piece));
        recording.end();
        let kept = seen.try_recv().expect("it is told").body.expect("it is kept");
        assert_eq!(kept.iter().map(Bytes::len).collect::<Vec<_>>(), [2000, COPY_BELOW, COPY_BELOW, 3]);
        assert_eq!(kept.concat(), pieces.concat());
    }

    #[test]
    fn what_is_given_up_is_told_without_its_body() {
        let (sender, mut seen) = oneshot::channel();
        let mut body = watched(&Arc::default(), sender);
        piece(&mut body);
        drop(body);
        assert!(seen.try_recv().is_ok_and(|seen| seen.body.is_none()));
    }
}
