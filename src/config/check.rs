//! From the document to the plan; every problem found on the way is reported.
//!
//! Each check returns something to go on with even when it has reported a problem; the plan is handed out only when
//! the report stayed empty. This file checks the top of the file and `[server]`; the rest has a file each.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use policy::message::network::Network;
use policy::write::queue::Keep;
use toml::Spanned;
use toml::de::DeTable;

use super::document::{Section, Text};
use super::keys::TOP;
use super::plan::{Cache, HalfClose, MergeSlashes, Plan, Server, StatusRanges};
use super::problem::Report;
use super::settings::Settings;

mod admin;
mod backend;
mod cache;
mod canary;
mod condition;
mod header;
mod invalidate;
mod log;
mod loops;
mod mirror;
mod route;
mod split;
mod sticky;
mod upstream;
mod warnings;
mod webhook;
mod write_back;

/// The most upstreams, and the most routes: each is compared with the others.
const TABLES_MAX: usize = 10_000;

/// Checks a whole document. The plan is worth nothing when something was reported.
pub(super) fn plan<'a>(report: &'a Report<'a>, document: &'a DeTable<'a>) -> Plan {
    let top = Section::open(report, &TOP, document, 0..0);
    let listen = listen(&top);
    let server = server(&top.section("server"));
    let log = log::log(&top.section("log"));
    let cache = cache::shared(&top.section("cache"));
    let admin = admin::listener(&top, &listen);
    let invalidate = invalidate::rules(&bounded(&top, "invalidate"));
    let upstream_sections = bounded(&top, "upstream");
    let mut upstreams = upstream::all(&upstream_sections);
    let ground = Ground {
        cache: &cache,
        has_state_dir: server.state_dir.is_some(),
        merges_slashes: server.merge_slashes != MergeSlashes::Off,
    };
    let route_sections = bounded(&top, "route");
    let (routes, table) = route::all(&route_sections, &ground, &mut upstreams);
    let settings = Settings::default();
    let mut plan = Plan { listen, server, log, cache, admin, invalidate, upstreams, routes, table, settings };
    // A route or upstream that has an error is not in the plan, and would be taken for one that is missing.
    if report.count() == 0 {
        plan.settings = Settings::of(&top);
        warnings::of_plan(&top, &route_sections, &upstream_sections, &plan);
    }
    plan
}

/// What a route stands on.
struct Ground<'a> {
    /// What all caching routes share.
    cache: &'a Cache,
    /// Whether something can be kept across a restart.
    has_state_dir: bool,
    /// Whether routes match paths without runs of slashes.
    merges_slashes: bool,
}

/// The tables of a list; what is over the limit is reported and left aside.
fn bounded<'a>(top: &Section<'a>, name: &str) -> Vec<Section<'a>> {
    let mut sections = top.sections(name);
    let count = sections.len();
    if count > TABLES_MAX {
        let hint = format!("at most {TABLES_MAX}");
        top.report.add(top.span.clone(), format!("there are {count} tables of {name}"), hint);
    }
    sections.truncate(TABLES_MAX);
    sections
}

fn listen(top: &Section<'_>) -> Vec<SocketAddr> {
    let hint = "at least one address: listen = [\"127.0.0.1:8080\"]";
    top.missing("listen", hint);
    if top.is_empty_list("listen") {
        top.report.add(top.at("listen"), "listen is empty", hint);
    }
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for text in top.texts("listen") {
        match text.value.parse::<SocketAddr>() {
            Ok(address) => {
                if let Some(other) = addresses.iter().find(|other| overlap(**other, address)) {
                    let cause = match *other == address {
                        true => format!("{text} is listened on twice"),
                        false => format!("{text} and \"{other}\" overlap: both take connections to one address"),
                    };
                    top.report.add(text.span.clone(), cause, "leave one out");
                }
                addresses.push(address);
            }
            Err(_) => {
                let hint = "write ip:port, as \"0.0.0.0:8080\" or \"[::]:8080\"";
                top.report.add(text.span.clone(), format!("{text} is no address to listen on"), hint);
            }
        }
    }
    addresses
}

/// Whether two of the clients' addresses take the same connections. IPv6 sockets take no IPv4 connections here.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && is_same
}

