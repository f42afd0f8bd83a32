//! Names by which fields are looked up and set.

use http::HeaderName;

use crate::known::Known;

/// A field name: one that has a tag, or any other as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'n> {
    /// The one name that this tag stands for.
    Known(Known),
    /// This name, in any case.
    Text(&'n [u8]),
}

impl<'n> Name<'n> {
    /// The tag that the name has.
    #[must_use]
    pub fn known(self) -> Known {
        match self {
            Self::Known(known) => known,
            Self::Text(text) => Known::of(text),
        }
    }

    /// The name as it is written to the wire; `None` for a tag that stands for a family of names.
    #[must_use]
    pub fn text(self) -> Option<&'n [u8]> {
        match self {
            Self::Known(known) => known.name().map(str::as_bytes),
            Self::Text(text) => Some(text),
        }
    }
}

impl From<Known> for Name<'_> {
    fn from(known: Known) -> Self {
        Self::Known(known)
    }
}

impl<'n> From<&'n str> for Name<'n> {
    fn from(text: &'n str) -> Self {
        Self::Text(text.as_bytes())
    }
}

impl<'n> From<&'n [u8]> for Name<'n> {
    fn from(text: &'n [u8]) -> Self {
        Self::Text(text)
    }
}

impl<'n, const N: usize> From<&'n [u8; N]> for Name<'n> {
    fn from(text: &'n [u8; N]) -> Self {
        Self::Text(text)
    }
}

impl<'n> From<&'n HeaderName> for Name<'n> {
    fn from(name: &'n HeaderName) -> Self {
        Self::Text(name.as_str().as_bytes())
    }
}
