//! A body while it is being fetched: grows at one end, is read along by any number of clients, each at its own pace.
//!
//! Readers and the fetch may be on different threads. Whether the body is worth storing is not asked here; what has
//! to be kept for readers is. As long as it may be stored, that is all of it. After that a reader that falls too far
//! behind is left out: what it reads next is [`ProxyError::Outpaced`]. Where it can get the rest otherwise that happens at
//! once; where not, when it has held the others for a while.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use message::Fields;
use parking_lot::Mutex;

use crate::exchange::body::StreamingBody;
use crate::exchange::deadline::Deadline;
use crate::exchange::error::ProxyError;

/// How far the fetch of a body that will not be stored runs ahead, at most, in bytes.
const PASSING_BYTES: u64 = 64 * 1024;

/// Bounds of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How far it may run ahead of the reader that is furthest, in bytes.
    pub fetch_ahead_bytes_max: u64,
    /// How far a reader of a body that will not be stored may be behind, in bytes, if another is ahead of it.
    pub lag_bytes_max: u64,
    /// A reader that is left out can get the rest otherwise.
    pub is_resumable: bool,
}

/// A body that grows.
#[derive(Debug)]
pub struct StreamingContent {
    /// Its length, if that is known beforehand.
    length: Option<u64>,
    bounds: Bounds,
    state: Mutex<StreamState>,
}

#[derive(Debug)]
struct StreamState {
    pieces: VecDeque<Bytes>,
    /// How many pieces have been dropped from the front, since every reader has them.
    dropped: u64,
    /// How many bytes have come.
    received: u64,
    end: Option<StreamEnd>,
    /// Every piece is kept, as the whole will be stored.
    is_kept: bool,
    readers: BTreeMap<u64, ReadPosition>,
    readers_ever: u64,
    /// The task that fetches, when it waits for readers, and what it waits in.
    fetching: Option<(Appetite, Waker)>,
}

#[derive(Clone, Debug)]
enum StreamEnd {
    Whole(Option<Fields>),
    Broken(ProxyError),
}

/// How far a reader is.
#[derive(Debug, Default)]
struct ReadPosition {
    piece: u64,
    bytes: u64,
    waker: Option<Waker>,
    /// It has been woken for the end of a body that broke off.
    is_told: bool,
}

/// Whether a fetch should go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appetite {
    /// Somebody, or the store, wants more.
    Hungry,
    /// All have enough for now; the task is woken when that changes.
    Sated,
    /// The others wait for a reader that is too far behind; the task is woken when that changes.
    Held,
    /// Nobody is left who would want any of it.
    Gone,
}

impl Appetite {
    fn waits(self) -> bool {
        matches!(self, Self::Sated | Self::Held)
    }
}

impl StreamingContent {
    /// A body of which nothing has come yet. All of it is kept until [`StreamingContent::keep_no_more`].
    #[must_use]
    pub fn new(length: Option<u64>, bounds: Bounds) -> Self {
        let state = StreamState {
            pieces: VecDeque::new(),
            dropped: 0,
            received: 0,
            end: None,
            is_kept: true,
            readers: BTreeMap::new(),
            readers_ever: 0,
            fetching: None,
        };
        Self { length, bounds, state: Mutex::new(state) }
    }

    /// Its length, if that is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Whether to fetch more now.
    pub fn poll_appetite(&self, cx: &Context<'_>) -> Appetite {
        let mut state = self.state.lock();
        let appetite = state.appetite(self.bounds);
        state.fetching = appetite.waits().then(|| (appetite, cx.waker().clone()));
        appetite
    }

    /// More has come.
    pub fn push(&self, pieces: Vec<Bytes>) {
        self.add(pieces, None);
    }

    /// The last pieces and the end, at once: whoever sees the last byte finds the end there, too.
    pub fn finish(&self, last: Vec<Bytes>, trailers: Option<Fields>) {
        self.add(last, Some(StreamEnd::Whole(trailers)));
    }

    /// It broke off: whoever reads along learns so after what has come. If it has ended, that stands.
    pub fn fail(&self, fault: ProxyError) {
        self.add(Vec::new(), Some(StreamEnd::Broken(fault)));
    }

