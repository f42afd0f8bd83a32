//! One fetch for many: who fetches, who waits, and what becomes of those who wait.
//!
//! The rules are `policy::cache::coalescing`'s; here are the waits themselves, and guards that report when a client leaves.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use policy::cache::bans::Epoch;
use policy::cache::coalescing::{Arrival, FetchResult, Id, is_overtaken};
use policy::cache::key::Key;
use policy::message::vary::Choice;
use policy::time::Now;
use tokio::sync::oneshot;

use super::entry::{Entry, StoredVariants};
use super::memory::Store;
use super::shard::{Era, FetchIdentity, FetchNotice, Shard, tell};
use crate::exchange::deadline::Deadline;
use crate::exchange::error::ProxyError;
use crate::telemetry::clock;
use crate::telemetry::counters::Counters;

/// What a request has to do that is not answered from what is kept.
#[derive(Debug)]
pub enum Joined {
    /// Fetch, for all who come meanwhile.
    Lead(Lead),
    /// Serve this: another request has fetched it, or is about to.
    Read(Entry),
    /// Fetch for itself: what comes for this key is not for sharing.
    Alone(Lead),
}

/// What is asked of a flight.
#[derive(Clone, Debug)]
pub struct FetchKey {
    /// The key.
    pub key: Key,
    /// What the request says in the fields that are known to choose.
    pub choice: Choice,
    /// It carries `Authorization`.
    pub is_authorized: bool,
    /// Its `Range` and `If-Range`, if just that is to be fetched.
    pub range: Option<Box<[u8]>>,
}

impl FetchKey {
    fn course(self, shard: &Shard) -> FetchIdentity {
        let era = shard.era(&self.key);
        FetchIdentity { key: self.key, choice: self.choice, is_authorized: self.is_authorized, range: self.range, era }
    }
}

/// A fetch under way. Dropped before it has come to anything, it hands over to one who waits.
#[derive(Debug)]
pub struct Lead {
    store: Arc<Store>,
    course: FetchIdentity,
    id: Id,
    /// When it began (monotonic time).
    began: Duration,
    /// The era of then: that of its course may be over, if it waited.
    era: Era,
    /// The newest ban by then.
    since: Epoch,
    /// Others may join; `false`: it is for one request alone, or over.
    is_joined: bool,
}

/// How long a request waits for what another fetches.
#[derive(Clone, Copy, Debug)]
pub struct Patience<'a> {
    /// Keeps the time.
    pub deadline: &'a Deadline,
    /// Until when it waits (monotonic time).
    pub until: Duration,
}

/// Finds a request's place among those who want the same. May wait.
///
/// # Errors
/// `ProxyError::Crowded`, `ProxyError::WaitedInVain`, or why the one who fetched for all got nothing.
pub async fn join(
    store: &Arc<Store>,
    counters: &Counters,
    errand: FetchKey,
    patience: Patience<'_>,
) -> Result<Joined, ProxyError> {
    let id = store.next_id();
    let now = Now::at(clock::mono());
    let (mut wait, waiting) = {
        let mut shard = store.shard(&errand.key);
        let course = errand.course(&shard);
        match shard.flights.arrive(&course, id, now) {
            Arrival::Fetch => return Ok(Joined::Lead(Lead::begin(store, &mut shard, course, id, true))),
            Arrival::Alone => return Ok(Joined::Alone(Lead::begin(store, &mut shard, course, id, false))),
            Arrival::Full => return Err(ProxyError::Crowded),
            Arrival::Read => {
                let entry = shard.reading.get(&course).cloned();
                return entry.map(Joined::Read).ok_or(ProxyError::WaitedInVain);
            }
            Arrival::Follow => {
                let (told, waiting) = oneshot::channel();
                shard.waiting.insert(id, told);
                (Wait::begin(store, counters, course, id), waiting)
            }
        }
    };
    let Ok(told) = patience.deadline.wait(patience.until, pin!(waiting)).await else {
        return Err(ProxyError::WaitedInVain);
    };
    let told = told.unwrap_or(FetchNotice::Failed(ProxyError::WaitedInVain));
    // From here on it does not wait any more, whatever it has been told.
    let Some(course) = wait.course.take() else { return Err(ProxyError::WaitedInVain) };
    match told {
        FetchNotice::Read(entry) => Ok(Joined::Read(entry)),
        FetchNotice::Alone => {
            let mut shard = store.shard(&course.key);
            let course = FetchIdentity { era: shard.era(&course.key), ..course };
            Ok(Joined::Alone(Lead::begin(store, &mut shard, course, id, false)))
        }
        FetchNotice::Lead => {
            let mut shard = store.shard(&course.key);
            Ok(Joined::Lead(Lead::begin(store, &mut shard, course, id, true)))
        }
        FetchNotice::Failed(fault) => Err(fault),
    }
}

