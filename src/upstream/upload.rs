//! The request's body on its way to a backend: streamed as it comes, kept for a repeat as long as it is small.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use message::Fields;
use policy::message::trailers;
use policy::retry::Replay;

use super::pieces::Pieces;
use crate::config::plan;
use crate::exchange::Incoming;
use crate::exchange::error::ProxyError;
use crate::splice::Pipe;
use crate::telemetry::clock;
use crate::telemetry::counters::Counters;

/// Pieces shorter than this are copied into the replay buffer, so that they don't keep a read buffer alive each. A body
/// that came in one piece isn't: it keeps one alive at most, for as long as its request.
const COPY_BELOW: usize = 4096;

/// The most pieces kept: a body that comes byte by byte must not cost many times its length.
const PIECES_MAX: usize = 1024;

/// How long a body is held back for the backend's `100 Continue` (RFC 9110 §10.1.1).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// What a backend's connection sends as the request's body.
#[derive(Debug, Default)]
pub enum Upload {
    /// No body.
    #[default]
    Empty,
    /// The client's body.
    Stream {
        /// The body, shared with the request's own future.
        source: Rc<ReplayBody>,
        /// The first kept piece not sent yet.
        next: usize,
        /// When it began (monotonic time), until it has been polled: what is there already needs no look at the clock.
        began: Option<Duration>,
    },
}

/// A request body as it comes from the client: outlives the tries that send it.
#[derive(Debug)]
pub struct ReplayBody {
    /// `None`: all of it is kept already.
    incoming: RefCell<Option<Incoming>>,
    limits: Limits,
    kept_max: Cell<usize>,
    kept: RefCell<Pieces>,
    kept_bytes: Cell<usize>,
    is_lost: Cell<bool>,
    received: Cell<u64>,
    is_held: Cell<bool>,
    fault: RefCell<Option<ProxyError>>,
    /// When a piece last came or went, or an upload began.
    moved: Cell<Duration>,
    /// Since when a backend has been ready to take what the client does not send.
    starved_since: Cell<Option<Duration>>,
    /// How long that was the case before.
    starved: Cell<Duration>,
    ended: Cell<Option<Duration>>,
    waker: RefCell<Option<Waker>>,
    counters: Arc<Counters>,
}

/// How long, slow and far behind a request body may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest body, in bytes.
    pub bytes_max: Option<u64>,
    /// How long it may stand still.
    pub stall_max: Duration,
    /// The slowest average, in bytes a second, after `stall_max`.
    pub rate_min: u64,
    /// The most bytes kept for a repeat.
    pub kept_max: usize,
}

impl Limits {
    /// The limits of a plan.
    #[must_use]
    pub fn of(server: &plan::Server, retry: &plan::Retry) -> Self {
        Self {
            bytes_max: server.body_bytes_max,
            stall_max: server.body_timeout,
            rate_min: server.body_rate_min,
            kept_max: if retry.attempts == 0 { 0 } else { retry.body_bytes_max },
        }
    }
}

impl Limits {
    /// Those of a gRPC call: its messages come when they come, so only silence is limited.
    #[must_use]
    pub(crate) fn of_call(self, silence_max: Duration) -> Self {
        Self { bytes_max: None, stall_max: silence_max, rate_min: 0, ..self }
    }
}

impl ReplayBody {
    /// A body whose first piece has not come yet. `held`: until [`ReplayBody::release`] nothing of it is asked for.
    #[must_use]
    pub fn new(incoming: Incoming, held: bool, limits: Limits, counters: Arc<Counters>) -> Self {
        let is_long = incoming.size_hint().lower() > limits.kept_max as u64;
        Self {
            incoming: RefCell::new(Some(incoming)),
            limits,
            kept_max: Cell::new(if is_long { 0 } else { limits.kept_max }),
            kept: RefCell::default(),
            kept_bytes: Cell::new(0),
            is_lost: Cell::new(false),
            received: Cell::new(0),
            is_held: Cell::new(held),
            fault: RefCell::new(None),
            moved: Cell::new(Duration::ZERO),
            starved_since: Cell::new(None),
            starved: Cell::new(Duration::ZERO),
            ended: Cell::new(None),
            waker: RefCell::new(None),
            counters,
        }
    }

