//! Declares `[server]`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use policy::message::network::Network;
use policy::write::queue::Retention;

use super::{DAY, GIB, HOUR, KIB, MIB, MILLISECOND, TIB, YEAR, table, words};
use crate::config::document::Section;
use crate::config::grammar::is_token;
use crate::config::value::Value as _;

table! {
    /// Limits and time-outs towards clients.
    pub struct Server "[server]";

    /// Worker threads. Left out: as many as there are cores.
    workers: NonZeroUsize as Count(1, 1_024) => workers, next_start;
    /// The longest time for a whole request head to arrive.
    header_timeout: Duration as Duration(MILLISECOND, HOUR) = "10s", now;
    /// How long a kept-alive connection may wait for its next request.
    idle_timeout: Duration as Duration(MILLISECOND, DAY) = "75s", now;
    /// The longest time without progress of a request body.
    body_timeout: Duration as Duration(MILLISECOND, DAY) = "30s", now;
    /// The lowest average rate of a request body, in bytes a second, once `body_timeout` has passed. forebay aborts
    /// slower requests; 0 turns this off.
    body_rate_min: u64 as Size(0, MIB) = "100B", now;
    /// The longest time in which a client accepts no byte of a response.
    write_timeout: Duration as Duration(MILLISECOND, DAY) = "60s", now;
    /// What happens to a request whose client closes its sending side, but may still read. `abort`: the client counts
    /// as gone, and forebay aborts the request at the backend. It still answers what needs no backend, and still waits
    /// for the outcome of a write that has arrived whole (any method but GET, HEAD, OPTIONS and TRACE). `answer`:
    /// forebay answers the request.
    half_close: HalfClose = "abort", now;
    /// The longest request head, at most 65,535 bytes. forebay always refuses a head of more than 100 lines, or with a
    /// target of more than 16 KiB.
    header_bytes_max: usize as Size(8 * KIB, 64 * KIB) = "32KiB", now;
    /// The longest request body; 0 is no limit.
    body_bytes_max: Option<u64> as Size(0, TIB) = "10MiB" => limit, now;
    /// The most client connections at once, all workers together; more wait in the kernel's backlog. Left out: (limit −
    /// 64) / 2, from 8 to 65536, where the limit is that of open files (`ulimit -Hn`).
    connections_max: Option<usize> as Count(1, 10_000_000), now;
    /// How long a drain may take after SIGTERM; 0 ends open requests at once.
    shutdown_timeout: Duration as Duration(Duration::ZERO, DAY) = "30s", now;
    /// How long before a drain `/ready` answers 503 while forebay still accepts connections, so that a load balancer in
    /// front stops sending clients.
    drain_delay: Duration as Duration(Duration::ZERO, HOUR) = "0s", now;
    /// Networks in CIDR form, or single addresses, whose forwarding headers forebay trusts.
    trusted_proxies: Vec<Network> = "", now;
    /// How forebay treats runs of slashes in a path. `match`: routes match as if each run were one slash, so that
    /// `//admin` takes the route of `/admin`; the forwarded path, the cache's key and purges keep all slashes.
    /// `forward`: there, too, each run becomes one slash. `off`: all slashes count everywhere. `%2F` is never a slash.
    merge_slashes: MergeSlashes = "match", now;
    /// The name of this proxy in `Via`, a token. forebay detects loops by it: a request that has the name three times
    /// gets 508. Every process needs its own name. Left out: `forebay-` and eight random hexadecimal digits, stored in
    /// `state_dir` if there is one, else new at each start.
    via_name: Option<Arc<str>> as Text => via_name, now;
    /// Protocols that a client may request with `Upgrade`. `[]` allows none. forebay always refuses `h2c`, because it
    /// could not check the requests in it.
    upgrades: Vec<String> as Texts = "websocket" => upgrades, now;
    /// A directory for state that must survive a restart: the journal of `mode = "write-back"`, weights of splits that
    /// were set at run time, the progress of canaries, the signing key of `sticky = "cookie"`, and the name for `Via`.
    state_dir: Option<PathBuf> as Text => state_dir, next_start;
    /// Limits of HTTP/2 towards clients.
    http2: Http2;
    /// How many dead letters of `mode = "write-back"` forebay keeps, and for how long.
    dead_letters: Retention as Table(DeadLetters::SECTION) => dead_letters;
}

