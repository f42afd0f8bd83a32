//! Compares two responses to the same request.
//!
//! [`compare`] finds the differences of a pair, [`Noise`] removes those without meaning, [`Tally`] counts the rest.
//! Pairing responses, and the consequences of a mismatch, are decided elsewhere.
//!
//! Throughout, `ours` is the response that the client receives, and `theirs` that of the mirror.

pub mod coding;
pub mod redact;
pub mod rules;

mod body;
mod document;
mod noise;
mod tally;
mod trail;
mod walk;

use http::{HeaderName, Method, StatusCode};
use message::Fields;

pub use noise::Noise;
pub use tally::{Row, Tally};
pub use trail::PATH_BYTES_MAX;

use redact::Shown;
use rules::Rules;

/// The most differences reported for one pair; the comparison ends there.
pub const DIFFERENCES_MAX: usize = 32;

/// One response of a pair.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields. Those that describe the body (`Content-Type`, `Content-Encoding`) determine its decoding.
    pub headers: &'a Fields,
    /// Its body.
    pub body: Content<'a>,
}

/// The body of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// The complete body, with its content coding and without a transfer coding.
    Whole(&'a [u8]),
    /// The body was too long to be kept, or was incomplete.
    Unknown,
}

/// A kind of difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The status codes.
    Status,
    /// The values of a header field.
    Header,
    /// The bodies as bytes; or one is JSON and the other is not.
    Body,
    /// A member that only `ours` has.
    Missing,
    /// A member that only `theirs` has.
    Added,
    /// Values of different types.
    Type,
    /// Values of the same type.
    Value,
    /// The lengths of arrays.
    Length,
}

impl Kind {
    /// Its name in logs and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Header => "header",
            Self::Body => "body",
            Self::Missing => "missing",
            Self::Added => "added",
            Self::Type => "type",
            Self::Value => "value",
            Self::Length => "length",
        }
    }
}

/// A difference between two responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The kind.
    pub kind: Kind,
    /// Where: the name of a field, or a JSON pointer (RFC 6901). Empty for the status and the whole body.
    ///
    /// Long names, and pointers over [`PATH_BYTES_MAX`] bytes, end in `…`; control characters are escaped.
    pub path: String,
    /// The value in `ours`.
    pub ours: Shown,
    /// The value in `theirs`.
    pub theirs: Shown,
    place: Box<str>,
}

impl Difference {
    /// The path with `*` for array indices, which noise and counts are keyed by.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    fn at(kind: Kind, name: &str, ours: Shown, theirs: Shown) -> Self {
        Self { kind, path: name.to_owned(), ours, theirs, place: name.into() }
    }
}

/// Why two responses cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// A status depends on a precondition or range of the request (304, 412, 206, 416), or is interim.
    Status,
    /// A body is incomplete, or too large to be examined.
    Long,
    /// The content coding of a body is not supported.
    Coding,
    /// A body does not match its content coding.
    Broken,
}

impl Skip {
    /// Its name in logs and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Long => "long",
            Self::Coding => "coding",
            Self::Broken => "broken",
        }
    }
}

/// The differences between two responses: the status first, then header fields, then the body.
///
/// At most [`DIFFERENCES_MAX`]. A body that cannot be compared does not hide other differences.
///
/// # Errors
/// No difference was found, but not everything that `rules` ask for could be compared.
pub fn compare(
    rules: &Rules,
    ours: &Response<'_>,
    theirs: &Response<'_>,
    method: &Method,
) -> Result<Vec<Difference>, Skip> {
    let hinges = hinges_on_request(ours.status) || hinges_on_request(theirs.status);
    if hinges && !failed(ours.status) && !failed(theirs.status) {
        return Err(Skip::Status);
    }
    let mut found = Found::default();
    if rules.status && ours.status != theirs.status {
        found.add(Difference::at(Kind::Status, "", Shown::status(ours.status), Shown::status(theirs.status)));
    }
    for name in &rules.headers {
        compare_field(name, ours.headers, theirs.headers, &mut found);
    }
    let skipped = match hinges || *method == Method::HEAD {
        true => None,
        false => body::compare(rules, ours, theirs, &mut found),
    };
    match skipped {
        Some(skip) if found.list.is_empty() => Err(skip),
        Some(_) | None => Ok(found.list),
    }
}

/// Whether another validator or length would have resulted in another status (RFC 9110 §13.2, §14.2).
fn hinges_on_request(status: StatusCode) -> bool {
    let conditional = [
        StatusCode::PARTIAL_CONTENT,
        StatusCode::NOT_MODIFIED,
        StatusCode::PRECONDITION_FAILED,
        StatusCode::RANGE_NOT_SATISFIABLE,
    ];
    status.is_informational() || conditional.contains(&status)
}

/// Whether this is an error that no precondition explains.
fn failed(status: StatusCode) -> bool {
    (status.is_client_error() || status.is_server_error()) && !hinges_on_request(status)
}

fn compare_field(name: &HeaderName, ours: &Fields, theirs: &Fields, found: &mut Found) {
    if !ours.values(name).eq(theirs.values(name)) {
        let shown = |side: &Fields| Shown::field(name, side.values(name));
        found.add(Difference::at(Kind::Header, name.as_str(), shown(ours), shown(theirs)));
    }
}

/// The differences so far, at most [`DIFFERENCES_MAX`].
#[derive(Debug, Default)]
struct Found {
    list: Vec<Difference>,
}

impl Found {
    fn add(&mut self, difference: Difference) {
        if !self.is_full() {
            self.list.push(difference);
        }
    }

    fn is_full(&self) -> bool {
        self.list.len() >= DIFFERENCES_MAX
    }
}

#[cfg(test)]
mod tests;