/// One who waits. Dropped while it does, it is counted out.
struct Wait<'a> {
    store: &'a Arc<Store>,
    counters: &'a Counters,
    course: Option<FetchIdentity>,
    id: Id,
}

impl<'a> Wait<'a> {
    fn begin(store: &'a Arc<Store>, counters: &'a Counters, course: FetchIdentity, id: Id) -> Self {
        counters.following.up();
        Self { store, counters, course: Some(course), id }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.counters.following.down();
        let Some(course) = &self.course else { return };
        let mut shard = self.store.shard(&course.key);
        shard.waiting.remove(&self.id);
        let actions = shard.flights.leave(course, self.id, Now::at(clock::mono()));
        let news = shard.news(actions, None, None);
        drop(shard);
        tell(news);
    }
}

impl Lead {
    fn begin(store: &Arc<Store>, shard: &mut Shard, course: FetchIdentity, id: Id, is_joined: bool) -> Self {
        let era = shard.begun(&course.key);
        let (began, since) = (clock::mono(), shard.epoch());
        Self { store: Arc::clone(store), course, id, began, era, since, is_joined }
    }

    /// A fetch that nobody may join.
    #[must_use]
    pub fn alone(store: &Arc<Store>, errand: FetchKey) -> Self {
        let id = store.next_id();
        let mut shard = store.shard(&errand.key);
        let course = errand.course(&shard);
        Self::begin(store, &mut shard, course, id, false)
    }

    /// A fetch behind a response that was served stale; `None`: somebody is at it, or it would be of no use.
    #[must_use]
    pub fn behind(store: &Arc<Store>, errand: FetchKey) -> Option<Self> {
        let id = store.next_id();
        let mut shard = store.shard(&errand.key);
        let course = errand.course(&shard);
        let goes = shard.flights.refresh(&course, id, Now::at(clock::mono()));
        goes.then(|| Self::begin(store, &mut shard, course, id, true))
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What is fetched.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.course.key
    }

