//! Request coalescing: one backend request for all concurrent misses of a key.
//!
//! The first request becomes the leader and fetches; later ones follow. The leader's response decides for all:
//!
//! ```text
//!  nothing ──arrive: Fetch──▶ asking ──head(Storable): Read───────────▶ reading ──done──▶ nothing (it is stored)
//!     ▲                       │  │  ▲                                       └─outgrown─▶ remembered
//!     │  no follower is left, │  │  └──a leader failed, left or is slow: Promote the next
//!     └──attempts used up: ───┘  └─────head(Uncacheable): Release─────▶ remembered ──its time is over──▶ nothing
//!        Fail
//! ```
//!
//! A slow leader continues, and gets company: when the oldest follower has waited for [`CoalescingLimits::another_after`], it
//! becomes a leader, too, and so does the next one after the same time again, up to [`FETCHES_MAX`]. All followers use
//! the first storable head. The other leaders leave the coalesced fetch then, and each answers its own request alone.
//!
//! The same state machine serves misses, validations (a 304 is a storable head without a body) and background
//! refreshes. It has no timer: [`CoalescedFetches::next_due`] says when to call [`CoalescedFetches::tick`]. It holds no
//! body: a request that may read follows the streaming body of the caller at its own pace, and detects there that it
//! breaks. The caller also enforces time limits: the backend's for a leader, its own for a follower.
//!
//! Invalidation (RFC 9111 §4.4) is handled by the caller: after an invalidation it uses another key, for example with
//! the number of the last invalidation, so that no request joins a fetch that began before.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use super::lookup::Stored;
use super::remembered::Remembered;
use crate::time::Now;
use asking::{Asking, Follower, Next};

mod asking;

/// The most leaders of one coalesced fetch.
pub const FETCHES_MAX: usize = 4;

/// The limits of the state machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoalescingLimits {
    /// The most keys fetched at the same time. Beyond, each request goes to the backend alone.
    pub flights_max: usize,
    /// The most followers of one key. Beyond, requests are refused.
    pub followers_max: usize,
    /// The number of failed leaders after which all followers fail, if no leader is left. Zero counts as one.
    pub attempts_max: u32,
    /// How long a follower waits before it becomes a leader, and the interval until the next one may.
    pub another_after: Duration,
    /// The most keys remembered as uncacheable. Beyond, the oldest is dropped.
    pub remembered_max: usize,
    /// How long a key is remembered as uncacheable (hit-for-miss).
    pub remember_for: Duration,
}

/// A request. The caller numbers requests and uses no number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u64);

/// What a request that misses must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Fetch on behalf of all, and report [`CoalescedFetches::head`] and [`CoalescedFetches::done`].
    Fetch,
    /// Wait until an [`Action`] names it.
    Follow,
    /// Read the streaming body from its first byte; the head has arrived.
    Read,
    /// Fetch for itself alone, and report nothing: responses to this key are not shared, or too many keys are being
    /// fetched.
    Alone,
    /// Refuse it (503): too many requests wait for this key.
    Full,
}

/// The result of a leader's fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchResult {
    /// A head whose response may be stored and shared, or a 304 that updates a stored response (RFC 9111 §4.3.3).
    Storable,
    /// A head whose response is for the leader alone, as later ones will be: the key is remembered.
    Uncacheable,
    /// A head whose response is for the leader alone, but not in general, such as an error. The next miss leads again.
    Unshared,
    /// No head, or one for which a retry may help.
    Failed,
}

/// What the caller must do after an event. Every waiting request is named exactly once, unless it leaves before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The head has arrived: these requests read the streaming body from its first byte. A request that does not match
    /// the response's `Vary` (RFC 9111 §4.1) must arrive again, under the key of its variant.
    Read(Vec<Id>),
    /// These requests each fetch for themselves, all at once.
    Release(Vec<Id>),
    /// This follower becomes a leader: it fetches like the first one.
    Promote(Id),
    /// These requests fail: the maximum number of leaders has failed.
    Fail(Vec<Id>),
}

/// The coalesced fetches in progress, and the keys remembered as uncacheable.
#[derive(Debug)]
pub struct CoalescedFetches<K: Hash + Eq> {
    limits: CoalescingLimits,
    flights: HashMap<K, CoalescedFetch>,
    /// When a follower of each coalesced fetch becomes a leader. Fetches without followers have no entry.
    due: BTreeSet<(Duration, K)>,
    remembered: Remembered<K>,
}

#[derive(Debug)]
struct CoalescedFetch {
    stage: FetchStage,
    /// Its entry in `due`.
    armed: Option<Duration>,
}