    /// A body that is there already.
    #[must_use]
    pub fn whole(body: Bytes, limits: Limits, counters: Arc<Counters>) -> Self {
        let now = clock::mono();
        Self {
            incoming: RefCell::new(None),
            limits,
            kept_max: Cell::new(body.len()),
            kept_bytes: Cell::new(body.len()),
            kept: RefCell::new([body].into_iter().collect()),
            is_lost: Cell::new(false),
            received: Cell::new(0),
            is_held: Cell::new(false),
            fault: RefCell::new(None),
            moved: Cell::new(now),
            starved_since: Cell::new(None),
            starved: Cell::new(Duration::ZERO),
            ended: Cell::new(Some(now)),
            waker: RefCell::new(None),
            counters,
        }
    }

    /// Keeps at least so many bytes for another upload. To be said before the first piece is asked for.
    pub fn keep(&self, bytes: usize) {
        self.kept_max.set(self.kept_max.get().max(bytes));
    }

    /// Keeps nothing for another upload: whoever reads it puts it back, or has it for good. To be said before the first
    /// piece is asked for.
    pub fn keep_none(&self) {
        self.kept_max.set(0);
    }

    /// Puts back all that has been read, for another upload to begin with.
    pub fn put_back(&self, read: [Bytes; 2]) {
        let bytes = read.iter().map(Bytes::len).sum();
        self.kept_bytes.set(bytes);
        self.kept_max.set(bytes.max(self.limits.kept_max));
        self.is_lost.set(false);
        *self.kept.borrow_mut() = read.into_iter().filter(|piece| !piece.is_empty()).collect();
    }

