//! One backend request for all who miss the same key at the same time.
//!
//! The first to arrive leads: it fetches. Those who come after follow. What the leader brings decides for all:
//!
//! ```text
//!  nothing ──arrive: Fetch──▶ asking ──head(Storable): Read───────────▶ reading ──done──▶ nothing (it is stored)
//!     ▲                       │  │  ▲                                       └─outgrown─▶ remembered
//!     │  no follower is left, │  │  └──head(Failed), leader left, no head in time: Promote the next
//!     └──attempts used up: ───┘  └─────head(Uncacheable): Release─────▶ remembered ──its time is over──▶ nothing
//!        Fail
//! ```
//!
//! The same machine serves a miss, a validation (a 304 is a storable head without a body) and the refresh behind a
//! stale hit. It holds no timer: [`Flights::next_due`] says when to call [`Flights::tick`]. It holds no bytes either:
//! who may read, reads along from the body that the caller keeps, at its own pace, and notices there when it breaks.
//!
//! Invalidation (RFC 9111 §4.4) is not known here. So that nobody joins a fetch begun before a key was invalidated, the
//! caller arrives under another key from then on, such as one that holds the number of the last invalidation.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use crate::time::Now;
use asking::{Asking, Follower, Next};
use remembered::Remembered;

mod asking;
mod remembered;

/// Bounds of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many keys may be fetched at a time. Beyond, each request goes to the backend alone.
    pub flights_max: usize,
    /// How many requests may wait for one key. Beyond, they are refused.
    pub followers_max: usize,
    /// How many leaders of one flight may fail before all who wait fail. Zero counts as one.
    pub attempts_max: u32,
    /// How long a leader may wait for a response head.
    pub head_wait_max: Duration,
    /// How long a follower may wait for a response head, whoever leads.
    pub follower_wait_max: Duration,
    /// How long a storable body may make no progress.
    pub body_idle_max: Duration,
    /// How many keys are remembered as uncacheable. Beyond, the oldest is forgotten.
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
    /// Ask the backend for all, and report [`Flights::head`], [`Flights::bytes`] and [`Flights::done`].
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
    /// This one waited until now and leads from now on: it takes over what its predecessor left, or asks anew.
    Promote(Id),
    /// These get no answer.
    Fail(Vec<Id>, Failure),
    /// The body that this one fetches has stalled: drop it, and with it the answers of all who read along.
    Cut(Id),
}

/// Why a request gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// As many leaders as are allowed have failed.
    Backend,
    /// No head came in time.
    TimedOut,
}

/// All fetches under way that others may join, and the keys that are not worth joining.
#[derive(Debug)]
pub struct Flights<K: Hash + Eq> {
    limits: Limits,
    flights: HashMap<K, Flight>,
    /// When to look at which flight: never later than its real due time, but perhaps earlier, so that progress of a
    /// body costs nothing here.
    due: BTreeSet<(Duration, K)>,
    remembered: Remembered<K>,
}

#[derive(Debug)]
struct Flight {
    stage: Stage,
    /// Its entry in `due`.
    armed: Duration,
}

#[derive(Debug)]
enum Stage {
    Asking(Asking),
    Reading { fetcher: Id, due: Duration },
}

impl Stage {
    fn fetcher(&self) -> Id {
        match self {
            Self::Asking(asking) => asking.fetcher,
            Self::Reading { fetcher, .. } => *fetcher,
        }
    }

    fn due(&self) -> Duration {
        match self {
            Self::Asking(asking) => asking.due(),
            Self::Reading { due, .. } => *due,
        }
    }
}

