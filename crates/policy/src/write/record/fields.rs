//! Encodes and decodes the payloads of records.
//!
//! Decoding allocates no more memory than the input: a length is trusted only if that many bytes follow. The frame's
//! checksum detects damage.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};

use super::{Packed, Payload, Write};
use crate::write::retained;

pub(super) const WRITE: u8 = 1;
const SETTLED: u8 = 2;
const DEAD: u8 = 3;
const REVIVED: u8 = 4;
const DISCARDED: u8 = 5;
const CANCELLED: u8 = 6;

/// Why an intact payload cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadPayload {
    /// An unknown kind.
    Kind,
    /// The fields do not match the bytes.
    Malformed,
}

/// The number of a payload's kind.
pub(super) const fn kind(payload: &Payload) -> u8 {
    match payload {
        Payload::Write(_) => WRITE,
        Payload::Settled { .. } => SETTLED,
        Payload::Dead { .. } => DEAD,
        Payload::Revived { .. } => REVIVED,
        Payload::Discarded { .. } => DISCARDED,
        Payload::Cancelled { .. } => CANCELLED,
    }
}

/// The length of the result of [`payload`].
pub(super) fn bytes(payload: &Payload) -> usize {
    const LENGTH: usize = 4;
    const NUMBER: usize = 8;
    const MOMENT: usize = 12;
    match payload {
        Payload::Write(write) => write.bytes().len(),
        Payload::Dead { reason, .. } => NUMBER + 3 + 4 + LENGTH + reason.len() + MOMENT,
        Payload::Settled { .. } | Payload::Revived { .. } | Payload::Discarded { .. } | Payload::Cancelled { .. } => {
            NUMBER
        }
    }
}

/// A payload's bytes.
pub(super) fn payload(payload: &Payload) -> Bytes {
    match payload {
        Payload::Write(write) => Bytes::copy_from_slice(write.bytes()),
        Payload::Settled { write }
        | Payload::Revived { write }
        | Payload::Discarded { write }
        | Payload::Cancelled { write } => Bytes::copy_from_slice(&write.to_le_bytes()),
        Payload::Dead { write, status, attempts, reason, at } => {
            let mut bytes = Vec::with_capacity(self::bytes(payload));
            bytes.extend_from_slice(&write.to_le_bytes());
            bytes.push(u8::from(status.is_some()));
            bytes.extend_from_slice(&status.unwrap_or_default().to_le_bytes());
            bytes.extend_from_slice(&attempts.to_le_bytes());
            put_bytes(reason.as_bytes(), &mut bytes);
            put_moment(*at, &mut bytes);
            bytes.into()
        }
    }
}

/// Writes all of a write but its content, which comes last as length and bytes.
pub(super) fn put_head(write: &Write, into: &mut Vec<u8>) {
    put_moment(write.accepted, into);
    put_bytes(write.route.as_bytes(), into);
    put_bytes(write.upstream.as_bytes(), into);
    put_bytes(&write.key, into);
    put_bytes(write.method.as_str().as_bytes(), into);
    put_bytes(write.target.as_bytes(), into);
    put_length(write.headers.len(), into);
    for (name, value) in &write.headers {
        put_bytes(name.as_str().as_bytes(), into);
        put_bytes(value.as_bytes(), into);
    }
}

/// The number of bytes that [`put_head`] adds.
pub(super) fn head_bytes(write: &Write) -> usize {
    const LENGTH: usize = 4;
    const MOMENT: usize = 12;
    let texts = [write.route.len(), write.upstream.len(), write.key.len(), write.target.len()];
    let text = texts.iter().sum::<usize>() + write.method.as_str().len();
    let fields = write.headers.iter().map(|(name, value)| 2 * LENGTH + name.as_str().len() + value.len());
    text + fields.sum::<usize>() + 6 * LENGTH + MOMENT
}

fn put_bytes(bytes: &[u8], into: &mut Vec<u8>) {
    put_length(bytes.len(), into);
    into.extend_from_slice(bytes);
}

/// A payload is shorter than `u32::MAX`, or it would not be written; so are its parts.
fn put_length(length: usize, into: &mut Vec<u8>) {
    into.extend_from_slice(&self::length(length));
}

/// The encoded form of a length.
pub(super) fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

fn put_moment(moment: Duration, into: &mut Vec<u8>) {
    into.extend_from_slice(&moment.as_secs().to_le_bytes());
    into.extend_from_slice(&moment.subsec_nanos().to_le_bytes());
}

/// Decodes a complete payload of this kind.
pub(super) fn read(kind: u8, payload: &[u8]) -> Result<Payload, BadPayload> {
    let mut rest = Rest(payload);
    let read = match kind {
        WRITE => return Packed::read(payload).map(Payload::Write).ok_or(BadPayload::Malformed),
        SETTLED => rest.u64().map(|write| Payload::Settled { write }),
        DEAD => rest.dead(),
        REVIVED => rest.u64().map(|write| Payload::Revived { write }),
        DISCARDED => rest.u64().map(|write| Payload::Discarded { write }),
        CANCELLED => rest.u64().map(|write| Payload::Cancelled { write }),
        _ => return Err(BadPayload::Kind),
    };
    read.filter(|_| rest.0.is_empty()).ok_or(BadPayload::Malformed)
}

/// The remaining input.
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    /// Decodes all of a write but its content.
    pub(super) fn head(&mut self) -> Option<Write> {
        let accepted = self.moment()?;
        let (route, upstream) = (self.text()?, self.text()?);
        let key = self.bytes()?.into();
        let method = Method::from_bytes(self.bytes()?).ok()?;
        let target = self.text()?;
        let count = self.u32()?;
        // Each field takes at least eight bytes, so a wrong count ends with the input.
        let headers = (0..count).map(|_| self.field()).collect::<Option<Vec<_>>>()?;
        Some(Write { route, upstream, key, method, target, headers, body: Bytes::new(), accepted })
    }

    fn dead(&mut self) -> Option<Payload> {
        let write = self.u64()?;
        let has_status = self.array::<1>()? == [1];
        let status = self.array().map(u16::from_le_bytes).map(|status| has_status.then_some(status))?;
        let attempts = self.u32()?;
        Some(Payload::Dead { write, status, attempts, reason: self.text()?, at: self.moment()? })
    }

    fn field(&mut self) -> Option<(HeaderName, HeaderValue)> {
        let name = HeaderName::from_bytes(self.bytes()?).ok()?;
        let mut value = HeaderValue::from_bytes(self.bytes()?).ok()?;
        value.set_sensitive(retained::is_secret(&name));
        Some((name, value))
    }

    fn text(&mut self) -> Option<Box<str>> {
        std::str::from_utf8(self.bytes()?).ok().map(Into::into)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn moment(&mut self) -> Option<Duration> {
        let (seconds, nanos) = (self.u64()?, self.u32()?);
        (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn array<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}
