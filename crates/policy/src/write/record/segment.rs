//! The head of a journal segment.
//!
//! Identifies the journal and the format; `scan` finds the frames after it.

use super::fields::Rest;
use super::scan;

const MAGIC: [u8; 8] = *b"forebay\n";
/// Version 2 adds cancelled writes to version 1.
const VERSION: u32 = 2;
const OLDEST: u32 = 1;

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// The journal's identity, a random number that all its segments share.
    pub journal: u128,
    /// The lowest number that a record in it may have.
    pub first_seq: u64,
    /// The first bytes of its frames: random for each segment, and never displayed.
    pub mark: u64,
}

/// Why a segment's head cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// The segment is shorter than a head: no record was ever written to it.
    #[error("it ends within its head")]
    Torn,
    /// The file is no forebay journal.
    #[error("it is no journal of forebay's")]
    Foreign,
    /// The segment was written by a later version.
    #[error("it has version {0} of the journal's format, and this forebay reads versions {OLDEST} to {VERSION}")]
    Version(u32),
    /// The checksum does not match.
    #[error("its head is damaged")]
    Corrupt,
}

impl SegmentHead {
    /// The length of a head in bytes.
    pub const BYTES: usize = 48;

    /// Appends the head to `into`: magic, version, identity, first number, mark, CRC32.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&MAGIC);
        into.extend_from_slice(&VERSION.to_le_bytes());
        into.extend_from_slice(&self.journal.to_le_bytes());
        into.extend_from_slice(&self.first_seq.to_le_bytes());
        into.extend_from_slice(&self.mark.to_le_bytes());
        let sum = crc32fast::hash(into.get(start..).unwrap_or_default());
        into.extend_from_slice(&sum.to_le_bytes());
    }

    /// Reads the head of a segment; the second value is the rest, for `scan`.
    ///
    /// # Errors
    /// [`BadHead`]; if the head is damaged, [`mark_behind`] may still find the mark.
    pub fn read(segment: &[u8]) -> Result<(Self, &[u8]), BadHead> {
        let mut rest = Rest(segment);
        // A shorter segment may be the beginning of a head, or any other file.
        let Some(magic) = rest.array::<8>() else {
            return Err(if MAGIC.starts_with(segment) { BadHead::Torn } else { BadHead::Foreign });
        };
        if magic != MAGIC {
            return Err(BadHead::Foreign);
        }
        let (sum, summed) = (|| {
            let (head, _) = segment.split_at_checked(Self::BYTES)?;
            let (summed, sum) = head.split_last_chunk()?;
            Some((u32::from_le_bytes(*sum), summed))
        })()
        .ok_or(BadHead::Torn)?;
        let is_sound = crc32fast::hash(summed) == sum;
        match rest.u32().ok_or(BadHead::Torn)? {
            OLDEST..=VERSION if is_sound => {}
            OLDEST..=VERSION => return Err(BadHead::Corrupt),
            // The head of a later version may have another length, so the checksum proves nothing.
            other => return Err(BadHead::Version(other)),
        }
        let journal = rest.array().map(u128::from_le_bytes).ok_or(BadHead::Torn)?;
        let (first_seq, mark) = (rest.u64().ok_or(BadHead::Torn)?, rest.u64().ok_or(BadHead::Torn)?);
        let _sum = rest.u32();
        Ok((Self { journal, first_seq, mark }, rest.0))
    }
}

/// The mark of a segment with a damaged head, taken from the first frame if that is intact, and the bytes after the
/// head, for `scan`.
#[must_use]
pub fn mark_behind(segment: &[u8]) -> Option<(u64, &[u8])> {
    let (_, frames) = segment.split_at_checked(SegmentHead::BYTES)?;
    let mark = Rest(frames).u64()?;
    scan(frames, mark).next()?.is_ok().then_some((mark, frames))
}
