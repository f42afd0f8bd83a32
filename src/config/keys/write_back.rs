//! Declares `[route.cache.write_back]`.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use http::{HeaderName, Method};

use super::{DAY, HOUR, KIB, MILLISECOND, TIB, table, words};
use crate::config::document::Section;
use crate::config::grammar::{field_names, is_reserved};
use crate::config::units;

/// Request fields that can't be in `keep_headers`, because they are evaluated when a write is queued, or set when it is
/// sent: the conditions and ranges of RFC 9110 §13 and §14, `Expect`, and forebay's own.
const NOT_KEPT: [&str; 9] = [
    "expect",
    "forebay-write",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
];

table! {
    /// How forebay stores and sends writes, with `mode = "write-back"`.
    pub struct WriteBack "[route.cache.write_back]";

    /// The longest time that a write waits before it is first sent; forebay coalesces the writes of one URI meanwhile.
    /// 0 sends it at once.
    flush_interval: Duration as Duration(Duration::ZERO, HOUR) = "5s";
    /// The most memory for writes that wait or are being received: content, headers, key, and what the queue needs for
    /// each. Beyond it, writes go through to the backend before they are answered. At most half of the cache's
    /// `memory_max`, all routes together, which limits the default of each, too.
    pending_bytes_max: u64 as Size(KIB, TIB) = "64MiB";
    /// The longest body of a queued write; writes with longer ones go through. At most `pending_bytes_max` and the
    /// cache's `object_bytes_max`, which limit the default, too.
    body_bytes_max: u64 as Size(KIB, TIB) = "8MiB";
    /// How safe a write is when it is acknowledged. `fsync`: it is on the disk, and survives a power cut. `batch-5ms`:
    /// it is on the disk within 5 ms. `os`: the kernel writes it to the disk later. With these two, it survives the end
    /// of the process, but not of the machine.
    durability: Durability = "fsync";
    /// How long a client waits until its write is as safe as `durability` says. After that it gets 503, and forebay
    /// cancels the write.
    ack_timeout: Duration as Duration(MILLISECOND, HOUR) = "5s";
    /// When forebay repeats a write that failed.
    retry: WriteRetry;
    /// Methods to queue beside PUT and DELETE: `"POST"`, `"PATCH"`. They are sent in order with the others of their
    /// URL, and never coalesced.
    queue: Vec<Method> as Texts = "" => queue;
    /// Request headers to keep with a write, beside those that are always kept. `authorization` and `cookie` are kept
    /// only if you name them here; the journal then holds them in plain text.
    keep_headers: Vec<HeaderName> as Texts = "" => keep_headers;
    /// What forebay does with a write when it can't write the journal: `refuse` answers 503, `through` forwards the
    /// write.
    on_disk_error: OnDiskError = "refuse";
    /// How many writes are in flight at once, each to another URL.
    concurrency: NonZeroUsize as Count(1, 1_024) = "16";
    /// The most writes sent in a second; 0 is no limit.
    rate_max: Option<NonZeroU32> as Count(0, 1_000_000) = "0" => rate_max;
    /// The longest time of one attempt, until the backend's response has arrived.
    timeout: Duration as Duration(MILLISECOND, HOUR) = "30s";
}

table! {
    /// When forebay repeats a write that failed: after a random time between zero and a bound that doubles each time.
    /// After the last attempt the write becomes a dead letter.
    pub struct WriteRetry "retry = { … }" => check_retry_waits;

    /// The bound of the first wait.
    base: Duration as Duration(MILLISECOND, HOUR) = "1s";
    /// The longest wait.
    max: Duration as Duration(MILLISECOND, DAY) = "30s";
    /// Attempts in all.
    attempts: u32 as Count(1, 1_000_000) = "8";
}

words! {
    /// What must have happened to a write before it is acknowledged.
    pub enum Durability {
        /// It is on the disk, and survives a power failure.
        Fsync = "fsync",
        /// It is written to the file, which is synced within 5 ms. It survives the end of the process.
        Batch = "batch-5ms",
        /// It is written to the file, which the kernel syncs later. It survives the end of the process.
        Os = "os",
    }
}

words! {
    /// How a write is handled when the journal can't be written.
    pub enum OnDiskError {
        /// It is refused with 503.
        Refuse = "refuse",
        /// It is forwarded to the backend.
        Through = "through",
    }
}

fn check_retry_waits(retry: &WriteRetry, section: &Section<'_>) {
    let WriteRetry { base, max, .. } = *retry;
    if base > max {
        let hint = format!("base is {}, max {}", units::duration_text(base), units::duration_text(max));
        let at = if section.has("base") { "base" } else { "max" };
        section.report.add(section.at(at), "the first wait is longer than the longest", hint);
    }
}

fn rate_max(section: &Section<'_>, key: &str) -> Option<NonZeroU32> {
    NonZeroU32::new(section.number(key))
}

fn queue(section: &Section<'_>, key: &str) -> Vec<Method> {
    let mut methods = Vec::new();
    for text in section.texts(key) {
        let method = match text.value.as_str() {
            "POST" => Some(Method::POST),
            "PATCH" => Some(Method::PATCH),
            _ => None,
        };
        if method.is_none() {
            let hint = "POST or PATCH; PUT and DELETE are always queued";
            section.report.add(text.span.clone(), format!("{text} can't be queued"), hint);
        }
        methods.extend(method.filter(|method| !methods.contains(method)));
    }
    methods
}

fn keep_headers(section: &Section<'_>, key: &str) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = Vec::new();
    for name in field_names(section, key) {
        if NOT_KEPT.contains(&name.as_str()) || is_reserved(&name) {
            let hint = "leave it out: it is acted on when the write comes, or written anew when it is sent";
            section.report.add(section.at(key), format!("{name} can't be kept"), hint);
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
