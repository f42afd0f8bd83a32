//! The write queue shared by all threads: pending writes and tickets, behind one lock that is held only for a look-up
//! or a change.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use policy::cache::key::Key;
use policy::time::Now;
use policy::write::fingerprint::fingerprint;
use policy::write::outcome::{Backoff, Outcome};
use policy::write::queue::{Effect, KeyState, Lane, LaneCounts, LaneLimits, Queue, Room, Send, Ticket, UpstreamId};
use policy::write::record::{Packing, Payload, Write};
use policy::write::segment_table::{Position, SegmentTable};
use tokio::sync::{Notify, oneshot};

use super::commands::CompletionSender;
use super::held::{Held, UriId, cost_of};
use super::journal::Journal;
use super::queued::{Queued, cost};
use super::recover::{NameLists, Recovered, entry};
use super::reservation::{Budget, Reservation};
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

/// The most unneeded bytes in the journal's files before segments are compacted.
const SPARE_BYTES_MAX: u64 = 256 << 20;

/// The result of looking up a URI for a read.
#[derive(Debug)]
pub(crate) enum PendingContent {
    /// No write is pending.
    Clean,
    /// The last pending write, which determines the complete state.
    Dirty(u64, Arc<Queued>),
    /// Only the backend knows the effect of the pending writes; has the number of the last one.
    Opaque,
}

/// The write queue of the process.
#[derive(Debug)]
pub(crate) struct WriteQueue {
    journal: Journal,
    directory: Arc<Directory>,
    /// The secret key of the fingerprints; new in each process.
    secret: UriId,
    state: Mutex<QueueState>,
    /// The number of pending writes. A read takes the lock only if there are any.
    pending: AtomicUsize,
    tickets: AtomicU64,
    /// The number of dropped dead letters.
    dropped: AtomicU64,
    /// Whether the process ends as soon as nothing more can be sent.
    is_draining: AtomicBool,
    /// Wakes the flusher.
    changed: Notify,
}

#[derive(Debug)]
struct QueueState {
    queue: Queue<UriId>,
    writes: BTreeMap<u64, Held>,
    names: NameLists,
    turns: HashMap<Ticket, oneshot::Sender<()>>,
    /// The store in which writes invalidate.
    store: Option<Arc<Store>>,
    segment_table: SegmentTable,
    /// Writes that were dead letters once: their position in the URI queue is not that of their record.
    revived: HashSet<u64>,
}

