//! What is pending of the writes that are acknowledged already: in which order it goes out, when, and what becomes of
//! it.
//!
//! Each key has a line; strictly the first of a line is sent, and no second before it is settled or dead. So lines wait,
//! not writes:
//!
//! ```text
//!  accept ──▶ patient ──its time, or the lane hurries──▶ in flight ──done or dead──▶ the next of the line, if any
//!                │                                        ▲  │   ▲
//!                └─somebody waits for a turn──▶ urgent ───┘  │   └──upstream is up── asleep
//!                                                 ▲          │                         ▲
//!                                                 └──retry───┘     due while it is down┘
//! ```
//!
//! Consecutive PUTs and DELETEs at the front of a line go out as the last of them, if they are for the same lane and
//! upstream. The earlier ones are part of it from then on: they are settled when it is done, and also when it is refused;
//! then only the last is a dead letter. While one is in flight, later ones wait behind it; when it has to be sent again,
//! they are coalesced with it. What was sent counts its own attempts, but the waits between attempts grow with the line's
//! failures, whichever write failed.
//!
//! No timer, no dice, no bytes of a body, no file: [`Queue::next_due`] says when to ask [`Queue::due`], and every
//! [`Effect`] that is not a turn is a record for the journal. A queue is rebuilt from these ([`Queue::recover`]).
//! All operations are logarithmic in what is pending, or linear in what they coalesce, settle or
//! wake; to leave a line is linear in its length.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::class::Class;
use super::outcome::{Outcome, Reason};
use crate::time::Now;
use lane::{Moment, Slot, Waiting};
use uri_queue::{Item, Step, UriQueue};

pub use counts::{Counts, LaneCounts};
pub use lane::Limits;
pub use letters::{Bound, Dropped, Keep};
pub use recovery::Event;

mod counts;
mod lane;
mod letters;
mod recovery;
mod stuck;
#[cfg(test)]
mod tests;
mod turns;
mod uri_queue;

/// The journal's number of a write, and its receipt.
pub type Seq = u64;

/// A route's way out, with bounds of its own. Writes are coalesced within one lane only, so a route that sends the same
/// key elsewhere since a change of the configuration is another lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(pub u32);

/// Where writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Upstream(pub u32);

/// Somebody who writes past the journal but in order, numbered by the caller; no number is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A write, as much of it as the queue must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<K> {
    /// Its number in the journal.
    pub seq: Seq,
    /// Whose line it stands in.
    pub key: K,
    /// Whose bounds hold for it.
    pub lane: Lane,
    /// Where it goes.
    pub upstream: Upstream,
    /// What it does.
    pub class: Class,
    /// What it takes while it is pending.
    pub bytes: u32,
    /// When it was accepted, since the Unix epoch.
    pub accepted: Duration,
}

/// Whether another write may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It may: what it takes is set aside.
    Yes,
    /// As much as is allowed is pending: it goes through, behind what is pending for its key
    /// ([`Queue::wait_turn`]).
    Full,
}

/// One write to be sent now. Its end must be told to [`Queue::answered`], or nothing follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send<K> {
    /// Which write.
    pub seq: Seq,
    /// Whose line it stands in.
    pub key: K,
    /// Which attempt it is since the start of the process, from 1.
    pub attempt: u32,
    /// The writes that are not sent, because this one overwrites them; in their order.
    pub supersedes: Vec<Seq>,
}

/// What the caller has to do after an event, in the order given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The write is done with, by itself or by the one that superseded it: put that in the journal. A crash before that
    /// is durable sends it again.
    Settle(Seq),
    /// The write is a dead letter: put that in the journal, and forget what the cache has of it. It must be durable before
    /// [`Queue::due`] is asked again: else a later write may be done, and after a crash this one be sent again and be
    /// done behind it.
    Bury {
        /// Which write.
        seq: Seq,
        /// The last answer's status, if there was an answer.
        status: Option<u16>,
        /// How often it was sent since the start of the process.
        attempts: u32,
        /// Why it is given up.
        reason: Reason,
    },
    /// This ticket holds its line now. What was settled before must be durable before it writes: else a crash would send
    /// an older write again, over what it wrote.
    Turn(Ticket),
}

