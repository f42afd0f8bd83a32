//! `[server]`: limits and time-outs towards clients.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use policy::message::network::Network;
use policy::write::queue::Keep;

use super::{DAY, GIB, HOUR, KIB, MIB, MILLISECOND, TIB, YEAR, table, words};
use crate::config::document::Section;
use crate::config::grammar::is_token;
use crate::config::value::Value as _;

table! {
    /// Limits and time-outs towards clients.
    pub struct Server "[server]";

    /// Worker threads. Left out: as many as there are cores.
    workers: NonZeroUsize as Count(1, 1_024) => workers, next_start;
    /// A whole request head must be in by then.
    header_timeout: Duration as Duration(MILLISECOND, HOUR) = "10s", now;
    /// How long a kept-alive connection may wait for its next request.
    idle_timeout: Duration as Duration(MILLISECOND, DAY) = "75s", now;
    /// How long a request body may make no progress.
    body_timeout: Duration as Duration(MILLISECOND, DAY) = "30s", now;
    /// A request body slower than this many bytes a second on average, once `body_timeout` has passed, is given up;
    /// 0 turns it off.
    body_rate_min: u64 as Size(0, MIB) = "100B", now;
    /// How long a client may take no byte of an answer.
    write_timeout: Duration as Duration(MILLISECOND, DAY) = "60s", now;
    /// What becomes of a request whose client closes its sending side, but may still read. `abort`: the client counts as
    /// gone, and the request is given up at its backend; what can be answered without a backend is answered, and the
    /// outcome of a write that has come as a whole (any method but GET, HEAD, OPTIONS and TRACE) is awaited. `answer`: it
    /// is answered.
    half_close: HalfClose = "abort", now;
    /// The longest request head, at most 65,535 bytes. A head of more than 100 lines, or with a target of more than 16 KiB,
    /// is refused in any case.
    header_bytes_max: usize as Size(8 * KIB, 64 * KIB) = "32KiB", now;
    /// The longest request body; 0 is no limit.
    body_bytes_max: Option<u64> as Size(0, TIB) = "10MiB" => limit, now;
    /// Client connections at once, all workers together; more wait in the kernel's backlog. Left out:
    /// (limit − 64) / 2, from 8 to 65536, where the limit is that of open files (`ulimit -Hn`).
    connections_max: Option<usize> as Count(1, 10_000_000), now;
    /// How long a drain may take after SIGTERM; 0 ends open requests at once.
    shutdown_timeout: Duration as Duration(Duration::ZERO, DAY) = "30s", now;
    /// How long before a drain `/ready` answers 503 while connections are still accepted: time for a load balancer in
    /// front to look elsewhere.
    drain_delay: Duration as Duration(Duration::ZERO, HOUR) = "0s", now;
    /// Networks in CIDR form, or single addresses, whose forwarding headers are believed.
    trusted_proxies: Vec<Network> = "", now;
    /// What runs of slashes in a path count for. `match`: routes match as if each run were one slash, so that `//admin`
    /// takes the route of `/admin`; the path that is forwarded, the cache's key and purges keep them. `forward`: they
    /// are merged there, too. `off`: they count everywhere. `%2F` is never a slash.
    merge_slashes: MergeSlashes = "match", now;
    /// The name by which this proxy signs in `Via`, a token, and knows requests that come back to it: a request that
    /// has it three times is answered 508. Every process needs its own. Left out: `forebay-` and eight random
    /// hexadecimal digits, kept in `state_dir` if there is one, else new at each start.
    via_name: Option<Arc<str>> as Text => via_name, now;
    /// Protocols that a client may ask for with `Upgrade`. `[]` allows none; `h2c` is always refused, since what it
    /// carries could not be checked.
    upgrades: Vec<String> as Texts = "websocket" => upgrades, now;
    /// A directory for what must survive a restart: the journal of `mode = "write-back"`, weights of splits that were
    /// set at run time, the progress of canaries, the key that `sticky = "cookie"` signs with, and the name for `Via`.
    state_dir: Option<PathBuf> as Text => state_dir, next_start;
    /// Limits of HTTP/2 towards clients.
    http2: Http2;
    /// How many dead letters of `mode = "write-back"` are kept, and for how long.
    dead_letters: Keep as Table(DeadLetters::SECTION) => dead_letters;
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
    /// How many dead letters of `mode = "write-back"` are kept, those of all routes together, and for how long. Beyond
    /// that the oldest are dropped, with a warning and a count in the metrics.
    struct DeadLetters "[server.dead_letters]";

    /// The longest that one is kept.
    keep: Duration as Duration(MILLISECOND, YEAR) = "30d", now;
    /// The most that all may take: content, kept headers, key, target and 580 bytes for each.
    bytes_max: u64 as Size(KIB, TIB) = "1GiB", now;
    /// The most at once.
    count_max: usize as Count(1, 10_000_000) = "100000", now;
}

words! {
    /// What becomes of a request whose client closes its sending side, but may still read.
    pub enum HalfClose {
        /// It is given up at its backend.
        Abort = "abort",
        /// It is answered.
        Answer = "answer",
    }
}

words! {
    /// Where runs of slashes in a path are merged.
    pub enum MergeSlashes {
        /// Where routes match.
        Match = "match",
        /// There, in what is forwarded, and in the cache's keys.
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

/// A pseudonym (RFC 9110 §7.6.3).
fn via_name(section: &Section<'_>, key: &str) -> Option<Arc<str>> {
    /// It goes along with every message.
    const NAME_BYTES_MAX: usize = 100;
    let text = section.text(key)?;
    if !is_token(&text.value) || text.value.len() > NAME_BYTES_MAX {
        let hint = "1 to 100 letters, digits and - . _ as in \"edge-1\"";
        section.report.add(text.span.clone(), format!("{text} is no name for Via"), hint);
    }
    Some(Arc::from(text.value))
}

/// Names of protocols (RFC 9110 §7.8), in lower case.
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

fn dead_letters(section: &Section<'_>, key: &str) -> Keep {
    let DeadLetters { keep, bytes_max, count_max } = DeadLetters::read(section, key);
    Keep { age_max: keep, bytes_max, count_max }
}
