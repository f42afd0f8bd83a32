//! From a stored response to an answer: the whole, a part, or that the client has it already.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use http::{Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use message::{Decimal, Fields, Known, KnownSet, NumberLine};
use policy::message::conditions::{Dates, Evaluation, Role, Selected, evaluate, evaluate_stored};
use policy::message::range::{ByteRange, ContentRange, Multipart, Selection, multipart_type, select};

use policy::time::Now;

use super::entry::{Entry, StoredContent};
use super::origin::Request;
use super::streaming::Reader;
use crate::exchange::body::{Body, Flow, StreamingBody};
use crate::exchange::deadline::Deadline;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};

/// What describes the content, and so has no place in an answer without it (RFC 9110 §15.4.5).
const OF_CONTENT: KnownSet =
    KnownSet::of(&[Known::ContentLength, Known::ContentType, Known::ContentEncoding, Known::ContentRange]);
/// The same, but without a tag.
const CONTENT_LANGUAGE: &str = "content-language";

/// What describes the representation, and is not needed in a part of what the client has (RFC 9110 §15.3.7).
const DESCRIPTIVE: KnownSet = KnownSet::of(&[Known::ContentType, Known::ContentEncoding, Known::LastModified]);

/// How old a stored response is (RFC 9111 §5.1).
pub(super) const AGE: NumberLine = NumberLine::new(Known::Age, "Age: ");

/// What is asked of a stored response.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// The request's fields.
    pub headers: &'a Fields,
    /// Chance, for what may not be guessed.
    pub dice: u64,
}

impl<'a> Wanted<'a> {
    /// What this request asks for.
    pub(super) fn by<F>(ex: &Exchange, request: &'a Request<F>) -> Self {
        Self { method: &request.method, headers: &request.headers, dice: ex.dice }
    }
}

/// Answers with a stored response. `age`: the value of `Age`; `None` leaves the origin's.
#[must_use]
pub(crate) fn serve(wanted: &Wanted<'_>, entry: &Entry, age: Option<Duration>) -> Answer {
    let head = &entry.head;
    let mut headers = head.fields.clone();
    if let Some(age) = age {
        set_age(&mut headers, age);
    }
    match evaluate_stored(wanted.method, wanted.headers, head.status(), &head.fields, head.stored.received().wall) {
        Evaluation::NotModified => not_modified(headers),
        Evaluation::Serve
            if matches!(head.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT)
                && *wanted.method == Method::GET
                && wanted.headers.has(Known::Range) =>
        {
            part(wanted, entry, headers)
        }
        Evaluation::Serve | Evaluation::ServeWhole | Evaluation::PreconditionFailed => {
            whole(wanted.method, entry.clone(), headers)
        }
    }
}

/// An origin's 200 for a request that asks for all of it, be it by a `Range`: 206 then, if its length is known.
#[must_use]
pub(crate) fn read_through(wanted: &Wanted<'_>, mut answer: Answer, now: Now) -> Answer {
    let (status, fields) = (answer.status, &answer.fields);
    let has_range = wanted.headers.has(Known::Range) && status == StatusCode::OK;
    if !has_range || evaluate_stored(wanted.method, wanted.headers, status, fields, now.wall) != Evaluation::Serve {
        return answer;
    }
    let Some(complete) = answer.body.size_hint().exact() else { return answer };
    if let Selection::Single(range) = select(wanted.headers.values(Known::Range), complete)
        && range.bytes() == complete
    {
        answer.status = StatusCode::PARTIAL_CONTENT;
        answer.fields.set(Known::ContentRange, ContentRange::Part(range, Some(complete)).to_string());
    }
    answer
}

/// Answers with all of a stored response, for a request without conditions and ranges. `fields` are needed no more:
/// those of the answer take over their allocations.
#[must_use]
pub(crate) fn serve_whole(method: &Method, entry: Entry, age: Duration, fields: Fields) -> Answer {
    let mut headers = fields;
    headers.clone_from(&entry.head.fields);
    set_age(&mut headers, age);
    whole(method, entry, headers)
}