/// What pending writes say to a read of their key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// None is pending.
    Clean,
    /// The state is that of the last pending write, a PUT or DELETE.
    Dirty {
        /// The last pending write.
        seq: Seq,
        /// What it does.
        class: Class,
    },
    /// A write is pending whose effect only the backend knows.
    Opaque,
}

/// A write that was given up, until a person revives or discards it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter<K> {
    /// The write.
    pub entry: Entry<K>,
    /// The last answer's status, if there was an answer.
    pub status: Option<u16>,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was given up, since the Unix epoch.
    pub at: Duration,
}

#[derive(Debug)]
struct Pending<K> {
    entry: Entry<K>,
    /// When its line need not wait for more to coalesce, if it stands in front.
    due: Moment,
    /// How often it was sent.
    attempts: u32,
}

/// All writes that are pending or dead.
#[derive(Debug)]
pub struct Queue<K> {
    lanes: BTreeMap<Lane, Waiting<K>>,
    lines: BTreeMap<K, UriQueue>,
    pending: BTreeMap<Seq, Pending<K>>,
    tickets: HashMap<Ticket, K>,
    dead: BTreeMap<Seq, DeadLetter<K>>,
    /// They, by when they died.
    dead_by_age: BTreeSet<(Duration, Seq)>,
    /// What they took while they were pending.
    dead_bytes: u64,
    keep: Keep,
    /// The upstreams that are down, each with the lines that sleep until it is up.
    down: HashMap<Upstream, BTreeMap<Slot, K>>,
    hurry: bool,
    /// How many writes are being sent to each upstream.
    in_flight: BTreeMap<Upstream, usize>,
    /// How many of these failed before.
    retrying: usize,
    slots: u64,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            lanes: BTreeMap::new(),
            lines: BTreeMap::new(),
            pending: BTreeMap::new(),
            tickets: HashMap::new(),
            dead: BTreeMap::new(),
            dead_by_age: BTreeSet::new(),
            dead_bytes: 0,
            keep: Keep::ALL,
            down: HashMap::new(),
            hurry: false,
            in_flight: BTreeMap::new(),
            retrying: 0,
            slots: 0,
        }
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// Bounds of a lane from now on; waits that have begun keep theirs. A lane never named has [`Limits::default`].
    pub fn set_lane(&mut self, lane: Lane, limits: Limits) {
        self.lane(lane).limits = limits;
    }

    /// Sets so much aside for a write that is on its way into the journal, if there is room; it counts like what is
    /// pending until it is [released](Self::release).
    #[must_use]
    pub fn reserve(&mut self, lane: Lane, bytes: u64) -> Room {
        let lane = self.lane(lane);
        if !lane.has_room(bytes) {
            return Room::Full;
        }
        lane.reserved_bytes = lane.reserved_bytes.saturating_add(bytes);
        Room::Yes
    }

    /// What was set aside is so no more: the write is accepted, or will not be.
    pub fn release(&mut self, lane: Lane, bytes: u64) {
        let lane = self.lane(lane);
        lane.reserved_bytes = lane.reserved_bytes.saturating_sub(bytes);
    }

    /// A pending write.
    #[must_use]
    pub fn get(&self, seq: Seq) -> Option<&Entry<K>> {
        self.pending.get(&seq).map(|write| &write.entry)
    }

    /// A write is in the journal: it goes to the end of its key's line. In the order of the journal, or a restart would
    /// send the writes of a key in another order. A number that is known already is ignored.
    pub fn accept(&mut self, entry: Entry<K>, now: Now) {
        let due = now.mono.saturating_add(self.lane(entry.lane).limits.flush_interval);
        let key = entry.key.clone();
        self.append(entry, due);
        // Nobody's turn can come by this: a line with a ticket in front is placed already.
        let _ = self.place(&key, None, now.mono);
    }

    /// What is to be sent now. Ask again after every event, and at [`next_due`](Self::next_due).
    #[must_use]
    pub fn due(&mut self, now: Now) -> Vec<Send<K>> {
        let mut sends = Vec::new();
        for (name, lane) in &mut self.lanes {
            while let Some((slot, key)) = lane.take_next(self.hurry, now.mono) {
                let Some(line) = self.lines.get_mut(&key) else { continue };
                let Some(upstream) = upstream_of(line, &self.pending) else { continue };
                if let Some(sleepers) = self.down.get_mut(&upstream) {
                    line.place = Step::Asleep(upstream, slot);
                    line.get_stuck(*name, lane);
                    sleepers.insert(slot, key);
                    continue;
                }
                let Some(send) = start(line, &mut self.pending) else { continue };
                debug_assert_eq!(self.pending.get(&send.seq).map(|write| write.entry.lane), Some(*name));
                lane.sent(now.mono);
                *self.in_flight.entry(upstream).or_default() += 1;
                self.retrying += usize::from(line.stuck.is_some());
                sends.push(send);
            }
        }
        sends
    }

    /// When to ask [`due`](Self::due) next, on the monotonic clock; a time that has passed: at once. `None`: not before
    /// something else happens.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        self.lanes.values().filter_map(|lane| lane.next_due(self.hurry)).min()
    }

    /// A write that was sent has come to an end; `dice`: an even number for the wait before another attempt. Ignored for
    /// a write that is not under way.
    #[must_use]
    pub fn answered(&mut self, seq: Seq, outcome: Outcome, now: Now, dice: u64) -> Vec<Effect> {
        let Some(write) = self.pending.get_mut(&seq) else { return Vec::new() };
        let (key, attempts) = (write.entry.key.clone(), write.attempts);
        let lane = self.lanes.entry(write.entry.lane).or_default();
        let Some(line) = self.lines.get_mut(&key) else { return Vec::new() };
        let Step::InFlight { sent, covers } = line.place else { return Vec::new() };
        if sent != seq {
            return Vec::new();
        }
        line.place = Step::Unplaced;
        lane.in_flight = lane.in_flight.saturating_sub(1);
        if let Some(in_flight) = self.in_flight.get_mut(&write.entry.upstream) {
            *in_flight = in_flight.saturating_sub(1);
        }
        self.retrying = self.retrying.saturating_sub(usize::from(line.stuck.is_some()));
        let bury = |status, reason| Some(Effect::Bury { seq, status, attempts, reason });
        let burial = match outcome {
            Outcome::Done => None,
            Outcome::Unsent => {
                write.attempts = write.attempts.saturating_sub(1);
                return self.rest(&key, None, now, dice);
            }
            Outcome::Retry { after, .. } if attempts < lane.limits.attempts_max.max(1) => {
                return self.rest(&key, after, now, dice);
            }
            Outcome::Retry { status, .. } => bury(status, Reason::AttemptsUsedUp),
            Outcome::Refused { status } => bury(Some(status), Reason::Refused),
        };
        line.failures = 0;
        self.unstick(&key);
        let mut effects: Vec<Effect> = self.finish(&key, covers).into_iter().map(Effect::Settle).collect();
        if let Some(burial) = burial
            && let Some(last) = effects.last_mut()
        {
            *last = burial;
        }
        self.take_out(&effects, now);
        effects.extend(self.place(&key, None, now.mono));
        effects
    }

    /// Whether health says that an upstream can be used; until told otherwise it can. While it can't, nothing is sent
    /// there, and no attempt is counted. What is resting after a failure rests on when it is back. So an upstream that is
    /// not configured any more is down, and what is for it stays.
    pub fn set_up(&mut self, upstream: Upstream, up: bool) {
        if !up {
            self.down.entry(upstream).or_default();
            return;
        }
        for (slot, key) in self.down.remove(&upstream).unwrap_or_default() {
            self.unstick(&key);
            let Some(line) = self.lines.get_mut(&key) else { continue };
            let Some(lane) = lane_of(line, &self.pending) else { continue };
            line.place = Step::Urgent(lane, slot);
            self.lanes.entry(lane).or_default().urgent.insert(slot, key);
        }
    }

    /// From now on nothing waits for others to be coalesced with (`true`: shutdown), or does again. What rests after a
    /// failure rests on.
    pub fn set_hurry(&mut self, hurry: bool) {
        self.hurry = hurry;
    }

    /// What pending writes say to a read of that key.
    #[must_use]
    pub fn state(&self, key: &K) -> KeyState {
        let Some(line) = self.lines.get(key) else { return KeyState::Clean };
        if line.others > 0 {
            return KeyState::Opaque;
        }
        match line.last_write().and_then(|seq| self.pending.get(&seq)) {
            Some(write) => KeyState::Dirty { seq: write.entry.seq, class: write.entry.class },
            None => KeyState::Clean,
        }
    }

    fn lane(&mut self, lane: Lane) -> &mut Waiting<K> {
        self.lanes.entry(lane).or_default()
    }

    /// A line whose write failed waits before it is sent again. Resting does not bring anybody's turn.
    fn rest(&mut self, key: &K, after: Option<Duration>, now: Now, dice: u64) -> Vec<Effect> {
        let Some(line) = self.lines.get_mut(key) else { return Vec::new() };
        let Some(lane) = lane_of(line, &self.pending) else { return Vec::new() };
        line.failures = line.failures.saturating_add(1);
        let waiting = self.lanes.entry(lane).or_default();
        line.get_stuck(lane, waiting);
        let until = now.mono.saturating_add(waiting.limits.backoff.wait(line.failures, after, dice));
        self.place(key, Some(until), now.mono).into_iter().collect()
    }

    /// A write joins the end of its line, which is not placed by that.
    fn append(&mut self, entry: Entry<K>, due: Duration) {
        if self.pending.contains_key(&entry.seq) || self.dead.contains_key(&entry.seq) {
            return;
        }
        let line = self.lines.entry(entry.key.clone()).or_insert_with(UriQueue::new);
        line.items.push_back(Item::Write(entry.seq));
        line.others += u32::from(entry.class == Class::Other);
        let lane = self.lanes.entry(entry.lane).or_default();
        lane.pending += 1;
        lane.pending_bytes = lane.pending_bytes.saturating_add(entry.bytes.into());
        self.pending.insert(entry.seq, Pending { entry, due: Moment::of(due), attempts: 0 });
    }

    /// The first writes of a line leave it, but are still pending.
    fn finish(&mut self, key: &K, covers: usize) -> Vec<Seq> {
        let Some(line) = self.lines.get_mut(key) else { return Vec::new() };
        let mut finished = Vec::with_capacity(covers);
        for _ in 0..covers {
            if let Some(Item::Write(seq)) = line.items.pop_front() {
                let is_other = self.pending.get(&seq).is_some_and(|write| write.entry.class == Class::Other);
                line.others = line.others.saturating_sub(u32::from(is_other));
                finished.push(seq);
            }
        }
        finished
    }

    /// Finished writes are no longer pending: settled or dead, as the effects say.
    fn take_out(&mut self, effects: &[Effect], now: Now) {
        for effect in effects {
            match effect {
                Effect::Settle(seq) => drop(self.take(*seq)),
                Effect::Bury { seq, status, attempts, .. } => {
                    if let Some(entry) = self.take(*seq) {
                        self.bury(DeadLetter { entry, status: *status, attempts: *attempts, at: now.wall });
                    }
                }
                Effect::Turn(_) => {}
            }
        }
    }

    /// One write is no longer pending; it has left its line before.
    fn take(&mut self, seq: Seq) -> Option<Entry<K>> {
        let entry = self.pending.remove(&seq)?.entry;
        let lane = self.lane(entry.lane);
        lane.pending = lane.pending.saturating_sub(1);
        lane.pending_bytes = lane.pending_bytes.saturating_sub(entry.bytes.into());
        Some(entry)
    }

    /// A line whose first item has changed waits where it should, not `before` that time; or it is the turn of the
    /// ticket in front; or it is gone. A line that waits somewhere already stays there.
    fn place(&mut self, key: &K, before: Option<Duration>, now: Duration) -> Option<Effect> {
        let line = self.lines.get_mut(key).filter(|line| line.place == Step::Unplaced)?;
        match line.items.front() {
            None => {
                self.lines.remove(key);
                None
            }
            Some(Item::Ticket(ticket)) => {
                line.place = Step::Held;
                Some(Effect::Turn(*ticket))
            }
            Some(Item::Write(seq)) => {
                let write = self.pending.get(seq)?;
                let lane = self.lanes.entry(write.entry.lane).or_default();
                self.slots += 1;
                let is_urgent = before.is_some() || line.tickets > 0;
                let due = before.or(is_urgent.then_some(now)).map_or(write.due, Moment::of);
                let slot = (due, self.slots);
                if is_urgent {
                    line.place = Step::Urgent(write.entry.lane, slot);
                    lane.urgent.insert(slot, key.clone());
                } else {
                    line.place = Step::Patient(write.entry.lane, slot);
                    lane.patient.insert(slot, key.clone());
                }
                None
            }
        }
    }
}