impl<K: Hash + Ord + Clone> Flights<K> {
    /// No fetch under way.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let remembered = Remembered::new(limits.remembered_max, limits.remember_for);
        Self { limits, flights: HashMap::new(), due: BTreeSet::new(), remembered }
    }

    /// Other bounds hold from now on; waits that have begun keep theirs.
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
                let due = now.mono.saturating_add(self.limits.follower_wait_max);
                asking.followers.push_back(Follower { id, due });
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

    /// The backend has answered its leader, or will not. Ignored from anybody who does not lead (any more).
    pub fn head(&mut self, key: &K, id: Id, head: Head, now: Now) -> Vec<Action> {
        let Some(flight) = self.flights.get_mut(key).filter(|flight| flight.stage.fetcher() == id) else {
            return Vec::new();
        };
        let Stage::Asking(asking) = &mut flight.stage else { return Vec::new() };
        match head {
            Head::Storable => {
                let readers = asking.dismiss();
                let due = now.mono.saturating_add(self.limits.body_idle_max);
                flight.stage = Stage::Reading { fetcher: id, due };
                self.arm(key);
                named(readers, Action::Read)
            }
            Head::Uncacheable | Head::Unshared => {
                let released = asking.dismiss();
                self.end(key);
                if head == Head::Uncacheable {
                    self.remembered.remember(key.clone(), now.mono);
                }
                named(released, Action::Release)
            }
            Head::Failed => {
                let next = asking.fail(&self.limits, now.mono);
                self.proceed(key, next)
            }
        }
    }

    /// The storable body has grown by so many bytes. Costs one look-up.
    pub fn bytes(&mut self, key: &K, id: Id, bytes: u64, now: Now) {
        if let Some(Flight { stage: Stage::Reading { fetcher, due }, .. }) = self.flights.get_mut(key)
            && *fetcher == id
            && bytes > 0
        {
            *due = now.mono.saturating_add(self.limits.body_idle_max);
        }
    }

    /// The storable body has ended, whole or broken. Whole, it is stored by now, so that nobody misses in between.
    pub fn done(&mut self, key: &K, id: Id) {
        if self.is_read_from(key, id) {
            self.end(key);
        }
    }

    /// The body has turned out to be too large to store. Those who read along go on; nobody joins them any more, and
    /// the key is remembered as uncacheable.
    pub fn outgrown(&mut self, key: &K, id: Id, now: Now) {
        if self.is_read_from(key, id) {
            self.end(key);
            self.remembered.remember(key.clone(), now.mono);
        }
    }

    /// The client of a leader or follower has gone. Before the head, a leader's place is taken by the follower that
    /// has waited longest; after the head of a storable answer the fetch goes on, to be stored.
    pub fn leave(&mut self, key: &K, id: Id, now: Now) -> Vec<Action> {
        let Some(Flight { stage: Stage::Asking(asking), .. }) = self.flights.get_mut(key) else { return Vec::new() };
        if asking.fetcher != id {
            asking.followers.retain(|follower| follower.id != id);
            self.arm(key);
            return Vec::new();
        }
        let next = asking.promote(&self.limits, now.mono);
        self.proceed(key, next)
    }

    /// A response to a request that went alone could be stored after all: the next miss leads a flight again.
    pub fn forget(&mut self, key: &K) {
        self.remembered.forget(key);
    }

    /// Ends all waits whose time is over. Safe to call at any time.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        self.remembered.expire(now.mono);
        let mut actions = Vec::new();
        while self.due.first().is_some_and(|(due, _)| *due <= now.mono) {
            let Some((_, key)) = self.due.pop_first() else { break };
            self.expire(&key, now.mono, &mut actions);
        }
        actions
    }

    /// When to call [`tick`](Self::tick) next, on the monotonic clock. May be early, is never late.
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
        if self.remembered.holds(key, now.mono) || self.flights.len() >= self.limits.flights_max {
            return Arrival::Alone;
        }
        let asking = Asking::new(id, &self.limits, now.mono);
        let armed = asking.due();
        self.flights.insert(key.clone(), Flight { stage: Stage::Asking(asking), armed });
        self.due.insert((armed, key.clone()));
        Arrival::Fetch
    }

    /// After a leader is gone.
    fn proceed(&mut self, key: &K, next: Next) -> Vec<Action> {
        match next {
            Next::Leads(id) => {
                self.arm(key);
                vec![Action::Promote(id)]
            }
            Next::Ends(failed) => {
                self.end(key);
                named(failed, |ids| Action::Fail(ids, Failure::Backend))
            }
        }
    }

    /// Looks at a flight that has just been taken out of `due`, and puts it back if it goes on.
    fn expire(&mut self, key: &K, now: Duration, actions: &mut Vec<Action>) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let next = match &mut flight.stage {
            Stage::Reading { fetcher, due } if *due <= now => {
                actions.push(Action::Cut(*fetcher));
                Some(Next::Ends(Vec::new()))
            }
            Stage::Reading { .. } => None,
            Stage::Asking(asking) => {
                let mut late = asking.late_followers(now);
                let next = (asking.head_due <= now).then(|| {
                    late.push(asking.fetcher);
                    asking.fail(&self.limits, now)
                });
                actions.extend(named(late, |ids| Action::Fail(ids, Failure::TimedOut)));
                next
            }
        };
        flight.armed = flight.stage.due();
        self.due.insert((flight.armed, key.clone()));
        if let Some(next) = next {
            actions.extend(self.proceed(key, next));
        }
    }

    fn is_read_from(&self, key: &K, id: Id) -> bool {
        matches!(self.flights.get(key), Some(Flight { stage: Stage::Reading { fetcher, .. }, .. }) if *fetcher == id)
    }

    /// Brings `due` up to date with a flight's real due time.
    fn arm(&mut self, key: &K) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let due = flight.stage.due();
        if due != flight.armed {
            self.due.remove(&(flight.armed, key.clone()));
            self.due.insert((due, key.clone()));
            flight.armed = due;
        }
    }

    fn end(&mut self, key: &K) {
        if let Some(flight) = self.flights.remove(key) {
            self.due.remove(&(flight.armed, key.clone()));
        }
    }
}

/// An action for these, if there are any.
fn named(ids: Vec<Id>, action: impl FnOnce(Vec<Id>) -> Action) -> Vec<Action> {
    if ids.is_empty() { Vec::new() } else { vec![action(ids)] }
}

#[cfg(test)]
mod tests;
