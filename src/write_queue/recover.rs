//! Recovers the write queue from the journal at start.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::sync::Arc;

use policy::write::class::Class;
use policy::write::fingerprint::fingerprint;
use policy::write::queue::{Lane, Queue, RecoveryEvent, UpstreamId};
use policy::write::record::{BadHead, DamageKind, Payload, Record, SegmentHead, Write, frame_bytes, mark_behind, scan};
use policy::write::segment_table::Position;

use super::held::{Held, UriId, cost_of};
use super::queued::Queued;
use super::segments::{Directory, OpenError, identity};

/// The recovered state.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The journal's identity.
    pub journal: u128,
    /// The queue of pending writes and dead letters.
    pub queue: Queue<UriId>,
    /// Pending writes and dead letters, by number.
    pub writes: BTreeMap<u64, Held>,
    /// The next number to use.
    pub next_seq: u64,
    /// The existing segments in order, each with whether it is damaged.
    pub segments: Vec<(u64, bool)>,
    /// The names that the queue knows by number.
    pub names: NameLists,
    /// Writes that were dead letters once and were revived.
    pub revived: HashSet<u64>,
}

/// The names of the writes' upstreams and routes: the queue knows them by their index.
#[derive(Debug, Default)]
pub(crate) struct NameLists {
    /// A write's [`UpstreamId`] is an index.
    pub upstreams: Vec<Box<str>>,
    /// A write's [`Lane`] is an index.
    pub routes: Vec<Box<str>>,
}

/// The gap in numbers at each start. A power failure may have lost records of writes that a backend has received under
/// an idempotency key with their number. No other write may use such a number.
const SEQ_GAP: u64 = 1_000_000;

/// Reads all segments; `secret` is the key of the fingerprints. Damage is reported in the event log, and only the
/// damaged records are lost.
///
/// # Errors
/// If a file cannot be read, or was written by a later version.
pub(crate) fn recover(directory: &Directory, secret: UriId) -> Result<Recovered, OpenError> {
    let mut reading = Recovery { secret, ..Recovery::default() };
    let segments = directory.segments()?;
    for path in directory.damaged_segments()? {
        tracing::error!("journal: {} is damaged; nothing in it is pending any more", path.display());
    }
    let mut seen = Vec::new();
    for segment in segments {
        let path = directory.path(segment);
        let bytes = fs::read(&path).map_err(OpenError::io(&path))?;
        let is_damaged = match SegmentHead::read(&bytes) {
            Ok((head, frames)) => {
                reading.journal.get_or_insert(head.journal);
                reading.next_seq = reading.next_seq.max(head.first_seq);
                reading.segment(directory, segment, frames, head.mark)
            }
            Err(BadHead::Torn) => false,
            Err(BadHead::Corrupt) => {
                tracing::error!("journal: {}: its head is damaged", path.display());
                if let Some((mark, frames)) = mark_behind(&bytes) {
                    reading.segment(directory, segment, frames, mark);
                }
                true
            }
            Err(why @ (BadHead::Foreign | BadHead::Version(_))) => return Err(OpenError::Foreign { path, why }),
        };
        seen.push((segment, is_damaged));
    }
    Ok(reading.done(seen))
}

#[derive(Default)]
struct Recovery {
    secret: UriId,
    journal: Option<u128>,
    next_seq: u64,
    events: Vec<RecoveryEvent<UriId>>,
    writes: BTreeMap<u64, Held>,
    names: NameLists,
    revived: HashSet<u64>,
}

