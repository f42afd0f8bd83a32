//! What is kept of a request's body for a repeat.

use bytes::Bytes;

/// Pieces of a body in their order. Most bodies are one piece: the first needs no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    first: Option<Bytes>,
    more: Vec<Bytes>,
}

impl Pieces {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.first.iter().chain(&self.more)
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Bytes> {
        index.checked_sub(1).map_or(self.first.as_ref(), |index| self.more.get(index))
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if self.first.is_some() {
            self.more.push(piece);
        } else {
            self.first = Some(piece);
        }
    }
}

impl FromIterator<Bytes> for Pieces {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let mut pieces = pieces.into_iter();
        Self { first: pieces.next(), more: pieces.collect() }
    }
}