    /// Whether others wait for what comes, which is to be the whole.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        self.is_joined
            && self.course.range.is_none()
            && self.store.shard(self.key()).flights.is_awaited(&self.course, self.id)
    }

    /// Whether it fetches a range, for all who ask for just that.
    #[must_use]
    pub fn is_of_range(&self) -> bool {
        self.course.range.is_some()
    }

    /// Remembers how long a response is that is too long to be stored.
    pub fn note_length(&self, bytes: u64) {
        // What clients make up must not fill the memory.
        if !self.course.is_long() {
            let now = clock::mono();
            self.store.shard(self.key()).lengths.remember(self.key().clone(), bytes, now);
        }
    }

    /// No response came. One of those who wait tries again, or all fail.
    pub fn failed(mut self, fault: &ProxyError) {
        self.report(FetchResult::Failed, None, Some(fault));
        self.is_joined = false;
    }

    /// What came is for the one who asked alone, and so will be what others get.
    pub fn unshared(&mut self) {
        self.report(FetchResult::Uncacheable, None, None);
        self.is_joined = false;
    }

    /// What came is for the one who asked alone, by chance: it is an error, or there is no room just now.
    pub fn unshared_now(&mut self) {
        self.report(FetchResult::Unshared, None, None);
        self.is_joined = false;
    }

    /// What came can be read along by all who want it, until the fetch ends or [`Lead::outgrown`]; unless another's
    /// response came first.
    pub fn shared(&mut self, entry: &Entry) {
        self.is_joined = self.is_joined && self.report(FetchResult::Storable, Some(entry), None);
    }

    /// `false`: nobody listens (any more).
    fn report(&self, head: FetchResult, entry: Option<&Entry>, fault: Option<&ProxyError>) -> bool {
        if !self.is_joined {
            return false;
        }
        let mut shard = self.store.shard(self.key());
        if !shard.flights.is_led_by(&self.course, self.id) {
            return false;
        }
        let actions = shard.flights.head(&self.course, self.id, head, Now::at(clock::mono()));
        if head == FetchResult::Uncacheable && self.course.is_long() {
            shard.flights.forget(&self.course);
        }
        if let Some(entry) = entry {
            shard.reading.insert(self.course.clone(), entry.clone());
        }
        let news = shard.news(actions, entry, fault);
        drop(shard);
        tell(news);
        true
    }

    /// Nobody joins any more: its beginning will not be kept, as was clear from the start.
    pub fn closed(&mut self) {
        if std::mem::take(&mut self.is_joined) {
            let mut shard = self.store.shard(self.key());
            if shard.flights.done(&self.course, self.id) {
                shard.reading.remove(&self.course);
            }
        }
    }

    /// It turned out too large: nobody joins any more.
    pub fn outgrown(&mut self) {
        if std::mem::take(&mut self.is_joined) {
            let mut shard = self.store.shard(self.key());
            if !shard.flights.outgrown(&self.course, self.id, Now::at(clock::mono())) {
                return;
            }
            shard.reading.remove(&self.course);
            if self.course.is_long() {
                shard.flights.forget(&self.course);
            }
        }
    }

    /// Takes room for more of the body. `false`: there is not enough.
    #[must_use]
    pub fn reserve(&self, bytes: u64) -> bool {
        let mut left = Vec::new();
        let mut shard = self.store.shard(self.key());
        let is_there = shard.reserve(bytes, &mut left);
        drop(shard);
        drop(left);
        is_there
    }

    /// Gives back what was reserved, without storing anything.
    pub fn release(&self, bytes: u64) {
        self.store.shard(self.key()).release(bytes);
    }

    /// The response is whole: stores it in the room that was reserved for it, unless it was invalidated meanwhile, or a
    /// newer one has been stored.
    pub fn store_whole(&self, entry: Entry, reserved: u64) {
        let mut left: Vec<StoredVariants> = Vec::new();
        let mut shard = self.store.shard(self.key());
        shard.release(reserved);
        if self.is_current(&shard, &entry) && !self.is_overtaken(&mut shard, &entry, &mut left) {
            shard.put(self.key(), entry, &mut left);
        }
        if !self.is_joined {
            // Answers to this key are worth waiting for after all.
            shard.flights.forget(&self.course);
        }
        drop(shard);
        drop(left);
    }

    /// Whether what this brings was not invalidated since it began.
    pub(super) fn is_current(&self, shard: &Shard, entry: &Entry) -> bool {
        let is_of_same_uri = shard.era(self.key()).is_of_same_uri(self.era);
        is_of_same_uri && !shard.is_banned(self.since, self.key(), entry)
    }

    /// Whether another fetch has brought a newer response meanwhile.
    fn is_overtaken(&self, shard: &mut Shard, new: &Entry, left: &mut Vec<StoredVariants>) -> bool {
        let Some(shelf) = shard.peek(self.key(), left) else { return false };
        let mut rivals = shelf.variants().iter().filter(|old| new.replaces(old));
        rivals.any(|old| is_overtaken(&new.head.stored, &old.head.stored, self.began))
    }

    /// Stores a response whose content is there already, unless it was invalidated meanwhile.
    pub fn put(&self, entry: Entry) {
        self.store_whole(entry, 0);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut shard = self.store.shard(&self.course.key);
        shard.ended(&self.course.key);
        if !self.is_joined {
            return;
        }
        // Before the head another takes over; after it, what is to be read along has ended.
        let actions = shard.flights.leave(&self.course, self.id, Now::at(clock::mono()));
        if shard.flights.done(&self.course, self.id) {
            shard.reading.remove(&self.course);
        }
        let news = shard.news(actions, None, None);
        drop(shard);
        tell(news);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use http::StatusCode;
    use policy::cache::facts::ResponseFacts;
    use policy::cache::key::{KeyRules, Scheme, Space, Target};
    use policy::cache::stored::Stored;
    use proptest::prelude::*;

    use super::super::entry::StoredContent;
    use super::super::purge::Purge;
    use super::*;
    use crate::config::plan;

    fn key() -> Key {
        let target = Target::of_normal(Scheme::Http, "shop.test", None, "/", None);
        Key::of_uri(Space { name: b"shop", rules: &KeyRules::default() }, &target)
    }

    fn errand() -> FetchKey {
        FetchKey { key: key(), choice: Choice::default(), is_authorized: false, range: None }
    }

    /// What the backend answers after so many purges.
    fn entry(purges: u64) -> Entry {
        let received = Now::at(Duration::ZERO);
        let headers = message::Fields::new();
        let facts = ResponseFacts::of(StatusCode::OK, &headers, received);
        let head = super::super::head::StoredHead::new(headers, Stored::new(&facts, None, Duration::ZERO, received));
        Entry { head: Arc::new(head), content: StoredContent::One(Bytes::copy_from_slice(&purges.to_be_bytes())) }
    }

    fn purges(entry: &Entry) -> u64 {
        let StoredContent::One(bytes) = &entry.content else { panic!("it is whole") };
        u64::from_be_bytes(bytes[..].try_into().unwrap())
    }

    type Joining = Pin<Box<dyn Future<Output = Result<Joined, ProxyError>>>>;

    /// Requests for one key, and how far they are.
    struct Crowd {
        store: Arc<Store>,
        /// How often the key was purged.
        purges: u64,
        /// Each with the purges before it asked, if it has.
        waiting: Vec<(Option<u64>, Joining)>,
        leads: Vec<Fetching>,
    }

    struct Fetching {
        lead: Lead,
        /// The purges before it began.
        purges: u64,
        /// What it has reserved, if its response head has come.
        reserved: Option<u64>,
    }

    impl Crowd {
        fn new(coalesce_wait_max: Duration) -> Self {
            let store = Arc::new(Store::new(&plan::Cache { coalesce_wait_max, ..plan::Cache::default() }));
            Self { store, purges: 0, waiting: Vec::new(), leads: Vec::new() }
        }

        fn arrive(&mut self) {
            let store = Arc::clone(&self.store);
            let joining = Box::pin(async move {
                let deadline = Deadline::default();
                let patience = Patience { deadline: &deadline, until: Duration::MAX };
                join(&store, &Counters::default(), errand(), patience).await
            });
            self.waiting.push((None, joining));
        }

        fn purge<R>(&mut self, purge: impl FnOnce(&Store) -> R) {
            self.purges += 1;
            purge(&self.store);
        }

        fn begin(&mut self, lead: Lead) {
            self.leads.push(Fetching { lead, purges: self.purges, reserved: None });
        }

        /// Lets everybody go on who can. Says how many could.
        fn poll(&mut self) -> usize {
            let before = self.waiting.len();
            let mut cx = Context::from_waker(Waker::noop());
            for (asked, mut joining) in std::mem::take(&mut self.waiting) {
                let asked = asked.unwrap_or(self.purges);
                match joining.as_mut().poll(&mut cx) {
                    Poll::Pending => self.waiting.push((Some(asked), joining)),
                    Poll::Ready(Ok(Joined::Lead(lead) | Joined::Alone(lead))) => self.begin(lead),
                    Poll::Ready(Ok(Joined::Read(entry))) => {
                        assert!(purges(&entry) >= asked, "it is from before a purge")
                    }
                    Poll::Ready(Err(_)) => {}
                }
            }
            before - self.waiting.len()
        }

        fn step(&mut self, (step, which): (u8, usize)) {
            match step {
                0..=3 => self.arrive(),
                4 if !self.waiting.is_empty() => drop(self.waiting.swap_remove(which % self.waiting.len())),
                5 => self.purge(|store| store.purge_uri(&key(), Purge::Hard)),
                6 => self.purge(|store| store.purge_all(Purge::Hard)),
                7 => self.store.tick(Now::at(clock::mono())),
                8 => drop(self.poll()),
                9 => Lead::behind(&self.store, errand()).into_iter().for_each(|lead| self.begin(lead)),
                _ if !self.leads.is_empty() => self.lead(step, which % self.leads.len()),
                _ => {}
            }
            let stored = self.store.variants(&key());
            assert!(stored.iter().all(|entry| purges(entry) == self.purges), "it is from before a purge");
        }

        fn lead(&mut self, step: u8, which: usize) {
            let Fetching { mut lead, purges, reserved } = self.leads.swap_remove(which);
            let reserved = match (step, reserved) {
                (10, None) => return lead.failed(&ProxyError::FetchBroken),
                (11, None) => {
                    lead.unshared();
                    0
                }
                (12..=13, None) => {
                    lead.shared(&entry(purges));
                    0
                }
                (10, Some(reserved)) => return lead.store_whole(entry(purges), reserved),
                (11, Some(reserved)) => {
                    lead.outgrown();
                    reserved
                }
                (12..=13, Some(reserved)) if lead.reserve(1000) => reserved + 1000,
                // Its client leaves, or the body breaks.
                _ => return lead.release(reserved.unwrap_or_default()),
            };
            self.leads.push(Fetching { lead, purges, reserved: Some(reserved) });
        }
    }

    /// One who arrives and fetches at once.
    fn leading(crowd: &mut Crowd) -> Lead {
        crowd.arrive();
        crowd.poll();
        crowd.leads.pop().unwrap().lead
    }

    #[test]
    fn an_era_that_is_over_does_not_come_again() {
        let mut crowd = Crowd::new(Duration::MAX);
        let first = leading(&mut crowd);
        crowd.store.purge_uri(&key(), Purge::Hard);
        let second = leading(&mut crowd);
        crowd.arrive();
        crowd.poll();
        // Nothing is being fetched any more, and who waited in the second era fetches.
        drop(first);
        drop(second);
        crowd.poll();
        assert_eq!(crowd.leads.len(), 1);
        crowd.store.purge_uri(&key(), Purge::Hard);
        crowd.arrive();
        crowd.poll();
        assert_eq!((crowd.leads.len(), crowd.waiting.len()), (2, 0), "nobody joins a fetch from before the purge");
        crowd.leads.remove(0).lead.store_whole(entry(1), 0);
        assert!(crowd.store.is_empty());
    }

    #[test]
    fn what_one_fetches_who_waited_during_a_purge_is_stored() {
        let mut crowd = Crowd::new(Duration::MAX);
        let first = leading(&mut crowd);
        crowd.arrive();
        crowd.poll();
        crowd.store.purge_uri(&key(), Purge::Hard);
        let second = leading(&mut crowd);
        drop(first);
        crowd.poll();
        let promoted = crowd.leads.pop().unwrap().lead;
        promoted.store_whole(entry(1), 0);
        assert_eq!(crowd.store.len(), 1);
        drop((promoted, second));
    }

    proptest! {
        #[test]
        fn whatever_happens_nobody_waits_for_nothing_nothing_is_left_behind_and_no_purge_is_undone(
            steps in prop::collection::vec((0_u8..16, any::<usize>()), 0..80),
            is_slow in any::<bool>(),
        ) {
            let mut crowd = Crowd::new(if is_slow { Duration::ZERO } else { Duration::MAX });
            steps.into_iter().for_each(|step| crowd.step(step));
            // Whoever fetches leaves, one after the other.
            for _ in 0..1000 {
                crowd.poll();
                let Some(Fetching { lead, reserved, .. }) = crowd.leads.pop() else { break };
                lead.release(reserved.unwrap_or_default());
            }
            prop_assert!(crowd.waiting.is_empty() && crowd.leads.is_empty());
            let shard = crowd.store.shard(&key());
            prop_assert!(shard.is_at_rest(), "{shard:?}");
        }
    }
}
