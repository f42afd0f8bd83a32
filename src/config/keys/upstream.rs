//! The keys of `[[upstream]]` and of the tables in it.

use std::time::Duration;

use super::{DAY, HOUR, Kind, MIB, MILLISECOND, SECOND, section};

section! {
    /// A named group of backends that can stand in for one another.
    UPSTREAM "[[upstream]]"

    /// What routes call it.
    name: Kind::Text;
    /// How the next backend is chosen: one after the other; the same in proportion to weight; the one with the fewest
    /// requests in flight (of more than 64, the least busy of 16 drawn); by the client's address; by chance; the less busy of two drawn by chance; the quicker of two
    /// drawn by chance; by consistent hash of `hash_key`.
    balance: Kind::Choice(&[
        "round-robin", "weighted", "least-connections", "ip-hash", "random", "two-choices", "peak-ewma", "hash",
    ]) => "round-robin";
    /// What `balance = "hash"` hashes: `header:NAME`, `cookie:NAME`, `query:NAME`, `path` or `client-ip`.
    hash_key: Kind::Text;
    /// The backends: URLs, or tables as below; at least one that is no backup.
    backends: Kind::TablesOrTexts(&BACKEND);
    /// Where requests wait when every backend is full or unusable. Left out: they don't wait.
    queue: Kind::Table(&QUEUE);
    /// A backend that comes back gets its full share after this long; 0 is at once.
    slow_start: Kind::Duration(Duration::ZERO, HOUR) => "0s";
    /// Which `Host` the backends see: the client's, or their own.
    host: Kind::Choice(&["client", "backend"]) => "client";
    /// How often the names of backends are resolved anew. Each address of a name is an endpoint of its own.
    resolve_interval: Kind::Duration(SECOND, DAY) => "30s";
    /// Which addresses of a name are used: the IPv4 addresses if there are any, else the IPv6 addresses; those of one
    /// family only; or all of them. At most 64 a name.
    address_family: Kind::Choice(&["auto", "ipv4", "ipv6", "both"]) => "auto";
    /// Unused connections kept, for each worker and address.
    pool_max: Kind::Count(0, 100_000) => "4096";
    /// The most header fields that a response may have; the answer to one with more is 502.
    response_fields_max: Kind::Count(1, 1_000) => "200";
    /// Active checks. Left out: none.
    health: Kind::Table(&HEALTH);
    /// Taking a backend out for what real traffic shows.
    ejection: Kind::Table(&EJECTION);
    /// Repeating failed requests on another backend.
    retry: Kind::Table(&RETRY);
    /// Time-outs towards backends.
    timeouts: Kind::Table(&TIMEOUTS);
}

section! {
    /// One backend; the URL alone may stand for the table.
    BACKEND "backends = [{ … }]"

    /// `http://host`, `http://host:port`, `http://[v6]:port` or `unix:/path`, without path, query or user.
    url: Kind::Text;
    /// Its share, for the balances that look at it: weighted, least-connections, random and hash. Elsewhere it is
    /// refused. Each address of a name has this share. Left out: 1.
    weight: Kind::Count(1, 1_000);
    /// The most requests in flight, all workers together, for each address. Left out: no limit.
    max_in_flight: Kind::Count(1, 1_000_000);
    /// Used only for requests that no other backend can take: all are out, full, or were tried for it.
    backup: Kind::Flag => "false";
}

section! {
    /// Where requests wait when no backend can take them.
    QUEUE "queue = { … }"

    /// The most requests waiting, all workers together.
    length: Kind::Count(1, 100_000) => "100";
    /// The longest wait.
    wait_max: Kind::Duration(MILLISECOND, HOUR) => "1s";
}

section! {
    /// Active checks: each backend is asked time and again.
    HEALTH "[upstream.health]"

    /// Whether an HTTP request is sent, or just a connection opened.
    kind: Kind::Choice(&["http", "tcp"]) => "http";
    /// What is asked for.
    path: Kind::Text => "/";
    /// How.
    method: Kind::Choice(&["GET", "HEAD", "OPTIONS"]) => "GET";
    /// The `Host` of the request. Left out: the backend's own.
    host: Kind::Text;
    /// From the end of one check to the start of the next, give or take a tenth.
    interval: Kind::Duration(Duration::from_millis(10), DAY) => "5s";
    /// A check that takes longer has failed.
    timeout: Kind::Duration(MILLISECOND, HOUR) => "2s";
    /// Passed checks in a row that make a backend usable again.
    rise: Kind::Count(1, 1_000) => "2";
    /// Failed checks in a row that make it unusable.
    fall: Kind::Count(1, 1_000) => "3";
    /// Which statuses pass: `"200"` or `"200-299"`.
    status: Kind::Texts => "200-399";
    /// A text that the first 64 KiB of the body must hold. Left out: the body is not looked at.
    body: Kind::Text;
}

section! {
    /// Taking a backend out for what real traffic shows; a lone endpoint is never taken out.
    EJECTION "[upstream.ejection]"

    /// Failures in a row that eject: no connection, a reset, a time-out, a body cut short, or one of `statuses`.
    /// 0 turns it off.
    consecutive_failures: Kind::Count(0, 1_000) => "5";
    /// Which statuses count as failures: `"503"` or `"500-599"`; `[]` for none.
    statuses: Kind::Texts => "500-599";
    /// How long the first ejection lasts; doubles with each that follows.
    base_time: Kind::Duration(MILLISECOND, DAY) => "10s";
    /// The longest ejection.
    max_time: Kind::Duration(MILLISECOND, DAY) => "5m";
    /// The most backends out at once, in percent; one may always be out.
    percent_max: Kind::Count(0, 100) => "50";
}

section! {
    /// Repeating failed requests on another backend. Only what is safe to repeat is: no POST runs twice.
    RETRY "[upstream.retry]"

    /// Further tries after the first; 0 turns it off.
    attempts: Kind::Count(0, 10) => "2";
    /// Statuses that count as failed tries.
    statuses: Kind::Counts(400, 599) => "502 503 504";
    /// Retries, in percent of the requests of the last 10 s.
    budget_percent: Kind::Count(0, 100) => "20";
    /// Retries a second that are always allowed.
    budget_floor: Kind::Count(0, 1_000_000) => "3";
    /// The longest request body kept for repeating; a request with a longer one is not repeated.
    body_bytes_max: Kind::Size(0, 64 * MIB) => "64KiB";
}

section! {
    /// Time-outs towards backends.
    TIMEOUTS "[upstream.timeouts]"

    /// Opening a connection.
    connect: Kind::Duration(MILLISECOND, HOUR) => "2s";
    /// From the end of the request to the head of the response, for each try.
    response_head: Kind::Duration(MILLISECOND, DAY) => "30s";
    /// Between two pieces of a response body.
    body_idle: Kind::Duration(MILLISECOND, DAY) => "60s";
    /// How long an unused connection is kept; 0 keeps none.
    pool_idle: Kind::Duration(Duration::ZERO, DAY) => "60s";
    /// From a request's head to the beginning of its last try, waiting in the queue included: the one deadline of a
    /// request and its retries.
    request: Kind::Duration(MILLISECOND, DAY) => "90s";
    /// How long a connection that has switched protocols (a WebSocket, say) may be silent.
    tunnel_idle: Kind::Duration(SECOND, DAY) => "1h";
}
