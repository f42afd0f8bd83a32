//! Changes to a head, as data: policy returns them, a stage applies them with [`Lines::apply`](crate::Lines::apply).

use std::borrow::Cow;

use crate::known::KnownSet;
use crate::lines::NumberLine;
use crate::name::Name;

/// One change to the fields of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<'e> {
    /// Removes all lines with one of these tags.
    DropKnown(KnownSet),
    /// Removes all lines of this name, in any case.
    Drop(Name<'e>),
    /// Removes all lines of this name and appends one.
    Set(Name<'e>, Cow<'e, [u8]>),
    /// Appends a line.
    Append(Name<'e>, Cow<'e, [u8]>),
    /// Appends this line with this number.
    AppendNumber(NumberLine, u64),
}

impl<'e> Edit<'e> {
    /// Removes all lines of this name and appends one.
    pub fn set(name: impl Into<Name<'e>>, value: impl Into<Cow<'e, [u8]>>) -> Self {
        Self::Set(name.into(), value.into())
    }

    /// Appends a line.
    pub fn append(name: impl Into<Name<'e>>, value: impl Into<Cow<'e, [u8]>>) -> Self {
        Self::Append(name.into(), value.into())
    }
}

/// Why an edit was not applied. The head is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The name is no token (RFC 9110 §5.6.2).
    #[error("field name is not a token")]
    Name,
    /// The value holds a control character, which could end the line (RFC 9110 §5.5).
    #[error("field value holds a control character")]
    Value,
    /// The appended lines exceed 64 KiB.
    #[error("appended fields exceed 64 KiB")]
    TooLarge,
}
