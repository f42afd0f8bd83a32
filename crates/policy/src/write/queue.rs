//! The queue of acknowledged writes: the order in which they are sent, when, and what happens after each attempt.
//!
//! Each key has a URI queue. Only its first write is sent, and no second one before the first is settled (carried out
//! or superseded) or a dead letter. So URI queues wait, not single writes:
//!
//! ```text
//!  accept ──▶ patient ──its time, or a hurry──▶ in flight ──done or dead──▶ the next item of the URI queue, if any
//!                │                                 ▲  │   ▲
//!                └─a ticket waits──▶ urgent ───────┘  │   └──upstream is up── asleep
//!                                      ▲              │                         ▲
//!                                      └────retry─────┘    due while it is down ┘
//! ```
//!
//! Consecutive PUTs and DELETEs at the front of a URI queue are coalesced: only the last is sent, if all have the same
//! lane and upstream. The earlier ones are then settled when the last is carried out, and also when it is refused; in
//! that case only the last becomes a dead letter. While a write is in flight, later ones wait behind it; if it has to
//! be sent again, they are coalesced with it. Each write counts its own attempts, but the back-off grows with the
//! failures of the URI queue, whichever write failed.
//!
//! The queue uses no timer, random source, body or file: [`Queue::next_due`] says when to call [`Queue::due`], and
//! every [`Effect`] that is not a turn is a record for the journal. [`Queue::recover`] rebuilds the queue from these
//! records. All operations are logarithmic in the number of pending writes, or linear in the number of writes that they
//! coalesce, settle or wake; leaving a URI queue is linear in its length.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::class::Class;
use super::outcome::{Outcome, Reason};
use crate::time::Now;
use lane::{DueSlot, DueTime, WaitingQueues};
use uri_queue::{UriQueue, UriQueueItem, UriQueueState};

pub use counts::{Counts, LaneCounts};
pub use dead_letters::{Bound, Dropped, Retention};
pub use lane::LaneLimits;
pub use recovery::RecoveryEvent;

mod counts;
mod dead_letters;
mod lane;
mod recovery;
mod stuck;
#[cfg(test)]
mod tests;
mod turns;
mod uri_queue;

/// The number of a write in the journal, which is also its receipt.
pub type Seq = u64;

/// The writes of one route, with their own limits. Writes are coalesced within one lane only. A route that sends the
/// same key to another upstream after a reload is another lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub u32);

/// The upstream that writes are sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(pub u32);

/// A request that is forwarded without the journal, but in order with the pending writes of its key. The caller numbers
/// tickets and uses no number twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// The part of a write that the queue needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEntry<K> {
    /// Its number in the journal.
    pub seq: Seq,
    /// The key whose URI queue it is in.
    pub key: K,
    /// The lane whose limits apply to it.
    pub lane: Lane,
    /// The upstream that it is sent to.
    pub upstream: UpstreamId,
    /// Its effect.
    pub class: Class,
    /// The bytes that it counts as while it is pending.
    pub bytes: u32,
    /// When it was accepted, since the Unix epoch.
    pub accepted: Duration,
}

/// Whether there is room for another write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room: its bytes are reserved.
    Yes,
    /// The limit is reached: the request is forwarded after the pending writes of its key ([`Queue::wait_turn`]).
    Full,
}

/// A write to be sent now. The caller must report the outcome to [`Queue::attempt_ended`]; otherwise the URI queue stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send<K> {
    /// The number of the write.
    pub seq: Seq,
    /// The key whose URI queue it is in.
    pub key: K,
    /// The ordinal of the attempt since the start of the process, from 1.
    pub attempt: u32,
    /// The earlier writes that are not sent because this one overwrites them, in order.
    pub supersedes: Vec<Seq>,
}

/// What the caller must do after an event, in the given order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The write was carried out or superseded: record that in the journal. A crash before the record is durable sends
    /// the write again.
    Settle(Seq),
    /// The write is a dead letter: record that in the journal, and invalidate its URI in the cache. The record must be
    /// durable before the next call of [`Queue::due`]: otherwise a later write may be carried out, and a crash would
    /// send this one again after it.
    MarkDead {
        /// The number of the write.
        seq: Seq,
        /// Status of the last response; `None`: no response.
        status: Option<u16>,
        /// The number of attempts since the start of the process.
        attempts: u32,
        /// Why the write was given up.
        reason: Reason,
    },
    /// It is this ticket's turn. Earlier settlements must be durable before its request is forwarded: otherwise a crash
    /// would send an older write again and overwrite it.
    Turn(Ticket),
}

