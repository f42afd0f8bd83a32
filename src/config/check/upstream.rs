//! `[[upstream]]` and the tables in it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method};
use policy::endpoints::Family;

use super::{backend, is_token, name, status_ranges};
use crate::config::document::Section;
use crate::config::keys::UPSTREAM;
use crate::config::plan::{
    Backend, Balance, Check, Ejection, HashKey, Health, HostHeader, Queue, Retry, StatusRanges, Timeouts, Upstream,
};
use crate::config::problem::nearest;
use crate::config::units;

/// The words of `balance`; `hash` stands for itself, its key comes from `hash_key`.
const BALANCES: [(&str, Word); 8] = [
    ("round-robin", Word::RoundRobin),
    ("weighted", Word::Weighted),
    ("least-connections", Word::LeastConnections),
    ("ip-hash", Word::IpHash),
    ("random", Word::Random),
    ("two-choices", Word::TwoChoices),
    ("peak-ewma", Word::PeakEwma),
    ("hash", Word::Hash),
];

/// The words of `address_family`.
const FAMILIES: [(&str, Family); 4] =
    [("auto", Family::Auto), ("ipv4", Family::V4), ("ipv6", Family::V6), ("both", Family::Both)];

/// A word of `balance`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    RoundRobin,
    Weighted,
    LeastConnections,
    IpHash,
    Random,
    TwoChoices,
    PeakEwma,
    Hash,
}

/// Checks every `[[upstream]]`.
pub(super) fn all(sections: &[Section<'_>]) -> Vec<Upstream> {
    let mut upstreams: Vec<Upstream> = Vec::new();
    for section in sections {
        section.missing("name", "routes name their upstream: name = \"users\"");
        section.missing("backends", "name at least one: backends = [\"http://10.0.0.1:8080\"]");
        let text = section.text("name");
        let name = text.as_ref().map_or_else(|| Arc::from(""), |text| name(section, text));
        if let Some(text) = text.filter(|_| upstreams.iter().any(|upstream| upstream.name == name)) {
            section.report.add(text.span.clone(), format!("upstream {text} is defined twice"), "rename one");
        }
        upstreams.push(upstream(section, name));
    }
    upstreams
}

/// The upstream of a route that has its backends in place: every default.
pub(super) fn in_place(route: &Section<'_>, name: Arc<str>) -> Upstream {
    let defaults = Section::left_out(route.report, &UPSTREAM, route.span.clone());
    Upstream { backends: backend::all(route, false), ..upstream(&defaults, name) }
}

/// The upstream of a backend that is told something now and then, and must not be waited for long.
pub(super) fn told(section: &Section<'_>, name: Arc<str>, backend: Backend) -> Upstream {
    let defaults = Section::left_out(section.report, &UPSTREAM, section.span.clone());
    let plain = upstream(&defaults, name);
    Upstream {
        backends: vec![backend],
        host: HostHeader::Backend,
        retry: Retry { attempts: 0, ..plain.retry },
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            response_head: Duration::from_secs(5),
            body_idle: Duration::from_secs(5),
            request: Duration::from_secs(10),
            // Nothing is sent for minutes: a kept connection would be closed by then.
            pool_idle: Duration::ZERO,
            ..plain.timeouts
        },
        ..plain
    }
}

/// The index of the upstream that a key names; `None`, reported unless the key is left out, when there is none.
pub(super) fn named(section: &Section<'_>, key: &str, upstreams: &[Upstream]) -> Option<usize> {
    let text = section.text(key)?;
    let index = upstreams.iter().position(|upstream| *upstream.name == *text.value);
    if index.is_none() {
        let nearest = nearest(&text.value, upstreams.iter().map(|upstream| upstream.name.as_ref()));
        let hint = nearest
            .filter(|name| section.report.shows(name))
            .map_or_else(|| "define it: [[upstream]]".to_owned(), |name| format!("did you mean \"{name}\"?"));
        section.report.add(text.span.clone(), format!("upstream {text} is not defined"), hint);
    }
    index
}

/// An upstream as a table says it.
fn upstream(section: &Section<'_>, name: Arc<str>) -> Upstream {
    let word = section.choice("balance", &BALANCES);
    let weights_count = word.is_none_or(weights_count);
    let host = [("client", HostHeader::Client), ("backend", HostHeader::Backend)];
    Upstream {
        name,
        balance: balance(section, word),
        backends: backend::all(section, weights_count),
        health: section.has("health").then(|| health(&section.section("health"))),
        ejection: ejection(&section.section("ejection")),
        retry: retry(&section.section("retry")),
        timeouts: timeouts(&section.section("timeouts")),
        queue: section.has("queue").then(|| queue(&section.section("queue"))),
        slow_start: section.duration("slow_start"),
        host: section.choice("host", &host).unwrap_or(HostHeader::Client),
        resolve_interval: section.duration("resolve_interval"),
        address_family: section.choice("address_family", &FAMILIES).unwrap_or_default(),
        pool_max: section.number("pool_max"),
        response_fields_max: section.number("response_fields_max"),
    }
}

const fn weights_count(word: Word) -> bool {
    match word {
        Word::Weighted | Word::LeastConnections | Word::Random | Word::Hash => true,
        Word::RoundRobin | Word::IpHash | Word::TwoChoices | Word::PeakEwma => false,
    }
}