#[derive(Debug)]
enum FetchStage {
    Asking(Asking),
    Reading { fetcher: Id },
}

impl FetchStage {
    fn due(&self, limits: &CoalescingLimits) -> Option<Duration> {
        match self {
            Self::Asking(asking) => asking.due(limits),
            Self::Reading { .. } => None,
        }
    }
}

impl<K: Hash + Ord + Clone> CoalescedFetches<K> {
    /// No fetches.
    #[must_use]
    pub fn new(limits: CoalescingLimits) -> Self {
        let remembered = Remembered::new(limits.remembered_max, limits.remember_for);
        Self { limits, flights: HashMap::new(), due: BTreeSet::new(), remembered }
    }

    /// Sets the limits; waits that have begun may keep theirs.
    pub fn set_limits(&mut self, limits: CoalescingLimits) {
        self.remembered.set_limits(limits.remembered_max, limits.remember_for);
        self.limits = limits;
    }

    /// Handles a request that misses, or must validate a stored response.
    pub fn arrive(&mut self, key: &K, id: Id, now: Now) -> Arrival {
        let Some(flight) = self.flights.get_mut(key) else { return self.depart(key, id, now) };
        let arrival = match &mut flight.stage {
            FetchStage::Reading { .. } => Arrival::Read,
            FetchStage::Asking(asking) if asking.followers.len() >= self.limits.followers_max => Arrival::Full,
            FetchStage::Asking(asking) => {
                asking.followers.push_back(Follower { id, since: now.mono });
                Arrival::Follow
            }
        };
        self.arm(key);
        arrival
    }

    /// Asks for a background refresh after a stale hit. `true`: fetch and report like a leader. The refresh is
    /// independent of the client, so its leaving is no reason to report [`leave`](Self::leave).
    ///
    /// `false`: a fetch is in progress, the key is remembered as uncacheable, or too many keys are being fetched.
    pub fn refresh(&mut self, key: &K, id: Id, now: Now) -> bool {
        !self.flights.contains_key(key) && self.depart(key, id, now) == Arrival::Fetch
    }

    /// Whether this request is a leader for this key, or its body is being read.
    #[must_use]
    pub fn is_led_by(&self, key: &K, id: Id) -> bool {
        self.flights.get(key).is_some_and(|flight| match &flight.stage {
            FetchStage::Asking(asking) => asking.is_led_by(id),
            FetchStage::Reading { fetcher } => *fetcher == id,
        })
    }

    /// Whether other requests wait for this one's response.
    #[must_use]
    pub fn is_awaited(&self, key: &K, id: Id) -> bool {
        self.flights.get(key).is_some_and(|flight| match &flight.stage {
            FetchStage::Asking(asking) => asking.is_led_by(id) && !asking.followers.is_empty(),
            FetchStage::Reading { .. } => false,
        })
    }

    /// Reports the result of a leader's fetch. Ignored unless the request is a leader.
    pub fn head(&mut self, key: &K, id: Id, head: FetchResult, now: Now) -> Vec<Action> {
        let Some(CoalescedFetch { stage, .. }) = self.flights.get_mut(key) else { return Vec::new() };
        let FetchStage::Asking(asking) = stage else { return Vec::new() };
        if !asking.is_led_by(id) {
            return Vec::new();
        }
        match head {
            FetchResult::Storable => {
                let readers = asking.dismiss();
                *stage = FetchStage::Reading { fetcher: id };
                self.arm(key);
                named(readers, Action::Read)
            }
            FetchResult::Uncacheable => {
                let released = asking.dismiss();
                self.end(key);
                self.remembered.remember(key.clone(), (), now.mono);
                named(released, Action::Release)
            }
            FetchResult::Unshared => {
                let next = asking.unshared(id);
                self.proceed(key, next, Action::Release)
            }
            FetchResult::Failed => {
                let next = asking.fail(id, &self.limits, now.mono);
                self.proceed(key, next, Action::Fail)
            }
        }
    }

    /// Reports that the storable body has ended, complete or not. A complete one must be stored before, so that no
    /// request misses in between. `false`: the body that is being read is not this one's.
    pub fn done(&mut self, key: &K, id: Id) -> bool {
        let is_read = self.is_read_from(key, id);
        if is_read {
            self.end(key);
        }
        is_read
    }

    /// Reports that the body is too large to store. Readers continue, no request joins any more, and the key is
    /// remembered as uncacheable. `false`: the body that is being read is not this one's.
    pub fn outgrown(&mut self, key: &K, id: Id, now: Now) -> bool {
        let is_read = self.done(key, id);
        if is_read {
            self.remembered.remember(key.clone(), (), now.mono);
        }
        is_read
    }

