//! All routes of a plan, arranged to find the most specific match first.
//!
//! Host and path are looked up in hash maps, and the number of look-ups does not depend on their size. Prefixes are
//! looked up by cutting the path at its slashes from the end, starting at the length of the longest prefix in the
//! table. So the work is bounded by the file, not by the request.

use std::collections::HashMap;

use regex::Regex;

use super::matching::{HostPattern, PathPattern, RouteConditions, RouteRequest, RouteRule};

/// By name. Only the file inserts names, so a fast hash is safe: look-ups by clients cannot create collisions.
type Names<T> = HashMap<String, T, foldhash::fast::RandomState>;

/// The routes of a plan.
#[derive(Debug, Default)]
pub struct Table {
    /// By index of the rule.
    conditions: Vec<RouteConditions>,
    exact: Names<Paths>,
    suffixes: Names<Paths>,
    any: Paths,
}

/// The rules with one host pattern.
#[derive(Debug, Default)]
struct Paths {
    exact: Names<Candidates>,
    /// In file order of their first use.
    regexes: Vec<(Regex, Candidates)>,
    /// Without `/`.
    prefixes: Names<Candidates>,
    prefix_bytes_max: usize,
    /// For the prefix `/`, which matches all paths.
    root: Candidates,
}

/// The indices of the rules with the same host and path: most conditions first, then file order.
type Candidates = Vec<usize>;

impl Table {
    /// Arranges rules; [`Table::find`] returns an index.
    #[must_use]
    pub fn new(rules: Vec<RouteRule>) -> Self {
        let mut table = Self { conditions: rules.iter().map(RouteConditions::of).collect(), ..Self::default() };
        // Stable: rules with the same number of conditions stay in file order.
        let mut order: Vec<(usize, &RouteRule)> = rules.iter().enumerate().collect();
        order.sort_by_key(|(index, _)| {
            std::cmp::Reverse(table.conditions.get(*index).map_or(0, RouteConditions::count))
        });
        // Regexes are tried in file order regardless of conditions, so they are inserted before the sorted pass.
        for rule in &rules {
            table.for_hosts(rule, |paths| paths.reserve(&rule.path));
        }
        for (index, rule) in order {
            table.for_hosts(rule, |paths| paths.add(&rule.path, index));
        }
        table
    }

    /// The index of the rule that matches a request.
    ///
    /// The most specific match: an exact host, then the longest suffix, then no host; within these an exact path, then
    /// regexes in file order, then the longest prefix; within these the most conditions; then file order. If no rule of
    /// a more specific kind matches, less specific ones are tried. Does not allocate.
    #[must_use]
    pub fn find(&self, asked: &RouteRequest<'_>) -> Option<usize> {
        let find_path = |paths: &Paths| paths.find(asked.path, |candidates| self.first_met(candidates, asked));
        let exact = self.exact.get(asked.host).and_then(find_path);
        let by_suffix = || self.suffixes_of(asked.host).find_map(find_path);
        exact.or_else(by_suffix).or_else(|| find_path(&self.any))
    }

    /// The result of [`Table::find`] for a GET, if host and path determine it; otherwise `None`.
    #[must_use]
    pub fn find_by_path(&self, host: &str, path: &str) -> Option<usize> {
        // The first candidate has the most conditions.
        let find_path = |paths: &Paths| paths.find(path, |candidates| candidates.first().copied());
        let exact = self.exact.get(host).and_then(find_path);
        let by_suffix = || self.suffixes_of(host).find_map(find_path);
        let index = exact.or_else(by_suffix).or_else(|| find_path(&self.any))?;
        self.conditions.get(index).is_some_and(RouteConditions::take_every_get).then_some(index)
    }

