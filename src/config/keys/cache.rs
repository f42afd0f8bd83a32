//! The keys of `[cache]`, of `[route.cache]` and of the tables in it.

use std::time::Duration;

use super::{DAY, HOUR, KIB, Kind, MIB, MILLISECOND, TIB, YEAR, section};

section! {
    /// What all caching routes share.
    once CACHE "[cache]"

    /// The most memory for all that is stored: keys, headers, bodies, index and what is being fetched. What was asked
    /// for longest ago makes room.
    memory_max: Kind::Size(MIB, TIB) => "256MiB", now;
    /// The longest body that is stored; at most a quarter of `memory_max`, which bounds the default too.
    object_bytes_max: Kind::Size(KIB, TIB) => "8MiB", now;
    /// Networks in CIDR form, or single addresses, that may send `PURGE`: those of the peers themselves, whatever
    /// forwarding headers say. `[]` allows nobody.
    purge_from: Kind::Texts => "", now;
    /// How long a request waits for another request's fetch of the same response before it starts a fetch of its own,
    /// which all that wait may share. At most four run at once, each begun at least so long after the last.
    wait_max: Kind::Duration(MILLISECOND, HOUR) => "30s", now;
    /// How many requests may wait for one answer.
    waiting_max: Kind::Count(1, 10_000_000) => "65536", now;
    /// How long it is remembered that answers to a request are not for sharing, so that nobody waits for one.
    pass_for: Kind::Duration(MILLISECOND, HOUR) => "2m", now;
    /// How far a fetch may run ahead of the fastest client that reads along; at most a quarter of `memory_max`, which
    /// bounds the default too.
    lead_bytes_max: Kind::Size(KIB, TIB) => "1MiB", now;
}

section! {
    /// How a route caches. Left out: it does not.
    ROUTE_CACHE "[route.cache]"

    /// Whether answers are stored and served from there, and what becomes of writes. `cache-aside` forwards them and
    /// forgets what they touch. `write-through` forwards them and stores what the backend has taken, for `ttl` or
    /// `ttl_force`. `write-back` keeps them in a journal and answers before the backend has seen them, see
    /// `[route.cache.write_back]`; it needs `state_dir`. `off` stores nothing.
    mode: Kind::Choice(&["cache-aside", "write-through", "write-back", "off"]) => "cache-aside";
    /// How long an answer stays fresh when the backend names no time: for statuses that may be stored unasked (200,
    /// 203, 204, 206, 300, 301, 308, 404, 405, 410, 451 and 501), and `public` ones. It goes before a guess from
    /// `Last-Modified`.
    ttl: Kind::Duration(Duration::ZERO, YEAR);
    /// How long an answer stays fresh, whatever the backend says: beats its `max-age`, `Expires` and `no-cache`, and
    /// `ttl_status`, for statuses that may be stored unasked. `private`, `no-store` and `Set-Cookie` hold all the
    /// same, unless `store_private` and `store_set_cookie` say otherwise.
    ttl_force: Kind::Duration(Duration::ZERO, YEAR);
    /// How long an answer of just this status stays fresh when the backend names no time: `{ 404 = "10s" }`. It goes
    /// before `ttl`.
    ttl_status: Kind::DurationByStatus(Duration::ZERO, YEAR);
    /// When nobody names a time: a tenth of the time since `Last-Modified`, at most this; 0 guesses nothing.
    heuristic_max: Kind::Duration(Duration::ZERO, YEAR) => "1d";
    /// How long an answer may be served stale while it is fetched anew, unless the backend says. Left out: not at all.
    stale_while_revalidate: Kind::Duration(Duration::ZERO, YEAR);
    /// How long an answer may be served stale in place of an error, unless the backend says. Left out: not in place of
    /// an error, but for any time while no backend answers at all, unless the answer forbids it (`must-revalidate`,
    /// `proxy-revalidate`, `s-maxage`, `no-cache`); "0s": never.
    stale_if_error: Kind::Duration(Duration::ZERO, YEAR);
    /// Stores answers that set a cookie, and gives every client the same cookie. `false`: such an answer is stored only if
    /// it says `public` or `s-maxage`, or names a time in `CDN-Cache-Control`.
    store_set_cookie: Kind::Flag => "false";
    /// Beats the backend's `private` and `no-store` where a time of this route counts: what it meant for one user, or
    /// for no store, is given to all.
    store_private: Kind::Flag => "false";
    /// What makes two requests one. Left out: the URI alone.
    key: Kind::Table(&CACHE_KEY);
    /// On a route with `split`: whether what is stored of one side may be served for another. `false`: each side has its
    /// own answers. A write on one side makes what all have stored void in either case.
    share_sides: Kind::Flag => "false";
    /// The response headers that hold tags to purge by. Clients don't see them.
    tags_header: Kind::Texts => "surrogate-key cache-tag xkey";
    /// How writes are kept and sent, with `mode = "write-back"`.
    write_back: Kind::Table(&WRITE_BACK);
}