    /// Reports that the client of a leader or follower has left. Before the head, the oldest follower replaces a
    /// leader, if there is no other leader or it has waited long enough to lead; after a storable head the fetch
    /// continues, to be stored.
    pub fn leave(&mut self, key: &K, id: Id, now: Now) -> Vec<Action> {
        let Some(CoalescedFetch { stage: FetchStage::Asking(asking), .. }) = self.flights.get_mut(key) else {
            return Vec::new();
        };
        if !asking.is_led_by(id) {
            asking.followers.retain(|follower| follower.id != id);
            self.arm(key);
            return Vec::new();
        }
        let next = asking.leave(id, &self.limits, now.mono);
        self.proceed(key, next, Action::Fail)
    }

    /// Reports that the response to an uncoalesced request could be stored: the next miss leads again.
    pub fn forget(&mut self, key: &K) {
        self.remembered.forget(key);
    }

    /// Promotes followers of slow leaders, and drops remembered keys that have expired. May be called at any time.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        self.remembered.expire(now.mono);
        let mut actions = Vec::new();
        while self.due.first().is_some_and(|(due, _)| *due <= now.mono) {
            let Some((_, key)) = self.due.pop_first() else { break };
            let Some(flight) = self.flights.get_mut(&key) else { continue };
            flight.armed = None;
            if let FetchStage::Asking(asking) = &mut flight.stage {
                actions.extend(asking.promote(now.mono).map(Action::Promote));
            }
            self.arm(&key);
        }
        actions
    }

    /// When to call [`tick`](Self::tick) next, on the monotonic clock.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let flight = self.due.first().map(|(due, _)| *due);
        flight.into_iter().chain(self.remembered.next_due()).min()
    }

    /// The number of keys being fetched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether no key is being fetched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// The number of keys remembered as uncacheable.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    /// Handles the first request for a key: it leads, unless there is a reason to fetch alone.
    fn depart(&mut self, key: &K, id: Id, now: Now) -> Arrival {
        if self.remembered.get(key, now.mono).is_some() || self.flights.len() >= self.limits.flights_max {
            return Arrival::Alone;
        }
        // There is no follower yet, so nothing is due.
        let flight = CoalescedFetch { stage: FetchStage::Asking(Asking::new(id, now.mono)), armed: None };
        self.flights.insert(key.clone(), flight);
        Arrival::Fetch
    }

    /// Continues after a leader has gone. `end`: the action for the followers if it was the last.
    fn proceed(&mut self, key: &K, next: Next, end: impl FnOnce(Vec<Id>) -> Action) -> Vec<Action> {
        match next {
            Next::Leads(id) => {
                self.arm(key);
                vec![Action::Promote(id)]
            }
            Next::Stays => {
                self.arm(key);
                Vec::new()
            }
            Next::Ends(waiting) => {
                self.end(key);
                named(waiting, end)
            }
        }
    }

    fn is_read_from(&self, key: &K, id: Id) -> bool {
        matches!(self.flights.get(key), Some(CoalescedFetch { stage: FetchStage::Reading { fetcher, .. }, .. }) if *fetcher == id)
    }

    /// Updates the entry of a coalesced fetch in `due`.
    fn arm(&mut self, key: &K) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let due = flight.stage.due(&self.limits);
        if due == flight.armed {
            return;
        }
        if let Some(armed) = std::mem::replace(&mut flight.armed, due) {
            self.due.remove(&(armed, key.clone()));
        }
        self.due.extend(due.map(|due| (due, key.clone())));
    }

    fn end(&mut self, key: &K) {
        if let Some(CoalescedFetch { armed: Some(armed), .. }) = self.flights.remove(key) {
            self.due.remove(&(armed, key.clone()));
        }
    }
}

/// Whether a fetched response is older than one that was stored while the fetch was in progress, so that it must not
/// replace that one. Both have the same key and variant.
///
/// `began`: when the fetch began. Without this condition, responses of a backend whose clock is behind would never be
/// stored.
///
/// Source: RFC 9111 §4, "the most recent response (as determined by the Date header field)".
#[must_use]
pub fn is_overtaken(new: &Stored, stored: &Stored, began: Duration) -> bool {
    stored.received().mono >= began && stored.date() > new.date()
}

/// An action for these requests; empty if there are none.
fn named(ids: Vec<Id>, action: impl FnOnce(Vec<Id>) -> Action) -> Vec<Action> {
    if ids.is_empty() { Vec::new() } else { vec![action(ids)] }
}

#[cfg(test)]
mod tests;
