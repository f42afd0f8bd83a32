//! What all threads share of write-back: what is pending, and who waits for a turn. Behind one lock, held for as long as
//! a look-up or a change takes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use policy::cache::key::Key;
use policy::time::Now;
use policy::write::fingerprint::fingerprint;
use policy::write::outcome::{Backoff, Outcome};
use policy::write::queue::{Effect, KeyState, Lane, LaneCounts, Limits, Queue, Room, Send, Ticket, Upstream};
use policy::write::record::{Packing, Payload, Write};
use policy::write::segment_table::{Position, SegmentTable};
use tokio::sync::{Notify, oneshot};

use super::held::{Held, UriId, cost_of};
use super::journal::Journal;
use super::orders::Teller;
use super::queued::{Queued, cost};
use super::recover::{Recovered, entry};
use super::reservation::{Lender, Reservation};
use super::segments::Directory;
use super::submission::Submitted;
use crate::cache::Store;
use crate::cache::purge::Purge;
use crate::config::plan::{CacheMode, Durability, Plan, WriteBack};
use crate::telemetry::clock;

mod dead_letters;
mod files;
mod turn;

pub(super) use dead_letters::Gone;

/// How many bytes of the journal's files may be kept that are not needed any more, before they are written anew.
const SPARE_BYTES_MAX: u64 = 256 << 20;

/// What a read of a URI finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing is pending.
    Clean,
    /// This write is the last, and says all of the state.
    Dirty(u64, Arc<Queued>),
    /// What is pending only the backend can tell the effect of; the number is that of the last.
    Opaque,
}

/// What is shared.
#[derive(Debug)]
pub(crate) struct WriteQueue {
    journal: Journal,
    directory: Arc<Directory>,
    /// What the fingerprints of this process are made with.
    secret: UriId,
    state: Mutex<State>,
    /// How many writes are pending: a read looks further only if there are any.
    pending: AtomicUsize,
    tickets: AtomicU64,
    /// How many dead letters were dropped.
    dropped: AtomicU64,
    /// The process ends when nothing more can be sent.
    is_draining: AtomicBool,
    /// Wakes the flusher.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    queue: Queue<UriId>,
    writes: BTreeMap<u64, Held>,
    routes: Vec<Box<str>>,
    upstreams: Vec<Box<str>>,
    turns: HashMap<Ticket, oneshot::Sender<()>>,
    /// Where what a write makes void is stored.
    store: Option<Arc<Store>>,
    shelf: SegmentTable,
    /// Of the writes, those that were dead letters once: their place in line is not that of their record.
    revived: HashSet<u64>,
}

