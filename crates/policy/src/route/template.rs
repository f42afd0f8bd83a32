//! Templates for redirects and rewritten targets: text with parts of the request in braces.
//!
//! The configuration decides which key allows which word; `docs/templates.md` lists the words.

use std::fmt;

use regex::{Captures, Regex};

use crate::message::scheme::Scheme;

/// The words allowed in braces, besides the groups of the route's pattern.
pub const WORDS: [&str; 6] = ["scheme", "host", "hostname", "port", "path", "query"];

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    pieces: Vec<TemplatePiece>,
    /// The pattern of the route's path, if the template uses one of its groups.
    pattern: Option<Regex>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePiece {
    Text(String),
    Scheme,
    Host,
    Hostname,
    Port,
    Path,
    Query,
    Group(usize),
}

/// The parts of a request for a template.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The scheme.
    pub scheme: Scheme,
    /// Name and port, in normal form for the scheme.
    pub host: &'a str,
    /// The name without the port.
    pub hostname: &'a str,
    /// The port; `None`: the scheme's default.
    pub port: Option<u16>,
    /// The path.
    pub path: &'a str,
    /// The path that routes match, from which groups are taken.
    pub match_path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
}

/// Why a text is not a valid template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadTemplate {
    /// A brace is not closed, or not opened.
    Brace,
    /// The braces contain an unknown word, and the route's path is not a pattern.
    Word(String),
    /// The braces contain neither a known word nor a group of the route's pattern.
    Group(String),
}

impl Template {
    /// Parses a template for a route with this path pattern, if any.
    ///
    /// # Errors
    /// [`BadTemplate`] with the reason.
    pub fn parse(text: &str, pattern: Option<&Regex>) -> Result<Self, BadTemplate> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (word, after) = after.split_once('}').ok_or(BadTemplate::Brace)?;
            literal(&mut pieces, before)?;
            pieces.push(piece(word, pattern)?);
            rest = after;
        }
        literal(&mut pieces, rest)?;
        let has_groups = pieces.iter().any(|piece| matches!(piece, TemplatePiece::Group(_)));
        Ok(Self { text: text.to_owned(), pieces, pattern: pattern.filter(|_| has_groups).cloned() })
    }

    /// Fills in the parts of a request. At the start, only the template itself may produce `//`, which would name
    /// another host (RFC 3986 §4.2): slashes from the request are reduced to one there.
    #[must_use]
    pub fn fill(&self, parts: &Parts<'_>) -> String {
        let groups = self.pattern.as_ref().and_then(|pattern| pattern.captures(parts.match_path));
        let mut filled = String::with_capacity(self.text.len().saturating_add(parts.path.len()));
        for piece in &self.pieces {
            piece.put(&mut filled, parts, groups.as_ref());
        }
        let is_own = self.text.starts_with("//");
        match filled.strip_prefix("//").filter(|_| !is_own) {
            Some(rest) => format!("/{}", rest.trim_start_matches('/')),
            None => filled,
        }
    }
}

impl TemplatePiece {
    fn put(&self, to: &mut String, parts: &Parts<'_>, groups: Option<&Captures<'_>>) {
        match self {
            Self::Text(text) => to.push_str(text),
            Self::Scheme => to.push_str(parts.scheme.as_str()),
            Self::Host => to.push_str(parts.host),
            Self::Hostname => to.push_str(parts.hostname),
            Self::Port => to.push_str(&parts.port.unwrap_or(parts.scheme.default_port()).to_string()),
            Self::Path => to.push_str(parts.path),
            Self::Query => {
                if let Some(query) = parts.query {
                    to.extend(["?", query]);
                }
            }
            Self::Group(index) => {
                // A group that did not take part in the match is empty.
                to.push_str(groups.and_then(|groups| groups.get(*index)).map_or("", |group| group.as_str()));
            }
        }
    }
}

/// Templates are equal if their text and pattern are.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        let pattern = |template: &Self| template.pattern.as_ref().map(|pattern| pattern.as_str().to_owned());
        self.text == other.text && pattern(self) == pattern(other)
    }
}

impl Eq for Template {}