section! {
    /// How writes are kept and sent, with `mode = "write-back"`.
    WRITE_BACK "[route.cache.write_back]"

    /// The longest that a write waits before it is first sent; writes of one key are joined meanwhile. 0 sends it at
    /// once.
    flush_interval: Kind::Duration(Duration::ZERO, HOUR) => "5s";
    /// The most memory for writes that wait or are being received: content, headers, key, and what the queue needs for
    /// each. Beyond, writes go through to the backend before they are answered. At most half of the cache's
    /// `memory_max`, all routes together, which bounds the default of each too.
    pending_bytes_max: Kind::Size(KIB, TIB) => "64MiB";
    /// The longest body that is kept; writes with longer ones go through. At most `pending_bytes_max` and the cache's
    /// `object_bytes_max`, which bound the default too.
    body_bytes_max: Kind::Size(KIB, TIB) => "8MiB";
    /// How safe a write is when it is acknowledged. `fsync`: on the disk, it survives a power cut. `batch-5ms`: on the
    /// disk within 5 ms, and `os`: when the system likes; both survive the end of the process, not that of the machine.
    durability: Kind::Choice(&["fsync", "batch-5ms", "os"]) => "fsync";
    /// How long a client waits until its write is as safe as `durability` says. After that it is answered 503, and the
    /// write is taken back.
    ack_timeout: Kind::Duration(MILLISECOND, HOUR) => "5s";
    /// Sending again what failed.
    retry: Kind::Table(&WRITE_RETRY);
    /// Methods that are kept beside PUT and DELETE: `"POST"`, `"PATCH"`. They are sent in order with the others of
    /// their URL, and never joined.
    queue: Kind::Texts => "";
    /// Request headers that are kept with a write beside those that always are. `authorization` and `cookie` are kept
    /// only when they are named here, and then lie in the journal as they are.
    keep_headers: Kind::Texts => "";
    /// What is done with a write when the journal can't be written: `refuse` answers 503, `through` forwards it.
    on_disk_error: Kind::Choice(&["refuse", "through"]) => "refuse";
    /// How many writes are sent at once, each of another URL.
    concurrency: Kind::Count(1, 1_024) => "16";
    /// The most writes sent in a second; 0 is no limit.
    rate_max: Kind::Count(0, 1_000_000) => "0";
    /// How long one attempt may take, until the backend's answer is in.
    timeout: Kind::Duration(MILLISECOND, HOUR) => "30s";
}

section! {
    /// Sending again what failed: with waits drawn between nothing and a bound that doubles. After the last attempt a
    /// write is a dead letter.
    WRITE_RETRY "retry = { … }"

    /// The bound of the first wait.
    base: Kind::Duration(MILLISECOND, HOUR) => "1s";
    /// The longest wait.
    max: Kind::Duration(MILLISECOND, DAY) => "30s";
    /// Attempts in all.
    attempts: Kind::Count(1, 1_000_000) => "8";
}

section! {
    /// What makes two requests one, beside scheme, host and path. What `Vary` names counts anyway.
    CACHE_KEY "key = { … }"

    /// How the query counts.
    query: Kind::Table(&CACHE_QUERY);
    /// Request headers whose values count too.
    headers: Kind::Texts => "";
    /// Cookies whose values count too.
    cookies: Kind::Texts => "";
}

section! {
    /// How the query counts. The backend still sees it as it was sent.
    CACHE_QUERY "query = { … }"

    /// Whether the order of parameters does not count; those of one name keep theirs.
    sort: Kind::Flag => "false";
    /// Parameters that do not count: `"gclid"`, or with one `*` for any text: `"utm_*"`.
    drop: Kind::Texts => "";
}