fn set_age(headers: &mut Fields, age: Duration) {
    headers.drop_known(Known::Age);
    headers.append_number(AGE, age.as_secs());
}

/// Answers with a response that is the origin's own word, for as long as the origin has not heard it: all conditions
/// count.
#[must_use]
pub(crate) fn serve_own(wanted: &Wanted<'_>, entry: &Entry) -> Answer {
    let head = &entry.head;
    let headers = head.fields.clone();
    let dates = Dates::of(wanted.headers, head.stored.received().wall);
    let selected = Selected::of(head.status(), &head.fields, head.stored.received().wall);
    match evaluate(Role::Origin, wanted.method, wanted.headers, dates, &selected) {
        Evaluation::NotModified => not_modified(headers),
        Evaluation::PreconditionFailed => answer(StatusCode::PRECONDITION_FAILED, Fields::new(), Body::default()),
        Evaluation::Serve if *wanted.method == Method::GET && wanted.headers.has(Known::Range) => {
            part(wanted, entry, headers)
        }
        Evaluation::Serve | Evaluation::ServeWhole => whole(wanted.method, entry.clone(), headers),
    }
}

const fn answer(status: StatusCode, fields: Fields, body: Body) -> Answer {
    Answer { status, fields, body }
}

fn whole(method: &Method, entry: Entry, mut headers: Fields) -> Answer {
    let status = entry.head.status();
    if *method == Method::HEAD {
        let has_length = status != StatusCode::NO_CONTENT;
        if let Some(length) = entry.content.length().filter(|_| has_length) {
            headers.set(Known::ContentLength, Decimal::new(length));
        }
        return answer(status, headers, Body::default());
    }
    let body = match entry.content {
        StoredContent::One(bytes) => Body::whole(bytes),
        StoredContent::Several(pieces) => Body::flow(SentPieces::flow(pieces)),
        StoredContent::Growing(growth) => Body::flow(Box::pin(Reader::new(growth))),
    };
    answer(status, headers, body)
}

/// RFC 9110 §15.4.5.
fn not_modified(mut headers: Fields) -> Answer {
    headers.drop_named(CONTENT_LANGUAGE);
    let superfluous = if headers.has(Known::Etag) { OF_CONTENT.with(Known::LastModified) } else { OF_CONTENT };
    headers.drop_known(superfluous);
    answer(StatusCode::NOT_MODIFIED, headers, Body::default())
}

/// RFC 9110 §14.2, §15.3.7, §15.5.17.
fn part(wanted: &Wanted<'_>, entry: &Entry, mut headers: Fields) -> Answer {
    let selected = match entry.part() {
        // What has just come may be other than what was asked for; then it goes on as it came.
        Some(part) => part.answers(wanted.headers).map(|selection| (selection, part.complete())),
        // How long it is may not be known yet; then `Range` is ignored, as it may be.
        None => {
            entry.content.length().map(|complete| (select(wanted.headers.values(Known::Range), complete), complete))
        }
    };
    let Some((selection, complete)) = selected else { return whole(wanted.method, entry.clone(), headers) };
    match selection {
        Selection::Whole => whole(wanted.method, entry.clone(), headers),
        Selection::Single(range) => {
            let Some(body) = window(entry, range) else { return whole(wanted.method, entry.clone(), headers) };
            if wanted.headers.has(Known::IfRange) {
                // The client has these already (RFC 9110 §15.3.7).
                headers.drop_known(DESCRIPTIVE);
                headers.drop_named(CONTENT_LANGUAGE);
            }
            headers.set(Known::ContentLength, Decimal::new(range.bytes()));
            headers.set(Known::ContentRange, ContentRange::Part(range, Some(complete)).to_string());
            answer(StatusCode::PARTIAL_CONTENT, headers, Body::flow(body))
        }
        Selection::Several(ranges) => match several(wanted, entry, &ranges, complete) {
            Some((kind, body)) => {
                headers.drop_known(Known::ContentRange);
                headers.set(Known::ContentType, kind);
                headers.set(Known::ContentLength, Decimal::new(body.size_hint().lower()));
                answer(StatusCode::PARTIAL_CONTENT, headers, Body::flow(body))
            }
            None => whole(wanted.method, entry.clone(), headers),
        },
        Selection::Unsatisfiable => {
            headers.retain(|field| matches!(field.known, Known::Date | Known::Age));
            headers.set(Known::ContentRange, ContentRange::Unsatisfied(complete).to_string());
            answer(StatusCode::RANGE_NOT_SATISFIABLE, headers, Body::default())
        }
    }
}

