//! The scope of a ban, and the merged scope of two bans.

use super::Subject;
use crate::cache::key::{KeyParts, Scheme};

/// The responses that a ban applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// Responses with one of these tags.
    Tags(Box<[Box<str>]>),
    /// Responses for URIs with this prefix.
    Prefix(Prefix),
    /// Responses for a path on any host.
    Anywhere(Anywhere),
}

/// A URI prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The scheme; `None`: both.
    pub scheme: Option<Scheme>,
    /// The host in normal form, and the port (`None`: the default port); `None`: any host and port.
    pub authority: Option<(Box<str>, Option<u16>)>,
    /// The prefix of the path.
    pub path: Box<str>,
}

impl Prefix {
    fn covers(&self, parts: &KeyParts<'_>) -> bool {
        let is_there = self.authority.as_ref().is_none_or(|(host, port)| {
            *parts.host == **host && parts.port == port.unwrap_or(parts.scheme.default_port())
        });
        is_there && self.scheme.is_none_or(|scheme| scheme == parts.scheme) && parts.path.starts_with(&*self.path)
    }

    /// The longest prefix that covers both.
    fn merge(&self, other: &Self) -> Self {
        let same = self.path.char_indices().zip(other.path.chars()).take_while(|((_, one), other)| one == other);
        let bytes = same.last().map_or(0, |((at, last), _)| at + last.len_utf8());
        Self {
            scheme: self.scheme.filter(|scheme| other.scheme == Some(*scheme)),
            authority: self.authority.clone().filter(|authority| other.authority.as_ref() == Some(authority)),
            path: self.path.get(..bytes).unwrap_or_default().into(),
        }
    }

    fn is_everything(&self) -> bool {
        // Every path begins with a slash.
        self.scheme.is_none() && self.authority.is_none() && matches!(&*self.path, "" | "/")
    }
}

/// A path and query on any host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anywhere {
    /// The path.
    pub path: Box<str>,
    /// The query, in each form that the rules of a key space produce.
    pub queries: Vec<Option<Box<str>>>,
}

impl Anywhere {
    fn covers(&self, parts: &KeyParts<'_>) -> bool {
        *parts.path == *self.path && self.queries.iter().any(|query| query.as_deref() == parts.query)
    }

    /// A wider and shorter scope.
    fn prefix(&self) -> Prefix {
        Prefix { scheme: None, authority: None, path: self.path.clone() }
    }
}

impl Scope {
    /// Whether the scope includes a stored response.
    pub(super) fn covers<F: Fn(&str) -> bool>(&self, subject: &Subject<'_, F>) -> bool {
        match self {
            Self::All => true,
            Self::Tags(tags) => tags.iter().any(|tag| (subject.has_tag)(tag)),
            Self::Prefix(prefix) => subject.parts.as_ref().is_some_and(|parts| prefix.covers(parts)),
            Self::Anywhere(anywhere) => subject.parts.as_ref().is_some_and(|parts| anywhere.covers(parts)),
        }
    }

    /// A scope that includes both, and usually more.
    pub(super) fn merge(&self, other: &Self) -> Self {
        if self == other {
            return self.clone();
        }
        match (self.prefix(), other.prefix()) {
            (Some(one), Some(other)) => {
                let both = one.merge(&other);
                if both.is_everything() { Self::All } else { Self::Prefix(both) }
            }
            _ => Self::All,
        }
    }

    fn prefix(&self) -> Option<Prefix> {
        match self {
            Self::Prefix(prefix) => Some(prefix.clone()),
            Self::Anywhere(anywhere) => Some(anywhere.prefix()),
            Self::All | Self::Tags(_) => None,
        }
    }

    /// The bytes of its text.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Tags(tags) => tags.iter().map(|tag| tag.len()).sum(),
            Self::Prefix(prefix) => prefix.path.len() + prefix.authority.as_ref().map_or(0, |(host, _)| host.len()),
            Self::Anywhere(Anywhere { path, queries }) => {
                path.len() + queries.iter().flatten().map(|query| query.len()).sum::<usize>()
            }
        }
    }
}
