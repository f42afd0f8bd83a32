//! The conditions of a route, and whether a request meets them.
//!
//! `table` looks up host and path; this file defines the patterns and the further conditions.

use http::{HeaderName, Method};
use message::Fields;

use crate::message::{cookies, query};

/// The conditions of one route.
#[derive(Clone, Debug)]
pub struct RouteRule {
    /// The request's host matches one of these; empty: any host.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// The request's method is one of these; empty: any method. GET includes HEAD.
    pub methods: Vec<Method>,
    /// A line of each field has exactly this value.
    pub headers: Vec<(HeaderName, String)>,
    /// The first query parameter with each name has exactly this decoded value.
    pub query: Vec<(String, String)>,
    /// The first cookie with each name has exactly this value.
    pub cookies: Vec<(String, String)>,
}

/// A host pattern: lower case, without a port and a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Exactly this host.
    Exact(String),
    /// Hosts with this suffix, at any depth: `.shop.example.com` for `*.shop.example.com`. Does not match the name
    /// itself.
    Suffix(String),
}

/// A path pattern.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Paths with this prefix, by whole segments: `/api` matches `/api` and `/api/x`, not `/apix`; `/api/` matches
    /// `/api/` and paths below it; `/` matches all.
    Prefix(String),
    /// Exactly this path.
    Exact(String),
    /// Paths in which the pattern matches; it has anchors of its own.
    Regex(regex::Regex),
}

/// The parts of a request that determine its route.
#[derive(Clone, Copy, Debug)]
pub struct RouteRequest<'a> {
    /// In lower case, without a port and a final dot; empty if there is none.
    pub host: &'a str,
    /// In normal form, with runs of slashes merged unless configured otherwise.
    pub path: &'a str,
    /// Without its `?`.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The header section.
    pub headers: &'a Fields,
}

/// The conditions beyond host and path.
#[derive(Debug)]
pub(super) struct RouteConditions {
    methods: Vec<Method>,
    headers: Vec<(HeaderName, String)>,
    query: Vec<(String, String)>,
    cookies: Vec<(String, String)>,
}

impl RouteConditions {
    pub(super) fn of(rule: &RouteRule) -> Self {
        Self {
            methods: rule.methods.clone(),
            headers: rule.headers.clone(),
            query: rule.query.clone(),
            cookies: rule.cookies.clone(),
        }
    }

    /// The number of conditions; a list of methods counts as one.
    pub(super) fn count(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len() + self.cookies.len()
    }

    /// Whether every GET meets all of them.
    pub(super) fn take_every_get(&self) -> bool {
        let is_plain = self.headers.is_empty() && self.query.is_empty() && self.cookies.is_empty();
        is_plain && (self.methods.is_empty() || self.methods.contains(&Method::GET))
    }

    /// Whether a request meets all of them.
    pub(super) fn are_met(&self, asked: &RouteRequest<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|method| takes(method, asked.method)))
            && self.headers.iter().all(|(name, value)| asked.headers.values(name).any(|line| line == value.as_bytes()))
            && self.query.iter().all(|(name, value)| asked.query.is_some_and(|query| query::holds(query, name, value)))
            && self.cookies.iter().all(|(name, value)| cookies::find(asked.headers, name) == Some(value.as_str()))
    }
}

/// HEAD is handled like GET (RFC 9110 §9.3.2), so GET in a list includes HEAD.
fn takes(listed: &Method, asked: &Method) -> bool {
    listed == asked || (listed == Method::GET && asked == Method::HEAD)
}