impl fmt::Display for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn literal(pieces: &mut Vec<TemplatePiece>, text: &str) -> Result<(), BadTemplate> {
    if text.contains('}') {
        return Err(BadTemplate::Brace);
    }
    if !text.is_empty() {
        pieces.push(TemplatePiece::Text(text.to_owned()));
    }
    Ok(())
}

fn piece(word: &str, pattern: Option<&Regex>) -> Result<TemplatePiece, BadTemplate> {
    Ok(match word {
        "scheme" => TemplatePiece::Scheme,
        "host" => TemplatePiece::Host,
        "hostname" => TemplatePiece::Hostname,
        "port" => TemplatePiece::Port,
        "path" => TemplatePiece::Path,
        "query" => TemplatePiece::Query,
        _ => {
            let pattern = pattern.ok_or_else(|| BadTemplate::Word(word.to_owned()))?;
            let mut names = pattern.capture_names().enumerate();
            let is_it = |(index, name): &(usize, Option<&str>)| *name == Some(word) || word == index.to_string();
            let (index, _) = names.find(is_it).ok_or_else(|| BadTemplate::Group(word.to_owned()))?;
            TemplatePiece::Group(index)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts<'a>(path: &'a str, query: Option<&'a str>) -> Parts<'a> {
        let (host, hostname) = ("shop.test:8080", "shop.test");
        Parts { scheme: Scheme::Https, host, hostname, port: Some(8080), path, match_path: path, query }
    }

    fn filled(text: &str, pattern: Option<&str>, path: &str) -> String {
        let pattern = pattern.map(|pattern| Regex::new(pattern).unwrap());
        Template::parse(text, pattern.as_ref()).unwrap().fill(&parts(path, Some("c=d")))
    }

    #[test]
    fn every_word_stands_for_its_part_of_the_request() {
        let text = "{scheme}|{host}|{hostname}|{port}|{path}|{query}|";
        assert_eq!(filled(text, None, "/a"), "https|shop.test:8080|shop.test|8080|/a|?c=d|");
        let plain = Parts { port: None, ..parts("/", None) };
        assert_eq!(Template::parse("{port}{query}", None).unwrap().fill(&plain), "443");
    }

    #[test]
    fn groups_of_the_pattern_have_numbers_and_perhaps_names() {
        let pattern = Some("^/users/(?<id>[0-9]+)(/.*)?$");
        assert_eq!(filled("/u/{id}{2}", pattern, "/users/7/x"), "/u/7/x");
        assert_eq!(filled("/u/{1}{2}", pattern, "/users/7"), "/u/7");
        assert_eq!(filled("{0}", pattern, "/users/7"), "/users/7");
    }

    #[test]
    fn what_is_no_word_and_no_group_is_refused() {
        let pattern = Regex::new("^/(a)").unwrap();
        for (text, bad) in [
            ("/{user}", BadTemplate::Word("user".to_owned())),
            ("/{1}", BadTemplate::Word("1".to_owned())),
            ("/{}", BadTemplate::Word(String::new())),
            ("/a}", BadTemplate::Brace),
            ("/{path", BadTemplate::Brace),
        ] {
            assert_eq!(Template::parse(text, None), Err(bad), "{text}");
        }
        for group in ["2", "01", "user", ""] {
            let text = format!("/{{{group}}}");
            assert_eq!(Template::parse(&text, Some(&pattern)), Err(BadTemplate::Group(group.to_owned())), "{text}");
        }
    }

    #[test]
    fn no_request_makes_another_host_of_a_path() {
        assert_eq!(filled("{path}", None, "//evil.test/x"), "/evil.test/x");
        assert_eq!(filled("/{1}", Some("^/old/(.*)$"), "/old///evil.test"), "/evil.test");
        assert_eq!(filled("//cdn.test{path}", None, "/x"), "//cdn.test/x");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a{}/1hostpath]{0,20}", path in "/[a/]{0,8}") {
            let pattern = Regex::new("^/(a+)(/a)?").unwrap();
            if let Ok(template) = Template::parse(&text, Some(&pattern)) {
                let filled = template.fill(&parts(&path, None));
                let has_braces = filled.contains(['{', '}']);
                prop_assert!(!has_braces);
                prop_assert!(!filled.starts_with("//") || text.starts_with("//"));
            }
        }
    }
}
