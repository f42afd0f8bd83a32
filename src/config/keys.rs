//! The declaration of every key of the file: its table, type, range, default, reload effect and text.
//!
//! `document` parses the file by these declarations, `reference` prints them as `docs/config.md`, and `schema` as a
//! JSON Schema. Each file declares some tables, with the parsers of their values and the rules that concern several
//! keys of one table. Rules that concern several tables are in `check`.

use std::time::Duration;

use policy::events::EventRule;

use super::declare::{table, words};
pub(crate) use super::table::{Key, Kind, Reload, Section};
use super::value::Table as _;

pub(super) mod acme;
pub(super) mod admin;
pub(super) mod backend;
pub(super) mod cache;
pub(super) mod canary;
pub(super) mod invalidate;
pub(super) mod listener;
pub(super) mod log;
pub(super) mod log_format;
pub(super) mod mirror;
pub(super) mod route;
pub(super) mod server;
pub(super) mod split;
pub(super) mod tls;
mod tls_algorithms;
pub(super) mod token;
pub(super) mod upstream;
pub(super) mod upstream_http2;
pub(super) mod upstream_tls;
pub(super) mod write_back;

use acme::CommonTls;
use admin::Admin;
use cache::Cache;
use listener::Listener;
use log::Log;
use route::ROUTE;
use server::Server;
use upstream::Upstream;

/// One millisecond.
const MILLISECOND: Duration = Duration::from_millis(1);
/// One second.
const SECOND: Duration = Duration::from_secs(1);
/// One minute.
const MINUTE: Duration = Duration::from_secs(60);
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
/// 1,024 MiB.
const GIB: u64 = 1 << 30;
/// 1,024 GiB.
const TIB: u64 = 1 << 40;

/// The top of the file. All tables can be reached from it.
pub(crate) static TOP: Section = *Top::SECTION;

table! {
    /// The top of the file.
    pub(super) struct Top "";

    /// The addresses, `ip:port`, where forebay accepts plain HTTP/1.1. The file needs at least one address, here or in
    /// `[[listener]]`. Write IPv6 as `[::1]:8080`.
    listen as Texts, now;
    /// Addresses with settings of their own, such as TLS.
    listener as Tables(Listener::SECTION);
    /// What concerns the TLS of all listeners.
    tls: CommonTls;
    /// Limits and time-outs towards clients.
    server: Server;
    /// What forebay logs, in which format, and where to.
    log: Log;
    /// The cache that all caching routes share.
    cache: Cache;
    /// The admin API, on a separate listener.
    admin: Option<Admin>, next_start;
    /// The named groups of backends.
    upstream as Tables(Upstream::SECTION);
    /// What forebay does with which requests. The most specific route wins: an exact host before the longest `*.host`
    /// before none; among these an exact path, then patterns in the order of the file, then the longest prefix; among
    /// these the most conditions. A route whose conditions are not met does not hide less specific ones.
    route as Tables(ROUTE);
    /// What events invalidate in the cache.
    invalidate: Vec<EventRule>;
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