/// A `multipart/byteranges` body and its type; `None`: send the whole instead.
fn several(wanted: &Wanted<'_>, entry: &Entry, ranges: &[ByteRange], complete: u64) -> Option<(String, Flow)> {
    if matches!(entry.content, StoredContent::Growing(_)) {
        return None;
    }
    let boundary =
        format!("{:016x}{:016x}", wanted.dice, wanted.dice.rotate_left(29).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let framed = Multipart::new(ranges, complete, entry.head.fields.first(Known::ContentType), &boundary)?;
    let mut pieces = Vec::new();
    for (front, range) in framed.parts() {
        pieces.push(Bytes::copy_from_slice(front));
        pieces.extend(entry.content.slice(entry.place(range)?));
    }
    pieces.push(Bytes::copy_from_slice(framed.end()));
    Some((multipart_type(&boundary), SentPieces::flow(pieces.into())))
}

/// These bytes of the representation; `None`: not all of them are held.
fn window(entry: &Entry, range: ByteRange) -> Option<Flow> {
    let place = entry.place(range)?;
    Some(match &entry.content {
        StoredContent::One(_) | StoredContent::Several(_) => SentPieces::flow(entry.content.slice(place).into()),
        StoredContent::Growing(growth) => {
            let flow: Flow = Box::pin(Reader::new(Arc::clone(growth)));
            Box::pin(Window { flow, skip: place.first(), left: Some(place.bytes()) })
        }
    })
}

/// A body of bytes that are there already.
struct SentPieces {
    pieces: Arc<[Bytes]>,
    next: usize,
    left: u64,
}

impl SentPieces {
    fn flow(pieces: Arc<[Bytes]>) -> Flow {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Box::pin(Self { pieces, next: 0, left })
    }
}

impl http_body::Body for SentPieces {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let piece = self.pieces.get(self.next).cloned();
        self.next += 1;
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl StreamingBody for SentPieces {
    /// Waits for nothing.
    fn wait_under(self: Pin<&mut Self>, _deadline: &Rc<Deadline>) {}
}

/// A part of a body that flows.
pub(super) struct Window {
    pub(super) flow: Flow,
    /// Bytes before it that have not come yet.
    pub(super) skip: u64,
    /// Bytes of it that have not been handed over yet; `None`: all that come.
    pub(super) left: Option<u64>,
}

impl Window {
    /// What of a piece lies in it.
    fn cut(&mut self, mut piece: Bytes) -> Bytes {
        let before = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
        self.skip -= before as u64;
        let mut piece = piece.split_off(before);
        if let Some(left) = &mut self.left {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= piece.len() as u64;
        }
        piece
    }
}

impl http_body::Body for Window {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        while self.left != Some(0) {
            let frame = match ready!(self.flow.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
                None if self.skip == 0 && self.left.is_none() => return Poll::Ready(None),
                // Shorter than it was said to be.
                None => return Poll::Ready(Some(Err(ProxyError::FetchBroken))),
            };
            let piece = match frame.into_data() {
                Ok(piece) => self.cut(piece),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            };
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl StreamingBody for Window {
    fn wait_under(mut self: Pin<&mut Self>, deadline: &Rc<Deadline>) {
        self.flow.as_mut().wait_under(deadline);
    }
}