impl WriteQueue {
    /// Continues with the recovered state; `secret` is the key of the fingerprints.
    pub(super) fn new(recovered: Recovered, secret: UriId, directory: Arc<Directory>, journal: Journal) -> Self {
        let Recovered { queue, writes, segments, names, revived, .. } = recovered;
        let mut segment_table = SegmentTable::new(SPARE_BYTES_MAX);
        segments.iter().for_each(|(segment, is_damaged)| segment_table.add(*segment, *is_damaged));
        writes.values().for_each(|held| segment_table.put(held.place));
        let counts = queue.counts();
        if counts.pending > 0 || counts.dead > 0 {
            tracing::info!("journal: {} writes are pending, {} are dead letters", counts.pending, counts.dead);
        }
        let pending = AtomicUsize::new(counts.pending);
        let state = QueueState { queue, writes, names, turns: HashMap::new(), store: None, segment_table, revived };
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

    /// Whether no write is pending.
    #[must_use]
    pub(crate) fn is_idle(&self) -> bool {
        self.pending() == 0
    }

    /// The number of pending writes.
    #[must_use]
    pub(crate) fn pending(&self) -> usize {
        self.pending.load(Ordering::Acquire)
    }

    /// Looks up a URI for a read.
    #[must_use]
    pub(crate) fn find(&self, uri: &[u8]) -> PendingContent {
        if self.is_idle() {
            return PendingContent::Clean;
        }
        let uri = fingerprint(&self.secret, uri);
        let state = self.state.lock();
        match state.queue.state(&uri) {
            KeyState::Clean => PendingContent::Clean,
            KeyState::Opaque => PendingContent::Opaque,
            KeyState::Dirty { seq, class: _ } => match state.writes.get(&seq).and_then(|held| held.write.as_ref()) {
                Some(write) => PendingContent::Dirty(seq, Arc::clone(write)),
                None => PendingContent::Opaque,
            },
        }
    }

    /// Reserves room for a write of this route with `content_bytes` of content; `None`: there is no room.
    #[must_use]
    pub(crate) fn reserve(self: &Arc<Self>, write: &Write, content_bytes: u64) -> Option<Reservation> {
        let lane = self.state.lock().lane(&write.route);
        let bytes = cost(Packing::head_bytes(write)).saturating_add(content_bytes);
        self.reserve_bytes(lane, bytes).then(|| Reservation::new(Arc::<Self>::clone(self), lane, bytes))
    }

    /// Adds a write that is in the journal; the journal's thread calls it in the order of the file. Acknowledging the
    /// write and making it visible to reads are one step. If its client has withdrawn it, neither happens, and a
    /// cancellation record follows.
    pub(super) fn recorded(&self, seq: u64, submitted: Submitted, place: Position, completion: CompletionSender) {
        let Submitted { queued, room } = submitted;
        let Some(write) = queued.head() else { return };
        let mut state = self.state.lock();
        // Before the client is answered: a read that it sends at once must find the write.
        self.pending.fetch_add(1, Ordering::Release);
        if completion.send(Ok(seq)).is_err() {
            self.pending.fetch_sub(1, Ordering::Release);
            drop(state);
            return;
        }
        let QueueState { queue, writes, names, segment_table, .. } = &mut *state;
        let (lane, bytes) = room.spend();
        queue.release(lane, bytes);
        segment_table.put(place);
        let uri = fingerprint(&self.secret, &write.key);
        queue.accept(entry(&write, seq, uri, cost_of(&queued), names), clock::now());
        writes.insert(seq, Held { write: Some(queued), place });
        let store = state.store.clone();
        drop(state);
        // Reads see the write from here on. Older responses, stored or being fetched, must not be served after it.
        invalidate(store.as_ref(), &write.key);
    }

    /// Wakes the flusher, because a write may be due.
    pub(super) fn wake_flusher(&self) {
        self.changed.notify_one();
    }

    /// The writes to send now.
    pub(super) fn due(&self, now: Now) -> Vec<(Send<UriId>, Arc<Queued>)> {
        let mut state = self.state.lock();
        let sends = state.queue.due(now);
        let with = |send: Send<UriId>| Some((state.writes.get(&send.seq)?.write.clone()?, send));
        sends.into_iter().filter_map(with).map(|(write, send)| (send, write)).collect()
    }

    /// When to call [`WriteQueue::due`] next, on the monotonic clock.
    pub(super) fn next_due(&self) -> Option<std::time::Duration> {
        self.state.lock().queue.next_due()
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Handles the outcome of an attempt after the cache has been updated. Its effects are recorded in the journal;
    /// tickets get their turn when the records are durable.
    pub(super) async fn attempt_ended(&self, seq: u64, outcome: Outcome, random: u64) -> Vec<Effect> {
        let now = clock::now();
        let effects = {
            let mut state = self.state.lock();
            let effects = state.queue.attempt_ended(seq, outcome, now, random);
            // Under the lock: otherwise a dead letter that is revived at once could be recorded as dead afterwards.
            effects.iter().for_each(|effect| self.note(&mut state, *effect, now));
            effects
        };
        self.changed.notify_one();
        for effect in &effects {
            if let Effect::Turn(ticket) = *effect {
                self.journal.outcomes_are_durable().await;
                self.turn(ticket);
            }
        }
        effects
    }

    /// Records an effect in the journal.
    fn note(&self, state: &mut QueueState, effect: Effect, now: Now) {
        let payload = match effect {
            Effect::Settle(write) => {
                state.remove_live(write);
                Payload::Settled { write }
            }
            Effect::MarkDead { seq: write, status, attempts, reason } => {
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

    /// Applies a plan: the limits of its routes' writes and of dead letters, and the store in which writes invalidate.
    pub(crate) fn adopt(&self, plan: &Plan, store: &Arc<Store>) {
        let mut state = self.state.lock();
        state.store = Some(Arc::clone(store));
        state.queue.set_retention(plan.server.dead_letters);
        for route in &plan.routes {
            if let Some(CacheMode::Back(back)) = route.cache.as_ref().map(|cache| &cache.mode) {
                let lane = state.lane(&route.name);
                state.queue.set_lane(lane, limits(back));
            }
        }
        let is_there = |name: &str| plan.upstreams.iter().any(|upstream| *upstream.name == *name);
        for (place, name) in state.names.upstreams.iter().enumerate().filter(|(_, name)| !is_there(name)) {
            let is_for = |upstream: UpstreamId| usize::try_from(upstream.0).is_ok_and(|other| other == place);
            let count = state.queue.pending().filter(|(entry, _)| is_for(entry.upstream)).count();
            if count > 0 {
                tracing::error!(
                    "journal: {count} writes are for upstream {name}, which does not exist any more: they stay in the journal"
                );
            }
        }
    }

    /// Sets whether an upstream is up.
    pub(super) fn set_up(&self, upstream: &str, up: bool) {
        let mut state = self.state.lock();
        let place = state.names.upstreams.iter().position(|name| **name == *upstream);
        if let Some(place) = place.and_then(|place| u32::try_from(place).ok()) {
            state.queue.set_up(UpstreamId(place), up);
        }
    }

    /// The upstreams of all writes.
    pub(super) fn upstreams(&self) -> Vec<Box<str>> {
        self.state.lock().names.upstreams.clone()
    }

    /// With `true`, all writes are sent without waiting to be coalesced. Returns the number of pending writes.
    pub(crate) fn set_hurry(&self, hurry: bool) -> usize {
        self.state.lock().queue.set_hurry(hurry);
        self.changed.notify_one();
        self.pending.load(Ordering::Acquire)
    }

    /// Sends all writes at once, and only to upstreams that respond: the process ends.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        let _pending = self.set_hurry(true);
    }

    /// Whether the process ends as soon as nothing more can be sent.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Whether progress can be expected: a write is in flight, or waits only for its time. Failed writes, and writes
    /// for an upstream that is down, do not count.
    #[must_use]
    pub(crate) fn is_busy(&self) -> bool {
        !self.is_idle() && self.state.lock().queue.is_busy()
    }

    /// Calls `look` with each route that has had writes.
    pub(super) fn each_route(&self, mut look: impl FnMut(&str, LaneCounts)) {
        let state = self.state.lock();
        for (place, name) in state.names.routes.iter().enumerate() {
            let lane = Lane(u32::try_from(place).unwrap_or(u32::MAX));
            look(name, state.queue.lane_counts(lane));
        }
    }

    /// Statistics of the queue.
    #[must_use]
    pub(crate) fn counts(&self) -> policy::write::queue::Counts {
        self.state.lock().queue.counts()
    }

    /// Calls `look` with the queue and its writes, for display.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Queue<UriId>, &BTreeMap<u64, Held>) -> T) -> T {
        let state = self.state.lock();
        look(&state.queue, &state.writes)
    }
}

impl Budget for WriteQueue {
    fn reserve_bytes(&self, lane: Lane, bytes: u64) -> bool {
        self.state.lock().queue.reserve(lane, bytes) == Room::Yes
    }

    fn release_bytes(&self, lane: Lane, bytes: u64) {
        self.state.lock().queue.release(lane, bytes);
    }
}

/// Invalidates the stored responses for a write's URI, and fetches in progress.
fn invalidate(store: Option<&Arc<Store>>, key: &[u8]) {
    if let Some(store) = store {
        store.purge_uri(&Key::from_bytes(key), Purge::Hard);
    }
}

impl QueueState {
    /// Removes a write that is neither pending nor dead any more.
    fn remove_live(&mut self, seq: u64) {
        self.revived.remove(&seq);
        if let Some(held) = self.writes.remove(&seq) {
            self.segment_table.remove_live(held.place);
        }
    }

    /// The name of the lane's route.
    fn route(&self, lane: Lane) -> Box<str> {
        usize::try_from(lane.0).ok().and_then(|place| self.names.routes.get(place)).cloned().unwrap_or_default()
    }

    fn lane(&mut self, route: &str) -> Lane {
        let known = self.names.routes.iter().position(|name| **name == *route);
        let place = known.unwrap_or_else(|| {
            self.names.routes.push(route.into());
            self.names.routes.len() - 1
        });
        Lane(u32::try_from(place).unwrap_or(u32::MAX))
    }
}

fn limits(back: &WriteBack) -> LaneLimits {
    LaneLimits {
        flush_interval: back.flush_interval,
        pending_bytes_max: back.pending_bytes_max,
        concurrency_max: back.concurrency.get(),
        rate_max: back.rate_max,
        attempts_max: back.retry.attempts,
        backoff: Backoff { base: back.retry.base, max: back.retry.max },
    }
}
