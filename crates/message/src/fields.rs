//! The fields of a message, as the product passes them around.
//!
//! For now they are kept in an `http::HeaderMap`, which code that has not been moved to this interface can still reach.

use std::ops::{Deref, DerefMut};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::edit::Edit;
use crate::known::{Known, KnownSet};
use crate::lines::Field;
use crate::name::Name;

/// The fields of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(HeaderMap);

impl Fields {
    /// No fields.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a field with one of these tags is there.
    #[must_use]
    pub fn has(&self, tags: impl Into<KnownSet>) -> bool {
        let tags = tags.into();
        self.0.keys().any(|name| tags.contains(Known::of(name.as_str().as_bytes())))
    }

    /// The tags of all fields.
    #[must_use]
    pub fn tags(&self) -> KnownSet {
        self.0.keys().fold(KnownSet::EMPTY, |tags, name| tags.with(Known::of(name.as_str().as_bytes())))
    }

    /// How many fields there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.0.iter().map(|(name, value)| {
            let name = name.as_str().as_bytes();
            Field { name, value: value.as_bytes(), known: Known::of(name) }
        })
    }

    /// The value of the first field of this name.
    #[must_use]
    pub fn first<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        self.0.get(key(name.into())?).map(HeaderValue::as_bytes)
    }

    /// The same for what outlives the fields.
    #[must_use]
    pub fn first_shared<'n>(&self, name: impl Into<Name<'n>>) -> Option<Bytes> {
        self.first(name).map(Bytes::copy_from_slice)
    }

    /// The value of the field of this name, if there is exactly one.
    #[must_use]
    pub fn only<'n>(&self, name: impl Into<Name<'n>>) -> Option<&[u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The values of all fields of this name, in order.
    pub fn values<'n>(&self, name: impl Into<Name<'n>>) -> impl DoubleEndedIterator<Item = &[u8]> {
        let values = key(name.into()).map(|name| self.0.get_all(name).iter());
        values.into_iter().flatten().map(HeaderValue::as_bytes)
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn contains<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        key(name.into()).is_some_and(|name| self.0.contains_key(name))
    }

    /// Removes all fields of this name.
    pub fn drop_named<'n>(&mut self, name: impl Into<Name<'n>>) {
        if let Some(name) = key(name.into()) {
            self.0.remove(name);
        }
    }

    /// Removes all fields with one of these tags. Returns how many there were.
    pub fn drop_known(&mut self, tags: impl Into<KnownSet>) -> usize {
        let (tags, before) = (tags.into(), self.0.len());
        let is_dropped = |name: &&HeaderName| tags.contains(Known::of(name.as_str().as_bytes()));
        while let Some(name) = self.0.keys().find(is_dropped).cloned() {
            self.0.remove(name);
        }
        before - self.0.len()
    }

    /// Removes the fields for which `keeps` is false. Returns how many.
    pub fn retain(&mut self, mut keeps: impl FnMut(Field<'_>) -> bool) -> usize {
        let before = self.0.len();
        let verdicts: Vec<bool> = self.iter().map(&mut keeps).collect();
        if verdicts.iter().all(|is_kept| *is_kept) {
            return 0;
        }
        let all = std::mem::take(&mut self.0);
        for ((name, value), _) in all.iter().zip(&verdicts).filter(|(_, is_kept)| **is_kept) {
            self.0.append(name.clone(), value.clone());
        }
        before - self.0.len()
    }

    /// Removes all fields of this name and appends one. A name or value that would not make one line is left out.
    pub fn set<'n>(&mut self, name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) {
        if let Some((name, value)) = line(name.into(), value.as_ref()) {
            self.0.insert(name, value);
        }
    }

    /// Appends a field. A name or value that would not make one line is left out.
    pub fn append<'n>(&mut self, name: impl Into<Name<'n>>, value: impl AsRef<[u8]>) {
        if let Some((name, value)) = line(name.into(), value.as_ref()) {
            self.0.append(name, value);
        }
    }

    /// Appends all fields of others. They were checked when they were put there, so they are copied as they are.
    pub fn append_all(&mut self, others: &Self) {
        for field in others.iter() {
            self.append(field.name, field.value);
        }
    }

    /// Applies an edit.
    pub fn apply(&mut self, edit: &Edit<'_>) {
        match edit {
            Edit::DropKnown(tags) => {
                self.drop_known(*tags);
            }
            Edit::Drop(name) => self.drop_named(*name),
            Edit::Set(name, value) => self.set(*name, value),
            Edit::Append(name, value) => self.append(*name, value),
        }
    }

    /// Applies edits one after another.
    pub fn apply_all<'e>(&mut self, edits: impl IntoIterator<Item = Edit<'e>>) {
        for edit in edits {
            self.apply(&edit);
        }
    }

    /// A copy with allocations of exact size, for what outlives its exchange: as they came, values are pieces of the
    /// buffer that they were read into, and would keep all of that.
    #[must_use]
    pub fn compact(&self) -> Self {
        let text: usize = self.0.values().map(HeaderValue::len).sum();
        let mut buffer = BytesMut::with_capacity(text);
        self.0.values().for_each(|value| buffer.extend_from_slice(value.as_bytes()));
        let mut buffer = buffer.freeze();
        let mut copied = HeaderMap::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            let text = buffer.split_to(value.len().min(buffer.len()));
            let Ok(mut copy) = HeaderValue::from_maybe_shared(text) else { continue };
            copy.set_sensitive(value.is_sensitive());
            // Known names take no room; others are copied.
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone());
            copied.append(name, copy);
        }
        Self(copied)
    }

    /// What they hold on the heap, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // Hash table places and an entry for each field that there is room for, as `http` makes them; text is in one
        // allocation.
        const FIELD_BYTES: usize = 120;
        let fields = self.0.capacity().max(self.0.len()) * FIELD_BYTES;
        fields + self.iter().map(|field| field.name.len() + field.value.len()).sum::<usize>()
    }

    /// As `http` has them: for what is not on the data path.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        self.0.clone()
    }

    /// As `http` has them: for HTTP/2 and for what is not on the data path.
    #[must_use]
    pub fn into_map(self) -> HeaderMap {
        self.0
    }
}

fn key(name: Name<'_>) -> Option<HeaderName> {
    HeaderName::from_bytes(name.text()?).ok()
}

fn line(name: Name<'_>, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    Some((key(name)?, HeaderValue::from_bytes(value).ok()?))
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Fields {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut made = Self::new();
        made.extend(fields);
        made
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Extend<(N, V)> for Fields {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, fields: I) {
        for (name, value) in fields {
            self.append(name.as_ref(), value);
        }
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        Self(map.clone())
    }
}

impl From<HeaderMap> for Fields {
    fn from(map: HeaderMap) -> Self {
        Self(map)
    }
}

impl Deref for Fields {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        &self.0
    }
}

impl DerefMut for Fields {
    fn deref_mut(&mut self) -> &mut HeaderMap {
        &mut self.0
    }
}
