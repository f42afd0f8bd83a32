//! The journal in the admin API: pending writes, dead letters, and flushes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use policy::write::queue::DeadLetter;
use policy::write::record::Write;
use policy::write::retained::redacted;

use super::AdminService;
use super::numbers::milliseconds;
use crate::admin::api::{Details, Entry, Header, Page, State};
use crate::admin::{ApiError, JournalQuery};
use crate::write_queue::WriteQueue;
use crate::write_queue::held::UriId;

/// How often a flush checks whether it is over.
const FLUSH_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The state of a write in the queue, beside the write itself.
#[derive(Clone, Copy)]
struct WriteStatus {
    seq: u64,
    state: State,
    attempts: u32,
    status: Option<u16>,
}

impl WriteStatus {
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

    /// Why a write is a dead letter; `None` for a pending one.
    fn reason(self) -> Option<String> {
        match (self.state, self.status) {
            (State::Pending, _) => None,
            (State::Dead, Some(status)) => Some(format!("the backend answered {status}")),
            (State::Dead, None) => Some("no attempt was answered".to_owned()),
        }
    }
}

impl AdminService {
    /// The queue of writes that are not at their backend yet.
    ///
    /// # Errors
    /// When there is no journal (404).
    pub(super) fn write_queue(&self) -> Result<Arc<WriteQueue>, ApiError> {
        let write_queue = self.snapshot.load().desk.clone();
        write_queue
            .ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "there is no journal: server.state_dir is not set"))
    }
}

/// Lists the entries of the journal that a query selects.
pub(super) fn page(write_queue: &WriteQueue, query: JournalQuery) -> Page {
    let matches = |seq: u64, state: State| {
        query.after.is_none_or(|after| seq > after) && query.state.is_none_or(|wanted| wanted == state)
    };
    let (found, next) = write_queue.look(|queue, _| {
        let pending = queue.pending().map(|(entry, attempts)| WriteStatus::pending(entry.seq, attempts));
        let mut found: Vec<WriteStatus> = pending
            .filter(|write| matches(write.seq, State::Pending))
            .take(query.limit.saturating_add(1))
            .chain(
                queue
                    .dead()
                    .map(WriteStatus::dead)
                    .filter(|write| matches(write.seq, State::Dead))
                    .take(query.limit.saturating_add(1)),
            )
            .collect();
        found.sort_unstable_by_key(|write| write.seq);
        let is_last = found.len() <= query.limit;
        found.truncate(query.limit);
        let next = found.last().filter(|_| !is_last).map(|write| write.seq);
        (found, next)
    });
    let entry = |status: WriteStatus| Some(status.entry(&write_queue.write(status.seq)?.unpack()?));
    Page { entries: found.into_iter().filter_map(entry).collect(), next }
}

/// One write, with its headers.
pub(super) fn details(write_queue: &WriteQueue, seq: u64) -> Result<Details, ApiError> {
    let status = write_queue.look(|queue, _| match queue.dead_letter(seq) {
        Some(letter) => Some(WriteStatus::dead(letter)),
        None => {
            let (_, attempts) = queue.pending().find(|(entry, _)| entry.seq == seq)?;
            Some(WriteStatus::pending(seq, attempts))
        }
    });
    let write = write_queue.write(seq).and_then(|queued| queued.unpack());
    let (Some(status), Some(write)) = (status, write) else { return Err(no_such_write()) };
    let headers = redacted(&write).headers.into_iter().map(|(name, value)| Header::shown(name, value)).collect();
    Ok(Details { entry: status.entry(&write), headers })
}

/// The error for a write that can't be retried or discarded: it is pending (409), or does not exist (404).
pub(super) fn not_a_dead_letter(write_queue: &WriteQueue, seq: u64) -> ApiError {
    if write_queue.look(|_, writes| writes.contains_key(&seq)) {
        ApiError::new(StatusCode::CONFLICT, format!("write {seq} is pending, not a dead letter"))
    } else {
        no_such_write()
    }
}

fn no_such_write() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is no such write")
}

/// The flushes that operators have requested. Until all writes that are pending at a flush are sent, no write waits for
/// its flush interval.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    /// How many flushes were requested: only the last one ends the hurry.
    count: AtomicU64,
    /// Set when the proxy drains: then the hurry must not end.
    is_disabled: AtomicBool,
}

impl Flushing {
    /// Begins to send all pending writes at once, and returns how many there are.
    pub(super) fn begin(self: &Arc<Self>, write_queue: &Arc<WriteQueue>) -> u64 {
        let pending = write_queue.set_hurry(true) as u64;
        let last = write_queue.look(|queue, _| queue.pending().map(|(entry, _)| entry.seq).last());
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let (flushing, write_queue) = (Arc::clone(self), Arc::downgrade(write_queue));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(FLUSH_POLL_INTERVAL).await;
                let Some(write_queue) = write_queue.upgrade() else { return };
                if flushing.is_disabled.load(Ordering::Relaxed) || flushing.count.load(Ordering::Relaxed) != number {
                    return;
                }
                let first = write_queue.look(|queue, _| queue.pending().next().map(|(entry, _)| entry.seq));
                if first.is_none_or(|first| last.is_none_or(|last| first > last)) {
                    write_queue.set_hurry(false);
                    return;
                }
            }
        });
        pending
    }

    /// Keeps the flushes in progress from ending the hurry, because the proxy drains.
    pub(super) fn disable(&self) {
        self.is_disabled.store(true, Ordering::Relaxed);
    }
}
