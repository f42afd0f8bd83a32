//! A journal's files as a disk keeps them: what was synced survives a crash, of what was not any part of it may.

use std::collections::BTreeSet;

use fastrand::Rng;
use policy::write::queue::Seq;
use policy::write::record::{Payload, Record, Why, encode, scan};

const SEGMENT_BYTES: usize = 300;

/// What waits for the next sync.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Staged {
    Write(Seq),
    /// A write that nobody waits for any more: it is not to be acknowledged.
    Abandoned(Seq),
    Revive(Seq),
    Discard(Seq),
}

#[derive(Debug)]
struct Segment {
    mark: u64,
    bytes: Vec<u8>,
    synced: usize,
    writes: BTreeSet<Seq>,
}

/// All segments, oldest first.
#[derive(Debug)]
pub(crate) struct Disk {
    segments: Vec<Segment>,
    marks: u64,
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        let mut disk = Self { segments: Vec::new(), marks: seed << 32 | 0x5ee_d000 };
        disk.roll();
        disk
    }

    fn roll(&mut self) {
        self.sync();
        self.marks += 1;
        self.segments.push(Segment { mark: self.marks, bytes: Vec::new(), synced: 0, writes: BTreeSet::new() });
    }

    pub(crate) fn append(&mut self, record: &Record) {
        if self.segments.last().unwrap().bytes.len() > SEGMENT_BYTES {
            self.roll();
        }
        let segment = self.segments.last_mut().unwrap();
        encode(record, segment.mark, &mut segment.bytes).unwrap();
        if let Payload::Write(_) = record.payload {
            segment.writes.insert(record.seq);
        }
    }

    pub(crate) fn sync(&mut self) {
        if let Some(segment) = self.segments.last_mut() {
            segment.synced = segment.bytes.len();
        }
    }

    /// Power is cut: what was not synced is there up to any byte, and perhaps not as it was written.
    pub(crate) fn crash(&mut self, dice: &mut Rng) {
        let segment = self.segments.last_mut().unwrap();
        let kept = dice.usize(segment.synced..=segment.bytes.len());
        segment.bytes.truncate(kept);
        if kept > segment.synced && dice.u8(..4) == 0 {
            let spoilt = dice.usize(segment.synced..kept);
            segment.bytes[spoilt] ^= 1 << dice.u8(..8);
        }
    }

    /// All records that survive, in order. A torn tail is cut off, so that records can be appended again.
    pub(crate) fn read(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for segment in &mut self.segments {
            let mut sound = segment.bytes.len();
            segment.writes.clear();
            for found in scan(&segment.bytes, segment.mark) {
                match found {
                    Ok((_, record)) => {
                        if let Payload::Write(_) = record.payload {
                            segment.writes.insert(record.seq);
                        }
                        records.push(record);
                    }
                    Err(bad) if bad.why == Why::Torn => sound = bad.offset,
                    Err(_) => {}
                }
            }
            segment.bytes.truncate(sound);
        }
        self.sync();
        records
    }

    /// One bit of a note that a write is done turns over, in what was synced long ago.
    pub(crate) fn rot(&mut self, dice: &mut Rng) -> bool {
        let Some(segment) = dice.choice(&mut self.segments) else { return false };
        let notes = scan(&segment.bytes, segment.mark).filter_map(|found| {
            let (offset, record) = found.ok()?;
            matches!(record.payload, Payload::Settled { .. }).then_some(offset)
        });
        let Some(offset) = dice.choice(notes.collect::<Vec<_>>()) else { return false };
        if offset >= segment.synced {
            return false;
        }
        let spoilt = offset + dice.usize(..30);
        segment.bytes[spoilt] ^= 1 << dice.u8(..8);
        true
    }

    /// Segments without a live write are freed, the oldest first and none before an older one: the notes in it may be
    /// about writes of those before. What is settled must be on the disk by then. A write that stands in a later segment
    /// too does not hold back its first one.
    pub(crate) fn free(&mut self, is_live: impl Fn(Seq) -> bool) -> usize {
        self.sync();
        let mut freed = 0;
        while let [oldest, later @ ..] = self.segments.as_slice() {
            let is_copied = |seq: &Seq| later.iter().any(|segment| segment.writes.contains(seq));
            if later.is_empty() || oldest.writes.iter().any(|seq| is_live(*seq) && !is_copied(seq)) {
                break;
            }
            self.segments.remove(0);
            freed += 1;
        }
        freed
    }

    /// The record of a write, from wherever it stands.
    pub(crate) fn find(&self, seq: Seq) -> Record {
        let records = self.segments.iter().flat_map(|segment| scan(&segment.bytes, segment.mark));
        let is_it = |record: &Record| record.seq == seq && matches!(record.payload, Payload::Write(_));
        records.flatten().map(|(_, record)| record).find(is_it).unwrap()
    }

    /// The writes of the oldest segment, if it is not the one that is written to.
    pub(crate) fn oldest(&self) -> Vec<Seq> {
        if self.segments.len() < 2 { Vec::new() } else { self.segments[0].writes.iter().copied().collect() }
    }
}