    /// How many bytes an upload that begins now sends, if that is known: what is kept, and what is to come.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        let left = self.incoming.borrow().as_ref().map_or(Some(0), |incoming| incoming.size_hint().exact());
        left.map(|left| left + self.kept_bytes.get() as u64)
    }

    /// How long, slow and far behind it may be.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether the body is held back.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.is_held.get()
    }

    /// Lets a held body flow.
    pub fn release(&self) {
        if self.is_held.replace(false) {
            self.moved.set(clock::mono());
            self.wake();
        }
    }

    /// Begins to send the body now (monotonic time), from its first piece. An upload begun before must be gone.
    #[must_use]
    pub fn upload(self: &Rc<Self>, now: Duration) -> Upload {
        self.moved.set(now);
        Upload::Stream { source: Rc::clone(self), next: 0, began: Some(now) }
    }

    /// Whether it is for the client that nothing moves, or was.
    #[must_use]
    pub fn is_the_clients_fault(&self) -> bool {
        self.starved_since.get().is_some() || self.fault.borrow().is_some()
    }

    /// Whether all of it has been handed over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// All of it, once it has been handed over; `None`: not yet, or not all of it was kept, or it had trailers.
    #[must_use]
    pub fn content(&self) -> Option<Vec<Bytes>> {
        let is_all = self.has_ended() && !self.is_lost.get() && self.fault.borrow().is_none();
        is_all.then(|| self.kept.borrow().iter().cloned().collect())
    }

    /// What can be sent again.
    #[must_use]
    pub fn replay(&self) -> Replay {
        if self.is_lost.get() { Replay::Lost } else { Replay::Whole }
    }

    /// Why it failed, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<ProxyError> {
        self.fault.borrow().clone()
    }

    /// How long the first wait for the response head may last before [`ReplayBody::extend`] is asked.
    #[must_use]
    pub fn first_wait(&self, head_max: Duration) -> Duration {
        if self.is_held() { CONTINUE_WAIT } else { head_max.min(self.limits.stall_max) }
    }

    /// A wait for the response head has lasted as long as it may: until when may it go on, for the body's sake?
    ///
    /// While the body is under way the wait is for the body; the time for the response head starts anew with each
    /// piece that the backend takes. `None`: it is over; [`ReplayBody::fault`] says whether by the client's fault.
    #[must_use]
    pub fn extend(&self, head_max: Duration) -> Option<Duration> {
        let now = clock::mono();
        if self.is_held() {
            self.release();
            return Some(now + head_max);
        }
        let until = match self.ended.get() {
            Some(ended) => ended + head_max,
            None => match self.starved_since.get() {
                Some(since) => {
                    let until = since + self.limits.stall_max;
                    let starved = self.starved.get() + now.saturating_sub(since);
                    if now >= until || self.is_too_slow(starved) {
                        *self.fault.borrow_mut() = Some(ProxyError::BodyTooSlow);
                        return None;
                    }
                    until
                }
                None => self.moved.get() + head_max,
            },
        };
        // A client may stop at any moment: looked at as often as it may stand still.
        (until > now).then_some(until.min(now + self.limits.stall_max))
    }

    /// Only time that was spent waiting for the client counts: neither the queue's nor the backend's.
    fn is_too_slow(&self, starved: Duration) -> bool {
        let due = || u128::from(self.limits.rate_min) * starved.as_millis() / 1000;
        starved > self.limits.stall_max && u128::from(self.received.get()) < due()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn fail(&self, fault: ProxyError) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        *self.fault.borrow_mut() = Some(fault.clone());
        Poll::Ready(Some(Err(fault)))
    }

    fn keep_piece(&self, piece: &Bytes, is_all: bool) {
        if self.is_lost.get() {
            return;
        }
        let bytes = self.kept_bytes.get() + piece.len();
        if bytes > self.kept_max.get() || self.kept.borrow().len() >= PIECES_MAX {
            self.is_lost.set(true);
            self.kept_bytes.set(0);
            self.kept.take();
            return;
        }
        self.kept_bytes.set(bytes);
        let piece = if piece.len() < COPY_BELOW && !is_all { Bytes::copy_from_slice(piece) } else { piece.clone() };
        self.kept.borrow_mut().push(piece);
    }

    /// The next piece that the client sends. `now` (monotonic time): if that is known.
    fn poll_incoming(
        &self,
        cx: &mut Context<'_>,
        now: Option<Duration>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let mut incoming = self.incoming.borrow_mut();
        let Some(incoming) = &mut *incoming else { return Poll::Ready(None) };
        let frame = match Pin::new(&mut *incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(_broken))) => return self.fail(ProxyError::BodyBroken),
            Poll::Ready(None) => {
                self.ended.set(Some(self.moved_at(now)));
                return Poll::Ready(None);
            }
            Poll::Pending => {
                self.note_starved(now);
                return Poll::Pending;
            }
        };
        let now = self.moved_at(now);
        let frame = match frame.into_data() {
            Ok(piece) => {
                let is_last = incoming.is_end_stream();
                if let Err(fault) = self.count(piece.len(), is_last, now) {
                    return self.fail(fault);
                }
                self.keep_piece(&piece, is_last && self.received.get() == piece.len() as u64);
                Frame::data(piece)
            }
            Err(frame) => self.last(frame, now),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    /// Counts what has come.
    ///
    /// # Errors
    /// It is too much, or came too slowly.
    fn count(&self, bytes: usize, is_last: bool, now: Duration) -> Result<(), ProxyError> {
        let received = self.received.get() + bytes as u64;
        self.received.set(received);
        if let Some(limit) = self.limits.bytes_max.filter(|limit| received > *limit) {
            return Err(ProxyError::BodyTooLarge { limit });
        }
        if self.is_too_slow(self.starved.get()) {
            return Err(ProxyError::BodyTooSlow);
        }
        if is_last {
            self.ended.set(Some(now));
        }
        Ok(())
    }

    /// How many bytes come next that the kernel can move: no other upload needs them, nor does anyone else.
    fn spliceable_bytes(&self) -> u64 {
        if (self.kept_max.get() > 0 && !self.is_lost.get()) || self.is_held() || self.has_ended() {
            return 0;
        }
        self.incoming.borrow().as_ref().map_or(0, Incoming::spliceable_bytes)
    }

    /// Moves bytes that [`ReplayBody::spliceable_bytes`] counts into an empty pipe.
    fn poll_splice(&self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize, ProxyError>> {
        let mut incoming = self.incoming.borrow_mut();
        let Some(incoming) = &mut *incoming else { return Poll::Ready(Ok(0)) };
        let moved = match incoming.poll_splice(cx, pipe) {
            Poll::Ready(Ok(0)) => Ok(0),
            Poll::Ready(Ok(moved)) => {
                // From here on there is no other upload.
                self.is_lost.set(true);
                self.count(moved, incoming.is_end_stream(), self.moved_at(None)).map(|()| moved)
            }
            Poll::Ready(Err(_broken)) => Err(ProxyError::BodyBroken),
            Poll::Pending => {
                self.note_starved(None);
                return Poll::Pending;
            }
        };
        Poll::Ready(moved.inspect_err(|fault| *self.fault.borrow_mut() = Some(fault.clone())))
    }

    /// Trailers end a body. They are not kept, so it can't be sent again just as it was.
    fn last(&self, frame: Frame<Bytes>, now: Duration) -> Frame<Bytes> {
        match frame.into_trailers() {
            Ok(fields) => {
                let mut fields = Fields::from(fields);
                self.counters.trailer_fields.add(fields.retain(trailers::may_pass) as u64);
                self.is_lost.set(true);
                self.ended.set(Some(now));
                Frame::trailers(fields.to_map())
            }
            Err(unknown) => unknown,
        }
    }

    /// The client sends nothing now.
    fn note_starved(&self, now: Option<Duration>) {
        if self.starved_since.get().is_none() {
            self.starved_since.set(Some(now.unwrap_or_else(clock::mono)));
        }
    }

    /// The client has sent something, or the end.
    fn moved_at(&self, now: Option<Duration>) -> Duration {
        let now = now.unwrap_or_else(clock::mono);
        self.moved.set(now);
        if let Some(since) = self.starved_since.take() {
            self.starved.set(self.starved.get() + now.saturating_sub(since));
        }
        now
    }
}

impl Upload {
    /// How many bytes of the body come next that the kernel can move; 0: they must be read, or sent again.
    #[must_use]
    pub fn spliceable_bytes(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Stream { source, next, .. } if source.kept.borrow().len() > *next => 0,
            Self::Stream { source, .. } => source.spliceable_bytes(),
        }
    }

    /// An empty pipe to move them through; `None`: there is none to be had.
    #[must_use]
    pub fn lend_pipe(&self) -> Option<Pipe> {
        match self {
            Self::Empty => None,
            Self::Stream { source, .. } => source.incoming.borrow().as_ref()?.lend_pipe(),
        }
    }

    /// Moves bytes that [`Upload::spliceable_bytes`] counts into an empty pipe. Returns how many; 0: they can't be moved
    /// and must be read.
    ///
    /// # Errors
    /// Why the body can't be completed.
    pub fn poll_splice(&mut self, cx: &mut Context<'_>, pipe: &Pipe) -> Poll<Result<usize, ProxyError>> {
        match self {
            Self::Empty => Poll::Ready(Ok(0)),
            Self::Stream { source, .. } => source.poll_splice(cx, pipe),
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let Self::Stream { source, next, began } = &mut *self else { return Poll::Ready(None) };
        let now = began.take();
        if source.is_held() {
            *source.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let kept = source.kept.borrow().get(*next).cloned();
        if let Some(piece) = kept {
            *next += 1;
            source.moved.set(now.unwrap_or_else(clock::mono));
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if source.has_ended() {
            return Poll::Ready(None);
        }
        let polled = source.poll_incoming(cx, now);
        *next = source.kept.borrow().len();
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Stream { source, next, .. } => source.has_ended() && source.kept.borrow().len() <= *next,
        }
    }
}
