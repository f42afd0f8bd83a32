//! The configured rules for cache keys: which parts of the query, headers and cookies count.
//!
//! `key` decides the encoding.

use std::borrow::Cow;

use http::header::HeaderName;

/// A configured parameter name, in which one `*` matches any text. Names are compared as written, including escapes, so
/// an unusual spelling costs a second entry but never a wrong response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    before: String,
    after: Option<String>,
}

impl Pattern {
    /// Parses `gclid` or `utm_*`; `None` if it is empty or has more than one `*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once('*').map_or((text, None), |(before, after)| (before, Some(after)));
        let sound = !text.is_empty() && !after.is_some_and(|after| after.contains('*'));
        sound.then(|| Self { before: before.to_owned(), after: after.map(str::to_owned) })
    }

    /// Whether a name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.after {
            None => name == self.before,
            Some(after) => name.strip_prefix(self.before.as_str()).is_some_and(|rest| rest.ends_with(after.as_str())),
        }
    }
}

/// The configured rules. The default uses the URI unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// Whether the order of parameters is ignored; parameters with the same name keep their order.
    pub sort_query: bool,
    /// Parameters that are ignored.
    pub drop_query: Vec<Pattern>,
    /// Request fields whose values are part of the key.
    pub headers: Vec<HeaderName>,
    /// Cookies whose values are part of the key; names are case-sensitive.
    pub cookies: Vec<String>,
}

impl KeyRules {
    /// The query for the key: without ignored parameters, and sorted if the order is ignored; `None` if there is none
    /// or nothing is left. Borrowed if the rules do not change queries.
    #[must_use]
    pub fn query<'q>(&self, query: Option<&'q str>) -> Option<Cow<'q, str>> {
        let query = query?;
        if !self.sort_query && self.drop_query.is_empty() {
            return Some(Cow::Borrowed(query));
        }
        let mut pairs: Vec<&str> = query.split('&').collect();
        pairs.retain(|pair| !self.drop_query.iter().any(|pattern| pattern.matches(parameter_name(pair))));
        if pairs.is_empty() {
            return None;
        }
        if self.sort_query {
            pairs.sort_by_key(|pair| parameter_name(pair));
        }
        Some(Cow::Owned(pairs.join("&")))
    }
}

fn parameter_name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_holds_one_asterisk_at_most() {
        assert!(Pattern::parse("").is_none() && Pattern::parse("a**").is_none());
        let both = Pattern::parse("ab*ba").unwrap();
        assert!(both.matches("abba") && both.matches("ab-ba"));
        assert!(!both.matches("aba"), "the ends may not share bytes");
        assert!(Pattern::parse("*").unwrap().matches(""));
    }
}
