//! `[cache]` and `[route.cache]`: what is shared, and how each route caches.

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
    /// What all caching routes share.
    pub struct Cache "[cache]";

    /// The most memory for all that is stored: keys, headers, bodies, index and what is being fetched. What was asked
    /// for longest ago makes room.
    memory_max: u64 as Size(MIB, TIB) = "256MiB", now;
    /// The longest body that is stored; at most a quarter of `memory_max`, which bounds the default too.
    object_bytes_max: u64 as Size(KIB, TIB) = "8MiB" => within_quarter, now;
    /// Networks in CIDR form, or single addresses, that may send `PURGE`: those of the peers themselves, whatever
    /// forwarding headers say. `[]` allows nobody.
    purge_from: Vec<Network> = "", now;
    /// How long a request waits for another request's fetch of the same response before it starts a fetch of its own,
    /// which all that wait may share. At most four run at once, each begun at least so long after the last.
    wait_max: Duration as Duration(MILLISECOND, HOUR) = "30s", now;
    /// How many requests may wait for one answer.
    waiting_max: usize as Count(1, 10_000_000) = "65536", now;
    /// How long it is remembered that answers to a request are not for sharing, so that nobody waits for one.
    pass_for: Duration as Duration(MILLISECOND, HOUR) = "2m", now;
    /// How far a fetch may run ahead of the fastest client that reads along; at most a quarter of `memory_max`, which
    /// bounds the default too.
    lead_bytes_max: u64 as Size(KIB, TIB) = "1MiB" => within_quarter, now;
}

table! {
    /// How a route caches. Left out: it does not.
    pub(in crate::config) struct RouteCacheKeys "[route.cache]" => private_has_a_time;

    /// Whether answers are stored and served from there, and what becomes of writes. `cache-aside` forwards them and
    /// forgets what they touch. `write-through` forwards them and stores what the backend has taken, for `ttl` or
    /// `ttl_force`. `write-back` keeps them in a journal and answers before the backend has seen them, see
    /// `[route.cache.write_back]`; it needs `state_dir`. `off` stores nothing.
    mode: Option<Mode> = "cache-aside" => Mode::choose;
    /// How long an answer stays fresh when the backend names no time: for statuses that may be stored unasked (200,
    /// 203, 204, 206, 300, 301, 308, 404, 405, 410, 451 and 501), and `public` ones. It goes before a guess from
    /// `Last-Modified`.
    ttl: Option<Duration> as Duration(Duration::ZERO, YEAR);
    /// How long an answer stays fresh, whatever the backend says: beats its `max-age`, `Expires` and `no-cache`, and
    /// `ttl_status`, for statuses that may be stored unasked. `private`, `no-store` and `Set-Cookie` hold all the
    /// same, unless `store_private` and `store_set_cookie` say otherwise.
    ttl_force: Option<Duration> as Duration(Duration::ZERO, YEAR);
    /// How long an answer of just this status stays fresh when the backend names no time: `{ 404 = "10s" }`. It goes
    /// before `ttl`.
    ttl_status: Vec<(StatusCode, Duration)> as DurationByStatus(Duration::ZERO, YEAR) => by_status;
    /// When nobody names a time: a tenth of the time since `Last-Modified`, at most this; 0 guesses nothing.
    heuristic_max: Duration as Duration(Duration::ZERO, YEAR) = "1d";
    /// How long an answer may be served stale while it is fetched anew, unless the backend says. Left out: not at all.
    stale_while_revalidate: Option<Duration> as Duration(Duration::ZERO, YEAR);
    /// How long an answer may be served stale in place of an error, unless the backend says. Left out: not in place of
    /// an error, but for any time while no backend answers at all, unless the answer forbids it (`must-revalidate`,
    /// `proxy-revalidate`, `s-maxage`, `no-cache`); "0s": never.
    stale_if_error: Option<Duration> as Duration(Duration::ZERO, YEAR);
    /// Stores answers that set a cookie, and gives every client the same cookie. `false`: such an answer is stored only if
    /// it says `public` or `s-maxage`, or names a time in `CDN-Cache-Control`.
    store_set_cookie: bool = "false";
    /// Beats the backend's `private` and `no-store` where a time of this route counts: what it meant for one user, or
    /// for no store, is given to all.
    store_private: bool = "false";
    /// What makes two requests one. Left out: the URI alone.
    key: key::Rules as Table(CacheKey::SECTION) => key_rules;
    /// On a route with `split`: whether what is stored of one side may be served for another. `false`: each side has its
    /// own answers. A write on one side makes what all have stored void in either case.
    share_sides as Flag = "false";
    /// The response headers that hold tags to purge by. Clients don't see them.
    tags_header: Vec<HeaderName> = "surrogate-key cache-tag xkey";
    /// How writes are kept and sent, with `mode = "write-back"`.
    write_back: WriteBack;
}

table! {
    /// What makes two requests one, beside scheme, host and path. What `Vary` names counts anyway.
    struct CacheKey "key = { … }";

    /// How the query counts.
    query: CacheQuery;
    /// Request headers whose values count too.
    headers: Vec<HeaderName> = "";
    /// Cookies whose values count too.
    cookies: Vec<String> as Texts = "" => cookies;
}

table! {
    /// How the query counts. The backend still sees it as it was sent.
    struct CacheQuery "query = { … }";

    /// Whether the order of parameters does not count; those of one name keep theirs.
    sort: bool = "false";
    /// Parameters that do not count: `"gclid"`, or with one `*` for any text: `"utm_*"`.
    drop: Vec<Pattern> as Texts = "" => dropped;
}

words! {
    /// Whether a route caches, and what becomes of writes.
    pub(in crate::config) enum Mode {
        /// They are forwarded, and what they touch is invalidated.
        Aside = "cache-aside",
        /// They are forwarded, and what the backend has taken is stored.
        Through = "write-through",
        /// They are kept in the journal and acknowledged; the backend sees them later.
        Back = "write-back",
        /// The route does not cache.
        Off = "off",
    }
}

impl Default for Cache {
    /// What holds without a `[cache]` table.
    fn default() -> Self {
        value::defaults()
    }
}

/// A size of which four must fit into the memory, or one would push out nearly all others. The default gives way, so
/// that a small `memory_max` can stand alone.
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

/// `store_private` holds where a time of the route counts, so without one it would be a promise that is not kept.
fn private_has_a_time(keys: &RouteCacheKeys, section: &Section<'_>) {
    if keys.store_private && !["ttl", "ttl_force", "ttl_status"].into_iter().any(|time| section.has(time)) {
        let hint = "it holds where a time of the route counts: add ttl, ttl_status or ttl_force";
        section.report.add(section.at("store_private"), "store_private has no effect", hint);
    }
}

fn key_rules(section: &Section<'_>, key: &str) -> key::Rules {
    let CacheKey { query, headers, cookies } = CacheKey::read(section, key);
    key::Rules { sort_query: query.sort, drop_query: query.drop, headers, cookies }
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