table! {
    /// Limits of HTTP/2 towards clients. A change is for connections that are accepted after it. The time-outs and sizes of
    /// `[server]` hold for each stream: a request on an HTTP/2 connection.
    pub struct Http2 "[server.http2]";

    /// The most streams at once on one connection. Those beyond it are refused (`REFUSED_STREAM`).
    streams_max: u32 as Count(1, 10_000) = "128", now;
    /// How much of a request's body a client may send before it is passed on: the initial window of a stream.
    stream_window: u32 as Size(64 * KIB, GIB) = "256KiB", now;
    /// The same for all streams of one connection together, which bounds the memory that it takes.
    connection_window: u32 as Size(64 * KIB, GIB) = "1MiB", now;
    /// How often a client is asked whether it is still there (`PING`); 0 turns it off.
    ping_interval: Duration as Duration(Duration::ZERO, DAY) = "30s", now;
    /// How long it may take to answer that. Then its connection is closed.
    ping_timeout: Duration as Duration(MILLISECOND, HOUR) = "20s", now;
    /// The most streams that a client may reset in ten seconds. Then its connection is closed (`ENHANCE_YOUR_CALM`).
    resets_max: u32 as Count(1, 1_000_000) = "200", now;
}

table! {
    /// How many dead letters of `mode = "write-back"` forebay keeps, those of all routes together, and for how long.
    /// Beyond that it drops the oldest, with a warning and a count in the metrics.
    struct DeadLetters "[server.dead_letters]";

    /// The longest time for which forebay keeps a dead letter.
    keep: Duration as Duration(MILLISECOND, YEAR) = "30d", now;
    /// The most bytes of all dead letters: content, kept headers, key, target and 580 bytes for each.
    bytes_max: u64 as Size(KIB, TIB) = "1GiB", now;
    /// The most dead letters at once.
    count_max: usize as Count(1, 10_000_000) = "100000", now;
}

words! {
    /// What happens to a request whose client closes its sending side, but may still read.
    pub enum HalfClose {
        /// It is aborted.
        Abort = "abort",
        /// It is answered.
        Answer = "answer",
    }
}

words! {
    /// Where runs of slashes in a path are merged.
    pub enum MergeSlashes {
        /// Before routes match.
        Match = "match",
        /// Before routes match, in forwarded paths, and in cache keys.
        Forward = "forward",
        /// Nowhere.
        Off = "off",
    }
}

fn workers(section: &Section<'_>, key: &str) -> NonZeroUsize {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Option::read(section, key).unwrap_or_else(cores)
}

fn limit(section: &Section<'_>, key: &str) -> Option<u64> {
    Some(section.size(key)).filter(|most| *most > 0)
}

/// Reads a pseudonym for `Via` (RFC 9110 §7.6.3).
fn via_name(section: &Section<'_>, key: &str) -> Option<Arc<str>> {
    /// A limit, because every message has the name.
    const NAME_BYTES_MAX: usize = 100;
    let text = section.text(key)?;
    if !is_token(&text.value) || text.value.len() > NAME_BYTES_MAX {
        let hint = "1 to 100 letters, digits and - . _ as in \"edge-1\"";
        section.report.add(text.span.clone(), format!("{text} is no name for Via"), hint);
    }
    Some(Arc::from(text.value))
}

/// Reads names of protocols (RFC 9110 §7.8), in lower case.
fn upgrades(section: &Section<'_>, key: &str) -> Vec<String> {
    let mut protocols = Vec::new();
    for text in section.texts(key) {
        let protocol = text.value.to_ascii_lowercase();
        if !protocol.split('/').all(is_token) {
            let hint = "write upgrades = [\"websocket\"]";
            section.report.add(text.span.clone(), format!("{text} is no protocol"), hint);
        } else if protocol == "h2c" {
            let hint = "leave it out: what it carries would pass unchecked";
            section.report.add(text.span.clone(), "h2c can't be upgraded to", hint);
        }
        protocols.push(protocol);
    }
    protocols
}

fn state_dir(section: &Section<'_>, key: &str) -> Option<PathBuf> {
    let text = section.text(key)?;
    if text.value.is_empty() {
        section.report.add(text.span.clone(), "state_dir is empty", "name a directory, or leave it out");
    }
    Some(PathBuf::from(text.value))
}

fn dead_letters(section: &Section<'_>, key: &str) -> Retention {
    let DeadLetters { keep, bytes_max, count_max } = DeadLetters::read(section, key);
    Retention { age_max: keep, bytes_max, count_max }
}
