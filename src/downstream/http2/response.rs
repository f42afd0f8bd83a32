//! A response as HTTP/2 has it: its head, and its body in pieces that are handed over as the client's window allows.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};
use http_body::{Body as _, Frame};

use super::state::State;
use crate::downstream::http1::response::{self, Framing, Terms};
use crate::downstream::worker::Worker;
use crate::exchange::Answer;

/// How much of a body is handed over at once, in bytes: that of a frame. The next piece is asked for once the client's window
/// has let the last one through, which is how a client is seen that takes nothing.
const PIECE_BYTES: usize = 16 * 1024;

/// The body has broken off, or is not as long as its head says: the stream is reset.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the response's body has broken off")]
pub(super) struct Broken;

/// The response that a request is answered with.
pub(super) fn response(worker: &Worker, state: &Rc<State>, answer: Answer, is_head: bool) -> Response<ResponseBody> {
    let Answer { status, fields, mut body } = answer;
    body.begin();
    let terms = Terms { is_head, is_http_1_0: false, length: body.size_hint().exact(), closes: false };
    let framing = response::frame(status, &fields, terms).framing;
    let mut head = fields.to_map();
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        head.remove(name);
    }
    head.remove("keep-alive");
    head.remove("proxy-connection");
    match framing {
        Framing::Length(length) => drop(head.insert(CONTENT_LENGTH, HeaderValue::from(length))),
        // The length of the body that a GET would have got (RFC 9110 §8.6).
        Framing::None if is_head || status == StatusCode::NOT_MODIFIED => {}
        Framing::None | Framing::Chunked | Framing::UntilClose => drop(head.remove(CONTENT_LENGTH)),
    }
    let is_empty =
        matches!(framing, Framing::None | Framing::Length(0)) && body.content().is_none_or(|all| all.is_empty());
    if framing == Framing::None || is_empty {
        drop(body);
    } else {
        *state.body.borrow_mut() = Some(body);
    }
    whole(worker, state, status, (head, framing))
}

/// A response without a body.
pub(super) fn bare(worker: &Worker, state: &Rc<State>, status: StatusCode) -> Response<ResponseBody> {
    let head = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(0))]);
    whole(worker, state, status, (head, Framing::None))
}

fn whole(
    worker: &Worker,
    state: &Rc<State>,
    status: StatusCode,
    (mut head, framing): (HeaderMap, Framing),
) -> Response<ResponseBody> {
    if !head.contains_key(DATE)
        && let Ok(date) = worker.with_date(HeaderValue::from_str)
    {
        head.insert(DATE, date);
    }
    let mut response = Response::new(ResponseBody { state: Rc::clone(state), rest: Bytes::new(), framing });
    (*response.status_mut(), *response.headers_mut(), *response.version_mut()) = (status, head, Version::HTTP_2);
    response
}

/// A response's body, which hyper asks for.
pub(super) struct ResponseBody {
    state: Rc<State>,
    /// What the body has given and was not handed over yet.
    rest: Bytes,
    framing: Framing,
}

impl ResponseBody {
    /// The body has ended: its exchange ends before the client has the last of it.
    fn end(&self) -> Result<(), Broken> {
        *self.state.body.borrow_mut() = None;
        if matches!(self.framing, Framing::Length(left) if left > 0) { Err(Broken) } else { Ok(()) }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        this.state.begin_wait();
        loop {
            if !this.rest.is_empty() {
                let length = this.rest.len().min(PIECE_BYTES);
                this.state.awaits_client.set(true);
                return Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(length)))));
            }
            let (frame, has_ended) = {
                let mut kept = this.state.body.borrow_mut();
                let Some(body) = kept.as_mut() else { return Poll::Ready(None) };
                let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                (frame, body.is_end_stream())
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    let framing = this.framing.less(data.len());
                    this.framing = framing.ok_or(Broken)?;
                    this.rest = data;
                    if has_ended {
                        this.end()?;
                    }
                }
                Some(Ok(Err(trailers))) => {
                    // Behind trailers comes nothing but the end, of which some bodies are told only when they are asked.
                    if let Some(body) = this.state.body.borrow_mut().as_mut() {
                        let _end = Pin::new(body).poll_frame(cx);
                    }
                    this.end()?;
                    return Poll::Ready(Some(Ok(trailers)));
                }
                Some(Err(_fault)) => return Poll::Ready(Some(Err(Broken))),
                None => {
                    this.end()?;
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.state.body.borrow().is_none()
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        *self.state.body.borrow_mut() = None;
    }
}
