//! A body while it is being fetched: grows at one end, is read along by any number of clients, each at its own pace.
//!
//! Readers and the fetch may be on different threads. Whether the body is worth storing is not asked here; what has
//! to be kept for readers is.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use crate::exchange::body::Stream;
use crate::exchange::deadline::Deadline;
use crate::exchange::fault::Fault;

/// How far the fetch of a body that will not be stored runs ahead, at most, in bytes.
const PASSING_BYTES: u64 = 64 * 1024;

/// Bounds of one fetch.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How far it may run ahead of the reader that is furthest, in bytes.
    pub lead_bytes_max: u64,
    /// How much of a body that will not be stored is kept for the reader that is furthest behind, in bytes.
    pub lag_bytes_max: u64,
}

/// A body that grows.
#[derive(Debug)]
pub struct Growth {
    /// Its length, if that is known beforehand.
    length: Option<u64>,
    bounds: Bounds,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pieces: VecDeque<Bytes>,
    /// How many pieces have been dropped from the front, since every reader has them.
    dropped: u64,
    /// How many bytes have come.
    received: u64,
    end: Option<End>,
    /// Every piece is kept, as the whole will be stored.
    is_kept: bool,
    readers: BTreeMap<u64, Place>,
    readers_ever: u64,
    /// The task that fetches, when it waits for readers.
    fetching: Option<Waker>,
}

#[derive(Clone, Debug)]
enum End {
    Whole(Option<HeaderMap>),
    Broken(Fault),
}

/// How far a reader is.
#[derive(Debug, Default)]
struct Place {
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
    /// Nobody is left who would want any of it.
    Gone,
}