impl WriteQueue {
    /// What was recovered, to go on with; lines are told apart with this secret.
    pub(super) fn new(recovered: Recovered, secret: UriId, directory: Arc<Directory>, journal: Journal) -> Self {
        let Recovered { queue, writes, segments, upstreams, routes, revived, .. } = recovered;
        let mut shelf = SegmentTable::new(SPARE_BYTES_MAX);
        segments.iter().for_each(|(segment, is_damaged)| shelf.add(*segment, *is_damaged));
        writes.values().for_each(|held| shelf.put(held.place));
        let counts = queue.counts();
        if counts.pending > 0 || counts.dead > 0 {
            tracing::info!("journal: {} writes are pending, {} are dead letters", counts.pending, counts.dead);
        }
        let pending = AtomicUsize::new(counts.pending);
        let state = State { queue, writes, routes, upstreams, turns: HashMap::new(), store: None, shelf, revived };
        Self {
            journal,
            directory,
            secret,
            state: Mutex::new(state),
            pending,
            tickets: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_draining: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// The journal.
    #[must_use]
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether anything is pending at all.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        self.pending() == 0
    }

    /// How many writes are pending.
    #[must_use]
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// What a read of this URI finds.
    #[must_use]
    pub(crate) fn find(&self, line: &[u8]) -> Found {
        if self.is_idle() {
            return Found::Clean;
        }
        let line = fingerprint(&self.secret, line);
        let state = self.state.lock();
        match state.queue.state(&line) {
            KeyState::Clean => Found::Clean,
            KeyState::Opaque => Found::Opaque,
            KeyState::Dirty { seq, class: _ } => match state.writes.get(&seq).and_then(|held| held.write.as_ref()) {
                Some(write) => Found::Dirty(seq, Arc::clone(write)),
                None => Found::Opaque,
            },
        }
    }

    /// Sets room aside for a write of this route, with so much content at first; `None`: there is none.
    #[must_use]
    pub(crate) fn reserve(self: &Arc<Self>, write: &Write, content_bytes: u64) -> Option<Reservation> {
        let lane = self.state.lock().lane(&write.route);
        let bytes = cost(Packing::head_bytes(write)).saturating_add(content_bytes);
        self.set_aside(lane, bytes).then(|| Reservation::new(Arc::<Self>::clone(self), lane, bytes))
    }

    /// A write is in the journal: called by its thread, in the order of the file. It is acknowledged and shown to reads in
    /// one step, or neither, if nobody waits for it any more: then a note will say that it is not to be sent.
    pub(super) fn recorded(&self, seq: u64, submitted: Submitted, place: Position, told: Teller) {
        let Submitted { queued, room } = submitted;
        let Some(write) = queued.head() else { return };
        let mut state = self.state.lock();
        // Before it is told: a client that asks at once must not think that nothing is pending.
        self.pending.fetch_add(1, Ordering::Release);
        if told.send(Ok(seq)).is_err() {
            self.pending.fetch_sub(1, Ordering::Release);
            drop(state);
            return;
        }
        let State { queue, writes, routes, upstreams, shelf, .. } = &mut *state;
        let (lane, bytes) = room.spend();
        queue.release(lane, bytes);
        shelf.put(place);
        let line = fingerprint(&self.secret, &write.key);
        queue.accept(entry(&write, (seq, line, cost_of(&queued)), (routes, upstreams)), clock::now());
        writes.insert(seq, Held { write: Some(queued), place });
        let store = state.store.clone();
        drop(state);
        // From here on reads see the write; what was stored before, or is being fetched, must not come back after it.
        forget(store.as_ref(), &write.key);
    }

    /// Something has come that may be due.
    pub(super) fn wake_flusher(&self) {
        self.changed.notify_one();
    }

    /// What is to be sent now.
    pub(super) fn due(&self, now: Now) -> Vec<(Send<UriId>, Arc<Queued>)> {
        let mut state = self.state.lock();
        let sends = state.queue.due(now);
        let with = |send: Send<UriId>| Some((state.writes.get(&send.seq)?.write.clone()?, send));
        sends.into_iter().filter_map(with).map(|(write, send)| (send, write)).collect()
    }

    /// When to ask [`WriteQueue::due`] next (monotonic time).
    pub(super) fn next_due(&self) -> Option<std::time::Duration> {
        self.state.lock().queue.next_due()
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// A write that was sent has come to an end, and the cache has followed it. What comes of that goes into the journal;
    /// whoever waited for its turn is told when it is safe there.
    pub(super) async fn answered(&self, seq: u64, outcome: Outcome, dice: u64) -> Vec<Effect> {
        let now = clock::now();
        let effects = {
            let mut state = self.state.lock();
            let effects = state.queue.answered(seq, outcome, now, dice);
            // In one step: a dead letter that is revived at once must not be noted as dead after that.
            effects.iter().for_each(|effect| self.note(&mut state, *effect, now));
            effects
        };
        self.changed.notify_one();
        for effect in &effects {
            if let Effect::Turn(ticket) = *effect {
                self.journal.notes_are_safe().await;
                self.turn(ticket);
            }
        }
        effects
    }

    /// Puts into the journal what has become of a write.
    fn note(&self, state: &mut State, effect: Effect, now: Now) {
        let payload = match effect {
            Effect::Settle(write) => {
                state.let_go(write);
                Payload::Settled { write }
            }
            Effect::Bury { seq: write, status, attempts, reason } => {
                if let Some(held) = state.writes.get_mut(&write) {
                    held.write = None;
                }
                Payload::Dead { write, status, attempts, reason: reason.to_string().into(), at: now.wall }
            }
            Effect::Turn(_) => return,
        };
        self.pending.fetch_sub(1, Ordering::Release);
        let _nobody_waits = self.journal.append(payload, Durability::Os);
    }

    /// Takes up a plan: the bounds of its routes' writes and of dead letters, and where what they make void is stored.
    pub(crate) fn adopt(&self, plan: &Plan, store: &Arc<Store>) {
        let mut state = self.state.lock();
        state.store = Some(Arc::clone(store));
        state.queue.set_keep(plan.server.dead_letters);
        for route in &plan.routes {
            if let Some(CacheMode::Back(back)) = route.cache.as_ref().map(|cache| &cache.mode) {
                let lane = state.lane(&route.name);
                state.queue.set_lane(lane, limits(back));
            }
        }
        let is_there = |name: &str| plan.upstreams.iter().any(|upstream| *upstream.name == *name);
        for (place, name) in state.upstreams.iter().enumerate().filter(|(_, name)| !is_there(name)) {
            let is_for = |upstream: Upstream| usize::try_from(upstream.0).is_ok_and(|other| other == place);
            let count = state.queue.pending().filter(|(entry, _)| is_for(entry.upstream)).count();
            if count > 0 {
                tracing::error!(
                    "journal: {count} writes are for upstream {name}, which does not exist any more: they stay in the journal"
                );
            }
        }
    }

    /// Whether this upstream can be used.
    pub(super) fn set_up(&self, upstream: &str, up: bool) {
        let mut state = self.state.lock();
        let place = state.upstreams.iter().position(|name| **name == *upstream);
        if let Some(place) = place.and_then(|place| u32::try_from(place).ok()) {
            state.queue.set_up(Upstream(place), up);
        }
    }

    /// The upstreams that writes are for.
    pub(super) fn upstreams(&self) -> Vec<Box<str>> {
        self.state.lock().upstreams.clone()
    }

    /// Sends all at once from now on, or no longer. Says how many are pending.
    pub(crate) fn set_hurry(&self, hurry: bool) -> usize {
        self.state.lock().queue.set_hurry(hurry);
        self.changed.notify_one();
        self.pending.load(Ordering::Acquire)
    }

    /// From now on sends all at once, and only where it is answered: the process ends.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        let _pending = self.set_hurry(true);
    }

    /// Whether the process ends when nothing more can be sent.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Whether anything is being sent, or waits for nothing but its time; what has failed, or is for an upstream that is
    /// down, does not count.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        !self.is_idle() && self.state.lock().queue.is_busy()
    }

