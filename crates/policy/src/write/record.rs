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

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

mod fields;
mod packed;
mod scan;
mod segment;

pub use packed::{Packed, Packing};
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
    Write(Packed),
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
    /// A dead letter was thrown away: by a person, or because there were too many or it was too old.
    Discarded {
        /// The write's number.
        write: u64,
    },
    /// The write was not acknowledged in time, and is never to be sent.
    Cancelled {
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
    pub body: Bytes,
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
    let (head, payload) = frame(record, mark)?;
    into.reserve(head.len() + payload.len());
    into.extend_from_slice(&head);
    into.extend_from_slice(&payload);
    Ok(())
}

/// A record's frame in two pieces: what stands before the payload, and the payload.
///
/// # Errors
/// [`TooLong`].
pub fn frame(record: &Record, mark: u64) -> Result<(Vec<u8>, Bytes), TooLong> {
    let payload = fields::payload(&record.payload);
    Ok((frame_head((record.seq, fields::kind(&record.payload)), &payload, mark)?, payload))
}

/// What stands before the payload in the frame of a write; the payload is its [`Packed::bytes`].
///
/// # Errors
/// [`TooLong`].
pub fn write_frame_head(seq: u64, write: &Packed, mark: u64) -> Result<Vec<u8>, TooLong> {
    frame_head((seq, fields::WRITE), write.bytes(), mark)
}

fn frame_head((seq, kind): (u64, u8), payload: &[u8], mark: u64) -> Result<Vec<u8>, TooLong> {
    let bytes = payload.len();
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= PAYLOAD_BYTES_MAX).ok_or(TooLong { bytes })?;
    let mut head = Vec::with_capacity(FRAME_HEAD_BYTES);
    head.extend_from_slice(&mark.to_le_bytes());
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&seq.to_le_bytes());
    head.push(kind);
    head.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    Ok(head)
}

/// How many bytes a record's frame takes.
#[must_use]
pub fn frame_bytes(record: &Record) -> usize {
    FRAME_HEAD_BYTES.saturating_add(fields::bytes(&record.payload))
}

#[cfg(test)]
mod tests;