    fn add(&self, pieces: Vec<Bytes>, end: Option<StreamEnd>) {
        let mut state = self.state.lock();
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            state.received += piece.len() as u64;
            state.pieces.push_back(piece);
        }
        if state.end.is_none() {
            state.end = end;
        }
        let wakers = state.wakers();
        if self.bounds.is_resumable {
            state.leave_out(self.bounds.lag_bytes_max);
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The whole will not be stored: pieces that every reader has are dropped from now on.
    pub fn keep_no_more(&self) {
        let mut state = self.state.lock();
        state.is_kept = false;
        state.drop_read();
    }

    /// Leaves out the readers that [hold](Appetite::Held) the others.
    pub fn leave_out(&self) {
        // As they stand exactly at the bound.
        self.state.lock().leave_out(self.bounds.lag_bytes_max.saturating_sub(1));
    }

    /// All that has come. Only whole while all is kept.
    #[must_use]
    pub fn pieces(&self) -> Vec<Bytes> {
        self.state.lock().pieces.iter().cloned().collect()
    }

    fn read(&self, id: u64, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let mut state = self.state.lock();
        let dropped = state.dropped;
        let Some(place) = state.readers.get(&id) else { return Poll::Ready(Some(Err(ProxyError::Outpaced))) };
        let next = usize::try_from(place.piece - dropped).unwrap_or(usize::MAX);
        let Some(piece) = state.pieces.get(next).cloned() else {
            return match state.end.clone() {
                None => {
                    if let Some(place) = state.readers.get_mut(&id) {
                        place.waker = Some(cx.waker().clone());
                    }
                    Poll::Pending
                }
                Some(StreamEnd::Broken(fault)) => {
                    // Not in the same breath as what came before: that is written out first.
                    let is_told =
                        state.readers.get_mut(&id).is_none_or(|place| std::mem::replace(&mut place.is_told, true));
                    if is_told {
                        return Poll::Ready(Some(Err(fault)));
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(StreamEnd::Whole(trailers)) => {
                    // Nothing is kept for it any more.
                    drop(state);
                    self.leave(id);
                    Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields.to_map()))))
                }
            };
        };
        if let Some(place) = state.readers.get_mut(&id) {
            place.piece += 1;
            place.bytes += piece.len() as u64;
        }
        let fetching = state.moved(self.bounds);
        drop(state);
        fetching.into_iter().for_each(Waker::wake);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    /// Whether this reader has read all there will be.
    fn is_read(&self, id: u64) -> bool {
        let state = self.state.lock();
        let has_no_trailers = matches!(state.end, Some(StreamEnd::Whole(None)));
        match state.readers.get(&id) {
            Some(place) => has_no_trailers && place.bytes >= state.received,
            None => false,
        }
    }

    fn leave(&self, id: u64) {
        let mut state = self.state.lock();
        state.readers.remove(&id);
        let fetching = state.moved(self.bounds);
        drop(state);
        fetching.into_iter().for_each(Waker::wake);
    }
}

impl StreamState {
    fn appetite(&self, bounds: Bounds) -> Appetite {
        let behind = |place: &ReadPosition| self.received - place.bytes;
        let Some(least) = self.readers.values().map(behind).min() else {
            return if self.is_kept { Appetite::Hungry } else { Appetite::Gone };
        };
        // What is not kept is not counted as the store's either: no more of it than the connections need.
        let fetch_ahead_bytes_max =
            if self.is_kept { bounds.fetch_ahead_bytes_max } else { bounds.fetch_ahead_bytes_max.min(PASSING_BYTES) };
        let most = self.readers.values().map(behind).max().unwrap_or_default();
        if least >= fetch_ahead_bytes_max {
            Appetite::Sated
        } else if !self.is_kept && !bounds.is_resumable && most > least && most >= bounds.lag_bytes_max {
            Appetite::Held
        } else {
            Appetite::Hungry
        }
    }

    /// A reader has moved on, or left: the task to wake, if it is wanted again.
    fn moved(&mut self, bounds: Bounds) -> Option<Waker> {
        if !self.is_kept {
            self.drop_read();
        }
        let waits_in = self.fetching.as_ref().map(|(appetite, _)| *appetite)?;
        // Also from one wait to the other: only a reader that holds the others is left out after a while.
        if self.appetite(bounds) == waits_in { None } else { self.fetching.take().map(|(_, fetching)| fetching) }
    }

    /// Readers that are too far behind are no longer kept anything for; those that are furthest are none of them.
    fn leave_out(&mut self, lag_bytes_max: u64) {
        if self.is_kept {
            return;
        }
        let furthest = self.readers.values().map(|place| place.bytes).max().unwrap_or_default();
        let oldest = self.received.saturating_sub(lag_bytes_max).min(furthest);
        self.readers.retain(|_, place| place.bytes >= oldest);
        self.drop_read();
    }

