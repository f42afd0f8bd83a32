//! Which segments are still needed, and which are made small so that those behind them need not be kept.
//!
//! A segment is needed while a write in it is pending or dead. What has become of a write is noted behind it, in the same
//! segment or a later one: so a segment in which nothing is pending is needed, too, while the notes in it are about
//! writes of an earlier one that is kept. One dead letter would keep all that is written after it. Therefore a segment
//! is written anew now and then, with what is still pending or dead of it only: then no note that was made before is
//! needed for it. It keeps its name, and so its writes their order. This is done to the oldest first, and what is not
//! needed behind it is removed before the next, since the notes in that may be about it.
//!
//! That costs as much writing as there is pending or dead, and is done once more than that has been written since the last
//! time and is not needed any more: so it writes no byte for more than one that came.

use std::collections::BTreeMap;

use super::queue::Seq;
use super::record::{Packed, Payload, Record, TooLong, encode};

/// Where a write's record is. A segment is ended long before it has 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// Where its frame begins in the file.
    pub offset: u32,
    /// How many bytes its frame takes.
    pub bytes: u32,
}

/// One segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// How many of its writes are pending or dead.
    live: usize,
    /// How many bytes these take.
    live_bytes: u64,
    /// Whether some of it can't be read.
    is_damaged: bool,
    /// The notes about its writes stand in this segment or in later ones.
    noted_from: u64,
}

/// All segments that are there.
#[derive(Debug)]
pub struct SegmentTable {
    segments: BTreeMap<u64, Segment>,
    /// How many bytes may be kept that are not needed, before segments are made small.
    spare_bytes_max: u64,
    /// How many were kept the last time that this was done.
    spare_left: u64,
}

impl SegmentTable {
    /// One without segments, on which so many bytes may be kept that are not needed.
    #[must_use]
    pub fn new(spare_bytes_max: u64) -> Self {
        Self { segments: BTreeMap::new(), spare_bytes_max, spare_left: 0 }
    }

    /// A segment is there.
    pub fn add(&mut self, segment: u64, is_damaged: bool) {
        let new = Segment { live: 0, live_bytes: 0, is_damaged, noted_from: segment };
        self.segments.entry(segment).or_insert(new);
    }

    /// A write is in it.
    pub fn put(&mut self, place: Position) {
        self.add(place.segment, false);
        let bytes = place.bytes.into();
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live += 1;
            segment.live_bytes = segment.live_bytes.saturating_add(bytes);
        }
    }

    /// A write in it is neither pending nor dead any more.
    pub fn let_go(&mut self, place: Position) {
        let bytes = place.bytes.into();
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live = segment.live.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
        }
    }

    /// It was written anew when `present` was the one that notes go into.
    pub fn thinned(&mut self, segment: u64, present: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.noted_from = present;
            segment.is_damaged = false;
        }
    }

    /// Takes those off that nobody needs, of those before `present`; with each, whether it is damaged. If there is no
    /// present one yet, the last is kept along with any other: it tells which numbers are used.
    #[must_use]
    pub fn unneeded(&mut self, present: u64, is_begun: bool) -> Vec<(u64, bool)> {
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

    /// Those to be made small, oldest first, where `bytes` are in all before `present`; with each, whether it is damaged.
    /// None, unless there has come more to spare since the last time than may be kept and than is needed.
    #[must_use]
    pub fn worth_thinning(&mut self, present: u64, bytes: u64) -> Vec<(u64, bool)> {
        let live = self.live_bytes(present);
        let spare = bytes.saturating_sub(live);
        self.spare_left = self.spare_left.min(spare);
        let fresh = spare - self.spare_left;
        if fresh <= self.spare_bytes_max || fresh <= live {
            return Vec::new();
        }
        let kept = self.segments.range(..present).filter(|(_, segment)| segment.live > 0);
        kept.map(|(number, segment)| (*number, segment.is_damaged)).collect()
    }

    /// Whether a segment may be made small now: the notes in it go, so none of them may be about an earlier segment that is
    /// still there, even if that is not needed.
    #[must_use]
    pub fn may_thin(&self, segment: u64) -> bool {
        self.segments.range(..segment).all(|(_, earlier)| earlier.noted_from > segment)
    }

    /// All that could be made small is so, and `bytes` are still in all before `present`.
    pub fn thinning_done(&mut self, present: u64, bytes: u64) {
        self.spare_left = bytes.saturating_sub(self.live_bytes(present));
    }

    /// It could not be removed. It is kept from now on, and with it the notes about its writes: without them these would be
    /// sent again after a restart.
    pub fn keep(&mut self, segment: u64, is_damaged: bool) {
        self.add(segment, is_damaged);
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.live += 1;
        }
    }

    fn live_bytes(&self, present: u64) -> u64 {
        self.segments.range(..present).map(|(_, segment)| segment.live_bytes).sum()
    }
}

