//! What the journal's records are to the queue.

use http::Method;
use policy::write::class::Class;
use policy::write::queue::{Entry, Event, Lane, Upstream};
use policy::write::record::{Payload, Record, frame_bytes};

pub(crate) fn entry_of(record: &Record) -> Option<Entry<u8>> {
    let Payload::Write(write) = &record.payload else { return None };
    let write = write.unpack().unwrap();
    let class = match write.method {
        Method::PUT => Class::Put,
        Method::DELETE => Class::Delete,
        _ => Class::Other,
    };
    Some(Entry {
        seq: record.seq,
        key: write.key[0],
        lane: Lane(write.route.parse().unwrap()),
        upstream: Upstream(write.upstream.parse().unwrap()),
        class,
        bytes: u32::try_from(frame_bytes(record)).unwrap(),
        accepted: write.accepted,
    })
}

pub(crate) fn event_of(record: &Record) -> Event<u8> {
    match &record.payload {
        Payload::Write(_) => Event::Write(entry_of(record).unwrap()),
        Payload::Settled { write } => Event::Settled(*write),
        Payload::Dead { write, status, attempts, at, .. } => {
            Event::Dead { seq: *write, status: *status, attempts: *attempts, at: *at }
        }
        Payload::Revived { write } => Event::Revived(*write),
        Payload::Discarded { write } => Event::Discarded(*write),
        Payload::Cancelled { write } => Event::Cancelled(*write),
    }
}