impl Growth {
    /// A body of which nothing has come yet. All of it is kept until [`Growth::keep_no_more`].
    #[must_use]
    pub fn new(length: Option<u64>, bounds: Bounds) -> Self {
        let state = State {
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
        state.fetching = (appetite == Appetite::Sated).then(|| cx.waker().clone());
        appetite
    }

    /// More has come.
    pub fn push(&self, pieces: Vec<Bytes>) {
        self.add(pieces, None);
    }

    /// The last pieces and the end, at once: whoever sees the last byte finds the end there, too.
    pub fn finish(&self, last: Vec<Bytes>, trailers: Option<HeaderMap>) {
        self.add(last, Some(End::Whole(trailers)));
    }

    /// It broke off: whoever reads along learns so after what has come. If it has ended, that stands.
    pub fn fail(&self, fault: Fault) {
        self.add(Vec::new(), Some(End::Broken(fault)));
    }

    fn add(&self, pieces: Vec<Bytes>, end: Option<End>) {
        let mut state = self.state.lock();
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            state.received += piece.len() as u64;
            state.pieces.push_back(piece);
        }
        if state.end.is_none() {
            state.end = end;
        }
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The whole will not be stored: pieces that every reader has are dropped from now on.
    pub fn keep_no_more(&self) {
        let mut state = self.state.lock();
        state.is_kept = false;
        state.drop_read();
    }

    /// All that has come. Only whole while all is kept.
    #[must_use]
    pub fn pieces(&self) -> Vec<Bytes> {
        self.state.lock().pieces.iter().cloned().collect()
    }

    fn read(&self, id: u64, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let mut state = self.state.lock();
        let dropped = state.dropped;
        let Some(place) = state.readers.get(&id) else { return Poll::Ready(None) };
        let next = usize::try_from(place.piece - dropped).unwrap_or(usize::MAX);
        let Some(piece) = state.pieces.get(next).cloned() else {
            return match state.end.clone() {
                None => {
                    if let Some(place) = state.readers.get_mut(&id) {
                        place.waker = Some(cx.waker().clone());
                    }
                    Poll::Pending
                }
                Some(End::Broken(fault)) => {
                    // Not in the same breath as what came before: that is written out first.
                    let is_told =
                        state.readers.get_mut(&id).is_none_or(|place| std::mem::replace(&mut place.is_told, true));
                    if is_told {
                        return Poll::Ready(Some(Err(fault)));
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(End::Whole(trailers)) => {
                    state.readers.remove(&id);
                    Poll::Ready(trailers.map(|fields| Ok(Frame::trailers(fields))))
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
        let has_no_trailers = matches!(state.end, Some(End::Whole(None)));
        match state.readers.get(&id) {
            Some(place) => has_no_trailers && place.bytes >= state.received,
            None => true,
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

impl State {
    fn appetite(&self, bounds: Bounds) -> Appetite {
        let behind = |place: &Place| self.received - place.bytes;
        let Some(least) = self.readers.values().map(behind).min() else {
            return if self.is_kept { Appetite::Hungry } else { Appetite::Gone };
        };
        let most = self.readers.values().map(behind).max().unwrap_or_default();
        // What is not kept is not counted as the store's either: no more of it than the connections need.
        let lead_bytes_max =
            if self.is_kept { bounds.lead_bytes_max } else { bounds.lead_bytes_max.min(PASSING_BYTES) };
        let is_far_ahead = least >= lead_bytes_max || (!self.is_kept && most >= bounds.lag_bytes_max);
        if is_far_ahead { Appetite::Sated } else { Appetite::Hungry }
    }

    /// A reader has moved on, or left: the task to wake, if it is wanted again.
    fn moved(&mut self, bounds: Bounds) -> Option<Waker> {
        if !self.is_kept {
            self.drop_read();
        }
        if self.fetching.is_some() && self.appetite(bounds) != Appetite::Sated { self.fetching.take() } else { None }
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
pub struct Reader {
    growth: Arc<Growth>,
    /// `None`: it came too late, when the first bytes were gone; all that it reads is that.
    id: Option<u64>,
}

impl Reader {
    /// Reads from the first byte, if that is still there: see [`Reader::is_late`].
    #[must_use]
    pub fn new(growth: Arc<Growth>) -> Self {
        let mut state = growth.state.lock();
        let id = (state.dropped == 0).then(|| {
            let id = state.readers_ever;
            state.readers_ever += 1;
            state.readers.insert(id, Place::default());
            id
        });
        drop(state);
        Self { growth, id }
    }

    /// The first bytes were gone already. A reader that has read nothing yet keeps others from being late.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.id.is_none()
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.id {
            Some(id) => self.growth.read(id, cx),
            None => Poll::Ready(Some(Err(Fault::FetchBroken))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.id.is_some_and(|id| self.growth.is_read(id))
    }

    fn size_hint(&self) -> SizeHint {
        // The hint of a body not begun is all that is asked for.
        self.growth.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Stream for Reader {
    /// Waits for a task that keeps time itself.
    fn wait_under(self: Pin<&mut Self>, _deadline: &Rc<Deadline>) {}
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.growth.leave(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;

    const BOUNDS: Bounds = Bounds { lead_bytes_max: 1 << 20, lag_bytes_max: 1 << 20 };

    fn read(reader: &mut Reader) -> Poll<Option<Result<Bytes, Fault>>> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(reader).poll_frame(&mut cx).map(|frame| frame.map(|frame| frame.map(|it| it.into_data().unwrap())))
    }

    #[test]
    fn who_comes_when_the_beginning_is_gone_is_told_so() {
        let growth = Arc::new(Growth::new(None, BOUNDS));
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
        assert!(matches!(read(&mut late), Poll::Ready(Some(Err(Fault::FetchBroken)))));
        assert!(matches!(read(&mut early), Poll::Ready(None)));
    }

    #[test]
    fn what_is_not_kept_is_fetched_no_further_ahead_than_a_connection_needs() {
        let growth = Arc::new(Growth::new(None, BOUNDS));
        let _reader = Reader::new(Arc::clone(&growth));
        let cx = Context::from_waker(Waker::noop());
        growth.push(vec![Bytes::from(vec![0; 100_000])]);
        assert_eq!(growth.poll_appetite(&cx), Appetite::Hungry);
        growth.keep_no_more();
        assert_eq!(growth.poll_appetite(&cx), Appetite::Sated);
    }
}
