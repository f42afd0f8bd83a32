//! The records of the journal (writes, and what became of them), and the frame around each.
//!
//! A segment is a [`SegmentHead`] followed by frames. [`encode`] makes a frame; [`scan()`] finds frames, also after
//! damage. The caller handles files and durability; `queue` decides when a write is sent.
//!
//! A frame: mark (8 bytes), payload length (4), number (8), kind (1), CRC32 of the payload (4), CRC32 of the fields
//! before (4), payload. Numbers are little endian. The head has a checksum of its own, so the length can be trusted if
//! the head is intact, and a truncated frame can be distinguished from a damaged one. The mark is random for each
//! segment and never displayed, so a client cannot send content that looks like a frame when the scan resumes after
//! damage.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

mod fields;
mod packed;
mod scan;
mod segment;

pub use packed::{Packed, Packing};
pub use scan::{Damage, DamageKind, Scan, scan};
pub use segment::{BadHead, SegmentHead, mark_behind};

/// Length of the frame before the payload, in bytes.
pub const FRAME_HEAD_BYTES: usize = 29;
/// The longest payload, in bytes: 1 GiB.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// `idempotency-key`.
pub static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number; that of a write is on its receipt.
    pub seq: u64,
    /// The content of the record.
    pub payload: Payload,
}

/// The content of a record. All kinds but the first refer to a write of an earlier record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A write to be sent to its backend.
    Write(Packed),
    /// The write was carried out, or superseded by a later one.
    Settled {
        /// The write's number.
        write: u64,
    },
    /// The write is a dead letter.
    Dead {
        /// The write's number.
        write: u64,
        /// Status of the last response; `None`: no response.
        status: Option<u16>,
        /// The number of attempts.
        attempts: u32,
        /// Why, as text for operators.
        reason: Box<str>,
        /// When, since the Unix epoch.
        at: Duration,
    },
    /// A dead letter was queued again.
    Revived {
        /// The write's number.
        write: u64,
    },
    /// A dead letter was discarded: by an operator, or because there were too many or it was too old.
    Discarded {
        /// The write's number.
        write: u64,
    },
    /// The write was not acknowledged in time, and must never be sent.
    Cancelled {
        /// The write's number.
        write: u64,
    },
}

/// A write as it was accepted and will be sent. `Debug` shows neither content nor secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// The name of its route.
    pub route: Box<str>,
    /// The name of its upstream.
    pub upstream: Box<str>,
    /// The key that determines its URI queue.
    pub key: Box<[u8]>,
    /// Its method.
    pub method: Method,
    /// Its target as sent to the backend, in origin form.
    pub target: Box<str>,
    /// The retained fields, including `Host` (see `retained`).
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its content.
    pub body: Bytes,
    /// When it was accepted, since the Unix epoch.
    pub accepted: Duration,
}

impl Write {
    /// The idempotency key of all attempts: the client's own `Idempotency-Key`, else one made of the journal's identity
    /// and the write's number.
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
    // Hexadecimal digits and numbers always form a valid field value.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"fb\""))
}

/// A payload is longer than [`PAYLOAD_BYTES_MAX`]; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {bytes} bytes is longer than a journal can hold")]
pub struct TooLong {
    /// The length of the payload.
    pub bytes: usize,
}

/// Appends the frame of a record to `into`. `mark` is that of its segment.
///
/// # Errors
/// [`TooLong`]; `into` is unchanged.
pub fn encode(record: &Record, mark: u64, into: &mut Vec<u8>) -> Result<(), TooLong> {
    let (head, payload) = frame(record, mark)?;
    into.reserve(head.len() + payload.len());
    into.extend_from_slice(&head);
    into.extend_from_slice(&payload);
    Ok(())
}

/// The frame of a record in two parts: the bytes before the payload, and the payload.
///
/// # Errors
/// [`TooLong`].
pub fn frame(record: &Record, mark: u64) -> Result<(Vec<u8>, Bytes), TooLong> {
    let payload = fields::payload(&record.payload);
    Ok((frame_head(record.seq, fields::kind(&record.payload), &payload, mark)?, payload))
}

/// The bytes before the payload in the frame of a write. The payload is its [`Packed::bytes`].
///
/// # Errors
/// [`TooLong`].
pub fn write_frame_head(seq: u64, write: &Packed, mark: u64) -> Result<Vec<u8>, TooLong> {
    frame_head(seq, fields::WRITE, write.bytes(), mark)
}

fn frame_head(seq: u64, kind: u8, payload: &[u8], mark: u64) -> Result<Vec<u8>, TooLong> {
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

/// The length of a record's frame.
#[must_use]
pub fn frame_bytes(record: &Record) -> usize {
    FRAME_HEAD_BYTES.saturating_add(fields::bytes(&record.payload))
}

#[cfg(test)]
mod tests;
