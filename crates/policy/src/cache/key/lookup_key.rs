//! A key to look up with, which borrows the bytes that it is made of.
//!
//! Most requests only look up. What is stored, or shared with other requests, needs a [`Key`] of its own.

use std::fmt;

use super::{Key, Source, Space, Target};

/// Keys of up to this many bytes are made without an allocation.
const SHORT_BYTES_MAX: usize = 256;

/// Where the bytes of a [`LookupKey`] lie. Made on the stack for each request: short keys never reach the heap, and a
/// long one leaves nothing behind.
pub struct KeyBuffer {
    short: [u8; SHORT_BYTES_MAX],
    long: Vec<u8>,
}

impl KeyBuffer {
    /// An empty buffer.
    #[must_use]
    pub const fn new() -> Self {
        Self { short: [0; SHORT_BYTES_MAX], long: Vec::new() }
    }

    /// The bytes of a key that is made of this.
    fn fill(&mut self, source: &Source<'_>) -> &[u8] {
        let count = source.fill(&mut self.short);
        if let Some(short) = self.short.get(..count) {
            return short;
        }
        self.long.clear();
        self.long.resize(count, 0);
        source.fill(&mut self.long);
        &self.long
    }
}

impl Default for KeyBuffer {
    fn default() -> Self {
        Self::new()
    }
}

/// The bytes of a [`Key`], borrowed. It has the hash of the key that it [stands for](Self::to_key), so a
/// table of keys finds by it what is stored under that key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LookupKey<'b> {
    bytes: &'b [u8],
}

impl<'b> LookupKey<'b> {
    /// What [`Key::of_uri`] makes, in a buffer of the caller.
    #[must_use]
    pub fn of_uri(space: Space<'_>, target: &Target<'_>, buffer: &'b mut KeyBuffer) -> Self {
        Self { bytes: buffer.fill(&Source::new(space, target, None)) }
    }

    /// The whole key.
    #[must_use]
    pub const fn bytes(self) -> &'b [u8] {
        self.bytes
    }

    /// The key, to be stored or shared.
    #[must_use]
    pub fn to_key(self) -> Key {
        Key::from_bytes(self.bytes)
    }
}

impl PartialEq<Key> for LookupKey<'_> {
    fn eq(&self, key: &Key) -> bool {
        *self.bytes == *key.bytes
    }
}

impl fmt::Debug for LookupKey<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_key().fmt(out)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use proptest::prelude::*;

    use super::super::{Pattern, Rules, Scheme};
    use super::*;

    proptest! {
        #[test]
        fn it_equals_the_key_of_the_uri_and_no_other_and_has_its_hash(
            host in "[a-c.]{1,9}",
            path in "/[a-c/]{0,300}",
            query in proptest::option::of("[a-c=&]{0,300}"),
            other in "/[a-c/]{0,300}",
            is_sorted: bool,
        ) {
            let drop_query = Pattern::parse("a*").into_iter().collect();
            let rules = Rules { sort_query: is_sorted, drop_query, ..Rules::default() };
            let space = Space { name: b"s", rules: &rules };
            let target = Target::of_normal(Scheme::Https, &host, None, &path, query.as_deref());
            let mut buffer = KeyBuffer::new();
            let lookup = LookupKey::of_uri(space, &target, &mut buffer);
            let key = Key::of_uri(space, &target);
            prop_assert_eq!(lookup.bytes(), key.bytes());
            prop_assert_eq!(&lookup.to_key(), &key);
            let hasher = foldhash::fast::RandomState::default();
            prop_assert_eq!(hasher.hash_one(lookup), hasher.hash_one(&key));
            prop_assert!(lookup == key);
            let elsewhere = Target::of_normal(Scheme::Https, &host, None, &other, query.as_deref());
            let mut buffer = KeyBuffer::new();
            let elsewhere = LookupKey::of_uri(space, &elsewhere, &mut buffer);
            prop_assert_eq!(elsewhere == key, other == path);
        }
    }

    #[test]
    fn only_a_long_key_takes_memory_and_the_buffer_can_be_used_again() {
        let rules = Rules::default();
        let space = Space { name: b"s", rules: &rules };
        let mut buffer = KeyBuffer::new();
        for (length, takes_memory) in [(1, false), (200, false), (70_000, true), (300, true), (2, true)] {
            let path = "/".repeat(length);
            let target = Target::of_normal(Scheme::Http, "a", None, &path, None);
            let key = LookupKey::of_uri(space, &target, &mut buffer);
            assert_eq!(key.bytes(), Key::of_uri(space, &target).bytes(), "{length}");
            assert_eq!(buffer.long.capacity() > 0, takes_memory, "{length}");
        }
    }
}
