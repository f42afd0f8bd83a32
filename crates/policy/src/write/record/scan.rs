//! Finds the records of a segment, also after damage.
//!
//! Damaged stretches are reported with their position and never taken for a record. The caller decides whether to
//! truncate the tail, and whether to keep a damaged segment.

use super::fields::{self, BadPayload, Rest};
use super::{FRAME_HEAD_BYTES, PAYLOAD_BYTES_MAX, Record};

/// A stretch of a segment without a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes at offset {offset}: {why}")]
pub struct Damage {
    /// Its offset from the start of the scan.
    pub offset: usize,
    /// Its length in bytes.
    pub bytes: usize,
    /// The number of the damaged record, if it can be read.
    pub seq: Option<u64>,
    /// The kind of damage.
    pub why: DamageKind,
}

/// Why a stretch contains no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamageKind {
    /// The end of a frame is missing or was never written, as after a crash. Only at the end of a segment.
    #[error("the record was not written to its end")]
    Torn,
    /// A checksum does not match.
    #[error("the record is damaged")]
    Corrupt,
    /// The record is intact, but of a kind that this version does not know.
    #[error("the record is of a kind that this forebay does not know ({0})")]
    Kind(u8),
    /// The record is intact, but its fields cannot be decoded.
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

/// Scans the frames after a segment's head. Each record comes with the offset of its frame.
///
/// A record with damaged content is skipped by its length. After a damaged frame head the scan searches for the next
/// intact one, so it finds all intact frames wherever the damage is. A truncated tail ends the scan. Each byte is
/// examined a bounded number of times.
#[must_use]
pub fn scan(bytes: &[u8], mark: u64) -> Scan<'_> {
    Scan { bytes, mark, offset: 0 }
}

impl Iterator for Scan<'_> {
    type Item = Result<(usize, Record), Damage>;

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
    /// Reads a frame whose head is intact.
    fn frame(&mut self, offset: usize, rest: &[u8], head: Head) -> Result<(usize, Record), Damage> {
        let bad = |bytes, why| Damage { offset, bytes, seq: Some(head.seq), why };
        let payload = rest.get(FRAME_HEAD_BYTES..).and_then(|payload| payload.get(..head.payload_bytes));
        let Some(payload) = payload else {
            self.offset = self.bytes.len();
            return Err(bad(rest.len(), DamageKind::Torn));
        };
        let bytes = FRAME_HEAD_BYTES + head.payload_bytes;
        self.offset = offset + bytes;
        if crc32fast::hash(payload) != head.payload_sum {
            return Err(bad(bytes, DamageKind::Corrupt));
        }
        match fields::read(head.kind, payload) {
            Ok(payload) => Ok((offset, Record { seq: head.seq, payload })),
            Err(BadPayload::Kind) => Err(bad(bytes, DamageKind::Kind(head.kind))),
            Err(BadPayload::Malformed) => Err(bad(bytes, DamageKind::Malformed)),
        }
    }

    /// The stretch up to the next intact head, or to the end.
    fn lost(&mut self, offset: usize, rest: &[u8]) -> Damage {
        let next = self.next_head(rest);
        let bytes = next.unwrap_or(rest.len());
        self.offset = offset + bytes;
        let why = if next.is_none() && is_unwritten(rest, self.mark) { DamageKind::Torn } else { DamageKind::Corrupt };
        Damage { offset, bytes, seq: None, why }
    }

    /// The offset of the next intact head, searching from the second byte.
    fn next_head(&self, rest: &[u8]) -> Option<usize> {
        let mark = self.mark.to_le_bytes();
        let places = rest.windows(mark.len()).enumerate().skip(1).filter(|(_, window)| *window == mark);
        places
            .map(|(place, _)| place)
            .find(|place| rest.get(*place..).is_some_and(|candidate| Head::read(candidate, self.mark).is_some()))
    }
}

/// Whether a tail looks like that of a crash: the beginning of a frame's head, or a file extension whose bytes were
/// never written and read as zeros.
fn is_unwritten(tail: &[u8], mark: u64) -> bool {
    let mark = mark.to_le_bytes();
    let begins = tail.len() < FRAME_HEAD_BYTES && tail.iter().zip(&mark).all(|(byte, expected)| byte == expected);
    begins || tail.iter().all(|byte| *byte == 0)
}

/// A frame head.
struct Head {
    payload_bytes: usize,
    seq: u64,
    kind: u8,
    payload_sum: u32,
}

impl Head {
    /// Decodes an intact head; `None` for anything else.
    fn read(bytes: &[u8], mark: u64) -> Option<Self> {
        let (summed, sum) = bytes.split_at_checked(FRAME_HEAD_BYTES)?.0.split_last_chunk()?;
        let mut rest = Rest(summed);
        // The mark is compared first: in a search it excludes nearly all positions at once.
        if rest.u64()? != mark || crc32fast::hash(summed) != u32::from_le_bytes(*sum) {
            return None;
        }
        let payload_bytes = usize::try_from(rest.u32()?).ok().filter(|bytes| *bytes <= PAYLOAD_BYTES_MAX)?;
        let seq = rest.u64()?;
        let [kind] = rest.array()?;
        Some(Self { payload_bytes, seq, kind, payload_sum: rest.u32()? })
    }
}
