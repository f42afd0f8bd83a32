//! All routes of a plan, arranged so that the most specific match is found first.

/// What a request must be for a route to match.
#[derive(Clone, Debug)]
pub struct Rule {
    /// One of these hosts; empty: any.
    pub hosts: Vec<HostPattern>,
    /// This path.
    pub path: PathPattern,
    /// One of these methods; empty: any.
    pub methods: Vec<http::Method>,
    /// All of these header fields.
    pub headers: Vec<(http::HeaderName, String)>,
    /// All of these query parameters.
    pub query: Vec<(String, String)>,
    /// All of these cookies.
    pub cookies: Vec<(String, String)>,
}

/// A condition on the host, in lower case without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// Just this.
    Exact(String),
    /// Everything that ends in this and has a label before it: `.shop.example.com`.
    Suffix(String),
}

/// A condition on the path.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Starts with these whole segments.
    Prefix(String),
    /// Just this.
    Exact(String),
    /// Holds a match.
    Regex(regex::Regex),
}

/// The routes of a plan.
#[derive(Debug, Default)]
pub struct Table {}

impl Table {
    /// A table that answers with an index into `rules`.
    #[must_use]
    pub fn new(_rules: Vec<Rule>) -> Self {
        Self {}
    }
}
