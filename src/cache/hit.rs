//! A stored response as it goes out to a request that asks for no more than its URI: written at once, in one piece.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use message::{Known, KnownSet, NumberLine};
use policy::cache::freshness::Freshness;
use policy::message::cache_status::HIT;

use super::entry::{Entry, StoredContent};
use super::head::StoredHead;
use super::serve::AGE;

/// How long the content is.
const LENGTH: NumberLine = NumberLine::new(Known::ContentLength, "Content-Length: ");

/// A stored response that is fresh, and the freshness from which its `Age` and `Cache-Status` are written.
#[derive(Debug)]
pub(crate) struct Hit {
    head: Arc<StoredHead>,
    content: Bytes,
    freshness: Freshness,
}

impl Hit {
    /// `None`: its content is not in one piece, or its head has to be edited.
    pub(super) fn of(entry: Entry, freshness: Freshness) -> Option<Self> {
        let Entry { head, content: StoredContent::One(content) } = entry else { return None };
        // The members of other caches stand in front of ours (RFC 9211 §2).
        let is_as_served = head.fields.has(Known::Date) && !head.fields.has(Known::CacheStatus);
        let has_content = !matches!(head.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        (is_as_served && has_content).then_some(Self { head, content, freshness })
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.head.status()
    }

    /// Writes its fields, `StoredContent-Length` among them, but for those that have one of these tags.
    pub(crate) fn write_fields(&self, without: KnownSet, out: &mut Vec<u8>) {
        let (fields, without) = (&self.head.fields, without.with(Known::Age));
        if fields.declare_length(self.length()) {
            fields.write_without(without, out);
        } else {
            fields.write_without(without.with(Known::ContentLength), out);
            LENGTH.write(self.length(), out);
        }
        AGE.write(self.freshness.age.as_secs(), out);
        HIT.write(self.freshness.left().as_secs(), out);
    }

    /// Its content.
    pub(crate) fn into_content(self) -> Bytes {
        self.content
    }

    /// How long its content is, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.content.len() as u64
    }
}
