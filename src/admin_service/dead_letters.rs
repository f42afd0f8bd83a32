//! The journal as people see it: what is pending, what was given up, and sending all of it now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use policy::write::kept::redacted;
use policy::write::queue::DeadLetter;
use policy::write::record::Write;

use super::{AdminService, milliseconds};
use crate::admin::api::{Details, Entry, Header, Page, State};
use crate::admin::{Part, Refusal};
use crate::write_queue::WriteQueue;
use crate::write_queue::held::UriId;

/// How often a flush looks whether it is over.
const FLUSH_LOOK: Duration = Duration::from_millis(50);

/// What is known of a write beside the write itself.
#[derive(Clone, Copy)]
struct Standing {
    seq: u64,
    state: State,
    attempts: u32,
    status: Option<u16>,
}

impl Standing {
    fn pending(seq: u64, attempts: u32) -> Self {
        Self { seq, state: State::Pending, attempts, status: None }
    }

    fn dead(letter: &DeadLetter<UriId>) -> Self {
        Self { seq: letter.entry.seq, state: State::Dead, attempts: letter.attempts, status: letter.status }
    }

    fn entry(self, write: &Write) -> Entry {
        let write = redacted(write);
        Entry {
            seq: self.seq,
            state: self.state,
            route: write.route.to_owned(),
            upstream: write.upstream.to_owned(),
            method: write.method.to_string(),
            target: write.target.to_owned(),
            body_bytes: write.body_bytes as u64,
            accepted_unix_ms: milliseconds(write.accepted),
            attempts: self.attempts,
            status: self.status,
            reason: self.reason(),
            next_attempt_unix_ms: None,
        }
    }

    /// Why it was given up.
    fn reason(self) -> Option<String> {
        match (self.state, self.status) {
            (State::Pending, _) => None,
            (State::Dead, Some(status)) => Some(format!("the backend answered {status}")),
            (State::Dead, None) => Some("no attempt was answered".to_owned()),
        }
    }
}

impl AdminService {
    /// What is written and not at its backend yet.
    pub(super) fn desk(&self) -> Result<Arc<WriteQueue>, Refusal> {
        let desk = self.generation.load().desk.clone();
        desk.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no journal: server.state_dir is not set"))
    }
}

/// A part of the journal.
pub(super) fn page(desk: &WriteQueue, part: Part) -> Page {
    let is_meant = |seq: u64, state: State| {
        part.after.is_none_or(|after| seq > after) && part.state.is_none_or(|meant| meant == state)
    };
    let (found, next) = desk.look(|queue, _| {
        let pending = queue.pending().map(|(entry, attempts)| Standing::pending(entry.seq, attempts));
        let mut found: Vec<Standing> = pending
            .filter(|one| is_meant(one.seq, State::Pending))
            .take(part.limit.saturating_add(1))
            .chain(
                queue
                    .dead()
                    .map(Standing::dead)
                    .filter(|one| is_meant(one.seq, State::Dead))
                    .take(part.limit.saturating_add(1)),
            )
            .collect();
        found.sort_unstable_by_key(|one| one.seq);
        let is_last = found.len() <= part.limit;
        found.truncate(part.limit);
        let next = found.last().filter(|_| !is_last).map(|one| one.seq);
        (found, next)
    });
    let entry = |one: Standing| Some(one.entry(&desk.write(one.seq)?.unpack()?));
    Page { entries: found.into_iter().filter_map(entry).collect(), next }
}

/// One write, with its headers.
pub(super) fn details(desk: &WriteQueue, seq: u64) -> Result<Details, Refusal> {
    let standing = desk.look(|queue, _| match queue.dead_letter(seq) {
        Some(letter) => Some(Standing::dead(letter)),
        None => {
            let (_, attempts) = queue.pending().find(|(entry, _)| entry.seq == seq)?;
            Some(Standing::pending(seq, attempts))
        }
    });
    let write = desk.write(seq).and_then(|queued| queued.unpack());
    let (Some(standing), Some(write)) = (standing, write) else { return Err(unknown()) };
    let headers = redacted(&write).headers.into_iter().map(|(name, value)| Header::shown(name, value)).collect();
    Ok(Details { entry: standing.entry(&write), headers })
}

/// Why this write can't be revived or discarded.
pub(super) fn no_letter(desk: &WriteQueue, seq: u64) -> Refusal {
    if desk.look(|_, writes| writes.contains_key(&seq)) {
        Refusal::new(StatusCode::CONFLICT, format!("write {seq} is pending, not a dead letter"))
    } else {
        unknown()
    }
}

fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is no such write")
}

/// The flushes that people ask for: until what is pending then has gone, nothing waits for its time.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    /// How many there were: the last one ends the hurry.
    count: AtomicU64,
    /// Whether the hurry is not ours to end any more.
    is_left: AtomicBool,
}

impl Flushing {
    /// Sends all now, and says how much is pending.
    pub(super) fn begin(self: &Arc<Self>, desk: &Arc<WriteQueue>) -> u64 {
        let pending = desk.set_hurry(true) as u64;
        let last = desk.look(|queue, _| queue.pending().map(|(entry, _)| entry.seq).last());
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let (flushing, desk) = (Arc::clone(self), Arc::downgrade(desk));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(FLUSH_LOOK).await;
                let Some(desk) = desk.upgrade() else { return };
                if flushing.is_left.load(Ordering::Relaxed) || flushing.count.load(Ordering::Relaxed) != number {
                    return;
                }
                let first = desk.look(|queue, _| queue.pending().next().map(|(entry, _)| entry.seq));
                if first.is_none_or(|first| last.is_none_or(|last| first > last)) {
                    desk.set_hurry(false);
                    return;
                }
            }
        });
        pending
    }

    /// Leaves the hurry as it is: the proxy drains.
    pub(super) fn leave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }
}