impl Recovery {
    /// Reads the records of a segment; returns whether it is damaged.
    fn segment(&mut self, directory: &Directory, segment: u64, frames: &[u8], mark: u64) -> bool {
        let mut is_damaged = false;
        for found in scan(frames, mark) {
            match found {
                Ok((offset, record)) => {
                    let short = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
                    let (offset, bytes) = (short(SegmentHead::BYTES + offset), short(frame_bytes(&record)));
                    self.record(Position { segment, offset, bytes }, record);
                }
                // Not only the last segment can end like this: after a failed write, a segment is closed and the next
                // one begun.
                Err(bad) if bad.why == DamageKind::Torn => {
                    self.used(bad.seq);
                    let whole = SegmentHead::BYTES + bad.offset;
                    tracing::warn!("journal: segment {segment} ends in {} bytes of an unfinished record", bad.bytes);
                    if let Err(error) = directory.cut(segment, whole as u64) {
                        tracing::error!("journal: the unfinished record can't be cut off: {error}");
                    }
                }
                Err(bad) => {
                    is_damaged = true;
                    self.used(bad.seq);
                    let path = directory.path(segment);
                    let offset = SegmentHead::BYTES + bad.offset;
                    let (bytes, why) = (bad.bytes, bad.why);
                    tracing::error!("journal: {}: {bytes} bytes at offset {offset}: {why}", path.display());
                }
            }
        }
        is_damaged
    }

    fn used(&mut self, seq: Option<u64>) {
        self.next_seq = self.next_seq.max(seq.map_or(0, |seq| seq.saturating_add(1)));
    }

    fn record(&mut self, place: Position, record: Record) {
        self.used(Some(record.seq));
        let event = match record.payload {
            Payload::Write(packed) => {
                let queued = Queued::new(packed);
                let Some(write) = queued.head() else { return };
                let uri = fingerprint(&self.secret, &write.key);
                let bytes = cost_of(&queued);
                let entry = entry(&write, record.seq, uri, bytes, &mut self.names);
                self.writes.insert(record.seq, Held { write: Some(Arc::new(queued)), place });
                RecoveryEvent::Write(entry)
            }
            Payload::Cancelled { write } => RecoveryEvent::Cancelled(write),
            Payload::Settled { write } => RecoveryEvent::Settled(write),
            Payload::Dead { write, status, attempts, at, reason: _ } => {
                RecoveryEvent::Dead { seq: write, status, attempts, at }
            }
            Payload::Revived { write } => {
                self.revived.insert(write);
                RecoveryEvent::Revived(write)
            }
            Payload::Discarded { write } => RecoveryEvent::Discarded(write),
        };
        self.events.push(event);
    }

    fn done(mut self, segments: Vec<(u64, bool)>) -> Recovered {
        let queue = Queue::recover(self.events);
        let mut known: HashSet<u64> = queue.pending().map(|(entry, _)| entry.seq).collect();
        known.extend(queue.dead().map(|letter| letter.entry.seq));
        self.writes.retain(|seq, _| known.contains(seq));
        for (_, held) in self.writes.iter_mut().filter(|(seq, _)| queue.dead_letter(**seq).is_some()) {
            held.write = None;
        }
        self.revived.retain(|seq| known.contains(seq));
        Recovered {
            journal: self.journal.unwrap_or_else(identity),
            queue,
            writes: self.writes,
            next_seq: if self.journal.is_some() { self.next_seq.saturating_add(SEQ_GAP) } else { 1 },
            segments,
            names: self.names,
            revived: self.revived,
        }
    }
}

/// The queue's entry for a write, with its number, URI and cost. Adds unknown names to the lists.
pub(crate) fn entry(
    write: &Write,
    seq: u64,
    key: UriId,
    bytes: u32,
    names: &mut NameLists,
) -> policy::write::queue::QueueEntry<UriId> {
    let class = match write.method {
        http::Method::PUT => Class::Put,
        http::Method::DELETE => Class::Delete,
        _ => Class::Other,
    };
    policy::write::queue::QueueEntry {
        seq,
        key,
        lane: Lane(place(&mut names.routes, &write.route)),
        upstream: UpstreamId(place(&mut names.upstreams, &write.upstream)),
        class,
        bytes,
        accepted: write.accepted,
    }
}

fn place(names: &mut Vec<Box<str>>, name: &str) -> u32 {
    let known = names.iter().position(|known| **known == *name);
    let place = known.unwrap_or_else(|| {
        names.push(name.into());
        names.len() - 1
    });
    u32::try_from(place).unwrap_or(u32::MAX)
}
