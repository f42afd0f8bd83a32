//! Every key of the file, once: where it stands, what it may hold, what it is when left out, and what it means.
//!
//! `document` reads by this table, so an unknown key, a wrong type or a value out of range is found here and nowhere
//! else, and a default is written in one place. `reference` prints it as `docs/config.md`. Rules that join several
//! keys are in `check`.

use std::time::Duration;

mod admin;
mod cache;
mod log;
mod rollout;
mod route;
mod upstream;

use admin::{ADMIN, INVALIDATE};
use cache::CACHE;
use log::LOG;
use route::ROUTE;
pub(super) use upstream::UPSTREAM;

/// A table of the file and the keys it may hold.
#[derive(Debug)]
pub struct Section {
    /// How the table is opened: `[server]`; empty for the top of the file.
    pub heading: &'static str,
    /// What the table is for.
    pub text: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name within the section.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Its value when left out, bare: a list is words with blanks between them. `None`: left out is left out.
    pub default: Option<&'static str>,
    /// When a change takes effect. `None`: of a table, its keys say it; of a key in a table that a file may have several
    /// of, at once, since each request is answered under one plan.
    pub reload: Option<Reload>,
    /// What it means.
    pub text: &'static str,
}

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// With the reload, for requests and connections that begin after it.
    Now,
    /// With the next start of the process.
    NextStart,
}

/// What a key may hold.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A string.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within these bounds.
    Count(u64, u64),
    /// A time with its unit within these bounds; the bare number 0 is taken when it is within.
    Duration(Duration, Duration),
    /// Bytes with their unit within these bounds; the bare number 0 is taken when it is within.
    Size(u64, u64),
    /// A number, whole or with decimals, within these bounds.
    Decimal(f64, f64),
    /// A share of all requests: percent within these bounds, with up to three decimals.
    Percent(f64, f64),
    /// A list of strings.
    Texts,
    /// A list of strings, or one string alone.
    TextOrTexts,
    /// A list of whole numbers within these bounds.
    Counts(u64, u64),
    /// A list of percentages within these bounds, each with up to three decimals.
    Percents(f64, f64),
    /// A table of names that the file makes up, each with a string.
    Pairs,
    /// A table of status codes, each with a duration within these bounds.
    DurationByStatus(Duration, Duration),
    /// A table.
    Table(&'static Section),
    /// A list of tables.
    Tables(&'static Section),
    /// A list of tables, each of which may be a string that stands for its first key.
    TablesOrTexts(&'static Section),
}

impl Kind {
    /// What it is called in a sentence: "a duration".
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Choice(_) => "a word",
            Self::Flag => "true or false",
            Self::Count(..) => "a whole number",
            Self::Duration(..) => "a duration",
            Self::Size(..) => "a size",
            Self::Decimal(..) => "a number",
            Self::Percent(..) => "a percentage",
            Self::Texts => "a list of strings",
            Self::TextOrTexts => "a string or a list of strings",
            Self::Counts(..) => "a list of whole numbers",
            Self::Percents(..) => "a list of percentages",
            Self::Pairs => "a table of strings",
            Self::DurationByStatus(..) => "a table of durations",
            Self::Table(_) => "a table",
            Self::Tables(_) => "a list of tables",
            Self::TablesOrTexts(_) => "a list of strings or tables",
        }
    }

    /// The section that a value of this kind is read by.
    #[must_use]
    pub fn inner(self) -> Option<&'static Section> {
        match self {
            Self::Table(inner) | Self::Tables(inner) | Self::TablesOrTexts(inner) => Some(inner),
            Self::Text
            | Self::Choice(_)
            | Self::Flag
            | Self::Count(..)
            | Self::Duration(..)
            | Self::Size(..)
            | Self::Decimal(..)
            | Self::Percent(..)
            | Self::Texts
            | Self::TextOrTexts
            | Self::Counts(..)
            | Self::Percents(..)
            | Self::Pairs
            | Self::DurationByStatus(..) => None,
        }
    }
}

