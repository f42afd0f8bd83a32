//! A request's body, as it comes from the client.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::error::ProxyError;
use crate::splice::Pipe;

/// Where the body of one request is read from: a client's connection, or a stream of one.
pub trait BodySource {
    /// The next content, or the trailers; `None` at the end.
    ///
    /// # Errors
    /// [`ProxyError::BodyBroken`] if the body is malformed, or its client has left.
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>>;

    /// How many bytes of content come next that the kernel can move without this process; 0: they must be read.
    fn spliceable_bytes(&self) -> u64 {
        0
    }

    /// An empty pipe to move them through; `None`: there is none to be had.
    fn lend_pipe(&self) -> Option<Pipe> {
        None
    }

    /// Moves bytes that [`BodySource::spliceable_bytes`] counts into an empty pipe. Returns how many; 0: they can't be
    /// moved and must be read.
    ///
    /// # Errors
    /// [`ProxyError::BodyBroken`] if its client has left.
    fn poll_splice(&self, _cx: &mut Context<'_>, _pipe: &Pipe) -> Poll<Result<usize, ProxyError>> {
        Poll::Ready(Ok(0))
    }

    /// Whether all of the body has been handed out.
    fn has_ended(&self) -> bool;

    /// Nothing more of the body will be asked for.
    fn leave(&self);
}

/// A request's body. Dropped before its end, the rest of it is the connection's business.
pub struct Incoming {
    /// `None`: nothing more comes.
    source: Option<Rc<dyn BodySource>>,
    /// How many bytes are still to come; `None`: that is not known.
    left: Option<u64>,
}

impl Incoming {
    /// No body.
    #[must_use]
    pub const fn empty() -> Self {
        Self { source: None, left: Some(0) }
    }

    /// A body of so many bytes, or of a length that is not known.
    #[must_use]
    pub fn new(source: Rc<dyn BodySource>, length: Option<u64>) -> Self {
        Self { source: Some(source), left: length }
    }

    /// See [`BodySource::spliceable_bytes`].
    #[must_use]
    pub fn spliceable_bytes(&self) -> u64 {
        self.source.as_ref().map_or(0, |source| source.spliceable_bytes())
    }

    /// See [`BodySource::lend_pipe`].
    #[must_use]
    pub fn lend_pipe(&self) -> Option<Pipe> {
        self.source.as_ref()?.lend_pipe()
    }

    /// See [`BodySource::poll_splice`].
    ///
    /// # Errors
    /// Those of the source.
    pub fn poll_splice(&mut self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize, ProxyError>> {
        let Some(source) = &self.source else { return Poll::Ready(Ok(0)) };
        let moved = ready!(source.poll_splice(cx, pipe));
        let has_ended = source.has_ended();
        if let (Some(left), Ok(moved)) = (self.left, &moved) {
            self.left = Some(left.saturating_sub(*moved as u64));
        }
        if has_ended || moved.is_err() {
            self.end();
        }
        Poll::Ready(moved)
    }

    fn end(&mut self) {
        if let Some(source) = self.source.take() {
            source.leave();
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let Some(source) = &self.source else { return Poll::Ready(None) };
        let frame = ready!(source.poll_frame(cx));
        let has_ended = source.has_ended();
        if let (Some(left), Some(Ok(frame))) = (self.left, &frame) {
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.left = Some(left.saturating_sub(length));
        }
        if has_ended || !matches!(frame, Some(Ok(_))) {
            self.end();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("left", &self.left).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Waker;

    use http_body::Body as _;

    use super::*;

    /// Two pieces, and what has become of them.
    #[derive(Default)]
    struct Pieces {
        given: Cell<usize>,
        left: Cell<usize>,
    }

    impl BodySource for Pieces {
        fn poll_frame(&self, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
            let pieces: [&'static [u8]; 2] = [b"abc", b"de"];
            let piece = pieces.get(self.given.replace(self.given.get() + 1));
            Poll::Ready(piece.map(|piece| Ok(Frame::data(Bytes::from_static(piece)))))
        }

        fn has_ended(&self) -> bool {
            self.given.get() >= 2
        }

        fn leave(&self) {
            self.left.set(self.left.get() + 1);
        }
    }

    fn read(body: &mut Incoming) -> Option<Bytes> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(body).poll_frame(&mut cx) {
            Poll::Ready(frame) => frame.map(|frame| frame.unwrap().into_data().unwrap()),
            Poll::Pending => panic!("pieces are there"),
        }
    }

    #[test]
    fn a_body_says_how_much_is_left_and_lets_go_of_its_source_at_the_end() {
        let source = Rc::new(Pieces::default());
        let mut body = Incoming::new(source.clone(), Some(5));
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
        assert_eq!(read(&mut body).unwrap(), "abc");
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(2), false));
        assert_eq!(read(&mut body).unwrap(), "de");
        assert_eq!((body.size_hint().exact(), body.is_end_stream(), source.left.get()), (Some(0), true, 1));
        assert!(read(&mut body).is_none());
        drop(body);
        assert_eq!((source.left.get(), source.given.get()), (1, 2));
    }

    #[test]
    fn a_body_that_is_dropped_early_lets_go_too() {
        let source = Rc::new(Pieces::default());
        drop(Incoming::new(source.clone(), None));
        assert_eq!(source.left.get(), 1);
        let empty = Incoming::empty();
        assert_eq!((empty.size_hint().exact(), empty.is_end_stream()), (Some(0), true));
    }
}