fn server(section: &Section<'_>) -> Server {
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let workers = section.count::<usize>("workers").map(Spanned::into_inner);
    let merge_slashes =
        [("match", MergeSlashes::Match), ("forward", MergeSlashes::Forward), ("off", MergeSlashes::Off)];
    let half_close = [("abort", HalfClose::Abort), ("answer", HalfClose::Answer)];
    let state_dir = section.text("state_dir");
    if let Some(text) = state_dir.as_ref().filter(|text| text.value.is_empty()) {
        section.report.add(text.span.clone(), "state_dir is empty", "name a directory, or leave it out");
    }
    Server {
        workers: workers.and_then(NonZeroUsize::new).unwrap_or_else(cores),
        header_timeout: section.duration("header_timeout"),
        idle_timeout: section.duration("idle_timeout"),
        body_timeout: section.duration("body_timeout"),
        body_rate_min: section.size("body_rate_min"),
        write_timeout: section.duration("write_timeout"),
        half_close: section.choice("half_close", &half_close).unwrap_or(HalfClose::Abort),
        header_bytes_max: usize::try_from(section.size("header_bytes_max")).unwrap_or(usize::MAX),
        body_bytes_max: Some(section.size("body_bytes_max")).filter(|bytes| *bytes > 0),
        connections_max: section.count("connections_max").map(Spanned::into_inner),
        shutdown_timeout: section.duration("shutdown_timeout"),
        drain_delay: section.duration("drain_delay"),
        trusted_proxies: networks(section, "trusted_proxies"),
        merge_slashes: section.choice("merge_slashes", &merge_slashes).unwrap_or(MergeSlashes::Match),
        via_name: section.text("via_name").and_then(|text| via_name(section, &text)),
        upgrades: section.texts("upgrades").iter().filter_map(|text| upgrade(section, text)).collect(),
        dead_letters: dead_letters(&section.section("dead_letters")),
        state_dir: state_dir.map(|text| PathBuf::from(text.value)),
    }
}

fn dead_letters(section: &Section<'_>) -> Keep {
    Keep {
        age_max: section.duration("keep"),
        bytes_max: section.size("bytes_max"),
        count_max: section.number("count_max"),
    }
}

/// Networks in CIDR form, or single addresses.
fn networks(section: &Section<'_>, name: &str) -> Vec<Network> {
    let network = |text: Text| {
        let network = text.value.parse().ok();
        if network.is_none() {
            let hint = "write a network as \"10.0.0.0/8\", or an address as \"10.0.0.1\"";
            section.report.add(text.span.clone(), format!("{text} is no network"), hint);
        }
        network.as_ref().inspect(|network| warnings::open_network(section, name, &text, network));
        network
    };
    section.texts(name).into_iter().filter_map(network).collect()
}

/// A pseudonym (RFC 9110 §7.6.3).
fn via_name(section: &Section<'_>, text: &Text) -> Option<Arc<str>> {
    /// It goes along with every message.
    const NAME_BYTES_MAX: usize = 100;
    let fits = is_token(&text.value) && text.value.len() <= NAME_BYTES_MAX;
    if !fits {
        let hint = "1 to 100 letters, digits and - . _ as in \"edge-1\"";
        section.report.add(text.span.clone(), format!("{text} is no name for Via"), hint);
    }
    fits.then(|| Arc::from(text.value.as_str()))
}

/// The name of a protocol (RFC 9110 §7.8), in lower case.
fn upgrade(section: &Section<'_>, text: &Text) -> Option<String> {
    let protocol = text.value.to_ascii_lowercase();
    let known = protocol.split('/').all(is_token);
    if !known {
        section.report.add(text.span.clone(), format!("{text} is no protocol"), "write upgrades = [\"websocket\"]");
    } else if protocol == "h2c" {
        let hint = "leave it out: what it carries would pass unchecked";
        section.report.add(text.span.clone(), "h2c can't be upgraded to", hint);
    }
    known.then_some(protocol)
}

/// Status codes written `"200"` or `"200-299"`.
fn status_ranges(section: &Section<'_>, name: &str) -> StatusRanges {
    let range = |text: Text| {
        let range = status_range(&text.value);
        if range.is_none() {
            let hint = "write \"200\" or \"200-299\", within 100 and 599";
            section.report.add(text.span.clone(), format!("{text} is no range of status codes"), hint);
        }
        range
    };
    StatusRanges(section.texts(name).into_iter().filter_map(range).collect())
}

fn status_range(text: &str) -> Option<RangeInclusive<u16>> {
    let status = |digits: &str| {
        let plain = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().ok()).flatten().filter(|status| (100..=599).contains(status))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some(first..=last)
}

/// A name that logs, metrics and state use: short, and free of what would break a line.
fn name(section: &Section<'_>, text: &Text) -> Arc<str> {
    /// Longer names only make logs long.
    const NAME_BYTES_MAX: usize = 200;
    let odd = text.value.is_empty() || text.value.len() > NAME_BYTES_MAX || text.value.chars().any(char::is_control);
    if odd {
        let hint = "1 to 200 bytes without control characters";
        section.report.add(text.span.clone(), format!("{text} is no name"), hint);
    }
    Arc::from(text.value.as_str())
}

/// Whether this is a host name in ASCII: labels of letters, digits, `-` and `_` (RFC 1123 §2.1; `_` as many use it).
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether this is a token (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
