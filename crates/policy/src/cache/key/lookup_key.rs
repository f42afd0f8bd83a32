//! A borrowed key for look-ups.
//!
//! Most requests only look up. Storing a response, or sharing a fetch, needs an owned [`Key`].

use std::fmt;

use super::{Key, KeySource, Space, Target};

/// Keys of up to this many bytes need no allocation.
const SHORT_BYTES_MAX: usize = 256;

/// The buffer of a [`LookupKey`], created on the stack for each request. Short keys never use the heap; the allocation
/// for a long key is freed with the buffer.
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

    /// A slice of this length in the buffer.
    fn fill(&mut self, source: &KeySource<'_>) -> &[u8] {
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

/// The borrowed bytes of a [`Key`]. Has the same hash as [the key](Self::to_key), so a table of keys finds the entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LookupKey<'b> {
    bytes: &'b [u8],
}

impl<'b> LookupKey<'b> {
    /// Like [`Key::of_uri`], in a buffer of the caller.
    #[must_use]
    pub fn of_uri(space: Space<'_>, target: &Target<'_>, buffer: &'b mut KeyBuffer) -> Self {
        Self { bytes: buffer.fill(&KeySource::new(space, target, None)) }
    }

    /// The complete key.
    #[must_use]
    pub const fn bytes(self) -> &'b [u8] {
        self.bytes
    }

    /// An owned key, for storing or sharing.
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

    use super::super::{KeyRules, Pattern, Scheme};
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
            let rules = KeyRules { sort_query: is_sorted, drop_query, ..KeyRules::default() };
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
        let rules = KeyRules::default();
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
