//! Builds the configuration of a test: common parts once, the subject of the test as TOML.
//!
//! Checks nothing; forebay does.

use std::fmt;

use crate::Origin;

/// A configuration builder; its `Display` is the file.
#[derive(Clone, Debug, Default)]
pub struct Config {
    server: String,
    /// Keys of `[log]`; `None`: the minimum is logged.
    log: Option<String>,
    upstream: Option<String>,
    backends: Vec<String>,
    route: String,
    /// Keys of `[route.cache]`; `None`: no such table.
    route_cache: Option<String>,
    /// Keys of `[cache]`.
    cache: String,
    /// Sides of the route's split, each with its own upstream; empty: no split.
    sides: Vec<Side>,
    /// `[route.canary]`.
    canary: Option<Canary>,
    routes: String,
}

#[derive(Clone, Debug)]
struct Side {
    name: String,
    backends: Vec<String>,
    weight: f64,
}

#[derive(Clone, Debug)]
struct Canary {
    side: String,
    keys: String,
}

/// The default rules of a test's canary: fast, and ignoring latency.
const CANARY: &[(&str, &str)] =
    &[("steps", "[50, 100]"), ("hold", "\"1m\""), ("requests_min", "20"), ("p95_max_ratio", "0")];

/// One route for all requests, to these origins in an upstream called `origins`.
#[must_use]
pub fn forward<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> Config {
    let quoted = |origin: &Origin| format!("\"{}\"", origin.url());
    Config { backends: origins.into_iter().map(quoted).collect(), upstream: Some(String::new()), ..Config::default() }
}

/// One route for all requests, called `all`, with a split among these sides: name, backend, percent. Each side has an
/// upstream of the same name; keys of [`Config::upstream`] apply to all of them. The admin listener is on.
#[must_use]
pub fn split(sides: &[(&str, &Origin, f64)]) -> Config {
    let start = Config::default();
    sides.iter().fold(start, |config, (name, origin, weight)| config.side(name, [*origin], *weight))
}

/// Only the upstreams and routes in this TOML text.
#[must_use]
pub fn routes(text: &str) -> Config {
    Config { routes: text.to_owned(), ..Config::default() }
}

impl Config {
    /// Adds a backend as TOML: `forward([]).backend(origin.with("weight = 3"))`.
    #[must_use]
    pub fn backend(mut self, text: String) -> Self {
        self.backends.push(text);
        self
    }

    /// Sets keys of the upstream; tables such as `[upstream.health]` must come last.
    #[must_use]
    pub fn upstream(mut self, keys: &str) -> Self {
        self.upstream = Some(self.upstream.unwrap_or_default() + keys + "\n");
        self
    }

    /// Sets keys of the route.
    #[must_use]
    pub fn route(mut self, keys: &str) -> Self {
        self.route += &format!("{keys}\n");
        self
    }

    /// Enables caching on the route, with these keys of `[route.cache]`, possibly none. Use [`Config::route`] for keys
    /// of the route itself, before or after.
    #[must_use]
    pub fn cached(mut self, keys: &str) -> Self {
        self.route_cache = Some(self.route_cache.unwrap_or_default() + keys + "\n");
        self
    }

    /// Sets keys of `[cache]`.
    #[must_use]
    pub fn cache(mut self, keys: &str) -> Self {
        self.cache += &format!("{keys}\n");
        self
    }

    /// Sets keys of `[server]`; `workers` is 1 by default.
    #[must_use]
    pub fn server(mut self, keys: &str) -> Self {
        self.server += &format!("{keys}\n");
        self
    }

    /// Sets keys of `[log]`, replacing those that turn it off.
    #[must_use]
    pub fn log(mut self, keys: &str) -> Self {
        self.log = Some(self.log.unwrap_or_default() + keys + "\n");
        self
    }

    /// Adds a side with these backends and this share in percent.
    #[must_use]
    pub fn side<'a>(mut self, name: &str, backends: impl IntoIterator<Item = &'a Origin>, weight: f64) -> Self {
        let backends = backends.into_iter().map(|origin| format!("\"{}\"", origin.url())).collect();
        self.sides.push(Side { name: name.to_owned(), backends, weight });
        self
    }

    /// Adds a canary for this side with these keys. Defaults: `steps` of 50 and 100, `hold` 1m, `requests_min` 20, and
    /// latency is ignored.
    #[must_use]
    pub fn canary(mut self, side: &str, keys: &str) -> Self {
        self.canary = Some(Canary { side: side.to_owned(), keys: keys.to_owned() });
        self
    }

    /// Adds upstreams and routes.
    #[must_use]
    pub fn more(mut self, text: &str) -> Self {
        self.routes += &format!("{text}\n");
        self
    }
}

