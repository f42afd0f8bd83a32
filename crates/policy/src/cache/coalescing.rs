//! One backend request for all who miss the same key at the same time.
//!
//! The first request to arrive leads: it fetches. Those that come after follow. What the leader brings decides for all:
//!
//! ```text
//!  nothing ──arrive: Fetch──▶ asking ──head(Storable): Read───────────▶ reading ──done──▶ nothing (it is stored)
//!     ▲                       │  │  ▲                                       └─outgrown─▶ remembered
//!     │  no follower is left, │  │  └──a leader failed, left or is slow: Promote the next
//!     └──attempts used up: ───┘  └─────head(Uncacheable): Release─────▶ remembered ──its time is over──▶ nothing
//!        Fail
//! ```
//!
//! A leader that is slow stays a leader, and gets company: when the oldest follower has waited for
//! [`Limits::another_after`] it leads too, and so does the next one after the same time again, up to [`FETCHES_MAX`]. The
//! storable head that comes first is for all who follow. The other leaders have no part in the flight from then on:
//! each answers its own request alone.
//!
//! The same machine serves a miss, a validation (a 304 is a storable head without a body) and the refresh behind a
//! stale hit. It holds no timer: [`CoalescedFetches::next_due`] says when to call [`CoalescedFetches::tick`]. It holds no bytes either:
//! a request that may read, reads along from the body that the caller keeps, at its own pace, and notices there when it
//! breaks. Time limits for requests are the caller's too: for a leader those of the backend, for a follower its own.
//!
//! Invalidation (RFC 9111 §4.4) is not known here. So that nobody joins a fetch begun before a key was invalidated, the
//! caller arrives under another key from then on, such as one that holds the number of the last invalidation.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use super::lookup::Stored;
use super::remembered::Remembered;
use crate::time::Now;
use asking::{Asking, Follower, Next};

mod asking;

/// How many leaders of one flight may ask the backend at the same time.
pub const FETCHES_MAX: usize = 4;

/// Bounds of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many keys may be fetched at a time. Beyond, each request goes to the backend alone.
    pub flights_max: usize,
    /// How many requests may wait for one key. Beyond, they are refused.
    pub followers_max: usize,
    /// How many leaders of one flight may fail before all who wait fail, if none is left that still asks. Zero counts
    /// as one.
    pub attempts_max: u32,
    /// How long a follower waits before it leads too, and how long it takes until one more may.
    pub another_after: Duration,
    /// How many keys are remembered as uncacheable. Beyond, the oldest is invalidated.
    pub remembered_max: usize,
    /// How long a key is remembered as uncacheable (hit-for-miss).
    pub remember_for: Duration,
}

/// A request, numbered by the caller; no number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u64);

/// What a request that misses has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Ask the backend for all, and report [`CoalescedFetches::head`] and [`CoalescedFetches::done`].
    Fetch,
    /// Wait: an [`Action`] will name it.
    Follow,
    /// The head is there: read along from the body's first byte.
    Read,
    /// Ask the backend for itself alone, and report nothing: answers to this key are not for sharing, or too many
    /// keys are being fetched.
    Alone,
    /// Too many wait for this key already: refuse (503).
    Full,
}

/// What the leader's request to the backend has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// A head whose response may be stored and given to others, or a 304 that refreshes a stored one (RFC 9111 §4.3.3).
    Storable,
    /// A head whose response is for the leader alone, as will be those that follow: the key is remembered.
    Uncacheable,
    /// A head whose response is for the leader alone, by chance: an error, say. The next miss leads again.
    Unshared,
    /// No head, or one that another try may better.
    Failed,
}

/// What the caller has to do after an event. Every waiting request is named exactly once, unless it leaves before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The head is there: these read along from the body's first byte. Whose request does not match the answer's
    /// `Vary` (RFC 9111 §4.1) arrives anew, under the key with its variant.
    Read(Vec<Id>),
    /// These go to the backend each for itself, all at once.
    Release(Vec<Id>),
    /// This one waited until now and leads from now on: it asks the backend, as the first one did.
    Promote(Id),
    /// These get no answer: as many leaders as are allowed have failed.
    Fail(Vec<Id>),
}

