//! Why a text is no template, and why an event does not fill one.

use crate::message::host::BadHost;
use crate::message::target::BadTarget;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTemplate {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// `{` without `}`.
    #[error("has an open brace; {{{{ stands for a plain one")]
    NotClosed,
    /// `}` without `{`.
    #[error("has a closing brace alone; }}}} stands for a plain one")]
    NotOpened,
    /// Braces around something that no event has.
    #[error("names {path:?}; known are type, aggregate_id, subject and data.…")]
    Unknown {
        /// What stands in the braces.
        path: Box<str>,
    },
    /// A dot with nothing before or behind it.
    #[error("names {path:?}, which has an empty step")]
    EmptyStep {
        /// What stands in the braces.
        path: Box<str>,
    },
    /// Its own text is longer than what it makes may be.
    #[error("is longer than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// It makes no URL.
    #[error(transparent)]
    Place(#[from] BadPlace),
}

/// Why an event does not fill a template: 422.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The event has nothing there.
    #[error("{path} is missing")]
    Missing {
        /// Where, as the template writes it.
        path: Box<str>,
    },
    /// What the event has there is no scalar with one certain text.
    #[error("{path} is no text, whole number, true or false")]
    NoText {
        /// Where, as the template writes it.
        path: Box<str>,
    },
    /// The empty text: `/users/` in place of one user's URL could touch all of them.
    #[error("{path} is empty")]
    Empty {
        /// Where, as the template writes it.
        path: Box<str>,
    },
    /// The filled template would be longer than it may be.
    #[error("{path} makes more than {bytes_max} bytes")]
    TooLong {
        /// Where, as the template writes it.
        path: Box<str>,
        /// The limit.
        bytes_max: usize,
    },
    /// A value would be a `.` or `..` segment of a URL, or hold a NUL.
    #[error("{template} makes no URL: a value would be a . or .. segment, or holds a NUL")]
    NoUrl {
        /// The template's path, without its values.
        template: Box<str>,
    },
}

/// Why a template makes no URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    /// Neither a path nor a URL with one.
    #[error("is no URL with a path; it starts with /, http:// or https://")]
    NotAbsolute,
    /// Braces in the host.
    #[error("has a host with braces; only the path and the query take values")]
    HostWithField,
    /// The host is none.
    #[error("has no valid host: {0}")]
    Host(#[from] BadHost),
    /// The path or query holds what can't stand there.
    #[error("has no valid path or query: {0}")]
    Target(#[from] BadTarget),
    /// A `.` or `..` segment.
    #[error("has a . or .. segment")]
    Dots,
    /// The beginning of a URL that reaches into the query.
    #[error("has a query, but is the beginning of a path")]
    PrefixWithQuery,
}
