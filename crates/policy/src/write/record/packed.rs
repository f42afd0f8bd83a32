//! A write as its record holds it: one stretch of bytes, its content last.
//!
//! So content is put behind the rest as it comes, and the same bytes are what the file gets and what memory keeps: it is
//! copied once, from the client's connection. `Write` is the form in which it is looked at.

use std::fmt;

use bytes::Bytes;

use super::fields::{self, Rest};
use super::{PAYLOAD_BYTES_MAX, Write};

/// How many bytes say how long the content is.
const LENGTH: usize = 4;

/// A write as its record holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed(Box<[u8]>);

impl Packed {
    /// A write, its content copied.
    #[must_use]
    pub fn of(write: &Write) -> Self {
        let mut packing = Packing::begin(write, write.body.len());
        packing.put(&write.body);
        packing.finish()
    }

    /// Takes bytes for a write if they are one, to the last.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        parts(bytes).is_some().then(|| Self(bytes.into()))
    }

    /// The write, its content copied. `Some` for whatever [`Packed::read`] has taken.
    #[must_use]
    pub fn unpack(&self) -> Option<Write> {
        let body = Bytes::copy_from_slice(self.content());
        self.head().map(|head| Write { body, ..head })
    }

    /// The write without its content.
    #[must_use]
    pub fn head(&self) -> Option<Write> {
        Self::read_head(&self.0)
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        parts(&self.0).and_then(|(_, at)| self.0.get(at..)).unwrap_or_default()
    }

    /// The write without its content, off the first bytes of a packed one.
    #[must_use]
    pub fn read_head(bytes: &[u8]) -> Option<Write> {
        Rest(bytes).head()
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// All of a write but its content, and where that begins.
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

/// A write that is being packed while its content comes.
#[derive(Debug)]
pub struct Packing {
    bytes: Vec<u8>,
    content_at: usize,
}

impl Packing {
    /// Begins with all but the content (that of `write` does not count), and makes place for so much of it.
    #[must_use]
    pub fn begin(write: &Write, content_bytes: usize) -> Self {
        let content_at = Self::head_bytes(write);
        let mut bytes = Vec::with_capacity(content_at.saturating_add(content_bytes.min(PAYLOAD_BYTES_MAX)));
        fields::put_head(write, &mut bytes);
        bytes.extend_from_slice(&[0; LENGTH]);
        Self { bytes, content_at }
    }

    /// How many bytes stand before the content.
    #[must_use]
    pub fn head_bytes(write: &Write) -> usize {
        fields::head_bytes(write) + LENGTH
    }

    /// How many more bytes of content there is place for.
    #[must_use]
    pub fn place(&self) -> usize {
        self.bytes.capacity() - self.bytes.len()
    }

    /// Makes place for just so many more bytes of content, beyond what there is.
    pub fn widen(&mut self, bytes: usize) {
        self.bytes.reserve_exact(self.place().saturating_add(bytes));
    }

    /// Puts content behind what is there.
    pub fn put(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// How much content there is.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        self.bytes.len() - self.content_at
    }

    /// The write, in no more memory than it needs.
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
