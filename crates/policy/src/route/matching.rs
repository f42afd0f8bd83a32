//! What a route asks of a request, and whether a request meets its conditions.
//!
//! Host and path are looked up in `table`; here are the patterns' meaning and the further conditions.

use http::{HeaderName, Method};
use message::Fields;

use crate::message::{cookies, query};

/// What one route asks of a request.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Any one of these; empty: any host.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// Any one of these; empty: any method. GET takes HEAD along.
    pub methods: Vec<Method>,
    /// Fields of which one line has just this value.
    pub headers: Vec<(HeaderName, String)>,
    /// Query parameters whose first occurrence has just this value, decoded.
    pub query: Vec<(String, String)>,
    /// Cookies whose first occurrence has just this value.
    pub cookies: Vec<(String, String)>,
}

/// Which hosts a route is for. In lower case, without a port and without a final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Just this one.
    Exact(String),
    /// Those that end in this, at any depth: `.shop.example.com` for `*.shop.example.com`. Not the name itself.
    Suffix(String),
}

/// Which paths a route is for.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Those that begin with this, by whole segments: `/api` matches `/api` and `/api/x`, not `/apix`; `/api/` matches
    /// `/api/` and what is below; `/` matches all.
    Prefix(String),
    /// Just this one.
    Exact(String),
    /// Those in which this is found; anchors are the pattern's own business.
    Regex(regex::Regex),
}

/// What of a request decides its route.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// In lower case, without a port and without a final dot; empty if there is none.
    pub host: &'a str,
    /// In normal form; with runs of slashes merged, unless the configuration says otherwise.
    pub path: &'a str,
    /// Without its `?`.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The header section.
    pub headers: &'a Fields,
}

/// What a rule asks beyond host and path.
#[derive(Debug)]
pub(super) struct Conditions {
    methods: Vec<Method>,
    headers: Vec<(HeaderName, String)>,
    query: Vec<(String, String)>,
    cookies: Vec<(String, String)>,
}

impl Conditions {
    pub(super) fn of(rule: &Rule) -> Self {
        Self {
            methods: rule.methods.clone(),
            headers: rule.headers.clone(),
            query: rule.query.clone(),
            cookies: rule.cookies.clone(),
        }
    }

    /// How many there are; a list of methods is one.
    pub(super) fn count(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len() + self.query.len() + self.cookies.len()
    }

    /// Whether every GET meets them all.
    pub(super) fn take_every_get(&self) -> bool {
        let is_plain = self.headers.is_empty() && self.query.is_empty() && self.cookies.is_empty();
        is_plain && (self.methods.is_empty() || self.methods.contains(&Method::GET))
    }

    /// Whether a request meets them all.
    pub(super) fn are_met(&self, asked: &Asked<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|method| takes(method, asked.method)))
            && self.headers.iter().all(|(name, value)| asked.headers.values(name).any(|line| line == value.as_bytes()))
            && self.query.iter().all(|(name, value)| asked.query.is_some_and(|query| query::holds(query, name, value)))
            && self.cookies.iter().all(|(name, value)| cookies::find(asked.headers, name) == Some(value.as_str()))
    }
}

/// HEAD asks for what GET would answer (RFC 9110 §9.3.2), so whoever lists GET means both.
fn takes(listed: &Method, asked: &Method) -> bool {
    listed == asked || (listed == Method::GET && asked == Method::HEAD)
}