    fn drop_read(&mut self) {
        let needed = self.readers.values().map(|place| place.piece).min().unwrap_or(u64::MAX);
        while self.dropped < needed && self.pieces.pop_front().is_some() {
            self.dropped += 1;
        }
    }

    fn wakers(&mut self) -> Vec<Waker> {
        self.readers.values_mut().filter_map(|place| place.waker.take()).collect()
    }
}

/// One who reads along, from the first byte.
#[derive(Debug)]
pub(crate) struct Reader {
    growth: Arc<StreamingContent>,
    state: ReadResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadResult {
    /// It came when the first bytes were gone; all that it reads is that.
    Late,
    /// It reads, under this number.
    At(u64),
    /// It has read everything.
    Over,
}

impl Reader {
    /// Reads from the first byte, if that is still there: see [`Reader::is_late`].
    #[must_use]
    pub(crate) fn new(growth: Arc<StreamingContent>) -> Self {
        let mut state = growth.state.lock();
        let reading = if state.dropped == 0 {
            let id = state.readers_ever;
            state.readers_ever += 1;
            state.readers.insert(id, ReadPosition::default());
            ReadResult::At(id)
        } else {
            ReadResult::Late
        };
        drop(state);
        Self { growth, state: reading }
    }

    /// The first bytes were gone already. A reader that has read nothing yet keeps others from being late.
    #[must_use]
    pub(crate) fn is_late(&self) -> bool {
        self.state == ReadResult::Late
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let polled = match self.state {
            ReadResult::Late => return Poll::Ready(Some(Err(ProxyError::FetchBroken))),
            ReadResult::Over => return Poll::Ready(None),
            ReadResult::At(id) => self.growth.read(id, cx),
        };
        let is_over = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(None) => true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if is_over {
            self.state = ReadResult::Over;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self.state {
            ReadResult::Late => false,
            ReadResult::At(id) => self.growth.is_read(id),
            ReadResult::Over => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        // The hint of a body not begun is all that is asked for.
        self.growth.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl StreamingBody for Reader {
    /// Waits for a task that keeps time itself.
    fn wait_under(self: Pin<&mut Self>, _deadline: &Rc<Deadline>) {}
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let ReadResult::At(id) = self.state {
            self.growth.leave(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;
    use http_body::Body as _;

    const BOUNDS: Bounds = Bounds { fetch_ahead_bytes_max: 1 << 20, lag_bytes_max: 1 << 20, is_resumable: false };

    fn read(reader: &mut Reader) -> Poll<Option<Result<Bytes, ProxyError>>> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(reader).poll_frame(&mut cx).map(|frame| frame.map(|frame| frame.map(|it| it.into_data().unwrap())))
    }

    #[test]
    fn who_comes_when_the_beginning_is_gone_is_told_so() {
        let growth = Arc::new(StreamingContent::new(None, BOUNDS));
        let mut early = Reader::new(Arc::clone(&growth));
        growth.push(vec![Bytes::from_static(b"abc")]);
        growth.keep_no_more();
        let mut first = Reader::new(Arc::clone(&growth));
        assert!(!first.is_late(), "nobody has read anything yet");
        assert!(matches!(read(&mut early), Poll::Ready(Some(Ok(piece))) if piece == "abc"));
        assert!(!Reader::new(Arc::clone(&growth)).is_late(), "one has not");
        assert!(matches!(read(&mut first), Poll::Ready(Some(Ok(piece))) if piece == "abc"));
        let mut late = Reader::new(Arc::clone(&growth));
        growth.finish(Vec::new(), None);
        assert!(late.is_late() && !late.is_end_stream());
        assert!(matches!(read(&mut late), Poll::Ready(Some(Err(ProxyError::FetchBroken)))));
        assert!(matches!(read(&mut early), Poll::Ready(None)));
    }

    #[test]
    fn what_is_not_kept_is_fetched_no_further_ahead_than_a_connection_needs() {
        let growth = Arc::new(StreamingContent::new(None, BOUNDS));
        let _reader = Reader::new(Arc::clone(&growth));
        let cx = Context::from_waker(Waker::noop());
        growth.push(vec![Bytes::from(vec![0; 100_000])]);
        assert_eq!(growth.poll_appetite(&cx), Appetite::Hungry);
        growth.keep_no_more();
        assert_eq!(growth.poll_appetite(&cx), Appetite::Sated);
    }

    #[test]
    fn a_reader_that_stalls_is_left_out_and_holds_nobody() {
        let growth = Arc::new(StreamingContent::new(
            None,
            Bounds { fetch_ahead_bytes_max: 100, lag_bytes_max: 1000, is_resumable: true },
        ));
        let (mut quick, mut stalled) = (Reader::new(Arc::clone(&growth)), Reader::new(Arc::clone(&growth)));
        growth.keep_no_more();
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..50 {
            assert_eq!(growth.poll_appetite(&cx), Appetite::Hungry);
            growth.push(vec![Bytes::from(vec![0; 100])]);
            assert_eq!(growth.poll_appetite(&cx), Appetite::Sated);
            assert!(matches!(read(&mut quick), Poll::Ready(Some(Ok(piece))) if piece.len() == 100));
            assert!(growth.state.lock().pieces.len() <= 10, "no more than that is kept for it");
        }
        assert!(!stalled.is_end_stream());
        assert!(matches!(read(&mut stalled), Poll::Ready(Some(Err(ProxyError::Outpaced)))));
        growth.finish(Vec::new(), None);
        assert!(matches!(read(&mut stalled), Poll::Ready(Some(Err(ProxyError::Outpaced)))), "nor is it at the end");
        assert!(matches!(read(&mut quick), Poll::Ready(None)));
    }

    #[test]
    fn a_reader_that_can_get_the_rest_nowhere_holds_the_others_until_it_is_left_out() {
        let growth = Arc::new(StreamingContent::new(
            None,
            Bounds { fetch_ahead_bytes_max: 1000, lag_bytes_max: 1000, ..BOUNDS },
        ));
        let (mut quick, mut stalled) = (Reader::new(Arc::clone(&growth)), Reader::new(Arc::clone(&growth)));
        growth.keep_no_more();
        let cx = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            assert_eq!(growth.poll_appetite(&cx), Appetite::Hungry);
            growth.push(vec![Bytes::from(vec![0; 100])]);
            assert!(matches!(read(&mut quick), Poll::Ready(Some(Ok(_)))));
        }
        assert_eq!(growth.poll_appetite(&cx), Appetite::Held);
        assert!(matches!(read(&mut stalled), Poll::Ready(Some(Ok(_)))));
        assert_eq!(growth.poll_appetite(&cx), Appetite::Hungry, "it moves on, and so do all");
        growth.push(vec![Bytes::from(vec![0; 100])]);
        assert!(matches!(read(&mut quick), Poll::Ready(Some(Ok(_)))));
        assert_eq!(growth.poll_appetite(&cx), Appetite::Held);
        growth.leave_out();
        assert_eq!(growth.poll_appetite(&cx), Appetite::Hungry);
        assert!(matches!(read(&mut stalled), Poll::Ready(Some(Err(ProxyError::Outpaced)))));
    }

    #[test]
    fn the_fetch_learns_that_a_reader_holds_the_others_once_they_have_caught_up() {
        let growth = Arc::new(StreamingContent::new(
            None,
            Bounds { fetch_ahead_bytes_max: 1000, lag_bytes_max: 1000, ..BOUNDS },
        ));
        let (mut quick, _stalled) = (Reader::new(Arc::clone(&growth)), Reader::new(Arc::clone(&growth)));
        growth.keep_no_more();
        growth.push(vec![Bytes::from(vec![0; 1000])]);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        assert_eq!(growth.poll_appetite(&Context::from_waker(&waker)), Appetite::Sated);
        assert!(matches!(read(&mut quick), Poll::Ready(Some(Ok(_)))));
        assert!(woken.0.load(Ordering::Relaxed));
        assert_eq!(growth.poll_appetite(&Context::from_waker(&waker)), Appetite::Held);
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn readers_that_are_all_slow_are_waited_for() {
        let growth = Arc::new(StreamingContent::new(
            None,
            Bounds { fetch_ahead_bytes_max: 1 << 20, lag_bytes_max: 10, is_resumable: true },
        ));
        let mut readers = [Reader::new(Arc::clone(&growth)), Reader::new(Arc::clone(&growth))];
        growth.keep_no_more();
        growth.push(vec![Bytes::from(vec![0; 100_000])]);
        assert_eq!(growth.poll_appetite(&Context::from_waker(Waker::noop())), Appetite::Sated);
        for reader in &mut readers {
            assert!(matches!(read(reader), Poll::Ready(Some(Ok(_)))));
        }
    }
}
