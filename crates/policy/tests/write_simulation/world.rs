//! One history: everything that can happen, one step after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use fastrand::Rng;
use http::{Method, StatusCode};
use policy::time::Now;
use policy::write::outcome::{Backoff, Outcome, classify};
use policy::write::queue::{
    Effect, KeyState, Lane, LaneLimits, Queue, RecoveryEvent, Room, Send, Seq, Ticket, UpstreamId,
};
use policy::write::record::{Packed, Payload, Record, Write};

use crate::Seen;
use crate::disk::{Disk, Staged};
use crate::reading::{entry_of, event_of};
use crate::stuck;
use crate::truth::{Truth, Who};

mod upkeep;

const KEYS: u8 = 3;
const LANES: u32 = 2;

pub(crate) struct World {
    queue: Queue<u8>,
    disk: Disk,
    truth: Truth,
    dice: Rng,
    now: Duration,
    limits: LaneLimits,
    staged: Vec<Staged>,
    flying: BTreeMap<u8, Send<u8>>,
    waiting: BTreeMap<Ticket, u8>,
    down: BTreeSet<UpstreamId>,
    next: u64,
    /// Few writes, so that lines are often empty.
    is_calm: bool,
    /// One write in so many goes past the journal.
    through_odds: u8,
    /// Notes may be damaged in this history; then nobody goes past the journal, since only the notes tell that an old
    /// write must not be sent after that.
    rots: bool,
    pub(crate) seen: Seen,
}

impl World {
    pub(crate) fn new(seed: u64, seen: Seen) -> Self {
        let mut dice = Rng::with_seed(seed);
        let limits = LaneLimits {
            flush_interval: Duration::from_millis(dice.u64(..5_000)),
            pending_bytes_max: dice.u64(500..4_000),
            concurrency_max: dice.usize(1..3),
            rate_max: NonZeroU32::new(dice.u32(..40)),
            attempts_max: dice.u32(1..5),
            backoff: Backoff { base: Duration::from_millis(500), max: Duration::from_secs(4) },
        };
        let (is_calm, through_odds) = (dice.bool(), dice.u8(2..20));
        let rots = dice.u8(..5) == 0;
        let mut world = Self {
            queue: Queue::default(),
            disk: Disk::new(seed),
            truth: Truth::default(),
            dice,
            now: Duration::from_secs(1),
            limits,
            staged: Vec::new(),
            flying: BTreeMap::new(),
            waiting: BTreeMap::new(),
            down: BTreeSet::new(),
            next: 1,
            is_calm,
            through_odds,
            rots,
            seen,
        };
        world.configure();
        world
    }

