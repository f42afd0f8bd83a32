//! A request's body on a stream. The client's window opens as the body is read, so it sends no faster than that.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use http1::Framing;

use crate::exchange::Incoming;
use crate::exchange::error::ProxyError;
use crate::exchange::incoming::BodySource;

/// The body of a request whose head says this of its length.
pub(super) fn incoming(body: hyper::body::Incoming, framing: Framing) -> Incoming {
    if body.is_end_stream() {
        return Incoming::empty();
    }
    let length = match framing {
        Framing::Length(length) => Some(length),
        Framing::None | Framing::Chunked | Framing::UntilClose => None,
    };
    let source = Source { body: RefCell::new(Some(body)), has_ended: Cell::new(false) };
    Incoming::new(Rc::new(source), length)
}

struct Source {
    /// `None`: nothing more of it is asked for.
    body: RefCell<Option<hyper::body::Incoming>>,
    has_ended: Cell<bool>,
}

impl BodySource for Source {
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let mut kept = self.body.borrow_mut();
        loop {
            let Some(body) = kept.as_mut() else { return Poll::Ready(None) };
            let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
            self.has_ended.set(body.is_end_stream());
            match frame {
                Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => {}
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(_error)) => return Poll::Ready(Some(Err(ProxyError::BodyBroken))),
                None => return Poll::Ready(None),
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    fn leave(&self) {
        *self.body.borrow_mut() = None;
    }
}
