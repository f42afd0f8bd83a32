//! The configuration of a test: what every test needs is said once, what it is about is said in TOML.
//!
//! Does not check anything; that is forebay's own work.

use std::fmt;

use crate::Origin;

/// A configuration text in the making; its `Display` is the file.
#[derive(Clone, Debug, Default)]
pub struct Config {
    server: String,
    upstream: Option<String>,
    backends: Vec<String>,
    route: String,
    /// Keys of `[route.cache]`; `None`: no such table.
    route_cache: Option<String>,
    /// Keys of `[cache]`.
    cache: String,
    routes: String,
}

/// One route for everything, forwarding to these origins by an upstream called `origins`.
#[must_use]
pub fn forward<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> Config {
    let quoted = |origin: &Origin| format!("\"{}\"", origin.url());
    Config { backends: origins.into_iter().map(quoted).collect(), upstream: Some(String::new()), ..Config::default() }
}

/// Only what this TOML text says, upstreams and routes; no route of its own.
#[must_use]
pub fn routes(text: &str) -> Config {
    Config { routes: text.to_owned(), ..Config::default() }
}

impl Config {
    /// Another backend, as TOML: `forward([]).backend(origin.with("weight = 3"))`.
    #[must_use]
    pub fn backend(mut self, text: String) -> Self {
        self.backends.push(text);
        self
    }

    /// Keys of the upstream, tables such as `[upstream.health]` last.
    #[must_use]
    pub fn upstream(mut self, keys: &str) -> Self {
        self.upstream = Some(self.upstream.unwrap_or_default() + keys + "\n");
        self
    }

    /// Keys of the route.
    #[must_use]
    pub fn route(mut self, keys: &str) -> Self {
        self.route += &format!("{keys}\n");
        self
    }

    /// Lets the route cache, by these keys of `[route.cache]`; none needed. Call [`Config::route`] for keys of the route
    /// itself, before or after.
    #[must_use]
    pub fn cached(mut self, keys: &str) -> Self {
        self.route_cache = Some(self.route_cache.unwrap_or_default() + keys + "\n");
        self
    }

    /// Keys of `[cache]`, what all caching routes share.
    #[must_use]
    pub fn cache(mut self, keys: &str) -> Self {
        self.cache += &format!("{keys}\n");
        self
    }

    /// Keys of `[server]`; `workers` is 1 unless given here.
    #[must_use]
    pub fn server(mut self, keys: &str) -> Self {
        self.server += &format!("{keys}\n");
        self
    }

    /// More upstreams and routes.
    #[must_use]
    pub fn more(mut self, text: &str) -> Self {
        self.routes += &format!("{text}\n");
        self
    }
}

impl fmt::Display for Config {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "listen = [\"127.0.0.1:0\"]\n\n[server]")?;
        if !self.server.contains("workers") {
            writeln!(to, "workers = 1")?;
        }
        writeln!(to, "{}\n[log]\naccess = \"off\"\nlevel = \"error\"\n", self.server)?;
        if !self.cache.is_empty() {
            writeln!(to, "[cache]\n{}", self.cache)?;
        }
        if let Some(keys) = &self.upstream {
            writeln!(to, "[[upstream]]\nname = \"origins\"\nbackends = [{}]\n{keys}", self.backends.join(", "))?;
            let path = if self.route.contains("path =") { "" } else { "path = \"/\"\n" };
            writeln!(to, "[[route]]\nupstream = \"origins\"\n{path}{}", self.route)?;
        }
        if let Some(keys) = &self.route_cache {
            writeln!(to, "[route.cache]\n{keys}")?;
        }
        to.write_str(&self.routes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_test_needs_is_said_for_it() {
        let origin = Origin::start(crate::ok(""));
        let text = forward([&origin]).upstream("balance = \"random\"").to_string();
        let url = origin.url();
        let wanted = format!("[[upstream]]\nname = \"origins\"\nbackends = [\"{url}\"]\nbalance = \"random\"\n");
        assert!(text.starts_with("listen = [\"127.0.0.1:0\"]\n\n[server]\nworkers = 1\n"), "{text}");
        assert!(text.contains(&wanted) && text.contains("[[route]]\nupstream = \"origins\"\npath = \"/\"\n"), "{text}");
    }

    #[test]
    fn what_a_test_says_itself_is_not_said_twice() {
        let text = forward([]).server("workers = 2").route("path = \"=/x\"").to_string();
        assert_eq!((text.matches("workers").count(), text.matches("path").count()), (1, 1), "{text}");
    }

    #[test]
    fn a_cached_route_has_its_table_after_its_own_keys() {
        let text = forward([]).cached("ttl = \"5s\"").route("path = \"/a\"").cache("memory_max = \"1MiB\"").to_string();
        assert!(text.ends_with("path = \"/a\"\n\n[route.cache]\nttl = \"5s\"\n\n"), "{text}");
        assert!(text.contains("[cache]\nmemory_max = \"1MiB\"\n"), "{text}");
        assert!(!forward([]).to_string().contains("cache]"));
    }

    #[test]
    fn routes_alone_bring_no_upstream() {
        let text = routes("[[route]]\npath = \"/\"\nrespond = {}\n").to_string();
        assert!(!text.contains("[[upstream]]") && text.ends_with("respond = {}\n"), "{text}");
    }
}
