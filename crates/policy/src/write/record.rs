//! What stands in the journal: writes, what became of them, and the frame around each.
//!
//! A segment is a [`SegmentHead`] and then frames, one after the other. [`encode`] makes a frame, [`scan`] finds them
//! again, also behind damage. Files, and when a record is safe in one, are the caller's business; which write goes out
//! when is decided in `queue`.
//!
//! A frame: mark (8 bytes), payload length (4), number (8), kind (1), CRC32 of the payload (4), CRC32 of all that (4),
//! payload. Numbers are little endian. Because the head has a sum of its own, a length is believed only when it is
//! sound, and a frame that is merely cut off is told from a damaged one. The mark is drawn for each segment and shown
//! to nobody, so that a client can't send content that would pass for a frame when the search goes on behind damage.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::kept;

mod fields;
mod scan;
mod segment;

pub use scan::{Bad, Scan, Why, scan};
pub use segment::{BadHead, SegmentHead, mark_behind};

/// What stands before a payload, in bytes.
pub const FRAME_HEAD_BYTES: usize = 29;
/// The longest payload, in bytes: 1 GiB.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// `idempotency-key`.
pub static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number; a write's is what its receipt says.
    pub seq: u64,
    /// What it says.
    pub payload: Payload,
}

/// What a record says. All kinds but the first are about a write that an earlier record holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A write that is to reach its backend.
    Write(Write),
    /// It is done, or a later one stands for it.
    Settled {
        /// The write's number.
        write: u64,
    },
    /// It is a dead letter.
    Dead {
        /// The write's number.
        write: u64,
        /// What the backend answered last, if it did.
        status: Option<u16>,
        /// How often it was sent.
        attempts: u32,
        /// Why, for a person.
        reason: Box<str>,
        /// When, since the epoch.
        at: Duration,
    },
    /// A dead letter is to be sent again.
    Revived {
        /// The write's number.
        write: u64,
    },
    /// A person has thrown a dead letter away.
    Discarded {
        /// The write's number.
        write: u64,
    },
}

/// A write as it was accepted, and as it will be sent. `Debug` shows neither content nor secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// The name of the route it came by.
    pub route: Box<str>,
    /// The name of the upstream it is for.
    pub upstream: Box<str>,
    /// What its order is kept by.
    pub key: Box<[u8]>,
    /// Its method.
    pub method: Method,
    /// Its target as the backend gets it, in origin form.
    pub target: Box<str>,
    /// The fields that were kept of it, `Host` included (see `kept`).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its content.
    pub body: Vec<u8>,
    /// When it was accepted, since the epoch.
    pub accepted: Duration,
}

impl Write {
    /// What tells this write from all others, however often it is sent: the client's own `Idempotency-Key`, else one
    /// made of the journal's identity and the write's number.
    #[must_use]
    pub fn idempotency_key(&self, journal: u128, seq: u64) -> HeaderValue {
        let own = self.headers.iter().find(|(name, _)| *name == IDEMPOTENCY_KEY);
        own.map_or_else(|| idempotency_key(journal, seq), |(_, value)| value.clone())
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        kept::redacted(self).fmt(f)
    }
}

/// `"fb-<32 hexadecimal digits>-<number>"`, quotes included.
///
/// Source: draft-ietf-httpapi-idempotency-key-header §2.1: a string of structured fields.
#[must_use]
pub fn idempotency_key(journal: u128, seq: u64) -> HeaderValue {
    let text = format!("\"fb-{journal:032x}-{seq}\"");
    // Hexadecimal digits and numbers are always a field value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"fb\""))
}

/// A payload over [`PAYLOAD_BYTES_MAX`]; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {bytes} bytes is longer than a journal can hold")]
pub struct TooLong {
    /// How long it would have been.
    pub bytes: usize,
}

/// Puts a record's frame behind what is in `into` already. `mark` is that of the segment it is for.
///
/// # Errors
/// [`TooLong`]: then `into` is as it was.
pub fn encode(record: &Record, mark: u64, into: &mut Vec<u8>) -> Result<(), TooLong> {
    let bytes = fields::bytes(&record.payload);
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= PAYLOAD_BYTES_MAX).ok_or(TooLong { bytes })?;
    let start = into.len();
    into.reserve(FRAME_HEAD_BYTES + bytes);
    // The sums stand before what they are about, so the payload is made first and the head put into its place.
    into.resize(start + FRAME_HEAD_BYTES, 0);
    fields::put(&record.payload, into);
    let payload_sum = crc32fast::hash(into.get(start + FRAME_HEAD_BYTES..).unwrap_or_default());
    let mut head = Vec::with_capacity(FRAME_HEAD_BYTES);
    head.extend_from_slice(&mark.to_le_bytes());
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&record.seq.to_le_bytes());
    head.push(fields::kind(&record.payload));
    head.extend_from_slice(&payload_sum.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    for (place, byte) in into.iter_mut().skip(start).zip(head) {
        *place = byte;
    }
    Ok(())
}

/// How many bytes a record's frame takes.
#[must_use]
pub fn frame_bytes(record: &Record) -> usize {
    FRAME_HEAD_BYTES.saturating_add(fields::bytes(&record.payload))
}

#[cfg(test)]
mod tests;
