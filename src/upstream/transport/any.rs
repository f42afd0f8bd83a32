//! A request to a backend and its response, over HTTP/1.1 or HTTP/2.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use message::Fields;

use super::call::{Call, Error, HeadRules};
use super::head::Head;
use super::http2;
use crate::splice::Pipe;

/// A request and its response.
#[derive(Debug)]
pub(crate) enum AnyCall {
    /// On a connection of HTTP/1.1.
    Http1(Box<Call>),
    /// On a stream of HTTP/2.
    Http2(Box<http2::call::Call>),
}

impl AnyCall {
    /// Whether the connection was there, and may have been closed just when the request was sent.
    #[must_use]
    pub(crate) fn is_on_reused(&self) -> bool {
        match self {
            Self::Http1(call) => call.is_on_reused(),
            Self::Http2(call) => call.is_on_reused(),
        }
    }

    /// Whether anything of the request is out.
    #[must_use]
    pub(crate) fn has_sent(&self) -> bool {
        match self {
            Self::Http1(call) => call.has_sent(),
            Self::Http2(call) => call.has_sent(),
        }
    }

    /// Whether anything of the response has come.
    #[must_use]
    pub(crate) fn has_received(&self) -> bool {
        match self {
            Self::Http1(call) => call.has_received(),
            Self::Http2(call) => call.has_received(),
        }
    }

    /// It has waited in vain. A connection that other requests share is looked after.
    pub(crate) fn doubt(&self) {
        match self {
            Self::Http1(_) => {}
            Self::Http2(call) => call.doubt(),
        }
    }

    /// See [`Call::poll_head`].
    ///
    /// # Errors
    /// [`Error`]; the call is over.
    #[inline]
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        rules: &HeadRules,
        interim: impl FnMut(StatusCode, Fields) -> bool,
    ) -> Poll<Result<(), Error>> {
        match self {
            Self::Http1(call) => call.poll_head(cx, rules, interim),
            Self::Http2(call) => call.poll_head(cx, rules, interim),
        }
    }

    /// The head of the final response, once it has come and until it is taken.
    #[must_use]
    pub(crate) fn head(&self) -> &Head {
        match self {
            Self::Http1(call) => call.head(),
            Self::Http2(call) => call.head(),
        }
    }

    /// Takes the head of the final response.
    pub(crate) fn take_head(&mut self) -> Head {
        match self {
            Self::Http1(call) => call.take_head(),
            Self::Http2(call) => call.take_head(),
        }
    }

    /// See [`Call::take_whole`].
    pub(crate) fn take_whole(&mut self) -> Option<Bytes> {
        match self {
            Self::Http1(call) => call.take_whole(),
            Self::Http2(call) => call.take_whole(),
        }
    }

    /// See [`Call::poll_frame`].
    ///
    /// # Errors
    /// [`Error`]; the call is over.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        match self {
            Self::Http1(call) => call.poll_frame(cx),
            Self::Http2(call) => call.poll_frame(cx),
        }
    }

    /// Moves the rest of the request, for a response that is not read now.
    ///
    /// # Errors
    /// [`Error::Request`]; the call is over.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        match self {
            Self::Http1(call) => call.drive(cx),
            Self::Http2(call) => call.drive(cx),
        }
    }

    /// Whether the response's body has ended.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        match self {
            Self::Http1(call) => call.has_ended(),
            Self::Http2(call) => call.has_ended(),
        }
    }

    /// How many bytes of the body are still to come, where its head says so.
    #[must_use]
    pub(crate) fn length_left(&self) -> Option<u64> {
        match self {
            Self::Http1(call) => call.length_left(),
            Self::Http2(call) => call.length_left(),
        }
    }

    /// See [`Call::spliceable_bytes`].
    #[must_use]
    pub(crate) fn spliceable_bytes(&self) -> u64 {
        match self {
            Self::Http1(call) => call.spliceable_bytes(),
            Self::Http2(_) => 0,
        }
    }

    /// See [`Call::poll_splice`].
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub(crate) fn poll_splice(&mut self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize, Error>> {
        match self {
            Self::Http1(call) => call.poll_splice(cx, pipe),
            Self::Http2(_) => Poll::Ready(Ok(0)),
        }
    }
}