    fn configure(&mut self) {
        (0..LANES).for_each(|lane| self.queue.set_lane(Lane(lane), self.limits));
        self.down.iter().for_each(|upstream| self.queue.set_up(*upstream, false));
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: self.now + Duration::from_secs(1_000_000) }
    }

    fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn step(&mut self) {
        match self.dice.u8(..100) {
            0..13 => self.write(),
            13..26 if !self.is_calm => self.write(),
            13..26 => self.answer_any(),
            26..42 => self.sync(),
            42..58 => self.send(),
            58..74 => self.answer_any(),
            74..82 => self.now += Duration::from_millis(self.dice.u64(..2_500)),
            82..84 => self.crash(),
            84..88 => self.flip_health(),
            88..91 => self.finish_any_turn(),
            91 => self.abandon_any(),
            92..94 => self.leave_any(),
            94..97 => self.stage_for_a_dead_letter(),
            97 => self.free(),
            98 if self.dice.bool() => self.drop_dead_letters(),
            98 => self.queue.set_hurry(self.dice.bool()),
            _ => self.rot(),
        }
    }

    fn write(&mut self) {
        let key = self.dice.u8(..KEYS);
        let method = [Method::PUT, Method::PUT, Method::DELETE, Method::POST][self.dice.usize(..4)].clone();
        let lane = (u32::from(key) % LANES) ^ u32::from(self.dice.u8(..12) == 0);
        let write = Write {
            route: lane.to_string().into(),
            upstream: u32::from(self.dice.u8(..8) == 0).to_string().into(),
            key: Box::new([key]),
            method,
            target: "/".into(),
            headers: Vec::new(),
            body: vec![key; self.dice.usize(..40)].into(),
            accepted: self.now().wall,
        };
        let record = Record { seq: self.number(), payload: Payload::Write(Packed::of(&write)) };
        let entry = entry_of(&record).unwrap();
        if self.dice.u8(..self.through_odds) == 0 {
            return self.go_through(key);
        }
        if self.queue.reserve(entry.lane, entry.bytes.into()) == Room::Full {
            self.see("full");
            return self.go_through(key);
        }
        self.disk.append(&record);
        self.staged.push(Staged::Write(record.seq));
        self.truth.known.insert(record.seq, entry);
    }

    fn go_through(&mut self, key: u8) {
        if self.rots {
            return;
        }
        let ticket = Ticket(self.number());
        let is_alone = self.truth.line(key).is_empty();
        self.truth.joins(key, Who::Through(ticket));
        self.waiting.insert(ticket, key);
        assert_eq!(self.queue.wait_turn(&key, ticket, self.now()), is_alone);
        if is_alone {
            self.see("turn at once");
            self.disk.sync();
        }
    }

    /// One group commit: all that was staged is durable, is given to the queue in its order, and acknowledged.
    fn sync(&mut self) {
        self.disk.sync();
        for staged in std::mem::take(&mut self.staged) {
            match staged {
                Staged::Write(seq) => {
                    let entry = self.truth.known[&seq].clone();
                    self.queue.release(entry.lane, entry.bytes.into());
                    self.truth.joins(entry.key, Who::Write(seq));
                    self.truth.acknowledged.insert(seq);
                    self.see("acknowledged");
                    self.disk.hold(seq);
                    self.queue.accept(entry, self.now());
                }
                Staged::Abandoned(seq) => {
                    let entry = &self.truth.known[&seq];
                    self.queue.release(entry.lane, entry.bytes.into());
                    self.truth.cancelled.insert(seq);
                    self.see("cancelled");
                }
                Staged::Revive(seq) => {
                    let is_dead = self.truth.dead.remove(&seq);
                    assert_eq!(self.queue.revive(seq, self.now()), is_dead);
                    if is_dead {
                        self.see("revived");
                        let key = self.truth.known[&seq].key;
                        self.truth.joins(key, Who::Write(seq));
                        self.truth.revived.insert(seq);
                    }
                }
                Staged::Discard(seq) => {
                    let is_dead = self.truth.dead.remove(&seq);
                    assert_eq!(self.queue.discard(seq), is_dead);
                    if is_dead {
                        self.see("discarded");
                        self.disk.remove_live(seq);
                        self.truth.ended.insert(seq);
                    }
                }
            }
        }
    }

    fn send(&mut self) {
        for send in self.queue.due(self.now()) {
            let entry = &self.truth.known[&send.seq];
            assert_eq!(entry.key, send.key);
            assert!(!self.down.contains(&entry.upstream), "{send:?} goes to an upstream that is down");
            assert!(self.truth.acknowledged.contains(&send.seq), "{send:?} is not durable");
            self.truth.check_send(send.key, send.seq, &send.supersedes);
            let again = self.truth.ended.contains(&send.seq);
            self.see("sent");
            if again {
                self.see("sent again after a crash");
            }
            let other = self.flying.insert(send.key, send);
            assert_eq!(other, None, "two are in flight for one key");
        }
        let due = self.queue.next_due();
        assert!(due.is_none_or(|due| due > self.now), "{due:?} is due at {:?}, but nothing is sent", self.now);
        for lane in (0..LANES).map(Lane) {
            let in_flight = self.flying.values().filter(|send| self.truth.known[&send.seq].lane == lane).count();
            assert!(in_flight <= self.limits.concurrency_max);
            assert_eq!(in_flight, self.queue.lane_counts(lane).in_flight);
        }
    }

    fn answer_any(&mut self) {
        let keys: Vec<u8> = self.flying.keys().copied().collect();
        let Some(key) = self.dice.choice(keys) else { return };
        let status = [200, 200, 204, 404, 422, 429, 500, 503][self.dice.usize(..8)];
        let after = (self.dice.u8(..2) == 0).then(|| Duration::from_secs(self.dice.u64(..9)));
        match self.dice.u8(..12) {
            0 => self.answer(key, false, Outcome::Unsent),
            1 => self.answer(key, false, Outcome::Retry { status: None, after: None }),
            2 => self.answer(key, true, Outcome::Retry { status: None, after: None }),
            3 => self.answer(key, true, Outcome::Retry { status: Some(502), after }),
            _ => {
                let class = self.truth.class(self.flying[&key].seq);
                let outcome = classify(class, StatusCode::from_u16(status).unwrap(), after);
                self.answer(key, outcome == Outcome::Done, outcome);
            }
        }
        if self.truth.line(key).is_empty() && self.dice.u8(..8) == 0 {
            self.go_through(key);
        }
    }

    fn answer(&mut self, key: u8, is_applied: bool, outcome: Outcome) {
        let Some(send) = self.flying.remove(&key) else { return };
        if is_applied {
            self.truth.apply(key, Who::Write(send.seq), outcome == Outcome::Done);
        }
        match outcome {
            Outcome::Unsent => self.see("unsent"),
            Outcome::Retry { .. } if is_applied => self.see("applied unnoticed"),
            Outcome::Retry { .. } => self.see("retried"),
            Outcome::Refused { .. } => self.see("refused"),
            Outcome::Done => self.see("settled"),
        }
        let dice = self.dice.u64(..);
        let effects = self.queue.attempt_ended(send.seq, outcome, self.now(), dice);
        let ended = effects.iter().filter(|effect| !matches!(effect, Effect::Turn(_))).count();
        assert!(ended == 0 || ended == send.supersedes.len() + 1, "{effects:?} of {send:?}");
        assert!(self.queue.attempt_ended(send.seq, outcome, self.now(), dice).is_empty(), "{send:?} is answered twice");
        for effect in effects {
            self.obey(effect, &send);
        }
    }

    fn obey(&mut self, effect: Effect, send: &Send<u8>) {
        let payload = match effect {
            Effect::Settle(seq) => {
                self.truth.ends(seq);
                self.truth.ended.insert(seq);
                if seq != send.seq {
                    self.see("superseded");
                } else {
                    assert!(self.truth.was_applied(seq), "{seq} is settled but was never done");
                }
                Payload::Settled { write: seq }
            }
            Effect::MarkDead { seq, status, attempts, reason } => {
                assert_eq!(seq, send.seq);
                assert_eq!(attempts, send.attempt);
                self.truth.ends(seq);
                self.truth.dead.insert(seq);
                let group: Vec<Who> = send.supersedes.iter().chain([&seq]).map(|seq| Who::Write(*seq)).collect();
                self.truth.excuse(send.key, &group);
                if attempts == self.limits.attempts_max {
                    self.see("attempts used up");
                }
                Payload::Dead { write: seq, status, attempts, reason: reason.to_string().into(), at: self.now().wall }
            }
            Effect::Turn(ticket) => return self.turn(ticket),
        };
        let is_burial = matches!(payload, Payload::Dead { .. });
        if let Payload::Settled { write } = payload {
            self.disk.remove_live(write);
        }
        let record = Record { seq: self.number(), payload };
        self.disk.append(&record);
        if is_burial {
            self.disk.sync();
        }
    }

    /// Only when what was settled before is durable does anybody write past the journal.
    fn turn(&mut self, ticket: Ticket) {
        assert!(self.queue.turn(ticket));
        let key = self.waiting[&ticket];
        assert_eq!(self.truth.line(key).first(), Some(&Who::Through(ticket)));
        self.see("turn later");
        self.disk.sync();
    }

    fn finish_any_turn(&mut self) {
        let holders: Vec<Ticket> = self.waiting.keys().copied().filter(|ticket| self.queue.turn(*ticket)).collect();
        let Some(ticket) = self.dice.choice(holders) else { return };
        self.finish_turn(ticket);
        // A crash tells most right after somebody was answered.
        if self.dice.u8(..4) == 0 {
            self.crash();
        }
    }

    fn finish_turn(&mut self, ticket: Ticket) {
        let key = self.waiting[&ticket];
        assert!(!self.flying.contains_key(&key), "{key} is held, but a write is in flight");
        self.truth.apply(key, Who::Through(ticket), true);
        let effect = self.queue.finished(ticket, self.now());
        self.gone(ticket, effect);
    }

    fn leave_any(&mut self) {
        let tickets: Vec<Ticket> = self.waiting.keys().copied().collect();
        let Some(ticket) = self.dice.choice(tickets) else { return };
        if self.queue.turn(ticket) && self.dice.bool() {
            self.truth.apply(self.waiting[&ticket], Who::Through(ticket), false);
            self.truth.excuse(self.waiting[&ticket], &[Who::Through(ticket)]);
        }
        self.see("left");
        let effect = self.queue.leave(ticket, self.now());
        self.gone(ticket, effect);
    }

    fn gone(&mut self, ticket: Ticket, effect: Option<Effect>) {
        let key = self.waiting.remove(&ticket).unwrap();
        self.truth.line(key).retain(|who| *who != Who::Through(ticket));
        match effect {
            Some(Effect::Turn(next)) => self.turn(next),
            Some(Effect::Settle(_) | Effect::MarkDead { .. }) => panic!("a ticket settles nothing"),
            None => {}
        }
    }

    fn flip_health(&mut self) {
        let upstream = UpstreamId(u32::from(self.dice.u8(..4) == 0));
        let is_up = self.down.remove(&upstream);
        if !is_up {
            self.down.insert(upstream);
        }
        self.queue.set_up(upstream, is_up);
    }

    fn crash(&mut self) {
        self.see("crashed");
        for (key, send) in std::mem::take(&mut self.flying) {
            if self.dice.bool() {
                self.truth.apply(key, Who::Write(send.seq), false);
            }
        }
        for (ticket, key) in std::mem::take(&mut self.waiting) {
            if self.queue.turn(ticket) && self.dice.bool() {
                self.truth.apply(key, Who::Through(ticket), false);
                self.truth.excuse(key, &[Who::Through(ticket)]);
            }
        }
        self.disk.crash(&mut self.dice);
        self.restart();
    }

    fn restart(&mut self) {
        let records = self.disk.read();
        let events: Vec<RecoveryEvent<u8>> = records.iter().map(event_of).collect();
        let written = |record: &Record| matches!(record.payload, Payload::Write(_)).then_some(record.seq);
        let durable: BTreeSet<Seq> = records.iter().filter_map(written).collect();
        // What is durable counts as acknowledged from now on, though its client may not know.
        self.truth.acknowledged.extend(&durable);
        self.truth.restart(&events);
        let mut risen = BTreeSet::new();
        for staged in std::mem::take(&mut self.staged) {
            match staged {
                Staged::Write(seq) if durable.contains(&seq) => self.truth.rank(Who::Write(seq)),
                Staged::Write(_) => self.see("lost unacknowledged"),
                Staged::Abandoned(seq) if self.truth.is_pending(seq) => {
                    self.truth.rank(Who::Write(seq));
                    self.see("cancelled in vain");
                }
                Staged::Abandoned(_) => {}
                Staged::Revive(seq) if self.truth.is_pending(seq) => {
                    self.truth.revived.insert(seq);
                    if risen.insert(seq) {
                        self.truth.rank(Who::Write(seq));
                    }
                }
                Staged::Revive(_) | Staged::Discard(_) => {}
            }
        }
        self.queue = Queue::recover(events);
        let pending = self.queue.pending().map(|(entry, _)| entry.seq);
        self.disk.hold_only(pending.chain(self.queue.dead().map(|letter| letter.entry.seq)));
        self.configure();
        self.see("recovered");
        let queued: BTreeSet<Seq> = self.queue.pending().map(|(entry, _)| entry.seq).collect();
        assert_eq!(queued, self.truth.pending().into_iter().collect());
    }

    fn reserved_bytes(&self) -> u64 {
        let waiting = self.staged.iter().map(|staged| match staged {
            Staged::Write(seq) | Staged::Abandoned(seq) => self.truth.known[seq].bytes.into(),
            Staged::Revive(_) | Staged::Discard(_) => 0,
        });
        waiting.sum()
    }

    pub(crate) fn check(&mut self) {
        let counts = self.queue.counts();
        let pending = self.truth.pending();
        assert_eq!(counts.pending, pending.len());
        assert_eq!(counts.pending_bytes, pending.iter().map(|seq| u64::from(self.truth.known[seq].bytes)).sum::<u64>());
        assert_eq!(counts.reserved_bytes, self.reserved_bytes());
        assert_eq!(counts.in_flight, self.flying.len());
        assert_eq!(counts.tickets, self.waiting.len());
        stuck::check(&self.queue, LANES);
        assert_eq!(counts.keys, self.truth.lines.values().filter(|line| !line.is_empty()).count());
        let dead: Vec<Seq> = self.queue.dead().map(|letter| letter.entry.seq).collect();
        assert!(dead.iter().eq(&self.truth.dead), "{dead:?} are dead, not {:?}", self.truth.dead);
        assert!(!pending.iter().any(|seq| self.truth.dead.contains(seq)), "pending and dead");
        for key in 0..KEYS {
            let state = self.queue.state(&key);
            assert_eq!(state, self.truth.state(key), "of {key}");
            match state {
                KeyState::Clean => {}
                KeyState::Dirty { .. } => self.see("dirty"),
                KeyState::Opaque => self.see("opaque"),
            }
        }
        for _ in 0..counts.asleep {
            self.see("slept");
        }
    }

    /// Peace: all is up, the backend does what it is asked, and the queue is followed by what it says is due.
    pub(crate) fn end(&mut self) {
        if self.dice.bool() {
            self.crash();
        }
        std::mem::take(&mut self.down).into_iter().for_each(|upstream| self.queue.set_up(upstream, true));
        self.flush();
        self.disk.sync();
        self.restart();
        assert!(self.rots || self.truth.pending().is_empty(), "what is settled stays so");
        self.flush();
    }

    fn flush(&mut self) {
        for _ in 0..10_000 {
            self.sync();
            self.send();
            let holder = self.waiting.keys().copied().find(|ticket| self.queue.turn(*ticket));
            if let Some(key) = self.flying.keys().next().copied() {
                self.answer(key, true, Outcome::Done);
            } else if let Some(ticket) = holder {
                self.finish_turn(ticket);
            } else if let Some(due) = self.queue.next_due() {
                self.now = self.now.max(due);
            } else {
                break;
            }
            self.check();
        }
        assert!(self.waiting.is_empty(), "{:?} wait for ever", self.waiting);
        self.truth.check_end();
    }
}
