//! Which segments are still needed, and which are made small so that those behind them need not be kept.
//!
//! A segment is needed while a write in it is pending or dead. What has become of a write is noted behind it, in the same
//! segment or a later one: so a segment in which nothing is pending is needed, too, while the notes in it are about
//! writes of an earlier one that is kept. One dead letter would keep all that is written after it. Therefore a segment
//! is written anew now and then, with what is still pending or dead of it only: then no note that was made before is
//! needed for it. It keeps its name, and so its writes their order.

use std::collections::BTreeMap;
use std::io;

use policy::write::record::{Payload, Record, SegmentHead, encode};

use super::desk::Live;
use super::segments::Directory;
use crate::observe::dice;

/// How many bytes may be kept that nothing is pending in, before segments are made small.
const SPARE_BYTES_MAX: u64 = 256 << 20;

/// Where a write's record is. A segment is ended long before it has 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The segment's number.
    pub(super) segment: u64,
    /// Where its frame begins in the file.
    pub(super) offset: u32,
    /// How many bytes its frame takes.
    pub(super) bytes: u32,
}

/// One segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// How many of its writes are pending or dead.
    pub(super) live: usize,
    /// How many bytes these take.
    pub(super) live_bytes: u64,
    /// Whether some of it can't be read.
    pub(super) is_damaged: bool,
    /// The notes about its writes stand in this segment or in later ones.
    noted_from: u64,
}

/// All segments that are there.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    segments: BTreeMap<u64, Segment>,
}

impl Shelf {
    /// A segment is there.
    pub(super) fn add(&mut self, segment: u64, is_damaged: bool) {
        let new = Segment { live: 0, live_bytes: 0, is_damaged, noted_from: segment };
        self.segments.entry(segment).or_insert(new);
    }

    /// A write is in it.
    pub(super) fn put(&mut self, place: Place) {
        self.add(place.segment, false);
        let bytes = place.bytes.into();
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live += 1;
            segment.live_bytes = segment.live_bytes.saturating_add(bytes);
        }
    }

    /// A write in it is neither pending nor dead any more.
    pub(super) fn let_go(&mut self, place: Place) {
        let bytes = place.bytes.into();
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live = segment.live.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
        }
    }

    /// It was written anew when `present` was the one that notes go into.
    pub(super) fn thinned(&mut self, segment: u64, present: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.noted_from = present;
            segment.is_damaged = false;
        }
    }

    /// Takes those off that nobody needs, of those before `present`; with each, whether it is damaged. If there is no
    /// present one yet, the last is kept along with any other: it tells which numbers are used.
    pub(super) fn unneeded(&mut self, present: u64, is_begun: bool) -> Vec<(u64, bool)> {
        let mut noted_from = u64::MAX;
        let mut unneeded = Vec::new();
        for (number, segment) in self.segments.range(..present) {
            if segment.live == 0 && *number < noted_from {
                unneeded.push((*number, segment.is_damaged));
            } else {
                noted_from = noted_from.min(segment.noted_from);
            }
        }
        let is_all = unneeded.len() == self.segments.len();
        let last = self.segments.keys().next_back().copied();
        if !is_begun && !is_all {
            unneeded.retain(|(number, _)| Some(*number) != last);
        }
        for (number, _) in &unneeded {
            self.segments.remove(number);
        }
        unneeded
    }

    /// Those to be made small, oldest first, where `bytes` are in all before `present`: none, unless most of that is in
    /// nobody's need.
    pub(super) fn to_thin(&self, present: u64, bytes: u64) -> Vec<(u64, bool)> {
        let live: u64 = self.segments.range(..present).map(|(_, segment)| segment.live_bytes).sum();
        let spare = bytes.saturating_sub(live);
        if spare <= SPARE_BYTES_MAX || spare <= live {
            return Vec::new();
        }
        let kept = self.segments.range(..present).filter(|(_, segment)| segment.live > 0);
        kept.map(|(number, segment)| (*number, segment.is_damaged)).collect()
    }
}

/// A segment's bytes, and where each write stands in it.
type Segmented = (Vec<u8>, Vec<(u64, Place)>);