/// All fetches under way that others may join, and the keys that are not worth joining.
#[derive(Debug)]
pub struct CoalescedFetches<K: Hash + Eq> {
    limits: Limits,
    flights: HashMap<K, CoalescedFetch>,
    /// When a follower of which flight is to lead too. A flight without followers is not in it.
    due: BTreeSet<(Duration, K)>,
    remembered: Remembered<K>,
}

#[derive(Debug)]
struct CoalescedFetch {
    stage: Stage,
    /// Its entry in `due`.
    armed: Option<Duration>,
}

#[derive(Debug)]
enum Stage {
    Asking(Asking),
    Reading { fetcher: Id },
}

impl Stage {
    fn due(&self, limits: &Limits) -> Option<Duration> {
        match self {
            Self::Asking(asking) => asking.due(limits),
            Self::Reading { .. } => None,
        }
    }
}

impl<K: Hash + Ord + Clone> CoalescedFetches<K> {
    /// No fetch under way.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let remembered = Remembered::new(limits.remembered_max, limits.remember_for);
        Self { limits, flights: HashMap::new(), due: BTreeSet::new(), remembered }
    }

    /// Other bounds hold from now on; waits that have begun may keep theirs.
    pub fn set_limits(&mut self, limits: Limits) {
        self.remembered.set_limits(limits.remembered_max, limits.remember_for);
        self.limits = limits;
    }

    /// A request misses, or must validate what is stored.
    pub fn arrive(&mut self, key: &K, id: Id, now: Now) -> Arrival {
        let Some(flight) = self.flights.get_mut(key) else { return self.depart(key, id, now) };
        let arrival = match &mut flight.stage {
            Stage::Reading { .. } => Arrival::Read,
            Stage::Asking(asking) if asking.followers.len() >= self.limits.followers_max => Arrival::Full,
            Stage::Asking(asking) => {
                asking.followers.push_back(Follower { id, since: now.mono });
                Arrival::Follow
            }
        };
        self.arm(key);
        arrival
    }

    /// A request was served stale, and asks whether to refresh what is stored behind it: `true`, when it shall fetch
    /// and report as a leader does. It is on its own then: that its client leaves is no reason to report
    /// [`leave`](Self::leave).
    ///
    /// `false`: somebody is at it, or the key is remembered as uncacheable, or too many keys are being fetched.
    pub fn refresh(&mut self, key: &K, id: Id, now: Now) -> bool {
        !self.flights.contains_key(key) && self.depart(key, id, now) == Arrival::Fetch
    }

    /// Whether this one leads the flight for this key: it has asked the backend, or its body is read along.
    #[must_use]
    pub fn is_led_by(&self, key: &K, id: Id) -> bool {
        self.flights.get(key).is_some_and(|flight| match &flight.stage {
            Stage::Asking(asking) => asking.is_led_by(id),
            Stage::Reading { fetcher } => *fetcher == id,
        })
    }

    /// Whether others wait for this one's answer.
    #[must_use]
    pub fn is_awaited(&self, key: &K, id: Id) -> bool {
        self.flights.get(key).is_some_and(|flight| match &flight.stage {
            Stage::Asking(asking) => asking.is_led_by(id) && !asking.followers.is_empty(),
            Stage::Reading { .. } => false,
        })
    }

    /// The backend has answered a leader, or will not. Ignored from anybody who does not lead (any more).
    pub fn head(&mut self, key: &K, id: Id, head: Head, now: Now) -> Vec<Action> {
        let Some(CoalescedFetch { stage, .. }) = self.flights.get_mut(key) else { return Vec::new() };
        let Stage::Asking(asking) = stage else { return Vec::new() };
        if !asking.is_led_by(id) {
            return Vec::new();
        }
        match head {
            Head::Storable => {
                let readers = asking.dismiss();
                *stage = Stage::Reading { fetcher: id };
                self.arm(key);
                named(readers, Action::Read)
            }
            Head::Uncacheable => {
                let released = asking.dismiss();
                self.end(key);
                self.remembered.remember(key.clone(), (), now.mono);
                named(released, Action::Release)
            }
            Head::Unshared => {
                let next = asking.unshared(id);
                self.proceed(key, next, Action::Release)
            }
            Head::Failed => {
                let next = asking.fail(id, &self.limits, now.mono);
                self.proceed(key, next, Action::Fail)
            }
        }
    }

    /// The storable body has ended, whole or broken. Whole, it is stored by now, so that nobody misses in between.
    /// `false`: it is not this one's body that was read along.
    pub fn done(&mut self, key: &K, id: Id) -> bool {
        let is_read = self.is_read_from(key, id);
        if is_read {
            self.end(key);
        }
        is_read
    }

    /// The body has turned out to be too large to store. Those who read along go on; nobody joins them any more, and
    /// the key is remembered as uncacheable. `false`: it is not this one's body that was read along.
    pub fn outgrown(&mut self, key: &K, id: Id, now: Now) -> bool {
        let is_read = self.done(key, id);
        if is_read {
            self.remembered.remember(key.clone(), (), now.mono);
        }
        is_read
    }

    /// The client of a leader or follower has gone. Before the head, a leader's place is taken by the follower that
    /// has waited longest, if there is no other leader or it has waited long enough to lead; after the head of a
    /// storable answer the fetch goes on, to be stored.
    pub fn leave(&mut self, key: &K, id: Id, now: Now) -> Vec<Action> {
        let Some(CoalescedFetch { stage: Stage::Asking(asking), .. }) = self.flights.get_mut(key) else {
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

    /// A response to a request that went alone could be stored after all: the next miss leads a flight again.
    pub fn forget(&mut self, key: &K) {
        self.remembered.forget(key);
    }

    /// Lets followers lead whose leaders are slow, and forgets what has been remembered for long enough. Safe to call at
    /// any time.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        self.remembered.expire(now.mono);
        let mut actions = Vec::new();
        while self.due.first().is_some_and(|(due, _)| *due <= now.mono) {
            let Some((_, key)) = self.due.pop_first() else { break };
            let Some(flight) = self.flights.get_mut(&key) else { continue };
            flight.armed = None;
            if let Stage::Asking(asking) = &mut flight.stage {
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

    /// How many keys are being fetched.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether no key is being fetched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// How many keys are remembered as uncacheable.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    /// The first to arrive at a key: leads, unless there is a reason to go alone.
    fn depart(&mut self, key: &K, id: Id, now: Now) -> Arrival {
        if self.remembered.get(key, now.mono).is_some() || self.flights.len() >= self.limits.flights_max {
            return Arrival::Alone;
        }
        // Nobody follows yet, so nothing is due.
        let flight = CoalescedFetch { stage: Stage::Asking(Asking::new(id, now.mono)), armed: None };
        self.flights.insert(key.clone(), flight);
        Arrival::Fetch
    }

    /// After a leader is gone. `end`: what becomes of those who wait if it was the last.
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
        matches!(self.flights.get(key), Some(CoalescedFetch { stage: Stage::Reading { fetcher, .. }, .. }) if *fetcher == id)
    }

    /// Brings `due` up to date with when a flight is really due.
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

/// Whether a response that a fetch has brought is older than a stored one that came while the fetch was under way, so
/// that it must not replace that. Both are of the same key and variant.
///
/// `began`: when the fetch did. Without that a backend whose clock is behind would never have its responses stored.
///
/// Source: RFC 9111 §4, "the most recent response (as determined by the Date header field)".
#[must_use]
pub fn is_overtaken(new: &Stored, stored: &Stored, began: Duration) -> bool {
    stored.received().mono >= began && stored.date() > new.date()
}

/// An action for these, if there are any.
fn named(ids: Vec<Id>, action: impl FnOnce(Vec<Id>) -> Action) -> Vec<Action> {
    if ids.is_empty() { Vec::new() } else { vec![action(ids)] }
}

#[cfg(test)]
mod tests;