fn balance(section: &Section<'_>, word: Option<Word>) -> Balance {
    if section.has("hash_key") && word.is_some_and(|word| word != Word::Hash) {
        let hint = "add balance = \"hash\", or leave it out";
        section.report.add(section.at("hash_key"), "hash_key has no effect", hint);
    }
    if word == Some(Word::Hash) {
        section.missing("hash_key", "balance = \"hash\" needs one: hash_key = \"header:x-user\"");
    }
    let key = hash_key(section).unwrap_or(HashKey::Path);
    match word.unwrap_or(Word::RoundRobin) {
        Word::RoundRobin => Balance::RoundRobin,
        Word::Weighted => Balance::Weighted,
        Word::LeastConnections => Balance::LeastConnections,
        Word::IpHash => Balance::IpHash,
        Word::Random => Balance::Random,
        Word::TwoChoices => Balance::TwoChoices,
        Word::PeakEwma => Balance::PeakEwma,
        Word::Hash => Balance::Hash(key),
    }
}

fn hash_key(section: &Section<'_>) -> Option<HashKey> {
    let text = section.text("hash_key")?;
    let key = match text.value.split_once(':') {
        None if text.value == "path" => Some(HashKey::Path),
        None if text.value == "client-ip" => Some(HashKey::ClientIp),
        Some(("header", name)) => name.parse().ok().map(HashKey::Header),
        Some(("cookie", name)) if is_token(name) => Some(HashKey::Cookie(name.to_owned())),
        Some(("query", name)) if !name.is_empty() => Some(HashKey::Query(name.to_owned())),
        Some(_) | None => None,
    };
    if key.is_none() {
        let hint = "one of header:NAME, cookie:NAME, query:NAME, path, client-ip";
        section.report.add(text.span.clone(), format!("hash_key can't be {text}"), hint);
    }
    key
}

fn queue(section: &Section<'_>) -> Queue {
    Queue { length: section.number("length"), wait_max: section.duration("wait_max") }
}

fn health(section: &Section<'_>) -> Health {
    Health {
        check: check(section),
        interval: section.duration("interval"),
        timeout: section.duration("timeout"),
        rise: section.number("rise"),
        fall: section.number("fall"),
    }
}

fn check(section: &Section<'_>) -> Check {
    let tcp = section.choice("kind", &[("http", false), ("tcp", true)]).unwrap_or(false);
    let methods = [("GET", Method::GET), ("HEAD", Method::HEAD), ("OPTIONS", Method::OPTIONS)];
    let method = section.choice("method", &methods).unwrap_or(Method::GET);
    let body = section.text("body");
    if let Some(text) = body.as_ref().filter(|_| method == Method::HEAD) {
        section.report.add(text.span.clone(), "an answer to HEAD has no body", "use method = \"GET\"");
    }
    if section.is_empty_list("status") {
        let hint = "name the statuses that pass: status = [\"200-399\"]";
        section.report.add(section.at("status"), "status is empty: no check could pass", hint);
    }
    let (path, host) = (check_path(section), check_host(section));
    let status = status_ranges(section, "status");
    if !tcp {
        return Check::Http { method, path, host, status, body: body.map(|text| text.value) };
    }
    for name in ["path", "method", "host", "status", "body"].into_iter().filter(|name| section.has(name)) {
        let hint = "a tcp check just opens a connection: leave it out, or kind = \"http\"";
        section.report.add(section.at(name), format!("{name} has no effect"), hint);
    }
    Check::Tcp
}

fn check_path(section: &Section<'_>) -> String {
    let Some(text) = section.text("path") else { return "/".to_owned() };
    if !text.value.starts_with('/')
        || text.value.contains('#')
        || text.value.parse::<http::uri::PathAndQuery>().is_err()
    {
        section.report.add(text.span.clone(), format!("{text} is no path to check"), "write path = \"/healthz\"");
    }
    text.value
}

fn check_host(section: &Section<'_>) -> Option<HeaderValue> {
    let text = section.text("host")?;
    let authority = text.value.parse::<http::uri::Authority>().ok().filter(|_| !text.value.contains('@'));
    if authority.is_none() {
        section.report.add(text.span.clone(), format!("{text} is no host"), "write host = \"users.example.com\"");
    }
    HeaderValue::from_str(authority?.as_str()).ok()
}

fn ejection(section: &Section<'_>) -> Ejection {
    let (base_time, max_time) = (section.duration("base_time"), section.duration("max_time"));
    if base_time > max_time {
        let key = if section.has("base_time") { "base_time" } else { "max_time" };
        let hint =
            format!("base_time is {}, max_time {}", units::duration_text(base_time), units::duration_text(max_time));
        section.report.add(section.at(key), "the first ejection would be longer than the longest", hint);
    }
    Ejection {
        consecutive_failures: section.number("consecutive_failures"),
        statuses: status_ranges(section, "statuses"),
        base_time,
        max_time,
        percent_max: section.number("percent_max"),
    }
}

fn retry(section: &Section<'_>) -> Retry {
    let single = |status| u16::try_from(status).ok().map(|status| status..=status);
    Retry {
        attempts: section.number("attempts"),
        statuses: StatusRanges(section.counts("statuses").into_iter().filter_map(single).collect()),
        budget_percent: section.number("budget_percent"),
        budget_floor: section.number("budget_floor"),
        body_bytes_max: usize::try_from(section.size("body_bytes_max")).unwrap_or(usize::MAX),
    }
}

fn timeouts(section: &Section<'_>) -> Timeouts {
    Timeouts {
        connect: section.duration("connect"),
        response_head: section.duration("response_head"),
        body_idle: section.duration("body_idle"),
        pool_idle: section.duration("pool_idle"),
        request: section.duration("request"),
        tunnel_idle: section.duration("tunnel_idle"),
    }
}