    /// The indices of all rules whose host and path patterns match, regardless of other conditions, in file order.
    ///
    /// For operations on a URI under every method and header, such as invalidation. `host` and `path` are as in
    /// [`RouteRequest`]. Costs at most as much as [`Table::find`].
    #[must_use]
    pub fn all(&self, host: &str, path: &str) -> Vec<usize> {
        let by_host = self.exact.get(host).into_iter().chain(self.suffixes_of(host)).chain([&self.any]);
        let mut indices: Vec<usize> = Vec::new();
        for paths in by_host {
            let _none: Option<()> = paths.find(path, |candidates| {
                indices.extend(candidates);
                None
            });
        }
        // A rule has an entry for each of its hosts, several of which may match.
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    /// The paths for the suffixes of a host, longest first. A suffix begins with a dot, and the host has a label before
    /// it.
    fn suffixes_of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Paths> {
        let host = Some(host).filter(|_| !self.suffixes.is_empty()).into_iter();
        let dots =
            host.flat_map(|host| host.match_indices('.').filter_map(|(at, _)| host.get(at..).filter(|_| at > 0)));
        dots.filter_map(|suffix| self.suffixes.get(suffix))
    }

    fn first_met(&self, candidates: &[usize], asked: &RouteRequest<'_>) -> Option<usize> {
        candidates
            .iter()
            .copied()
            .find(|index| self.conditions.get(*index).is_some_and(|conditions| conditions.are_met(asked)))
    }

    fn for_hosts(&mut self, rule: &RouteRule, mut act: impl FnMut(&mut Paths)) {
        if rule.hosts.is_empty() {
            act(&mut self.any);
        }
        for host in &rule.hosts {
            act(match host {
                HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
                HostPattern::Suffix(suffix) => self.suffixes.entry(suffix.clone()).or_default(),
            });
        }
    }
}

impl Paths {
    /// The first result of `find` among the candidates for a path: the exact path, then regexes in file order, then
    /// prefixes, longest first.
    fn find<T>(&self, path: &str, mut make: impl FnMut(&Candidates) -> Option<T>) -> Option<T> {
        if let Some(made) = self.exact.get(path).and_then(&mut make) {
            return Some(made);
        }
        let mut regexes = self.regexes.iter().filter(|(regex, _)| regex.is_match(path));
        if let Some(made) = regexes.find_map(|(_, found)| make(found)) {
            return Some(made);
        }
        let mut prefixes = prefixes_of(path, self.prefix_bytes_max);
        if let Some(made) = prefixes.find_map(|prefix| self.prefixes.get(prefix).and_then(&mut make)) {
            return Some(made);
        }
        Some(&self.root).filter(|_| path.starts_with('/')).and_then(make)
    }

    fn reserve(&mut self, pattern: &PathPattern) {
        let PathPattern::Regex(regex) = pattern else { return };
        if !self.regexes.iter().any(|(known, _)| known.as_str() == regex.as_str()) {
            self.regexes.push((regex.clone(), Candidates::new()));
        }
    }

