//! What the journal's records are to the queue.

use http::Method;
use policy::write::class::Class;
use policy::write::queue::{Lane, QueueEntry, RecoveryEvent, UpstreamId};
use policy::write::record::{Payload, Record, frame_bytes};

pub(crate) fn entry_of(record: &Record) -> Option<QueueEntry<u8>> {
    let Payload::Write(write) = &record.payload else { return None };
    let write = write.unpack().unwrap();
    let class = match write.method {
        Method::PUT => Class::Put,
        Method::DELETE => Class::Delete,
        _ => Class::Other,
    };
    Some(QueueEntry {
        seq: record.seq,
        key: write.key[0],
        lane: Lane(write.route.parse().unwrap()),
        upstream: UpstreamId(write.upstream.parse().unwrap()),
        class,
        bytes: u32::try_from(frame_bytes(record)).unwrap(),
        accepted: write.accepted,
    })
}

pub(crate) fn event_of(record: &Record) -> RecoveryEvent<u8> {
    match &record.payload {
        Payload::Write(_) => RecoveryEvent::Write(entry_of(record).unwrap()),
        Payload::Settled { write } => RecoveryEvent::Settled(*write),
        Payload::Dead { write, status, attempts, at, .. } => {
            RecoveryEvent::Dead { seq: *write, status: *status, attempts: *attempts, at: *at }
        }
        Payload::Revived { write } => RecoveryEvent::Revived(*write),
        Payload::Discarded { write } => RecoveryEvent::Discarded(*write),
        Payload::Cancelled { write } => RecoveryEvent::Cancelled(*write),
    }
}