    /// Looks at each route that writes came by.
    pub(super) fn each_route(&self, mut look: impl FnMut(&str, LaneCounts)) {
        let state = self.state.lock();
        for (place, name) in state.routes.iter().enumerate() {
            let lane = Lane(u32::try_from(place).unwrap_or(u32::MAX));
            look(name, state.queue.lane_counts(lane));
        }
    }

    /// What is pending and dead.
    #[must_use]
    pub(crate) fn counts(&self) -> policy::write::queue::Counts {
        self.state.lock().queue.counts()
    }

    /// Looks at the queue and the writes, to tell of them.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Queue<UriId>, &BTreeMap<u64, Held>) -> T) -> T {
        let state = self.state.lock();
        look(&state.queue, &state.writes)
    }
}

impl Lender for WriteQueue {
    fn set_aside(&self, lane: Lane, bytes: u64) -> bool {
        self.state.lock().queue.reserve(lane, bytes) == Room::Yes
    }

    fn give_back(&self, lane: Lane, bytes: u64) {
        self.state.lock().queue.release(lane, bytes);
    }
}

/// Forgets what is stored of a write's URI, and what is being fetched.
fn forget(store: Option<&Arc<Store>>, key: &[u8]) {
    if let Some(store) = store {
        store.purge_uri(&Key::from_bytes(key), Purge::Hard);
    }
}

impl State {
    /// A write is neither pending nor dead any more.
    fn let_go(&mut self, seq: u64) {
        self.revived.remove(&seq);
        if let Some(held) = self.writes.remove(&seq) {
            self.shelf.let_go(held.place);
        }
    }

    /// The name of the route that this is the lane of.
    fn route(&self, lane: Lane) -> Box<str> {
        usize::try_from(lane.0).ok().and_then(|place| self.routes.get(place)).cloned().unwrap_or_default()
    }

    fn lane(&mut self, route: &str) -> Lane {
        let known = self.routes.iter().position(|name| **name == *route);
        let place = known.unwrap_or_else(|| {
            self.routes.push(route.into());
            self.routes.len() - 1
        });
        Lane(u32::try_from(place).unwrap_or(u32::MAX))
    }
}

fn limits(back: &WriteBack) -> Limits {
    Limits {
        flush_interval: back.flush_interval,
        pending_bytes_max: back.pending_bytes_max,
        concurrency_max: back.concurrency.get(),
        rate_max: back.rate_max,
        attempts_max: back.retry.attempts,
        backoff: Backoff { base: back.retry.base, max: back.retry.max },
    }
}