    fn add(&mut self, pattern: &PathPattern, index: usize) {
        match pattern {
            PathPattern::Exact(path) => self.exact.entry(path.clone()).or_default().push(index),
            PathPattern::Prefix(prefix) if prefix == "/" => self.root.push(index),
            PathPattern::Prefix(prefix) => {
                self.prefix_bytes_max = self.prefix_bytes_max.max(prefix.len());
                self.prefixes.entry(prefix.clone()).or_default().push(index);
            }
            PathPattern::Regex(regex) => {
                let place = self.regexes.iter_mut().find(|(known, _)| known.as_str() == regex.as_str());
                place.into_iter().for_each(|(_, candidates)| candidates.push(index));
            }
        }
    }
}

/// All prefixes of a path by whole segments, longest first, at most `bytes_max` long: for `/a/b` these are `/a/b`,
/// `/a/`, `/a` and `/`.
fn prefixes_of(path: &str, bytes_max: usize) -> impl Iterator<Item = &str> {
    let whole = Some(path).filter(|path| path.len() <= bytes_max);
    let longest = whole.or_else(|| shorter_prefix(path, bytes_max.saturating_add(1)));
    std::iter::successors(longest, |prefix| shorter_prefix(path, prefix.len()))
}

/// The longest prefix of a path by whole segments that is shorter than `end` bytes and than the path.
fn shorter_prefix(path: &str, bytes: usize) -> Option<&str> {
    let end = bytes.min(path.len()).checked_sub(1)?;
    // The searched text is short, so a byte-wise search is fast enough.
    let slash = path.as_bytes().get(..=end)?.iter().rposition(|byte| *byte == b'/')?;
    // After the slash if that is within bounds, else before it.
    path.get(..end.min(slash + 1)).filter(|prefix| !prefix.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, Method};
    use message::Fields;
    use proptest::prelude::*;

    fn rule(hosts: &[&str], path: &str) -> RouteRule {
        let hosts = hosts.iter().map(|host| match host.strip_prefix('*') {
            Some(suffix) => HostPattern::Suffix(suffix.to_owned()),
            None => HostPattern::Exact((*host).to_owned()),
        });
        let path = if let Some(exact) = path.strip_prefix('=') {
            PathPattern::Exact(exact.to_owned())
        } else if let Some(regex) = path.strip_prefix('~') {
            PathPattern::Regex(Regex::new(regex).unwrap())
        } else {
            PathPattern::Prefix(path.to_owned())
        };
        let hosts = hosts.collect();
        RouteRule { hosts, path, methods: vec![], headers: vec![], query: vec![], cookies: vec![] }
    }

    fn found(rules: &[RouteRule], host: &str, path: &str) -> Option<usize> {
        let headers = Fields::new();
        let asked = RouteRequest { host, path, query: None, method: &Method::GET, headers: &headers };
        Table::new(rules.to_vec()).find(&asked)
    }

    #[test]
    fn a_prefix_matches_whole_segments_only() {
        let rules = [rule(&[], "/api")];
        for path in ["/api", "/api/", "/api/x", "/api//"] {
            assert_eq!(found(&rules, "a", path), Some(0), "{path}");
        }
        for path in ["/apix", "/", "/ap", "//api", "/API"] {
            assert_eq!(found(&rules, "a", path), None, "{path}");
        }
    }

    #[test]
    fn a_prefix_with_a_final_slash_does_not_match_its_bare_name() {
        let rules = [rule(&[], "/api/")];
        assert_eq!(found(&rules, "a", "/api/"), Some(0));
        assert_eq!(found(&rules, "a", "/api/x"), Some(0));
        assert_eq!(found(&rules, "a", "/api"), None);
    }

    #[test]
    fn the_root_matches_all_paths() {
        for path in ["/", "/a", "//", "/a/b/c"] {
            assert_eq!(found(&[rule(&[], "/")], "", path), Some(0), "{path}");
        }
        assert_eq!(found(&[rule(&[], "/")], "", "*"), None);
    }

    #[test]
    fn an_escaped_slash_never_matches_a_slash() {
        assert_eq!(found(&[rule(&[], "/a/b")], "", "/a%2Fb"), None);
        assert_eq!(found(&[rule(&[], "/a")], "", "/a%2Fb"), None);
    }

    #[test]
    fn the_more_specific_host_wins_before_the_longer_path() {
        let rules = [
            rule(&[], "/a/b/c"),
            rule(&["*.example.com"], "/a/b"),
            rule(&["*.shop.example.com"], "/a"),
            rule(&["x.shop.example.com"], "/"),
        ];
        assert_eq!(found(&rules, "x.shop.example.com", "/a/b/c"), Some(3));
        assert_eq!(found(&rules, "y.shop.example.com", "/a/b/c"), Some(2));
        assert_eq!(found(&rules, "shop.example.com", "/a/b/c"), Some(1));
        assert_eq!(found(&rules, "example.com", "/a/b/c"), Some(0));
    }

    #[test]
    fn a_wildcard_matches_any_depth_but_not_the_name_itself() {
        let rules = [rule(&["*.example.com"], "/")];
        assert_eq!(found(&rules, "a.example.com", "/"), Some(0));
        assert_eq!(found(&rules, "a.b.example.com", "/"), Some(0));
        for host in ["example.com", ".example.com", "badexample.com", "example.com.evil"] {
            assert_eq!(found(&rules, host, "/"), None, "{host}");
        }
    }

    #[test]
    fn less_specific_hosts_are_tried_when_no_path_matches() {
        let rules = [rule(&[], "/"), rule(&["*.example.com"], "/b"), rule(&["a.example.com"], "/a")];
        assert_eq!(found(&rules, "a.example.com", "/b"), Some(1));
        assert_eq!(found(&rules, "a.example.com", "/c"), Some(0));
    }

    #[test]
    fn an_exact_path_wins_over_a_regex_and_that_over_a_prefix() {
        let rules = [rule(&[], "/a/b"), rule(&[], "~^/a/."), rule(&[], "~b$"), rule(&[], "=/a/b")];
        assert_eq!(found(&rules, "", "/a/b"), Some(3));
        assert_eq!(found(&rules, "", "/a/b/"), Some(1));
        assert_eq!(found(&rules, "", "/b"), Some(2));
        assert_eq!(found(&rules[..1], "", "/a/b/c"), Some(0));
    }

    #[test]
    fn the_most_conditions_win_then_file_order() {
        let narrow = RouteRule { methods: vec![Method::GET], ..rule(&[], "/") };
        let rules = [rule(&[], "/"), narrow.clone(), narrow];
        assert_eq!(found(&rules, "", "/"), Some(1));
    }

    #[test]
    fn regexes_stay_in_file_order_whatever_their_conditions() {
        let narrow = RouteRule { methods: vec![Method::GET], ..rule(&[], "~b") };
        assert_eq!(found(&[rule(&[], "~a"), narrow.clone()], "", "/ab"), Some(0));
        assert_eq!(found(&[rule(&[], "~b"), narrow], "", "/ab"), Some(1));
    }

    #[test]
    fn head_takes_the_route_of_get() {
        let headers = Fields::new();
        let table = Table::new(vec![RouteRule { methods: vec![Method::GET], ..rule(&[], "/") }]);
        let find = |method| table.find(&RouteRequest { host: "", path: "/", query: None, method, headers: &headers });
        assert_eq!(find(&Method::HEAD), Some(0));
        assert_eq!(find(&Method::POST), None);
    }

    #[test]
    fn all_conditions_must_be_met() {
        let narrow = RouteRule {
            headers: vec![(HeaderName::from_static("x-tenant"), "blue".to_owned())],
            query: vec![("v".to_owned(), "a b".to_owned())],
            cookies: vec![("side".to_owned(), "new".to_owned())],
            ..rule(&[], "/")
        };
        let table = Table::new(vec![rule(&[], "/"), narrow]);
        let mut headers = Fields::new();
        let find = |headers: &Fields, query| {
            table.find(&RouteRequest { host: "", path: "/", query, method: &Method::GET, headers })
        };
        headers.set("x-tenant", "blue");
        assert_eq!(find(&headers, Some("v=a+b")), Some(0));
        headers.set("cookie", "x=y; side=new");
        assert_eq!(find(&headers, Some("v=a+b")), Some(1));
        assert_eq!(find(&headers, Some("v=1&v=a+b")), Some(0));
        assert_eq!(find(&headers, None), Some(0));
    }

    #[test]
    fn a_long_path_full_of_slashes_costs_no_more_look_ups_than_the_longest_prefix() {
        let path = "/".repeat(16_384);
        assert!(prefixes_of(&path, 4).count() <= 10);
        assert_eq!(found(&[rule(&[], "//")], "", &path), Some(0));
    }

    #[test]
    fn prefixes_are_cut_from_the_end() {
        assert_eq!(prefixes_of("/a/b", 9).collect::<Vec<_>>(), ["/a/b", "/a/", "/a", "/"]);
        assert_eq!(prefixes_of("/a/b", 2).collect::<Vec<_>>(), ["/a", "/"]);
        assert_eq!(prefixes_of("*", 2).collect::<Vec<_>>(), ["*"]);
    }

    #[test]
    fn all_rules_for_a_uri_are_found_whatever_else_they_ask() {
        let narrow = RouteRule { methods: vec![Method::PUT], ..rule(&["*.b", "x.b"], "/a") };
        let rules = [narrow, rule(&["x.b"], "=/a/b"), rule(&[], "~b$"), rule(&["y.b"], "/"), rule(&[], "/")];
        let all = |host, path| Table::new(rules.to_vec()).all(host, path);
        assert_eq!(all("x.b", "/a/b"), [0, 1, 2, 4]);
        assert_eq!(all("z.b", "/a/b"), [0, 2, 4]);
        assert_eq!(all("b", "/a"), [4]);
        assert_eq!(all("y.b", "/"), [3, 4]);
        assert!(Table::default().all("y.b", "/").is_empty());
    }

    /// The specificity of a rule's match, computed from the definition alone; larger wins.
    fn rank(rule: &RouteRule, index: usize, asked: &RouteRequest<'_>) -> Option<(usize, usize, usize, usize, isize)> {
        let host = if rule.hosts.is_empty() {
            0
        } else {
            let ranks = rule.hosts.iter().filter_map(|pattern| match pattern {
                HostPattern::Exact(name) => (name == asked.host).then_some(usize::MAX),
                HostPattern::Suffix(suffix) => {
                    (asked.host.ends_with(suffix.as_str()) && asked.host.len() > suffix.len()).then_some(suffix.len())
                }
            });
            ranks.max()?
        };
        let (kind, detail) = match &rule.path {
            PathPattern::Exact(path) => (path == asked.path).then_some((2, 0))?,
            // Every regex occurs once in these tests, so file order is the order of rules.
            PathPattern::Regex(regex) => regex.is_match(asked.path).then_some((1, usize::MAX - index))?,
            PathPattern::Prefix(prefix) => {
                let rest = asked.path.strip_prefix(prefix.as_str())?;
                (rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/')).then_some((0, prefix.len()))?
            }
        };
        let method = rule.methods.is_empty()
            || rule.methods.contains(asked.method)
            || (asked.method == Method::HEAD && rule.methods.contains(&Method::GET));
        let tenant =
            rule.headers.iter().all(|(name, value)| asked.headers.first(name).is_some_and(|it| it == value.as_bytes()));
        let conditions = usize::from(!rule.methods.is_empty()) + rule.headers.len();
        (method && tenant).then_some((host, kind, detail, conditions, -index.cast_signed()))
    }

    fn any_rules() -> impl Strategy<Value = Vec<RouteRule>> {
        let hosts = proptest::sample::subsequence(vec!["a.b.c", "b.c", "*.b.c", "*.c"], 0..=2);
        let paths = proptest::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a//b", "=/a", "=/a/b", "=/", "~"]);
        let methods = proptest::sample::subsequence(vec![Method::GET, Method::POST], 0..=1);
        let one = (hosts, paths, methods, any::<bool>()).prop_map(|(hosts, path, methods, tenant)| {
            let headers = tenant.then(|| (HeaderName::from_static("x-tenant"), "blue".to_owned()));
            RouteRule { methods, headers: headers.into_iter().collect(), ..rule(&hosts, path) }
        });
        proptest::collection::vec(one, 0..12).prop_map(|mut rules| {
            for (index, rule) in rules.iter_mut().enumerate() {
                if let PathPattern::Regex(regex) = &mut rule.path {
                    *regex = Regex::new(&format!("^/a{{0,{}}}[ab/]*$", index + 1)).unwrap();
                }
            }
            rules
        })
    }

    proptest! {
        #[test]
        fn the_table_finds_what_a_look_at_every_rule_would(
            rules in any_rules(),
            host in proptest::sample::select(vec!["a.b.c", "b.c", "x.b.c", "y.x.b.c", "c", ""]),
            path in "/[ab/]{0,6}",
            method in proptest::sample::select(vec![Method::GET, Method::HEAD, Method::POST]),
            tenant: bool,
        ) {
            let mut headers = Fields::new();
            if tenant {
                headers.set("x-tenant", "blue");
            }
            let asked = RouteRequest { host, path: &path, query: None, method: &method, headers: &headers };
            let ranked = rules.iter().enumerate().filter_map(|(index, rule)| Some((rank(rule, index, &asked)?, index)));
            let expected = ranked.max().map(|(_, index)| index);
            let table = Table::new(rules.clone());
            prop_assert_eq!(table.find(&asked), expected);
            let bare = |rule: &RouteRule| RouteRule { methods: vec![], headers: vec![], ..rule.clone() };
            let fitting = rules.iter().enumerate().filter(|(index, rule)| rank(&bare(rule), *index, &asked).is_some());
            prop_assert_eq!(table.all(host, &path), fitting.map(|(index, _)| index).collect::<Vec<_>>());
        }
    }
}