/// Puts a write that is pending, or dead with this note of its death, into a segment that is written anew.
///
/// # Errors
/// When it is longer than a journal can hold, which none is that was in one before.
pub fn put_live(seq: Seq, write: Packed, death: Option<Payload>, mark: u64, into: &mut Vec<u8>) -> Result<(), TooLong> {
    encode(&Record { seq, payload: Payload::Write(write) }, mark, into)?;
    // The number of the note that this stands for is not known any more; nobody asks for it.
    match death {
        Some(payload) => encode(&Record { seq, payload }, mark, into),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPARE_BYTES_MAX: u64 = 1_000;

    fn shelf(live: &[(u64, usize)]) -> SegmentTable {
        let mut shelf = SegmentTable::new(SPARE_BYTES_MAX);
        for (segment, live) in live {
            shelf.add(*segment, false);
            (0..*live).for_each(|_| shelf.put(Position { segment: *segment, offset: 0, bytes: 100 }));
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
        shelf.let_go(Position { segment: 2, offset: 0, bytes: 100 });
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
        let mut shelf = shelf(&[(1, 1), (2, 0), (3, 2), (4, 5)]);
        assert_eq!(numbers(shelf.worth_thinning(4, SPARE_BYTES_MAX)), [] as [u64; 0]);
        assert_eq!(numbers(shelf.worth_thinning(4, SPARE_BYTES_MAX + 301)), [1, 3]);
    }

    #[test]
    fn what_is_needed_is_written_anew_for_as_much_that_came_since() {
        let mut shelf = shelf(&[(1, 20), (2, 0)]);
        assert_eq!(numbers(shelf.worth_thinning(3, 2_000 + 2_000)), [] as [u64; 0], "as much is needed");
        assert_eq!(numbers(shelf.worth_thinning(3, 2_000 + 2_001)), [1]);
        shelf.thinning_done(3, 2_000 + 500);
        assert_eq!(numbers(shelf.worth_thinning(4, 2_000 + 2_500)), [] as [u64; 0], "500 were there before");
        assert_eq!(numbers(shelf.worth_thinning(4, 2_000 + 2_501)), [1]);
    }

    #[test]
    fn a_segment_is_thinned_only_when_the_notes_in_it_are_about_none_before_it() {
        let mut shelf = shelf(&[(1, 1), (2, 0), (3, 1), (4, 0)]);
        assert!(shelf.may_thin(1) && !shelf.may_thin(3));
        shelf.thinned(1, 4);
        assert!(!shelf.may_thin(3), "the second is still there, and what became of its writes may stand in the third");
        assert_eq!(numbers(shelf.unneeded(4, true)), [2]);
        assert!(shelf.may_thin(3));
    }

    #[test]
    fn what_can_t_be_removed_keeps_the_notes_behind_it() {
        let mut shelf = shelf(&[(1, 0), (2, 0), (3, 0)]);
        assert_eq!(numbers(shelf.unneeded(3, true)), [1, 2]);
        shelf.keep(1, false);
        shelf.add(2, false);
        assert_eq!(numbers(shelf.unneeded(3, true)), [] as [u64; 0]);
    }
}
