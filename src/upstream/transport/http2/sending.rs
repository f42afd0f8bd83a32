//! The body of a request on its way: as much of it as the backend's window has room for.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use crate::exchange::error::ProxyError;
use crate::upstream::upload::Upload;

/// The body of a request on its way.
#[derive(Debug)]
pub(super) struct Sending {
    /// `None`: nothing more is sent.
    stream: Option<SendStream<Bytes>>,
    body: Upload,
    /// What the body has given and the window had no room for.
    content: Bytes,
    /// How many bytes are still to come, where the head has said so.
    left: Option<u64>,
    /// The body has given all of its content.
    has_ended: bool,
}

impl Sending {
    /// Begins to send a body whose head is out. `stream`: none if the head was all.
    pub(super) fn new(stream: Option<SendStream<Bytes>>, body: Upload, length: Option<u64>) -> Self {
        Self { stream, body, content: Bytes::new(), left: length, has_ended: false }
    }

    /// Sends what there is to send. Ready when nothing more will be: the request is complete, or the backend takes no more
    /// of it, which is no error, since it may have answered before.
    ///
    /// # Errors
    /// That of the body: the request can't be completed. Its stream is reset.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProxyError>> {
        loop {
            let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
            if !self.content.is_empty() {
                let Some(room) = ready!(poll_room(stream, cx, self.content.len())) else {
                    self.stop();
                    continue;
                };
                let piece = self.content.split_to(room.min(self.content.len()));
                let is_last = self.has_ended && self.content.is_empty();
                if stream.send_data(piece, is_last).is_err() || is_last {
                    self.stop();
                }
                continue;
            }
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            if let Err(fault) = frame.transpose().and_then(|frame| self.take(frame)) {
                if let Some(mut stream) = self.stream.take() {
                    stream.send_reset(h2::Reason::CANCEL);
                }
                self.stop();
                return Poll::Ready(Err(fault));
            }
        }
    }

    fn take(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), ProxyError> {
        let Some(frame) = frame else { return self.end(None) };
        match frame.into_data() {
            Ok(content) => {
                if let Some(left) = self.left {
                    let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
                    self.left = Some(left.checked_sub(bytes).ok_or(ProxyError::BodyBroken)?);
                }
                let is_last = self.body.is_end_stream();
                if content.is_empty() && is_last {
                    return self.end(None);
                }
                if is_last {
                    self.check_length()?;
                    self.has_ended = true;
                }
                self.content = content;
                Ok(())
            }
            Err(frame) => frame.into_trailers().map_or(Ok(()), |trailers| self.end(Some(trailers))),
        }
    }

    /// The body has ended, and all of its content is out.
    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), ProxyError> {
        self.check_length()?;
        if let Some(stream) = &mut self.stream {
            // What can't be sent any more is seen where the response is awaited.
            let _sent = match trailers {
                Some(trailers) if !trailers.is_empty() => stream.send_trailers(trailers),
                Some(_) | None => stream.send_data(Bytes::new(), true),
            };
        }
        self.stop();
        Ok(())
    }

    fn check_length(&self) -> Result<(), ProxyError> {
        if self.left.is_some_and(|left| left > 0) { Err(ProxyError::BodyBroken) } else { Ok(()) }
    }

    fn stop(&mut self) {
        self.stream = None;
        self.body = Upload::Empty;
        self.content = Bytes::new();
    }
}

/// How many bytes of content can be sent now, at least one; `None`: none ever again.
fn poll_room(stream: &mut SendStream<Bytes>, cx: &mut Context<'_>, wanted: usize) -> Poll<Option<usize>> {
    stream.reserve_capacity(wanted);
    loop {
        let room = stream.capacity();
        if room > 0 {
            return Poll::Ready(Some(room));
        }
        match ready!(stream.poll_capacity(cx)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Poll::Ready(None),
        }
    }
}
