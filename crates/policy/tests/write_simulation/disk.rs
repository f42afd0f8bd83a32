//! A journal's files as a disk keeps them: what was synced survives a crash, of what was not any part of it may.

use std::collections::BTreeMap;

use fastrand::Rng;
use policy::write::queue::Seq;
use policy::write::record::{DamageKind, Payload, Record, encode, frame_bytes, scan};
use policy::write::segment_table::{Position, SegmentTable, put_live};

const SEGMENT_BYTES: usize = 300;
/// How much may be kept that is not needed, before segments are made small.
const SPARE_BYTES: u64 = 400;

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
}

/// All segments by number; the last is the one that is written to.
#[derive(Debug)]
pub(crate) struct Disk {
    segments: BTreeMap<u64, Segment>,
    marks: u64,
    shelf: SegmentTable,
    /// Where each write stands that is there.
    places: BTreeMap<Seq, Position>,
    /// Those of them that are pending or dead.
    held: BTreeMap<Seq, Position>,
    /// What there was at the last start, and has been written since.
    written: u64,
    /// What of it was written anew.
    rewritten: u64,
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        let mut disk = Self {
            segments: BTreeMap::new(),
            marks: seed << 32 | 0x5ee_d000,
            shelf: SegmentTable::new(SPARE_BYTES),
            places: BTreeMap::new(),
            held: BTreeMap::new(),
            written: 0,
            rewritten: 0,
        };
        disk.roll();
        disk
    }

    fn roll(&mut self) {
        self.sync();
        self.marks += 1;
        let number = self.marks;
        self.segments.insert(number, Segment { mark: self.marks, bytes: Vec::new(), synced: 0 });
        self.shelf.add(number, false);
    }

    fn present(&mut self) -> (u64, &mut Segment) {
        let (number, segment) = self.segments.iter_mut().next_back().unwrap();
        (*number, segment)
    }

    pub(crate) fn append(&mut self, record: &Record) {
        if self.present().1.bytes.len() > SEGMENT_BYTES {
            self.roll();
        }
        let (segment, Segment { mark, bytes, .. }) = self.present();
        let start = bytes.len();
        encode(record, *mark, bytes).unwrap();
        let length = bytes.len() - start;
        self.written += length as u64;
        if let Payload::Write(_) = record.payload {
            self.places.insert(record.seq, place(segment, start, length));
        }
    }

    pub(crate) fn sync(&mut self) {
        if let Some(mut segment) = self.segments.last_entry() {
            segment.get_mut().synced = segment.get().bytes.len();
        }
    }

    /// A write is pending: it was acknowledged.
    pub(crate) fn hold(&mut self, seq: Seq) {
        let place = self.places[&seq];
        self.shelf.put(place);
        self.held.insert(seq, place);
    }

    /// A write is neither pending nor dead any more.
    pub(crate) fn remove_live(&mut self, seq: Seq) {
        if let Some(place) = self.held.remove(&seq) {
            self.shelf.remove_live(place);
        }
    }

    /// Power is cut: what was not synced is there up to any byte, and perhaps not as it was written.
    pub(crate) fn crash(&mut self, dice: &mut Rng) {
        let (_, segment) = self.present();
        let kept = dice.usize(segment.synced..=segment.bytes.len());
        segment.bytes.truncate(kept);
        if kept > segment.synced && dice.u8(..4) == 0 {
            let spoilt = dice.usize(segment.synced..kept);
            segment.bytes[spoilt] ^= 1 << dice.u8(..8);
        }
    }

    /// All records that survive, in order. A torn tail is cut off, and another segment is begun.
    pub(crate) fn read(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        self.places.clear();
        for (number, segment) in &mut self.segments {
            let mut sound = segment.bytes.len();
            for found in scan(&segment.bytes, segment.mark) {
                match found {
                    Ok((offset, record)) => {
                        if let Payload::Write(_) = record.payload {
                            self.places.insert(record.seq, place(*number, offset, frame_bytes(&record)));
                        }
                        records.push(record);
                    }
                    Err(bad) if bad.why == DamageKind::Torn => sound = bad.offset,
                    Err(_) => {}
                }
            }
            segment.bytes.truncate(sound);
        }
        self.roll();
        records
    }

    /// After a start: only these are pending or dead.
    pub(crate) fn hold_only(&mut self, live: impl Iterator<Item = Seq>) {
        self.shelf = SegmentTable::new(SPARE_BYTES);
        self.segments.keys().for_each(|number| self.shelf.add(*number, false));
        self.held.clear();
        live.for_each(|seq| self.hold(seq));
        (self.written, self.rewritten) = (self.segments.values().map(|segment| segment.bytes.len() as u64).sum(), 0);
    }

    /// One bit of a note that a write is done turns over, in what was synced long ago.
    pub(crate) fn rot(&mut self, dice: &mut Rng) -> bool {
        let Some(segment) = dice.choice(self.segments.values_mut()) else { return false };
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

    /// The segments that nobody needs any more, oldest first.
    pub(crate) fn remove_unneeded(&mut self) -> Vec<u64> {
        let (present, _) = self.present();
        self.shelf.remove_unneeded(present, true).into_iter().map(|(number, _)| number).collect()
    }

    pub(crate) fn remove(&mut self, segment: u64) {
        self.segments.remove(&segment);
    }

    /// The segments to be made small, oldest first.
    pub(crate) fn worth_compacting(&mut self) -> Vec<u64> {
        let bytes = self.bytes_before();
        let (present, _) = self.present();
        self.shelf.worth_compacting(present, bytes).into_iter().map(|(number, _)| number).collect()
    }

    pub(crate) fn may_compact(&self, segment: u64) -> bool {
        self.shelf.may_compact(segment)
    }

    fn bytes_before(&mut self) -> u64 {
        let (present, _) = self.present();
        self.segments.range(..present).map(|(_, segment)| segment.bytes.len() as u64).sum()
    }

    /// The writes in a segment that are pending or dead.
    pub(crate) fn held_in(&self, segment: u64) -> Vec<Seq> {
        let of_it = self.held.iter().filter(|(_, place)| place.segment == segment);
        of_it.map(|(seq, _)| *seq).collect()
    }

    /// A segment is written anew, in one step, with these only, each with the note of its death if it is dead.
    pub(crate) fn thin(&mut self, segment: u64, live: Vec<(Seq, Option<Payload>)>) {
        let old = self.segments.remove(&segment).unwrap();
        self.marks += 1;
        let mark = self.marks;
        let mut bytes = Vec::new();
        for (seq, death) in live {
            let found = self.held[&seq];
            let frame = &old.bytes[found.offset as usize..][..found.bytes as usize];
            let Some(Ok((0, Record { seq: same, payload: Payload::Write(write) }))) = scan(frame, old.mark).next()
            else {
                panic!("{seq} is not at {found:?}");
            };
            assert_eq!(same, seq);
            let start = bytes.len();
            put_live(seq, write, death, mark, &mut bytes).unwrap();
            self.held.insert(seq, Position { offset: u32::try_from(start).unwrap(), ..found });
            self.rewritten += u64::from(found.bytes);
            self.written += (bytes.len() - start) as u64 - u64::from(found.bytes);
        }
        assert!(self.rewritten <= self.written, "{} bytes are written anew for {}", self.rewritten, self.written);
        self.segments.insert(segment, Segment { mark, synced: bytes.len(), bytes });
        let (present, _) = self.present();
        self.shelf.compacted(segment, present);
    }

    /// All that could be made small is so.
    pub(crate) fn compaction_done(&mut self) {
        let bytes = self.bytes_before();
        let (present, _) = self.present();
        self.shelf.compaction_done(present, bytes);
    }

    /// How many bytes there are before the present segment that are no write which is pending or dead.
    pub(crate) fn spare_bytes(&mut self) -> u64 {
        let (present, _) = self.present();
        let live = self.held.values().filter(|place| place.segment < present).map(|place| u64::from(place.bytes));
        let live: u64 = live.sum();
        self.bytes_before() - live
    }
}

fn place(segment: u64, offset: usize, bytes: usize) -> Position {
    Position { segment, offset: u32::try_from(offset).unwrap(), bytes: u32::try_from(bytes).unwrap() }
}
