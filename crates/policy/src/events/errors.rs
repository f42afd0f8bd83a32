//! Errors of templates, and of events that do not match one.

use crate::message::host::BadHost;
use crate::message::target::BadTarget;

/// Why a text is not a valid template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEventTemplate {
    /// The template is empty.
    #[error("is empty")]
    Empty,
    /// `{` without `}`.
    #[error("has an open brace; {{{{ stands for a plain one")]
    NotClosed,
    /// `}` without `{`.
    #[error("has a closing brace alone; }}}} stands for a plain one")]
    NotOpened,
    /// The braces contain an unknown path.
    #[error("names {path:?}; known are type, aggregate_id, subject and data.…")]
    Unknown {
        /// The content of the braces.
        path: Box<str>,
    },
    /// A path with an empty step: a dot at its start or end, or two in a row.
    #[error("names {path:?}, which has an empty step")]
    EmptyStep {
        /// The content of the braces.
        path: Box<str>,
    },
    /// The literal text exceeds the limit for the result.
    #[error("is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The result would not be a URL.
    #[error(transparent)]
    Place(#[from] BadPlace),
}

/// Why an event does not match a template (422).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The event has no value at this path.
    #[error("{path} is missing")]
    Missing {
        /// The path as written in the template.
        path: Box<str>,
    },
    /// The value at this path is not a scalar with an unambiguous text.
    #[error("{path} is no text, whole number, true or false")]
    NoText {
        /// The path as written in the template.
        path: Box<str>,
    },
    /// The value is empty: `/users/` in place of one user's URL could invalidate all of them.
    #[error("{path} is empty")]
    Empty {
        /// The path as written in the template.
        path: Box<str>,
    },
    /// The result would exceed the limit.
    #[error("{path} makes more than {bytes_max} bytes")]
    TooLong {
        /// The path as written in the template.
        path: Box<str>,
        /// The limit.
        bytes_max: usize,
    },
    /// A value would be a `.` or `..` segment of a URL, or contains a NUL.
    #[error("{template} makes no URL: a value would be a . or .. segment, or holds a NUL")]
    NoUrl {
        /// The template's path, without values.
        template: Box<str>,
    },
}

/// Why a template does not result in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    /// Neither a path nor a URL with one.
    #[error("is no URL with a path; it starts with /, http:// or https://")]
    NotAbsolute,
    /// Braces in the host.
    #[error("has a host with braces; only the path and the query take values")]
    HostWithField,
    /// The host is invalid.
    #[error("has no valid host: {0}")]
    Host(#[from] BadHost),
    /// The path or query contains invalid characters.
    #[error("has no valid path or query: {0}")]
    Target(#[from] BadTarget),
    /// A `.` or `..` segment.
    #[error("has a . or .. segment")]
    Dots,
    /// A URL prefix that extends into the query.
    #[error("has a query, but is the beginning of a path")]
    PrefixWithQuery,
}
