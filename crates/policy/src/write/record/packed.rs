//! A write in its encoded form: one buffer with the content last.
//!
//! Content is appended as it arrives, and the same bytes are written to the file and kept in memory, so it is copied
//! once, from the client's connection. `Write` is the decoded form.

use std::fmt;

use bytes::Bytes;

use super::fields::{self, Rest};
use super::{PAYLOAD_BYTES_MAX, Write};

/// The length of the content's length field in bytes.
const LENGTH: usize = 4;

/// A write in its encoded form.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed(Box<[u8]>);

impl Packed {
    /// Encodes a write, copying its content.
    #[must_use]
    pub fn of(write: &Write) -> Self {
        let mut packing = Packing::begin(write, write.body.len());
        packing.put(&write.body);
        packing.finish()
    }

    /// Validates bytes as an encoded write; `None` if they are not exactly one.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        parts(bytes).is_some().then(|| Self(bytes.into()))
    }

    /// Decodes the write, copying its content. Always `Some` for the result of [`Packed::read`].
    #[must_use]
    pub fn unpack(&self) -> Option<Write> {
        let body = Bytes::copy_from_slice(self.content());
        self.head().map(|head| Write { body, ..head })
    }

    /// Decodes the write without its content.
    #[must_use]
    pub fn head(&self) -> Option<Write> {
        Self::read_head(&self.0)
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        parts(&self.0).and_then(|(_, at)| self.0.get(at..)).unwrap_or_default()
    }

    /// Decodes a write without its content from the beginning of an encoded one.
    #[must_use]
    pub fn read_head(bytes: &[u8]) -> Option<Write> {
        Rest(bytes).head()
    }

    /// The encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Decodes all but the content, and returns the offset of the content.
fn parts(bytes: &[u8]) -> Option<(Write, usize)> {
    let mut rest = Rest(bytes);
    let head = rest.head()?;
    let content_bytes = rest.bytes()?.len();
    rest.0.is_empty().then_some((head, bytes.len().checked_sub(content_bytes)?))
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.unpack().fmt(f)
    }
}

/// A write that is encoded while its content arrives.
#[derive(Debug)]
pub struct Packing {
    bytes: Vec<u8>,
    content_at: usize,
}

impl Packing {
    /// Encodes all of `write` but its content, with capacity for `content_bytes`.
    #[must_use]
    pub fn begin(write: &Write, content_bytes: usize) -> Self {
        let content_at = Self::head_bytes(write);
        let mut bytes = Vec::with_capacity(content_at.saturating_add(content_bytes.min(PAYLOAD_BYTES_MAX)));
        fields::put_head(write, &mut bytes);
        bytes.extend_from_slice(&[0; LENGTH]);
        Self { bytes, content_at }
    }

    /// The length of the encoding before the content.
    #[must_use]
    pub fn head_bytes(write: &Write) -> usize {
        fields::head_bytes(write) + LENGTH
    }

    /// The remaining capacity for content, in bytes.
    #[must_use]
    pub fn place(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Adds capacity for exactly `bytes` more bytes of content.
    pub fn widen(&mut self, bytes: usize) {
        self.bytes.reserve_exact(self.place().saturating_add(bytes));
    }

    /// Appends content.
    pub fn put(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// The length of the content so far.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        self.bytes.len() - self.content_at
    }

    /// The encoded write, in an allocation of the exact size.
    #[must_use]
    pub fn finish(mut self) -> Packed {
        let length = fields::length(self.content_bytes());
        let at = self.content_at - LENGTH;
        for (place, byte) in self.bytes.iter_mut().skip(at).zip(length) {
            *place = byte;
        }
        Packed(self.bytes.into())
    }

    /// The content alone.
    #[must_use]
    pub fn into_content(self) -> Bytes {
        Bytes::from(self.bytes).slice(self.content_at..)
    }
}
