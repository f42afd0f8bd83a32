//! Finding the records of a segment again, also behind damage.
//!
//! What is not sound is told, with its place, and never taken for a record; whether the tail is then cut off, and
//! whether a damaged segment is kept, is the caller's business.

use super::fields::{self, Rest, Unread};
use super::{FRAME_HEAD_BYTES, PAYLOAD_BYTES_MAX, Record};

/// A stretch of a segment that holds no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes at offset {offset}: {why}")]
pub struct Bad {
    /// Where it begins, counted from where the scan did.
    pub offset: usize,
    /// How long it is.
    pub bytes: usize,
    /// The number of the record that stood here, where that can still be read.
    pub seq: Option<u64>,
    /// What is wrong.
    pub why: Why,
}

/// Why a stretch holds no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The end of a frame is missing, or was never written: what a crash leaves behind. Only at the end of a segment.
    #[error("the record was not written to its end")]
    Torn,
    /// A checksum is wrong.
    #[error("the record is damaged")]
    Corrupt,
    /// The record is sound, but of a kind that this version doesn't know.
    #[error("the record is of a kind that this forebay does not know ({0})")]
    Kind(u8),
    /// The record is sound, but its fields make no sense.
    #[error("the record's fields make no sense")]
    Malformed,
}

/// The records of a segment, in order; made by [`scan`].
#[derive(Clone, Debug)]
pub struct Scan<'a> {
    bytes: &'a [u8],
    mark: u64,
    offset: usize,
}

/// Goes through what follows a segment's head. Each record comes with the offset of its frame.
///
/// A record whose content is damaged is skipped by its length. Where a frame's head is damaged, the search goes on for
/// the next sound one: no matter what was hit, all frames that are whole are found. A cut-off tail ends it. Each byte is
/// looked at a fixed number of times.
#[must_use]
pub fn scan(bytes: &[u8], mark: u64) -> Scan<'_> {
    Scan { bytes, mark, offset: 0 }
}

impl Iterator for Scan<'_> {
    type Item = Result<(usize, Record), Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        let offset = self.offset;
        let rest = self.bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        match Head::read(rest, self.mark) {
            Some(head) => Some(self.frame(offset, rest, head)),
            None => Some(Err(self.lost(offset, rest))),
        }
    }
}

impl Scan<'_> {
    /// A frame whose head is sound.
    fn frame(&mut self, offset: usize, rest: &[u8], head: Head) -> Result<(usize, Record), Bad> {
        let bad = |bytes, why| Bad { offset, bytes, seq: Some(head.seq), why };
        let payload = rest.get(FRAME_HEAD_BYTES..).and_then(|payload| payload.get(..head.payload_bytes));
        let Some(payload) = payload else {
            self.offset = self.bytes.len();
            return Err(bad(rest.len(), Why::Torn));
        };
        let bytes = FRAME_HEAD_BYTES + head.payload_bytes;
        self.offset = offset + bytes;
        if crc32fast::hash(payload) != head.payload_sum {
            return Err(bad(bytes, Why::Corrupt));
        }
        match fields::read(head.kind, payload) {
            Ok(payload) => Ok((offset, Record { seq: head.seq, payload })),
            Err(Unread::Kind) => Err(bad(bytes, Why::Kind(head.kind))),
            Err(Unread::Malformed) => Err(bad(bytes, Why::Malformed)),
        }
    }

    /// A stretch without a sound head: up to the next one, or to the end.
    fn lost(&mut self, offset: usize, rest: &[u8]) -> Bad {
        let next = self.next_head(rest);
        let bytes = next.unwrap_or(rest.len());
        self.offset = offset + bytes;
        let why = if next.is_none() && is_unwritten(rest, self.mark) { Why::Torn } else { Why::Corrupt };
        Bad { offset, bytes, seq: None, why }
    }

    /// Where the next sound head begins, behind the first byte.
    fn next_head(&self, rest: &[u8]) -> Option<usize> {
        let mark = self.mark.to_le_bytes();
        let places = rest.windows(mark.len()).enumerate().skip(1).filter(|(_, window)| *window == mark);
        places
            .map(|(place, _)| place)
            .find(|place| rest.get(*place..).is_some_and(|candidate| Head::read(candidate, self.mark).is_some()))
    }
}

/// Whether a tail looks as a crash leaves it: the beginning of a frame's head, or a file made longer whose bytes were
/// never written and read as zeros.
fn is_unwritten(tail: &[u8], mark: u64) -> bool {
    let mark = mark.to_le_bytes();
    let begins = tail.len() < FRAME_HEAD_BYTES && tail.iter().zip(&mark).all(|(byte, expected)| byte == expected);
    begins || tail.iter().all(|byte| *byte == 0)
}

/// What stands before a payload.
struct Head {
    payload_bytes: usize,
    seq: u64,
    kind: u8,
    payload_sum: u32,
}

impl Head {
    /// Reads a sound head; `None` for anything else.
    fn read(bytes: &[u8], mark: u64) -> Option<Self> {
        let (summed, sum) = bytes.split_at_checked(FRAME_HEAD_BYTES)?.0.split_last_chunk()?;
        let mut rest = Rest(summed);
        // The mark first: in a search it rules out nearly all places at once.
        if rest.u64()? != mark || crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
            return None;
        }
        let payload_bytes = usize::try_from(rest.u32()?).ok().filter(|bytes| *bytes <= PAYLOAD_BYTES_MAX)?;
        let seq = rest.u64()?;
        let [kind] = rest.array()?;
        Some(Self { payload_bytes, seq, kind, payload_sum: rest.u32()? })
    }
}