/// The effect of pending writes on a read of their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// No write is pending.
    Clean,
    /// The last pending write, a PUT or DELETE, determines the state.
    Dirty {
        /// The number of the last pending write.
        seq: Seq,
        /// Its effect.
        class: Class,
    },
    /// A write is pending whose effect only the backend knows.
    Opaque,
}

/// A write that was given up. It is kept until an operator revives or discards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter<K> {
    /// The write.
    pub entry: QueueEntry<K>,
    /// Status of the last response; `None`: no response.
    pub status: Option<u16>,
    /// The number of attempts.
    pub attempts: u32,
    /// When it was given up, since the Unix epoch.
    pub at: Duration,
}

#[derive(Debug)]
struct PendingWrite<K> {
    entry: QueueEntry<K>,
    /// When its URI queue stops waiting for more writes to coalesce, if this one is first.
    due: DueTime,
    /// The number of attempts.
    attempts: u32,
}

/// All pending writes and dead letters.
#[derive(Debug)]
pub struct Queue<K> {
    lanes: BTreeMap<Lane, WaitingQueues<K>>,
    uri_queues: BTreeMap<K, UriQueue>,
    pending: BTreeMap<Seq, PendingWrite<K>>,
    tickets: HashMap<Ticket, K>,
    dead: BTreeMap<Seq, DeadLetter<K>>,
    /// Dead letters in the order in which they were given up.
    dead_by_age: BTreeSet<(Duration, Seq)>,
    /// The bytes of all dead letters.
    dead_bytes: u64,
    keep: Retention,
    /// The upstreams that are down, each with the URI queues that wait for it.
    down: HashMap<UpstreamId, BTreeMap<DueSlot, K>>,
    hurry: bool,
    /// The number of writes in flight to each upstream.
    in_flight: BTreeMap<UpstreamId, usize>,
    /// The number of writes in flight whose URI queue is stuck.
    retrying: usize,
    slots: u64,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
            uri_queues: BTreeMap::new(),
            pending: BTreeMap::new(),
            tickets: HashMap::new(),
            dead: BTreeMap::new(),
            dead_by_age: BTreeSet::new(),
            dead_bytes: 0,
            keep: Retention::ALL,
            down: HashMap::new(),
            hurry: false,
            in_flight: BTreeMap::new(),
            retrying: 0,
            slots: 0,
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// Sets the limits of a lane; waits that have begun are unchanged. The default is [`LaneLimits::default`].
    pub fn set_lane(&mut self, lane: Lane, limits: LaneLimits) {
        self.lane(lane).limits = limits;
    }

    /// Reserves room for a write that is being written to the journal. The reservation counts like pending bytes until
    /// it is [released](Self::release).
    #[must_use]
    pub fn reserve(&mut self, lane: Lane, bytes: u64) -> Room {
        let lane = self.lane(lane);
        if !lane.has_room(bytes) {
            return Room::Full;
        }
        lane.reserved_bytes = lane.reserved_bytes.saturating_add(bytes);
        Room::Yes
    }

    /// Releases a reservation, when the write was accepted or will not be.
    pub fn release(&mut self, lane: Lane, bytes: u64) {
        let lane = self.lane(lane);
        lane.reserved_bytes = lane.reserved_bytes.saturating_sub(bytes);
    }

    /// The pending write with this number.
    #[must_use]
    pub fn get(&self, seq: Seq) -> Option<&QueueEntry<K>> {
        self.pending.get(&seq).map(|write| &write.entry)
    }

    /// Appends a write that is in the journal to the URI queue of its key. Call it in the order of the journal:
    /// otherwise a restart would send the writes of a key in another order. Known numbers are ignored.
    pub fn accept(&mut self, entry: QueueEntry<K>, now: Now) {
        let due = now.mono.saturating_add(self.lane(entry.lane).limits.flush_interval);
        let key = entry.key.clone();
        self.append(entry, due);
        // This cannot make it a ticket's turn: a URI queue with a ticket at its front is placed already.
        let _ = self.place(&key, None, now.mono);
    }

