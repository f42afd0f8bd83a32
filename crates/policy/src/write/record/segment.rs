//! What a segment of the journal begins with.
//!
//! Says whose it is and how to read on; the frames behind it are found by `scan`.

use super::fields::Rest;
use super::scan;

const MAGIC: [u8; 8] = *b"forebay\n";
/// Version 2 knows of writes that are cancelled; else it is version 1.
const VERSION: u32 = 2;
const OLDEST: u32 = 1;

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// The journal's identity, drawn when it was made: the same in all its segments.
    pub journal: u128,
    /// The first number that a record in it may have.
    pub first_seq: u64,
    /// What its frames begin with: drawn for each segment, and shown to nobody.
    pub mark: u64,
}

/// Why a segment can't be read by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// It is shorter than a head: nothing was ever put in it.
    #[error("it ends within its head")]
    Torn,
    /// It is no journal of forebay's.
    #[error("it is no journal of forebay's")]
    Foreign,
    /// It was written by a later version.
    #[error("it has version {0} of the journal's format, and this forebay reads versions {OLDEST} to {VERSION}")]
    Version(u32),
    /// Its checksum is wrong.
    #[error("its head is damaged")]
    Corrupt,
}

impl SegmentHead {
    /// How many bytes it takes.
    pub const BYTES: usize = 48;

    /// Puts the head behind what is in `into` already: magic, version, identity, first number, mark, CRC32.
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

    /// Reads the head off a segment; the second value is what follows, for `scan`.
    ///
    /// # Errors
    /// [`BadHead`]; behind a damaged one [`mark_behind`] may still find the way.
    pub fn read(segment: &[u8]) -> Result<(Self, &[u8]), BadHead> {
        let mut rest = Rest(segment);
        // What is shorter may be the beginning of a head, or of anything else.
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
            // A later version's head may end elsewhere, so its sum proves nothing.
            other => return Err(BadHead::Version(other)),
        }
        let journal = rest.array().map(u128::from_le_bytes).ok_or(BadHead::Torn)?;
        let (first_seq, mark) = (rest.u64().ok_or(BadHead::Torn)?, rest.u64().ok_or(BadHead::Torn)?);
        let _sum = rest.u32();
        Ok((Self { journal, first_seq, mark }, rest.0))
    }
}

/// The mark of a segment whose head is damaged, read off the first frame behind it if that is sound, and what follows
/// the head, for `scan`.
#[must_use]
pub fn mark_behind(segment: &[u8]) -> Option<(u64, &[u8])> {
    let (_, frames) = segment.split_at_checked(SegmentHead::BYTES)?;
    let mark = Rest(frames).u64()?;
    scan(frames, mark).next()?.is_ok().then_some((mark, frames))
}
