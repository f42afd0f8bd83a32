//! Tracks which journal segments are still needed, and which to compact so that later ones can be removed.
//!
//! A segment is needed while it holds a pending write or a dead letter. What becomes of a write is recorded in a later
//! record, in the same segment or a later one. So a segment without live writes is needed, too, while its records
//! concern writes of an earlier segment that is kept. A single dead letter would therefore keep every later segment. To
//! avoid that, a segment is compacted from time to time: it is rewritten with its pending and dead writes only, so no
//! earlier record is needed for it. It keeps its number, so its writes keep their order. The oldest segment is
//! compacted first, and segments that are no longer needed are removed before the next one, because that one may hold
//! records about them.
//!
//! Compaction writes as many bytes as are live. It runs when more bytes than that have become unneeded since the last
//! run. So it writes no more bytes than clients have written.

use std::collections::BTreeMap;

use super::queue::Seq;
use super::record::{Packed, Payload, Record, TooLong, encode};

/// The position of a write's record. A segment is closed long before it reaches 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// Offset of the frame in the file.
    pub offset: u32,
    /// Length of the frame.
    pub bytes: u32,
}

/// One segment.
#[derive(Clone, Copy, Debug)]
struct SegmentState {
    /// The number of its writes that are pending or dead.
    live: usize,
    /// The length of their frames in bytes.
    live_bytes: u64,
    /// Whether part of it cannot be read.
    is_damaged: bool,
    /// The earliest segment that may hold records about its writes.
    noted_from: u64,
}

/// All segments of the journal.
#[derive(Debug)]
pub struct SegmentTable {
    segments: BTreeMap<u64, SegmentState>,
    /// The most unneeded bytes that may be kept before segments are compacted.
    spare_bytes_max: u64,
    /// The unneeded bytes that remained after the last compaction.
    spare_left: u64,
}

impl SegmentTable {
    /// A table without segments, which allows `spare_bytes_max` unneeded bytes.
    #[must_use]
    pub fn new(spare_bytes_max: u64) -> Self {
        Self { segments: BTreeMap::new(), spare_bytes_max, spare_left: 0 }
    }

    /// Adds a segment.
    pub fn add(&mut self, segment: u64, is_damaged: bool) {
        let new = SegmentState { live: 0, live_bytes: 0, is_damaged, noted_from: segment };
        self.segments.entry(segment).or_insert(new);
    }