impl Canary {
    fn write(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "[route.canary]\nupstream = \"{}\"\n{}", self.side, self.keys)?;
        let is_said = |key: &str| self.keys.lines().any(|line| line.split('=').next().map(str::trim) == Some(key));
        for (key, value) in CANARY.iter().filter(|(key, _)| !is_said(key)) {
            writeln!(to, "{key} = {value}")?;
        }
        Ok(())
    }
}

impl Config {
    fn write_split(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.upstream.as_deref().unwrap_or_default();
        for Side { name, backends, .. } in &self.sides {
            writeln!(to, "[[upstream]]\nname = \"{name}\"\nbackends = [{}]\n{keys}", backends.join(", "))?;
        }
        let side = |side: &Side| format!("{{ upstream = \"{}\", weight = {} }}", side.name, side.weight);
        let sides: Vec<String> = self.sides.iter().map(side).collect();
        let path = if self.route.contains("path =") { "" } else { "path = \"/\"\n" };
        let name = if self.route.contains("name =") { "" } else { "name = \"all\"\n" };
        writeln!(to, "[[route]]\n{name}split = [{}]\n{path}{}", sides.join(", "), self.route)
    }
}

impl fmt::Display for Config {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to, "listen = [\"127.0.0.1:0\"]\n\n[server]")?;
        if !self.server.contains("workers") {
            writeln!(to, "workers = 1")?;
        }
        let log = self.log.as_deref().unwrap_or("access = \"off\"\nlevel = \"error\"\n");
        writeln!(to, "{}\n[log]\n{log}", self.server)?;
        if !self.cache.is_empty() {
            writeln!(to, "[cache]\n{}", self.cache)?;
        }
        if !self.sides.is_empty() {
            writeln!(to, "[admin]\nlisten = \"127.0.0.1:0\"\n")?;
            self.write_split(to)?;
        } else if let Some(keys) = &self.upstream {
            writeln!(to, "[[upstream]]\nname = \"origins\"\nbackends = [{}]\n{keys}", self.backends.join(", "))?;
            let path = if self.route.contains("path =") { "" } else { "path = \"/\"\n" };
            writeln!(to, "[[route]]\nupstream = \"origins\"\n{path}{}", self.route)?;
        }
        if let Some(keys) = &self.route_cache {
            writeln!(to, "[route.cache]\n{keys}")?;
        }
        if let Some(canary) = &self.canary {
            canary.write(to)?;
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
    fn a_split_has_an_upstream_for_each_side() {
        let origins = Origin::row(2);
        let text = split(&[("new", &origins[0], 0.5), ("old", &origins[1], 99.5)]).upstream("pool_max = 1").to_string();
        let wanted = "split = [{ upstream = \"new\", weight = 0.5 }, { upstream = \"old\", weight = 99.5 }]\n";
        assert!(text.contains(&format!("[[route]]\nname = \"all\"\n{wanted}path = \"/\"\n")), "{text}");
        assert_eq!((text.matches("pool_max = 1").count(), text.matches("[admin]").count()), (2, 1), "{text}");
    }

    #[test]
    fn a_canary_says_what_the_test_does_not() {
        let origin = Origin::start(crate::ok(""));
        let text = split(&[("new", &origin, 100.0)]).canary("new", "hold = \"2s\"\n").to_string();
        assert!(text.contains("[route.canary]\nupstream = \"new\"\nhold = \"2s\"\n"), "{text}");
        assert_eq!((text.matches("hold =").count(), text.matches("requests_min = 20").count()), (1, 1), "{text}");
    }

    #[test]
    fn routes_alone_bring_no_upstream() {
        let text = routes("[[route]]\npath = \"/\"\nrespond = {}\n").to_string();
        assert!(!text.contains("[[upstream]]") && text.ends_with("respond = {}\n"), "{text}");
    }
}