/// The bytes of a segment that holds these only, and where they stand in it. Those that are on the disk only are read.
///
/// # Errors
/// When one can't be read, or is longer than a journal can hold, which none is that was in one before.
pub(super) fn anew(journal: u128, directory: &Directory, live: Vec<Live>) -> io::Result<Segmented> {
    let mark = dice::roll();
    let first_seq = live.first().map_or(0, |live| live.seq);
    let mut bytes = Vec::new();
    let mut places = Vec::with_capacity(live.len());
    SegmentHead { journal, first_seq, mark }.encode(&mut bytes);
    for Live { seq, write, place, death } in live {
        let packed = match write {
            Some(write) => write.packed().clone(),
            None => directory.read(place, seq)?,
        };
        let offset = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        encode(&Record { seq, payload: Payload::Write(packed) }, mark, &mut bytes).map_err(io::Error::other)?;
        places.push((seq, Place { offset, ..place }));
        // The number of the note that this stands for is not known any more; nobody asks for it.
        if let Some(payload) = death {
            encode(&Record { seq, payload }, mark, &mut bytes).map_err(io::Error::other)?;
        }
    }
    Ok((bytes, places))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use policy::write::record::{Packed, Write, frame_bytes};

    use super::super::desk::{Desk, Found};
    use super::super::queued::Queued;
    use super::*;

    fn record(seq: u64, key: &str) -> Record {
        Record { seq, payload: Payload::Write(write(key).packed().clone()) }
    }

    fn write(key: &str) -> Arc<Queued> {
        Arc::new(Queued::new(Packed::of(&Write {
            route: "/".into(),
            upstream: "b".into(),
            key: key.as_bytes().into(),
            method: http::Method::PUT,
            target: "/".into(),
            headers: Vec::new(),
            body: key.to_owned().into(),
            accepted: Duration::from_secs(1),
        })))
    }

    #[test]
    fn a_thinned_segment_says_the_same_of_what_is_left() {
        let state = std::env::temp_dir().join(format!("forebay-shelf-{}", std::process::id()));
        std::fs::create_dir_all(&state).unwrap();
        let directory = Directory::open(&state).unwrap();
        directory.begin(3, &SegmentHead { journal: 7, first_seq: 20, mark: 1 }).unwrap();
        let death = Payload::Dead {
            write: 22,
            status: Some(422),
            attempts: 1,
            reason: Box::default(),
            at: Duration::from_secs(2),
        };
        let bytes = u32::try_from(frame_bytes(&record(21, "a"))).unwrap();
        let place = Place { segment: 3, offset: 0, bytes };
        let pending = Live { seq: 21, write: Some(write("a")), place, death: None };
        let dead = Live { seq: 22, write: Some(write("b")), place, death: Some(death.clone()) };
        let (text, places) = anew(7, &directory, vec![pending, dead]).unwrap();
        directory.replace(3, &text, true).unwrap();
        assert_eq!(directory.read(places[0].1, 21).unwrap(), *write("a").packed());
        let stale = places[1].1;
        assert_eq!(directory.read(stale, 22).unwrap(), *write("b").packed());
        directory.read(stale, 21).unwrap_err();
        // Once more, with the dead one from the disk.
        let pending = Live { seq: 21, write: Some(write("a")), place, death: None };
        let dead = Live { seq: 22, write: None, place: stale, death: Some(death) };
        let (text, places) = anew(7, &directory, vec![pending, dead]).unwrap();
        assert_eq!(places[1].1, stale);
        std::fs::remove_file(directory.aside().unwrap().remove(0)).unwrap();
        directory.replace(3, &text, true).unwrap();
        assert_eq!(directory.aside().unwrap().len(), 1);
        assert_eq!(directory.next_segment().unwrap(), 4);
        drop(directory);
        let desk = Desk::open(&state).unwrap();
        assert_eq!(desk.journal().identity(), 7);
        assert_eq!((desk.counts().pending, desk.counts().dead), (1, 1));
        assert!(matches!(desk.find(b"a"), Found::Dirty(21, write) if write.unpack().unwrap().body == "a"));
        assert!(matches!(desk.find(b"b"), Found::Clean));
        assert!(desk.look(|_, writes| writes[&22].write.is_none()), "a dead letter is on the disk only");
        assert_eq!(desk.write(22).unwrap().unpack().unwrap().body, "b");
        let live = desk.live_in(3).unwrap();
        let told: Vec<(u64, bool)> = live.iter().map(|live| (live.seq, live.death.is_some())).collect();
        assert_eq!(told, [(21, false), (22, true)]);
        desk.journal().close();
        std::fs::remove_dir_all(&state).unwrap();
    }

    fn shelf(live: &[(u64, usize)]) -> Shelf {
        let mut shelf = Shelf::default();
        for (segment, live) in live {
            shelf.add(*segment, false);
            (0..*live).for_each(|_| shelf.put(Place { segment: *segment, offset: 0, bytes: 100 }));
        }
        shelf
    }

    fn numbers(unneeded: Vec<(u64, bool)>) -> Vec<u64> {
        unneeded.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn a_segment_that_holds_notes_of_an_earlier_one_is_kept() {
        let mut shelf = shelf(&[(1, 0), (2, 1), (3, 0), (4, 0)]);
        assert_eq!(numbers(shelf.unneeded(4, true)), [1]);
        shelf.let_go(Place { segment: 2, offset: 0, bytes: 100 });
        assert_eq!(numbers(shelf.unneeded(4, true)), [2, 3]);
    }

    #[test]
    fn once_that_is_thinned_only_notes_made_since_are_kept() {
        let mut shelf = shelf(&[(1, 1), (2, 0), (3, 1), (4, 0), (5, 0), (6, 0)]);
        shelf.thinned(1, 5);
        assert_eq!(numbers(shelf.unneeded(6, true)), [2]);
        shelf.thinned(3, 6);
        assert_eq!(numbers(shelf.unneeded(6, true)), [4]);
        shelf.thinned(1, 6);
        assert_eq!(numbers(shelf.unneeded(6, true)), [5]);
    }

    #[test]
    fn the_last_number_stays_known() {
        assert_eq!(numbers(shelf(&[(1, 1), (2, 0)]).unneeded(3, false)), [] as [u64; 0]);
        assert_eq!(numbers(shelf(&[(1, 0), (2, 0)]).unneeded(3, false)), [1, 2]);
    }

    #[test]
    fn segments_are_thinned_when_most_of_them_is_in_nobody_s_need() {
        let shelf = shelf(&[(1, 1), (2, 0), (3, 2), (4, 5)]);
        assert_eq!(numbers(shelf.to_thin(4, SPARE_BYTES_MAX)), [] as [u64; 0]);
        assert_eq!(numbers(shelf.to_thin(4, SPARE_BYTES_MAX + 301)), [1, 3]);
    }
}