impl Section {
    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Declares a section: its doc comment and those of its keys are their documentation. In a table that a file has `once`,
/// behind each key stands when a change of it takes effect: `now` or `next_start`; `within` for a table whose keys say it.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        once $section:ident $heading:literal
        $($(#[doc = $text:literal])* $key:ident: $kind:expr $(=> $default:literal)?, $reload:ident;)*
    ) => {
        section! { @declare [$($about),*] $section $heading
            $([$($text),*] $key: $kind => [$($default)?] [$reload];)*
        }
    };
    (
        $(#[doc = $about:literal])*
        $section:ident $heading:literal
        $($(#[doc = $text:literal])* $key:ident: $kind:expr $(=> $default:literal)?;)*
    ) => {
        section! { @declare [$($about),*] $section $heading
            $([$($text),*] $key: $kind => [$($default)?] [within];)*
        }
    };
    (
        @declare [$($about:literal),*] $section:ident $heading:literal
        $([$($text:literal),*] $key:ident: $kind:expr => [$($default:literal)?] [$reload:ident];)*
    ) => {
        $(#[doc = $about])*
        pub(in crate::config) static $section: $crate::config::keys::Section = $crate::config::keys::Section {
            heading: $heading,
            text: concat!($($about),*),
            keys: &[$($crate::config::keys::Key {
                name: stringify!($key),
                kind: $kind,
                default: section!(@default $($default)?),
                reload: section!(@reload $reload),
                text: concat!($($text),*),
            }),*],
        };
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
    (@reload now) => { Some($crate::config::keys::Reload::Now) };
    (@reload next_start) => { Some($crate::config::keys::Reload::NextStart) };
    (@reload within) => { None };
}
use section;

/// One millisecond.
const MILLISECOND: Duration = Duration::from_millis(1);
/// One second.
const SECOND: Duration = Duration::from_secs(1);
/// One hour.
const HOUR: Duration = Duration::from_secs(3_600);
/// One day.
const DAY: Duration = Duration::from_secs(86_400);
/// A year of 365 days: the longest time that anything is kept for.
const YEAR: Duration = Duration::from_secs(365 * 86_400);
/// 1,024 bytes.
const KIB: u64 = 1 << 10;
/// 1,024 KiB.
const MIB: u64 = 1 << 20;
/// 1,024 GiB.
const TIB: u64 = 1 << 40;

section! {
    /// The top of the file.
    once TOP ""

    /// The addresses, `ip:port`, where plain HTTP/1.1 is accepted; at least one. IPv6 is written `[::1]:8080`.
    listen: Kind::Texts, now;
    /// Limits and time-outs towards clients.
    server: Kind::Table(&SERVER), within;
    /// What is logged, how, and where to.
    log: Kind::Table(&LOG), within;
    /// What all caching routes share.
    cache: Kind::Table(&CACHE), within;
    /// A listener apart from the clients', for people and programs.
    admin: Kind::Table(&ADMIN), next_start;
    /// The named groups of backends.
    upstream: Kind::Tables(&UPSTREAM), within;
    /// What is done with which requests. The most specific route wins: an exact host before the longest `*.host` before
    /// none; there an exact path, then patterns in the order of the file, then the longest prefix; there the most
    /// conditions. A route whose conditions are not met does not hide less specific ones.
    route: Kind::Tables(&ROUTE), within;
    /// What events make the cache forget.
    invalidate: Kind::Tables(&INVALIDATE), within;
}

section! {
    /// Limits and time-outs towards clients.
    once SERVER "[server]"

    /// Worker threads. Left out: as many as there are cores.
    workers: Kind::Count(1, 1_024), next_start;
    /// A whole request head must be in by then.
    header_timeout: Kind::Duration(MILLISECOND, HOUR) => "10s", now;
    /// How long a kept-alive connection may wait for its next request.
    idle_timeout: Kind::Duration(MILLISECOND, DAY) => "75s", now;
    /// How long a request body may make no progress.
    body_timeout: Kind::Duration(MILLISECOND, DAY) => "30s", now;
    /// A request body slower than this many bytes a second on average, once `body_timeout` has passed, is given up;
    /// 0 turns it off.
    body_rate_min: Kind::Size(0, MIB) => "100B", now;
    /// How long a client may take no byte of an answer.
    write_timeout: Kind::Duration(MILLISECOND, DAY) => "60s", now;
    /// What becomes of a request whose client closes its sending side, but may still read. `abort`: the client counts as
    /// gone, and the request is given up at its backend; what can be answered without a backend is answered, and the
    /// outcome of a write that has come as a whole (any method but GET, HEAD, OPTIONS and TRACE) is awaited. `answer`: it
    /// is answered.
    half_close: Kind::Choice(&["abort", "answer"]) => "abort", now;
    /// The longest request head, at most 65,535 bytes. A head of more than 100 lines, or with a target of more than 16 KiB,
    /// is refused in any case.
    header_bytes_max: Kind::Size(8 * KIB, 64 * KIB) => "32KiB", now;
    /// The longest request body; 0 is no limit.
    body_bytes_max: Kind::Size(0, TIB) => "10MiB", now;
    /// Client connections at once, all workers together; more wait in the kernel's backlog. Left out:
    /// (limit − 64) / 2, from 8 to 65536, where the limit is that of open files (`ulimit -Hn`).
    connections_max: Kind::Count(1, 10_000_000), now;
    /// How long a drain may take after SIGTERM; 0 ends open requests at once.
    shutdown_timeout: Kind::Duration(Duration::ZERO, DAY) => "30s", now;
    /// How long before a drain `/ready` answers 503 while connections are still accepted: time for a load balancer in
    /// front to look elsewhere.
    drain_delay: Kind::Duration(Duration::ZERO, HOUR) => "0s", now;
    /// Networks in CIDR form, or single addresses, whose forwarding headers are believed.
    trusted_proxies: Kind::Texts => "", now;
    /// What runs of slashes in a path count for. `match`: routes match as if each run were one slash, so that `//admin`
    /// takes the route of `/admin`; the path that is forwarded, the cache's key and purges keep them. `forward`: they
    /// are merged there, too. `off`: they count everywhere. `%2F` is never a slash.
    merge_slashes: Kind::Choice(&["match", "forward", "off"]) => "match", now;
    /// The name by which this proxy signs in `Via`, a token, and knows requests that come back to it: a request that
    /// has it three times is answered 508. Every process needs its own. Left out: `forebay-` and eight random
    /// hexadecimal digits, kept in `state_dir` if there is one, else new at each start.
    via_name: Kind::Text, now;
    /// Protocols that a client may ask for with `Upgrade`. `[]` allows none; `h2c` is always refused, since what it
    /// carries could not be checked.
    upgrades: Kind::Texts => "websocket", now;
    /// A directory for what must survive a restart: the journal of `mode = "write-back"`, weights of splits that were
    /// set at run time, the progress of canaries, the key that `sticky = "cookie"` signs with, and the name for `Via`.
    state_dir: Kind::Text, next_start;
    /// How many dead letters of `mode = "write-back"` are kept, and for how long.
    dead_letters: Kind::Table(&DEAD_LETTERS), within;
}

section! {
    /// How many dead letters of `mode = "write-back"` are kept, those of all routes together, and for how long. Beyond
    /// that the oldest are dropped, with a warning and a count in the metrics.
    once DEAD_LETTERS "[server.dead_letters]"

    /// The longest that one is kept.
    keep: Kind::Duration(MILLISECOND, YEAR) => "30d", now;
    /// The most that all may take: content, kept headers, key, target and 580 bytes for each.
    bytes_max: Kind::Size(KIB, TIB) => "1GiB", now;
    /// The most at once.
    count_max: Kind::Count(1, 10_000_000) => "100000", now;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units;

    /// Every section that can be reached from the top.
    fn sections(section: &'static Section) -> Vec<&'static Section> {
        let inner = section.keys.iter().filter_map(|key| key.kind.inner()).flat_map(sections);
        std::iter::once(section).chain(inner).collect()
    }

    #[test]
    fn every_default_is_of_its_kind_and_within_its_bounds() {
        for (section, key) in
            sections(&TOP).iter().flat_map(|section| section.keys.iter().map(move |key| (section, key)))
        {
            let Some(default) = key.default else { continue };
            let fine = match key.kind {
                Kind::Text | Kind::Texts | Kind::TextOrTexts => true,
                Kind::Choice(words) => words.contains(&default),
                Kind::Flag => default.parse::<bool>().is_ok(),
                Kind::Count(least, most) => default.parse().is_ok_and(|count| (least..=most).contains(&count)),
                Kind::Duration(least, most) => {
                    units::duration(default).is_ok_and(|time| (least..=most).contains(&time))
                }
                Kind::Size(least, most) => units::size(default).is_ok_and(|size| (least..=most).contains(&size)),
                Kind::Counts(least, most) => default
                    .split_whitespace()
                    .all(|word| word.parse().is_ok_and(|count| (least..=most).contains(&count))),
                Kind::Decimal(least, most) | Kind::Percent(least, most) | Kind::Percents(least, most) => default
                    .split_whitespace()
                    .all(|word| word.parse().is_ok_and(|number: f64| (least..=most).contains(&number))),
                Kind::Pairs
                | Kind::DurationByStatus(..)
                | Kind::Table(_)
                | Kind::Tables(_)
                | Kind::TablesOrTexts(_) => false,
            };
            assert!(fine, "{} {} = {default}", section.heading, key.name);
        }
    }

    #[test]
    fn every_key_says_what_it_means() {
        for section in sections(&TOP) {
            assert!(section.text.ends_with('.'), "{}", section.heading);
            section.keys.iter().for_each(|key| assert!(key.text.ends_with('.'), "{} {}", section.heading, key.name));
        }
    }
}
