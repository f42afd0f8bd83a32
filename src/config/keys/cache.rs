//! Declares `[cache]` and `[route.cache]`.

use std::time::Duration;

use http::{HeaderName, StatusCode};
use policy::cache::key::{self, Pattern};
use policy::message::network::Network;

use super::write_back::WriteBack;
use super::{HOUR, KIB, MIB, MILLISECOND, TIB, YEAR, table, words};
use crate::config::document::Section;
use crate::config::grammar::is_token;
use crate::config::units;
use crate::config::value::{self, Value as _, Words as _};

table! {
    /// The cache that all caching routes share.
    pub struct Cache "[cache]";

    /// The most memory for the cache: keys, headers, bodies, index and bodies that are being fetched. Beyond it, the
    /// least recently used entries are evicted.
    memory_max: u64 as Size(MIB, TIB) = "256MiB", now;
    /// The longest body that the cache stores; at most a quarter of `memory_max`, which limits the default, too.
    object_bytes_max: u64 as Size(KIB, TIB) = "8MiB" => within_quarter, now;
    /// Networks in CIDR form, or single addresses, that may send `PURGE`. forebay compares the address of the
    /// connection, not forwarding headers. `[]` allows no client.
    purge_from: Vec<Network> = "", now;
    /// How long a request waits for another request's fetch of the same response before it starts its own fetch, which
    /// all waiting requests may share. At most four run at once, each begun at least this long after the last.
    coalesce_wait_max: Duration as Duration(MILLISECOND, HOUR) = "30s", now;
    /// How many requests may wait for one response.
    coalesce_waiting_max: usize as Count(1, 10_000_000) = "65536", now;
    /// How long forebay remembers that responses to a request can't be shared, so that no request waits for one.
    hit_for_miss: Duration as Duration(MILLISECOND, HOUR) = "2m", now;
    /// How far a fetch may run ahead of the fastest client that reads it; at most a quarter of `memory_max`, which
    /// limits the default, too.
    fetch_ahead_bytes_max: u64 as Size(KIB, TIB) = "1MiB" => within_quarter, now;
}

table! {
    /// How a route caches. Left out: it does not cache.
    pub(in crate::config) struct RouteCacheKeys "[route.cache]" => check_store_private;

    /// Whether forebay stores responses, and what it does with writes. `cache-aside` forwards writes and invalidates
    /// their URI. `write-through` forwards writes and stores what the backend has accepted, for `ttl` or `ttl_force`.
    /// `write-back` puts writes in a journal and answers before the backend has seen them, see
    /// `[route.cache.write_back]`; it needs `state_dir`. `off` stores nothing.
    mode: Option<Mode> = "cache-aside" => Mode::choose;
    /// How long a response stays fresh when the backend names no time: for statuses that are cacheable by default (200,
    /// 203, 204, 206, 300, 301, 308, 404, 405, 410, 451 and 501), and `public` responses. It overrides the heuristic
    /// lifetime from `Last-Modified`.
    ttl: Option<Duration> as Duration(Duration::ZERO, YEAR);
    /// How long a response stays fresh, overriding the backend's `max-age`, `Expires` and `no-cache`, and `ttl_status`,
    /// for statuses that are cacheable by default. It does not override `private`, `no-store` and `Set-Cookie`; see
    /// `store_private` and `store_set_cookie`.
    ttl_force: Option<Duration> as Duration(Duration::ZERO, YEAR);
    /// How long a response with exactly this status stays fresh when the backend names no time: `{ 404 = "10s" }`. It
    /// overrides `ttl`.
    ttl_status: Vec<(StatusCode, Duration)> as DurationByStatus(Duration::ZERO, YEAR) => by_status;
    /// The longest heuristic lifetime: a response without any other time stays fresh for a tenth of the time since its
    /// `Last-Modified`, at most this; 0 turns it off.
    heuristic_max: Duration as Duration(Duration::ZERO, YEAR) = "1d";
    /// How long a response may be served stale while forebay refreshes it, unless the backend names a time. Left out:
    /// not at all.
    stale_while_revalidate: Option<Duration> as Duration(Duration::ZERO, YEAR);
    /// How long a response may be served stale instead of an error, unless the backend names a time. Left out: never
    /// instead of an error, but for any time while no backend responds at all, unless the response forbids it
    /// (`must-revalidate`, `proxy-revalidate`, `s-maxage`, `no-cache`). "0s": never.
    stale_if_error: Option<Duration> as Duration(Duration::ZERO, YEAR);
    /// Stores responses that set a cookie, and gives every client the same cookie. `false`: such a response is stored
    /// only if it says `public` or `s-maxage`, or names a time in `CDN-Cache-Control`.
    store_set_cookie: bool = "false";
    /// Overrides the backend's `private` and `no-store` where a time of this route applies: all clients then get what
    /// the backend meant for one user, or for no cache.
    store_private: bool = "false";
    /// Which requests share a response. Left out: those with the same URI.
    key: key::KeyRules as Table(CacheKey::SECTION) => key_rules;
    /// On a route with `split`: whether a stored response of one side may be served for another. `false`: each side has
    /// its own responses. A write on one side invalidates the URI on all sides in either case.
    share_sides as Flag = "false";
    /// The response headers with tags for purges. forebay removes them for clients.
    tags_header: Vec<HeaderName> = "surrogate-key cache-tag xkey";
    /// How forebay stores and sends writes, with `mode = "write-back"`.
    write_back: WriteBack;
}

