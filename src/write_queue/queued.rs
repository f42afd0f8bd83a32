//! A pending write in memory: encoded as in its record, with lazily computed parts.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderName;
use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE};
use policy::write::record::{Packed, Write};

/// The fields that describe the content.
pub(super) const OF_CONTENT: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];

/// The memory of a pending write besides its record, in bytes: its entries in the queue and in the map of writes.
/// Measured by `tests/write_back_memory.rs`.
const INDEX_BYTES: u64 = 580;

/// The bytes that a pending write counts as, from the length of its record's payload.
pub(crate) fn cost(payload_bytes: usize) -> u64 {
    (payload_bytes as u64).saturating_add(INDEX_BYTES)
}

/// A pending write.
#[derive(Debug)]
pub(crate) struct Queued {
    packed: Packed,
    tag: OnceLock<[u8; 16]>,
}

impl Queued {
    pub(crate) fn new(packed: Packed) -> Self {
        Self { packed, tag: OnceLock::new() }
    }

    pub(super) fn packed(&self) -> &Packed {
        &self.packed
    }

    /// The write without its content; always `Some` for a write from the journal.
    pub(crate) fn head(&self) -> Option<Write> {
        self.packed.head()
    }

    /// The write, sharing its content; always `Some` for a write from the journal.
    pub(crate) fn unpack(self: &Arc<Self>) -> Option<Write> {
        let body = Bytes::from_owner(SharedContent(Arc::clone(self)));
        self.head().map(|head| Write { body, ..head })
    }

    /// The strong entity tag of the written content, from the content and the fields that describe it. Computed on
    /// first use.
    pub(crate) fn tag(&self) -> String {
        let digest = *self.tag.get_or_init(|| digest(&self.packed));
        format!("\"fb-{:032x}\"", u128::from_be_bytes(digest))
    }
}

/// The shared content of a write.
struct SharedContent(Arc<Queued>);

impl AsRef<[u8]> for SharedContent {
    fn as_ref(&self) -> &[u8] {
        self.0.packed.content()
    }
}

fn digest(packed: &Packed) -> [u8; 16] {
    let mut digest = md5::Context::new();
    let headers = packed.head().map(|head| head.headers).unwrap_or_default();
    for name in OF_CONTENT {
        for value in headers.iter().filter(|(other, _)| *other == name).map(|(_, value)| value) {
            digest.consume(name.as_str());
            digest.consume([0]);
            digest.consume(value.as_bytes());
            digest.consume([0]);
        }
    }
    digest.consume(packed.content());
    digest.finalize().0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_tag_is_made_once() {
        let write = Write {
            route: "/".into(),
            upstream: "b".into(),
            key: b"k".as_slice().into(),
            method: http::Method::PUT,
            target: "/".into(),
            headers: vec![(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"))],
            body: bytes::Bytes::from_static(b"new"),
            accepted: Duration::ZERO,
        };
        let queued = Queued::new(Packed::of(&write));
        assert!(queued.tag.get().is_none());
        let tag = queued.tag();
        assert_eq!(tag, format!("\"fb-{:x}\"", md5::compute(b"content-type\0text/plain\0new")));
        let first: *const _ = queued.tag.get().unwrap();
        assert_eq!(queued.tag(), tag);
        assert!(std::ptr::eq(first, queued.tag.get().unwrap()));
    }
}
