//! Whether two answers to one request say the same, and where they don't.
//!
//! [`compare`] finds the differences of one pair, [`Noise`] knows which of them mean nothing, [`Tally`] counts the rest.
//! Which answers are paired, and what a mismatch leads to, is not decided here.

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

/// So many differences of one pair are told; then it is not looked at any further.
pub const DIFFERENCES_MAX: usize = 32;

/// What one side said.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields; those that describe the body (`Content-Type`, `Content-Encoding`) are gone by.
    pub headers: &'a Fields,
    /// Its body.
    pub body: Content<'a>,
}

/// The body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// As it came, in its content coding; without the transfer coding.
    Whole(&'a [u8]),
    /// Too long to be kept, or broken off.
    Unknown,
}

/// In what way two answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The statuses.
    Status,
    /// The values of a header field.
    Header,
    /// The bodies, as bytes; or one is JSON, and the other is not.
    Body,
    /// A member that only ours has.
    Missing,
    /// A member that only theirs has.
    Added,
    /// Values of different types.
    Type,
    /// Values of the same type.
    Value,
    /// The numbers of elements.
    Length,
}

impl Kind {
    /// Its word, for people and programs.
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

/// One difference between two answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In what way they differ.
    pub kind: Kind,
    /// Where: a field's name, or a JSON pointer (RFC 6901); empty: the status, or the whole body.
    ///
    /// Long names, and pointers over [`PATH_BYTES_MAX`] bytes, end in `…`; control characters are escaped.
    pub path: String,
    /// What ours is there.
    pub ours: Shown,
    /// What theirs is there.
    pub theirs: Shown,
    place: Box<str>,
}

impl Difference {
    /// Its path with `*` for the elements of arrays: what noise and counts go by.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    fn at(kind: Kind, name: &str, ours: Shown, theirs: Shown) -> Self {
        Self { kind, path: name.to_owned(), ours, theirs, place: name.into() }
    }
}

/// Why two answers cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Skip {
    /// What one answered hinges on a condition, or a range, of the request: 304, 412, 206, 416; or it is interim.
    Status,
    /// A body is not known as a whole, or too much to be looked through.
    Long,
    /// A body's content coding is not known.
    Coding,
    /// A body is not what its content coding says.
    Broken,
}

impl Skip {
    /// Its word, for people and programs.
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

/// Where two answers to the same request differ: the status first, then header fields, then the body.
///
/// At most [`DIFFERENCES_MAX`]. A body that cannot be compared hides no other difference.
///
/// # Errors
/// Nothing differs as far as could be seen, but not all that `rules` ask for could be.
pub fn compare(
    rules: &Rules,
    ours: &Answer<'_>,
    theirs: &Answer<'_>,
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

/// Whether another validator, or another length, would have made another status of it (RFC 9110 §13.2, §14.2).
fn hinges_on_request(status: StatusCode) -> bool {
    let conditional = [
        StatusCode::PARTIAL_CONTENT,
        StatusCode::NOT_MODIFIED,
        StatusCode::PRECONDITION_FAILED,
        StatusCode::RANGE_NOT_SATISFIABLE,
    ];
    status.is_informational() || conditional.contains(&status)
}

/// An error that no condition explains.
fn failed(status: StatusCode) -> bool {
    (status.is_client_error() || status.is_server_error()) && !hinges_on_request(status)
}

fn compare_field(name: &HeaderName, ours: &Fields, theirs: &Fields, found: &mut Found) {
    if !ours.values(name).eq(theirs.values(name)) {
        let shown = |side: &Fields| Shown::field(name, side.values(name));
        found.add(Difference::at(Kind::Header, name.as_str(), shown(ours), shown(theirs)));
    }
}

/// The differences so far; never more than [`DIFFERENCES_MAX`].
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