    /// Adds a live write to its segment.
    pub fn put(&mut self, place: Position) {
        self.add(place.segment, false);
        let bytes = place.bytes.into();
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live += 1;
            segment.live_bytes = segment.live_bytes.saturating_add(bytes);
        }
    }

    /// Removes a write that is neither pending nor dead any more.
    pub fn remove_live(&mut self, place: Position) {
        let bytes = place.bytes.into();
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live = segment.live.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(bytes);
        }
    }

    /// Records that a segment was rewritten while `present` was the segment that records are appended to.
    pub fn compacted(&mut self, segment: u64, present: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            segment.noted_from = present;
            segment.is_damaged = false;
        }
    }

    /// Removes the segments before `present` that are not needed, and returns them, each with whether it is damaged. If
    /// `present` is not begun yet, the last one is kept as long as any other is: it shows which numbers are used.
    #[must_use]
    pub fn remove_unneeded(&mut self, present: u64, is_begun: bool) -> Vec<(u64, bool)> {
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

    /// The segments before `present` to compact, oldest first, each with whether it is damaged; `bytes` is their total
    /// length. Empty unless the bytes that have become unneeded since the last compaction exceed both the limit and the
    /// live bytes.
    #[must_use]
    pub fn worth_compacting(&mut self, present: u64, bytes: u64) -> Vec<(u64, bool)> {
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

    /// Whether a segment may be compacted now. Its records are dropped, so none of them may concern an earlier segment
    /// that still exists, even if that one is not needed.
    #[must_use]
    pub fn may_compact(&self, segment: u64) -> bool {
        self.segments.range(..segment).all(|(_, earlier)| earlier.noted_from > segment)
    }

    /// Records that compaction has ended, with `bytes` left before `present`.
    pub fn compaction_done(&mut self, present: u64, bytes: u64) {
        self.spare_left = bytes.saturating_sub(self.live_bytes(present));
    }

    /// Records that a segment could not be removed. It is kept from now on, together with the records about its writes:
    /// without those the writes would be sent again after a restart.
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

/// Appends a live write to a segment that is being rewritten, for a dead letter together with its `death` record.
///
/// # Errors
/// If the record is longer than a journal can hold; no record read from a journal is.
pub fn put_live(seq: Seq, write: Packed, death: Option<Payload>, mark: u64, into: &mut Vec<u8>) -> Result<(), TooLong> {
    encode(&Record { seq, payload: Payload::Write(write) }, mark, into)?;
    // The original number of the `death` record is unknown, and nothing uses it.
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
        assert_eq!(numbers(shelf.remove_unneeded(4, true)), [1]);
        shelf.remove_live(Position { segment: 2, offset: 0, bytes: 100 });
        assert_eq!(numbers(shelf.remove_unneeded(4, true)), [2, 3]);
    }

    #[test]
    fn once_that_is_thinned_only_notes_made_since_are_kept() {
        let mut shelf = shelf(&[(1, 1), (2, 0), (3, 1), (4, 0), (5, 0), (6, 0)]);
        shelf.compacted(1, 5);
        assert_eq!(numbers(shelf.remove_unneeded(6, true)), [2]);
        shelf.compacted(3, 6);
        assert_eq!(numbers(shelf.remove_unneeded(6, true)), [4]);
        shelf.compacted(1, 6);
        assert_eq!(numbers(shelf.remove_unneeded(6, true)), [5]);
    }

    #[test]
    fn the_last_number_stays_known() {
        assert_eq!(numbers(shelf(&[(1, 1), (2, 0)]).remove_unneeded(3, false)), [] as [u64; 0]);
        assert_eq!(numbers(shelf(&[(1, 0), (2, 0)]).remove_unneeded(3, false)), [1, 2]);
    }

    #[test]
    fn segments_are_thinned_when_most_of_them_is_in_nobody_s_need() {
        let mut shelf = shelf(&[(1, 1), (2, 0), (3, 2), (4, 5)]);
        assert_eq!(numbers(shelf.worth_compacting(4, SPARE_BYTES_MAX)), [] as [u64; 0]);
        assert_eq!(numbers(shelf.worth_compacting(4, SPARE_BYTES_MAX + 301)), [1, 3]);
    }

    #[test]
    fn what_is_needed_is_written_anew_for_as_much_that_came_since() {
        let mut shelf = shelf(&[(1, 20), (2, 0)]);
        assert_eq!(numbers(shelf.worth_compacting(3, 2_000 + 2_000)), [] as [u64; 0], "as much is needed");
        assert_eq!(numbers(shelf.worth_compacting(3, 2_000 + 2_001)), [1]);
        shelf.compaction_done(3, 2_000 + 500);
        assert_eq!(numbers(shelf.worth_compacting(4, 2_000 + 2_500)), [] as [u64; 0], "500 were there before");
        assert_eq!(numbers(shelf.worth_compacting(4, 2_000 + 2_501)), [1]);
    }

    #[test]
    fn a_segment_is_thinned_only_when_the_notes_in_it_are_about_none_before_it() {
        let mut shelf = shelf(&[(1, 1), (2, 0), (3, 1), (4, 0)]);
        assert!(shelf.may_compact(1) && !shelf.may_compact(3));
        shelf.compacted(1, 4);
        assert!(
            !shelf.may_compact(3),
            "the second is still there, and what became of its writes may stand in the third"
        );
        assert_eq!(numbers(shelf.remove_unneeded(4, true)), [2]);
        assert!(shelf.may_compact(3));
    }

    #[test]
    fn what_can_t_be_removed_keeps_the_notes_behind_it() {
        let mut shelf = shelf(&[(1, 0), (2, 0), (3, 0)]);
        assert_eq!(numbers(shelf.remove_unneeded(3, true)), [1, 2]);
        shelf.keep(1, false);
        shelf.add(2, false);
        assert_eq!(numbers(shelf.remove_unneeded(3, true)), [] as [u64; 0]);
    }
}