    /// The writes to send now. Call it after every event, and at [`next_due`](Self::next_due).
    #[must_use]
    pub fn due(&mut self, now: Now) -> Vec<Send<K>> {
        let mut sends = Vec::new();
        for (name, lane) in &mut self.lanes {
            while let Some((slot, key)) = lane.take_next(self.hurry, now.mono) {
                let Some(uri_queue) = self.uri_queues.get_mut(&key) else { continue };
                let Some(upstream) = upstream_of(uri_queue, &self.pending) else { continue };
                if let Some(sleepers) = self.down.get_mut(&upstream) {
                    uri_queue.place = UriQueueState::Asleep(upstream, slot);
                    uri_queue.mark_stuck(*name, lane);
                    sleepers.insert(slot, key);
                    continue;
                }
                let Some(send) = start_attempt(uri_queue, &mut self.pending) else { continue };
                debug_assert_eq!(self.pending.get(&send.seq).map(|write| write.entry.lane), Some(*name));
                lane.sent(now.mono);
                *self.in_flight.entry(upstream).or_default() += 1;
                self.retrying += usize::from(uri_queue.stuck.is_some());
                sends.push(send);
            }
        }
        sends
    }

    /// When to call [`due`](Self::due) next, on the monotonic clock; a past time means now. `None`: after the next
    /// event.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.lanes.values().filter_map(|lane| lane.next_due(self.hurry)).min()
    }

    /// Handles the outcome of an attempt; `random` is a uniform number for the back-off. Ignored unless the write is in
    /// flight.
    #[must_use]
    pub fn attempt_ended(&mut self, seq: Seq, outcome: Outcome, now: Now, random: u64) -> Vec<Effect> {
        let Some(write) = self.pending.get_mut(&seq) else { return Vec::new() };
        let (key, attempts) = (write.entry.key.clone(), write.attempts);
        let lane = self.lanes.entry(write.entry.lane).or_default();
        let Some(uri_queue) = self.uri_queues.get_mut(&key) else { return Vec::new() };
        let UriQueueState::InFlight { sent, covers } = uri_queue.place else { return Vec::new() };
        if sent != seq {
            return Vec::new();
        }
        uri_queue.place = UriQueueState::Unplaced;
        lane.in_flight = lane.in_flight.saturating_sub(1);
        if let Some(in_flight) = self.in_flight.get_mut(&write.entry.upstream) {
            *in_flight = in_flight.saturating_sub(1);
        }
        self.retrying = self.retrying.saturating_sub(usize::from(uri_queue.stuck.is_some()));
        let mark_dead = |status, reason| Some(Effect::MarkDead { seq, status, attempts, reason });
        let dead = match outcome {
            Outcome::Done => None,
            Outcome::Unsent => {
                write.attempts = write.attempts.saturating_sub(1);
                return self.back_off(&key, None, now, random);
            }
            Outcome::Retry { after, .. } if attempts < lane.limits.attempts_max.max(1) => {
                return self.back_off(&key, after, now, random);
            }
            Outcome::Retry { status, .. } => mark_dead(status, Reason::AttemptsUsedUp),
            Outcome::Refused { status } => mark_dead(Some(status), Reason::Refused),
        };
        uri_queue.failures = 0;
        self.clear_stuck(&key);
        let mut effects: Vec<Effect> = self.finish(&key, covers).into_iter().map(Effect::Settle).collect();
        if let Some(dead) = dead
            && let Some(last) = effects.last_mut()
        {
            *last = dead;
        }
        self.remove_finished(&effects, now);
        effects.extend(self.place(&key, None, now.mono));
        effects
    }

    /// Sets whether an upstream is up; initially every upstream is. While it is down, nothing is sent to it and no
    /// attempt is counted. Back-offs continue when it is up again. Set an upstream down when it is not configured any
    /// more: its writes are kept.
    pub fn set_up(&mut self, upstream: UpstreamId, up: bool) {
        if !up {
            self.down.entry(upstream).or_default();
            return;
        }
        for (slot, key) in self.down.remove(&upstream).unwrap_or_default() {
            self.clear_stuck(&key);
            let Some(uri_queue) = self.uri_queues.get_mut(&key) else { continue };
            let Some(lane) = lane_of(uri_queue, &self.pending) else { continue };
            uri_queue.place = UriQueueState::Urgent(lane, slot);
            self.lanes.entry(lane).or_default().urgent.insert(slot, key);
        }
    }

    /// With `true` (shutdown), no write waits to be coalesced any more. Back-offs continue.
    pub fn set_hurry(&mut self, hurry: bool) {
        self.hurry = hurry;
    }

    /// The effect of pending writes on a read of this key.
    #[must_use]
    pub fn state(&self, key: &K) -> KeyState {
        let Some(uri_queue) = self.uri_queues.get(key) else { return KeyState::Clean };
        if uri_queue.others > 0 {
            return KeyState::Opaque;
        }
        match uri_queue.last_write().and_then(|seq| self.pending.get(&seq)) {
            Some(write) => KeyState::Dirty { seq: write.entry.seq, class: write.entry.class },
            None => KeyState::Clean,
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut WaitingQueues<K> {
        self.lanes.entry(lane).or_default()
    }

    /// Delays a URI queue after a failed attempt. This never makes it a ticket's turn.
    fn back_off(&mut self, key: &K, after: Option<Duration>, now: Now, random: u64) -> Vec<Effect> {
        let Some(uri_queue) = self.uri_queues.get_mut(key) else { return Vec::new() };
        let Some(lane) = lane_of(uri_queue, &self.pending) else { return Vec::new() };
        uri_queue.failures = uri_queue.failures.saturating_add(1);
        let waiting = self.lanes.entry(lane).or_default();
        uri_queue.mark_stuck(lane, waiting);
        let until = now.mono.saturating_add(waiting.limits.backoff.wait(uri_queue.failures, after, random));
        self.place(key, Some(until), now.mono).into_iter().collect()
    }

    /// Appends a write to its URI queue, which is not placed yet.
    fn append(&mut self, entry: QueueEntry<K>, due: Duration) {
        if self.pending.contains_key(&entry.seq) || self.dead.contains_key(&entry.seq) {
            return;
        }
        let uri_queue = self.uri_queues.entry(entry.key.clone()).or_insert_with(UriQueue::new);
        uri_queue.items.push_back(UriQueueItem::Write(entry.seq));
        uri_queue.others += u32::from(entry.class == Class::Other);
        let lane = self.lanes.entry(entry.lane).or_default();
        lane.pending += 1;
        lane.pending_bytes = lane.pending_bytes.saturating_add(entry.bytes.into());
        self.pending.insert(entry.seq, PendingWrite { entry, due: DueTime::of(due), attempts: 0 });
    }

    /// Removes the first `covers` writes of a URI queue; they remain in `pending`.
    fn finish(&mut self, key: &K, covers: usize) -> Vec<Seq> {
        let Some(uri_queue) = self.uri_queues.get_mut(key) else { return Vec::new() };
        let mut finished = Vec::with_capacity(covers);
        for _ in 0..covers {
            if let Some(UriQueueItem::Write(seq)) = uri_queue.items.pop_front() {
                let is_other = self.pending.get(&seq).is_some_and(|write| write.entry.class == Class::Other);
                uri_queue.others = uri_queue.others.saturating_sub(u32::from(is_other));
                finished.push(seq);
            }
        }
        finished
    }

    /// Removes finished writes from `pending`: the effects say whether each is settled or dead.
    fn remove_finished(&mut self, effects: &[Effect], now: Now) {
        for effect in effects {
            match effect {
                Effect::Settle(seq) => drop(self.remove_pending(*seq)),
                Effect::MarkDead { seq, status, attempts, .. } => {
                    if let Some(entry) = self.remove_pending(*seq) {
                        self.add_dead_letter(DeadLetter { entry, status: *status, attempts: *attempts, at: now.wall });
                    }
                }
                Effect::Turn(_) => {}
            }
        }
    }

    /// Removes one write from `pending`; it has left its URI queue before.
    fn remove_pending(&mut self, seq: Seq) -> Option<QueueEntry<K>> {
        let entry = self.pending.remove(&seq)?.entry;
        let lane = self.lane(entry.lane);
        lane.pending = lane.pending.saturating_sub(1);
        lane.pending_bytes = lane.pending_bytes.saturating_sub(entry.bytes.into());
        Some(entry)
    }

    /// Places a URI queue whose first item has changed: it waits, at least until `before`; or it is the turn of the
    /// ticket at its front; or it is empty and removed. A URI queue that is placed already is unchanged.
    fn place(&mut self, key: &K, before: Option<Duration>, now: Duration) -> Option<Effect> {
        let uri_queue = self.uri_queues.get_mut(key).filter(|uri_queue| uri_queue.place == UriQueueState::Unplaced)?;
        match uri_queue.items.front() {
            None => {
                self.uri_queues.remove(key);
                None
            }
            Some(UriQueueItem::Ticket(ticket)) => {
                uri_queue.place = UriQueueState::Held;
                Some(Effect::Turn(*ticket))
            }
            Some(UriQueueItem::Write(seq)) => {
                let write = self.pending.get(seq)?;
                let lane = self.lanes.entry(write.entry.lane).or_default();
                self.slots += 1;
                let is_urgent = before.is_some() || uri_queue.tickets > 0;
                let due = before.or(is_urgent.then_some(now)).map_or(write.due, DueTime::of);
                let slot = (due, self.slots);
                if is_urgent {
                    uri_queue.place = UriQueueState::Urgent(write.entry.lane, slot);
                    lane.urgent.insert(slot, key.clone());
                } else {
                    uri_queue.place = UriQueueState::Patient(write.entry.lane, slot);
                    lane.patient.insert(slot, key.clone());
                }
                None
            }
        }
    }
}

fn first<'a, K>(uri_queue: &UriQueue, pending: &'a BTreeMap<Seq, PendingWrite<K>>) -> Option<&'a QueueEntry<K>> {
    match uri_queue.items.front()? {
        UriQueueItem::Write(seq) => pending.get(seq).map(|write| &write.entry),
        UriQueueItem::Ticket(_) => None,
    }
}

