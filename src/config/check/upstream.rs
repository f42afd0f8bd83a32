//! Checks `[[upstream]]`, and builds the upstreams of routes with `backends` and of webhooks.

use std::sync::Arc;
use std::time::Duration;

use crate::config::document::Section;
use crate::config::keys::backend;
use crate::config::plan::{Backend, HostHeader, Protocol, Retry, Timeouts, Upstream};
use crate::config::problem::nearest;
use crate::config::value::Table as _;

/// Reads every `[[upstream]]`.
pub(super) fn all(sections: &[Section<'_>]) -> Vec<Upstream> {
    let mut upstreams: Vec<Upstream> = Vec::new();
    for section in sections {
        let upstream = Upstream::of(section);
        let is_taken = upstreams.iter().any(|other| other.name == upstream.name);
        if let Some(text) = section.text("name").filter(|_| is_taken) {
            section.report.add(text.span.clone(), format!("upstream {text} is defined twice"), "rename one");
        }
        upstreams.push(upstream);
    }
    upstreams
}

/// An upstream with the default of every key.
fn with_defaults(section: &Section<'_>) -> Upstream {
    Upstream::of(&Section::left_out(section.report, Upstream::SECTION, section.span.clone()))
}

/// The upstream of a route with `backends`: all other keys have their defaults.
pub(super) fn in_place(route: &Section<'_>, name: Arc<str>) -> Upstream {
    Upstream { name, backends: backend::all(route, "backends", false, Protocol::Http1), ..with_defaults(route) }
}

/// The upstream of requests that are far apart, as those of webhooks: one backend, short time-outs, no retries and no kept
/// connections.
pub(super) fn with_one_backend(section: &Section<'_>, name: Arc<str>, backend: Backend) -> Upstream {
    let plain = with_defaults(section);
    Upstream {
        name,
        backends: vec![backend],
        host: HostHeader::Backend,
        retry: Retry { attempts: 0, ..plain.retry },
        timeouts: Timeouts {
            connect: Duration::from_secs(2),
            response_head: Duration::from_secs(5),
            body_idle: Duration::from_secs(5),
            request: Duration::from_secs(10),
            // Requests are minutes apart: the receiver would have closed a kept connection.
            pool_idle: Duration::ZERO,
            ..plain.timeouts
        },
        ..plain
    }
}

/// The index of the upstream that a key names. `None`: the key is missing, or the upstream is not defined, which is
/// reported.
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