table! {
    /// Which parts of a request are in the cache key, beside scheme, host and path. Fields that `Vary` names count in
    /// any case.
    struct CacheKey "key = { … }";

    /// How the query is part of the key.
    query: CacheQuery;
    /// Request headers whose values are in the key, too.
    headers: Vec<HeaderName> = "";
    /// Cookies whose values are in the key, too.
    cookies: Vec<String> as Texts = "" => cookies;
}

table! {
    /// How the query is part of the key. The backend gets a GET or HEAD with the query of the key.
    struct CacheQuery "query = { … }";

    /// Whether forebay sorts the parameters by name, so that their order does not count; parameters of one name keep
    /// their order.
    sort: bool = "false";
    /// Parameters to remove: `"gclid"`, or with one `*` for any text: `"utm_*"`.
    drop: Vec<Pattern> as Texts = "" => dropped;
}

words! {
    /// Whether a route caches, and how it handles writes.
    pub(in crate::config) enum Mode {
        /// Writes are forwarded, and their URI is invalidated.
        Aside = "cache-aside",
        /// Writes are forwarded, and what the backend has accepted is stored.
        Through = "write-through",
        /// Writes are stored in the journal and acknowledged, and sent to the backend later.
        Back = "write-back",
        /// The route does not cache.
        Off = "off",
    }
}

impl Default for Cache {
    /// The settings of a file without `[cache]`.
    fn default() -> Self {
        value::defaults()
    }
}

/// Reads a size of at most a quarter of `memory_max`: a larger object would evict nearly all others. A default that is
/// too large is lowered, so that a small `memory_max` needs no other keys.
fn within_quarter(section: &Section<'_>, key: &str) -> u64 {
    let (size, quarter) = (section.size(key), section.size("memory_max") / 4);
    if size > quarter && section.has(key) {
        let hint = format!("at most {}, or raise memory_max", units::size_text(quarter));
        section.report.add(section.at(key), format!("{key} is more than a quarter of memory_max"), hint);
    }
    size.min(quarter)
}

fn by_status(section: &Section<'_>, key: &str) -> Vec<(StatusCode, Duration)> {
    let mut times = Vec::new();
    for (written, time) in section.durations(key) {
        let status =
            written.get_ref().parse::<StatusCode>().ok().filter(|status| (200..600).contains(&status.as_u16()));
        match status {
            Some(StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED) => {
                let hint = "leave it out: it brings a part of a response, or confirms a stored one";
                section.report.add(written.span(), format!("{} is not stored by itself", written.get_ref()), hint);
            }
            Some(status) => times.push((status, time)),
            None => {
                let hint = "write it as { 404 = \"10s\" }, within 200 and 599";
                section.report.add(written.span(), format!("{:?} is no final status", written.get_ref()), hint);
            }
        }
    }
    times
}

/// Reports `store_private` without a time of the route: it applies only where such a time applies.
fn check_store_private(keys: &RouteCacheKeys, section: &Section<'_>) {
    if keys.store_private && !["ttl", "ttl_force", "ttl_status"].into_iter().any(|time| section.has(time)) {
        let hint = "it holds where a time of the route counts: add ttl, ttl_status or ttl_force";
        section.report.add(section.at("store_private"), "store_private has no effect", hint);
    }
}

fn key_rules(section: &Section<'_>, key: &str) -> key::KeyRules {
    let CacheKey { query, headers, cookies } = CacheKey::read(section, key);
    key::KeyRules { sort_query: query.sort, drop_query: query.drop, headers, cookies }
}

fn dropped(query: &Section<'_>, key: &str) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    for text in query.texts(key) {
        let pattern = Pattern::parse(&text.value);
        if pattern.is_none() {
            let hint = "write \"gclid\", or with one * for any text: \"utm_*\"";
            query.report.add(text.span.clone(), format!("{text} names no parameter"), hint);
        }
        patterns.extend(pattern);
    }
    patterns
}

fn cookies(section: &Section<'_>, key: &str) -> Vec<String> {
    let mut names = Vec::new();
    for text in section.texts(key) {
        if !is_token(&text.value) {
            let hint = "letters, digits and - _ without blanks";
            section.report.add(text.span.clone(), "this is no name of a cookie", hint);
        }
        names.push(text.value);
    }
    names
}