fn lane_of<K>(uri_queue: &UriQueue, pending: &BTreeMap<Seq, PendingWrite<K>>) -> Option<Lane> {
    first(uri_queue, pending).map(|entry| entry.lane)
}

fn upstream_of<K>(uri_queue: &UriQueue, pending: &BTreeMap<Seq, PendingWrite<K>>) -> Option<UpstreamId> {
    first(uri_queue, pending).map(|entry| entry.upstream)
}

/// Starts an attempt with the first write of a URI queue, or the last one that can be coalesced with it.
fn start_attempt<K: Clone>(uri_queue: &mut UriQueue, pending: &mut BTreeMap<Seq, PendingWrite<K>>) -> Option<Send<K>> {
    let head = first(uri_queue, pending)?;
    let joins = |item: &UriQueueItem| match item {
        UriQueueItem::Write(seq) => pending.get(seq).is_some_and(|write| coalesce(head, &write.entry)),
        UriQueueItem::Ticket(_) => false,
    };
    let covers = uri_queue.items.iter().skip(1).take_while(|item| joins(item)).count() + 1;
    let mut supersedes: Vec<Seq> = Vec::with_capacity(covers);
    for item in uri_queue.items.iter().take(covers) {
        if let UriQueueItem::Write(seq) = item {
            supersedes.push(*seq);
        }
    }
    let seq = supersedes.pop()?;
    let write = pending.get_mut(&seq)?;
    write.attempts = write.attempts.saturating_add(1);
    uri_queue.place = UriQueueState::InFlight { sent: seq, covers };
    Some(Send { seq, key: write.entry.key.clone(), attempt: write.attempts, supersedes })
}

/// Whether `later`, which follows directly, makes sending `earlier` unnecessary.
fn coalesce<K>(earlier: &QueueEntry<K>, later: &QueueEntry<K>) -> bool {
    let overwrite = earlier.class != Class::Other && later.class != Class::Other;
    overwrite && earlier.lane == later.lane && earlier.upstream == later.upstream
}