fn first<'a, K>(line: &UriQueue, pending: &'a BTreeMap<Seq, Pending<K>>) -> Option<&'a Entry<K>> {
    match line.items.front()? {
        Item::Write(seq) => pending.get(seq).map(|write| &write.entry),
        Item::Ticket(_) => None,
    }
}

fn lane_of<K>(line: &UriQueue, pending: &BTreeMap<Seq, Pending<K>>) -> Option<Lane> {
    first(line, pending).map(|entry| entry.lane)
}

fn upstream_of<K>(line: &UriQueue, pending: &BTreeMap<Seq, Pending<K>>) -> Option<Upstream> {
    first(line, pending).map(|entry| entry.upstream)
}

/// The first write of a line goes out, or the last of those that can be coalesced with it.
fn start<K: Clone>(line: &mut UriQueue, pending: &mut BTreeMap<Seq, Pending<K>>) -> Option<Send<K>> {
    let head = first(line, pending)?;
    let joins = |item: &Item| match item {
        Item::Write(seq) => pending.get(seq).is_some_and(|write| coalesce(head, &write.entry)),
        Item::Ticket(_) => false,
    };
    let covers = line.items.iter().skip(1).take_while(|item| joins(item)).count() + 1;
    let mut supersedes: Vec<Seq> = Vec::with_capacity(covers);
    for item in line.items.iter().take(covers) {
        if let Item::Write(seq) = item {
            supersedes.push(*seq);
        }
    }
    let seq = supersedes.pop()?;
    let write = pending.get_mut(&seq)?;
    write.attempts = write.attempts.saturating_add(1);
    line.place = Step::InFlight { sent: seq, covers };
    Some(Send { seq, key: write.entry.key.clone(), attempt: write.attempts, supersedes })
}

/// Whether the later one makes the earlier one needless, when it follows at once.
fn coalesce<K>(earlier: &Entry<K>, later: &Entry<K>) -> bool {
    let overwrite = earlier.class != Class::Other && later.class != Class::Other;
    overwrite && earlier.lane == later.lane && earlier.upstream == later.upstream
}
