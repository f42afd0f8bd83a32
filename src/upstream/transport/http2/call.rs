//! A request and its response on a stream, both ways at once. Dropping a call resets its stream, and no other.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::{Request, StatusCode};
use http_body::{Body as _, Frame};
use message::Fields;

use super::head;
use super::pool::Place;
use super::sending::Sending;
use crate::exchange::error::ProxyError;
use crate::upstream::transport::call::{Error, HeadRules};
use crate::upstream::transport::head::{Head, RequestHead};
use crate::upstream::upload::Upload;

/// A request and its response on a stream.
#[derive(Debug)]
pub(crate) struct Call {
    /// The request, until it is sent; `None` then, or where it can't be said in HTTP/2.
    unsent: Option<(Request<()>, Upload, Option<u64>)>,
    sending: Sending,
    response: Option<ResponseFuture>,
    body: Option<RecvStream>,
    head: Head,
    has_sent: bool,
    has_received: bool,
    /// The content of the response has ended; trailers may follow.
    has_content_ended: bool,
    has_ended: bool,
    /// How much content is still to come, where the head says so.
    left: Option<u64>,
    /// Given back after the stream's own parts.
    place: Place,
}

impl Call {
    /// Begins a call. Nothing is sent before it is polled.
    pub(crate) fn new(place: Place, head: &RequestHead<'_>, body: Upload) -> Self {
        let length = match &body {
            Upload::Empty => Some(0),
            Upload::Stream { source, .. } => source.length(),
        };
        let request = head::request(head, place.connection.is_secure, length);
        Self {
            unsent: request.map(|request| (request, body, length)),
            sending: Sending::new(None, Upload::Empty, None),
            response: None,
            body: None,
            head: Head::default(),
            has_sent: false,
            has_received: false,
            has_content_ended: false,
            has_ended: false,
            left: None,
            place,
        }
    }

    /// Whether the connection waited for a request when this one came.
    #[must_use]
    pub(crate) fn is_on_reused(&self) -> bool {
        self.place.is_on_reused
    }

    /// Whether the request is on its way.
    #[must_use]
    pub(crate) fn has_sent(&self) -> bool {
        self.has_sent
    }

    /// Whether something of the response has come.
    #[must_use]
    pub(crate) fn has_received(&self) -> bool {
        self.has_received
    }

    /// It has waited in vain: the backend is asked whether it is there.
    pub(crate) fn doubt(&self) {
        self.place.connection.doubt();
    }

    /// See [`crate::upstream::transport::call::Call::poll_head`].
    ///
    /// # Errors
    /// [`Error`]; the call is over.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        rules: &HeadRules,
        mut interim: impl FnMut(StatusCode, Fields) -> bool,
    ) -> Poll<Result<(), Error>> {
        if self.response.is_none() {
            self.send()?;
        }
        loop {
            // Also after each interim response: one may have released the body.
            self.drive(cx)?;
            let Some(response) = &mut self.response else { return Poll::Ready(Err(Error::Closed)) };
            let head = match ready!(response.poll_informational(cx)) {
                Some(head) => head.map_err(|error| judge(&error))?,
                None => {
                    let head = ready!(Pin::new(response).poll(cx)).map_err(|error| judge(&error))?;
                    return Poll::Ready(self.begin(head.into_parts(), rules));
                }
            };
            self.has_received = true;
            if head.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(Error::Http2("it switches protocols, which HTTP/2 can't".into())));
            }
            let (Head { status, fields, .. }, _) = head::response(head, true);
            if !interim(status, fields) {
                return Poll::Ready(Err(Error::InterimStorm));
            }
        }
    }

    fn send(&mut self) -> Result<(), Error> {
        let unsent = self.unsent.take();
        let (request, body, length) = unsent.ok_or(Error::Request(ProxyError::BadRequest("invalid host")))?;
        let is_all = body.is_end_stream();
        let mut sender = self.place.connection.sender();
        let (response, stream) = sender.send_request(request, is_all).map_err(|error| judge(&error))?;
        self.has_sent = true;
        self.response = Some(response);
        self.sending = Sending::new((!is_all).then_some(stream), body, length);
        Ok(())
    }

    fn begin(&mut self, (parts, body): (http::response::Parts, RecvStream), rules: &HeadRules) -> Result<(), Error> {
        self.has_received = true;
        self.response = None;
        if parts.headers.len() > rules.limits.fields_max() {
            return Err(Error::Malformed(http1::Error::TooManyFields));
        }
        let has_no_body = rules.to_head || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        self.has_ended = has_no_body || body.is_end_stream();
        (self.head, self.left) = head::response(http::Response::from_parts(parts, ()), self.has_ended);
        self.body = (!self.has_ended).then_some(body);
        Ok(())
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

    /// The response's body, where there is none.
    #[must_use]
    pub(crate) fn take_whole(&self) -> Option<Bytes> {
        self.has_ended.then(Bytes::new)
    }

    /// Whether the response's body has ended.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// How many bytes of the body are still to come, where its head says so.
    #[must_use]
    pub(crate) fn length_left(&self) -> Option<u64> {
        self.left
    }

    /// Moves the rest of the request.
    ///
    /// # Errors
    /// [`Error::Request`]; the call is over.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) -> Result<(), Error> {
        match self.sending.poll(cx) {
            Poll::Ready(Err(fault)) => Err(Error::Request(fault)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// The next piece of the response's body, or its trailers; `None` at its end. Moves the rest of the request too. The
    /// backend may send as much anew as was taken.
    ///
    /// # Errors
    /// [`Error`]; the call is over.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Error>> {
        self.drive(cx)?;
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(None)) };
        while !self.has_content_ended {
            let data = ready!(body.poll_data(cx)).transpose().map_err(|error| judge(&error))?;
            let Some(data) = data else {
                self.has_content_ended = true;
                break;
            };
            // It fails only where more is given back than was taken.
            let _released = body.flow_control().release_capacity(data.len());
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            self.left = self.left.map(|left| left.saturating_sub(length));
            self.has_ended = body.is_end_stream();
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(Frame::data(data))));
            }
        }
        let trailers = ready!(body.poll_trailers(cx)).map_err(|error| judge(&error))?;
        self.has_ended = true;
        Poll::Ready(Ok(trailers.map(Frame::trailers)))
    }
}

/// What an error of a stream means for its request.
fn judge(error: &h2::Error) -> Error {
    // `GOAWAY` is an error for those streams alone that it says were not processed (RFC 9113 §6.8).
    let is_unprocessed = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
    match error.reason() {
        Some(_) if error.is_remote() && is_unprocessed => Error::Unprocessed,
        Some(reason) if error.is_library() => Error::Http2(format!("malformed HTTP/2: {reason}").into()),
        Some(_) | None => Error::Closed,
    }
}
