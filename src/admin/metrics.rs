//! `/metrics`: the name and help text of each metric.
//!
//! `telemetry::exposition` has the text format; the counters are in `telemetry::counters`.

use std::time::Duration;

use super::Readiness;
use super::api::{CacheMetrics, CertificateMetrics, EndpointMetrics, EventMetrics, JournalMetrics, Metrics};
use crate::telemetry::exposition::Kind::{Counter, Gauge};
use crate::telemetry::exposition::{Kind, Page, Value};

mod certificates;
mod rollout;
mod traffic;

pub(super) use rollout::Rollout;

/// The page in the Prometheus text format.
pub(super) fn text(metrics: &Metrics, readiness: Readiness, rollout: &Rollout) -> String {
    let mut page = Page::new();
    let ready = u64::from(readiness == Readiness::Ready);
    page.single(Gauge, "forebay_ready", "Whether forebay accepts requests: not while it starts or drains.", ready);
    traffic::process(&mut page, &metrics.process);
    traffic::reloads(&mut page, &metrics.reloads);
    requests(&mut page, metrics);
    traffic::routes(&mut page, &metrics.routes);
    certificates(&mut page, &metrics.certificates);
    endpoints(&mut page, &metrics.endpoints);
    traffic::endpoints(&mut page, &metrics.endpoints);
    cache(&mut page, &metrics.cache);
    events(&mut page, metrics.events);
    if let Some(metrics) = metrics.journal {
        journal(&mut page, metrics);
    }
    certificates::write(&mut page, &metrics.acme);
    rollout.write(&mut page);
    page.finish()
}

fn requests(page: &mut Page, metrics: &Metrics) {
    page.single(Counter, "forebay_requests_total", "Requests finished.", metrics.requests);
    by(page, ("forebay_responses_total", "class"), "Responses, by class of status.", &metrics.responses);
    let help = "Requests that ended because the client left.";
    page.single(Counter, "forebay_requests_abandoned_total", help, metrics.abandoned);
    renamed(
        page,
        Counter,
        ("forebay_requests_malformed_total", "forebay_requests_unreadable_total"),
        "Requests that could not be parsed.",
        metrics.unreadable,
    );
    page.single(Counter, "forebay_retries_total", "Requests sent again to another backend.", metrics.retries);
    renamed(
        page,
        Gauge,
        ("forebay_client_connections", "forebay_connections"),
        "Client connections open.",
        metrics.connections,
    );
    page.single(Gauge, "forebay_requests_in_flight", "Requests in flight.", metrics.in_flight);
    page.single(Gauge, "forebay_requests_queued", "Requests that wait for a backend.", metrics.queued);
    renamed(
        page,
        Gauge,
        ("forebay_requests_waiting_for_fetch", "forebay_requests_following"),
        "Requests that wait for another's fetch.",
        metrics.following,
    );
    page.single(Gauge, "forebay_backend_connections", "Connections to backends open.", metrics.backend_connections);
    page.single(Counter, "forebay_accept_failures_total", "Client connections not accepted.", metrics.accept_failures);
    let help = "Client connections that began with a PROXY header.";
    page.single(Counter, "forebay_proxy_protocol_headers_total", help, metrics.proxy_headers);
    let help = "Client connections closed for lack of a usable PROXY header.";
    page.single(Counter, "forebay_proxy_protocol_refusals_total", help, metrics.proxy_refusals);
    let (all, by_1_2) = (metrics.tls_handshakes, metrics.tls_1_2_handshakes);
    page.family(Counter, "forebay_tls_handshakes_total", "TLS handshakes with clients, by version.")
        .sample(&[("version", "1.2")], by_1_2)
        .sample(&[("version", "1.3")], all.saturating_sub(by_1_2));
    page.single(
        Counter,
        "forebay_tls_resumptions_total",
        "TLS handshakes that resumed a session.",
        metrics.tls_resumptions,
    );
    page.single(Counter, "forebay_tls_handshake_failures_total", "TLS handshakes that failed.", metrics.tls_failures);
    page.single(Counter, "forebay_log_lines_dropped_total", "Access log lines dropped.", metrics.log_lines_dropped);
    page.single(Counter, "forebay_log_events_dropped_total", "Events not logged.", metrics.log_events_dropped);
}

fn certificates(page: &mut Page, certificates: &[CertificateMetrics]) {
    if certificates.is_empty() {
        return;
    }
    let help = "When this certificate of a listener expires, in seconds since 1970.";
    let mut family = page.family(Gauge, "forebay_certificate_expiry_timestamp_seconds", help);
    for CertificateMetrics { listener, certificate, expires } in certificates {
        family.sample(&[("listener", listener), ("certificate", certificate)], *expires);
    }
}

fn endpoints(page: &mut Page, metrics: &[EndpointMetrics]) {
    if metrics.is_empty() {
        return;
    }
    let mut write = |name: &'static str, help: &str, value: fn(&EndpointMetrics) -> u64| {
        let mut family = page.family(Gauge, name, help);
        for metrics in metrics {
            let EndpointMetrics { upstream, backend, address, .. } = metrics;
            family.sample(&[("upstream", upstream), ("backend", backend), ("address", address)], value(metrics));
        }
    };
    let help = "Whether this endpoint gets requests: not while it is down, unreachable, ejected or drained.";
    write("forebay_endpoint_up", help, |metrics| metrics.is_usable.into());
    write("forebay_endpoint_usable", "Deprecated: use forebay_endpoint_up.", |metrics| metrics.is_usable.into());
    let help = "Requests in flight at this endpoint.";
    write("forebay_endpoint_requests_in_flight", help, |metrics| metrics.in_flight);
}

fn cache(page: &mut Page, cache: &CacheMetrics) {
    renamed(page, Gauge, ("forebay_cache_entries", "forebay_cache_keys"), "Keys with a stored response.", cache.keys);
    page.single(Gauge, "forebay_cache_bytes", "Bytes of memory that the cache uses.", cache.bytes);
    renamed(
        page,
        Gauge,
        ("forebay_cache_limit_bytes", "forebay_cache_max_bytes"),
        "The limit of the cache, in bytes.",
        cache.bytes_max,
    );
    page.single(Gauge, "forebay_cache_bans", "Purges by prefix, tag and of all that are not swept yet.", cache.bans);
    let help = "Purges that found the list full: older ones were merged into a wider one.";
    page.single(Counter, "forebay_cache_bans_merged_total", help, cache.bans_merged);
    let help = "Requests on caching routes, by what the cache did for them.";
    by(page, ("forebay_cache_results_total", "result"), help, &cache.results);
}

fn events(page: &mut Page, events: EventMetrics) {
    let kinds = [("known", events.known), ("unknown", events.unknown), ("refused", events.refused)];
    let help = "Invalidating events, by whether a rule knows their type.";
    by(page, ("forebay_events_total", "type"), help, &kinds);
}

fn journal(page: &mut Page, journal: JournalMetrics) {
    page.single(Gauge, "forebay_journal_pending", "Writes acknowledged and not yet sent.", journal.pending);
    page.single(Gauge, "forebay_journal_pending_bytes", "Bytes of the pending writes.", journal.pending_bytes);
    let oldest = Duration::from_millis(journal.oldest_ms).as_secs_f64();
    renamed(
        page,
        Gauge,
        ("forebay_journal_oldest_pending_age_seconds", "forebay_journal_oldest_seconds"),
        "Age of the oldest pending write.",
        oldest,
    );
    renamed(page, Gauge, ("forebay_journal_dead_letters", "forebay_journal_dead"), "Dead letters.", journal.dead);
    let help = "Dead letters dropped beyond the limits.";
    renamed(
        page,
        Counter,
        ("forebay_journal_dead_letters_dropped_total", "forebay_journal_dead_dropped_total"),
        help,
        journal.dead_dropped,
    );
    page.single(Counter, "forebay_journal_accepted_total", "Writes acknowledged.", journal.accepted);
    page.single(Counter, "forebay_journal_sent_total", "Writes accepted by their backends.", journal.sent);
    let help = "Attempts to send a write that failed.";
    page.single(Counter, "forebay_journal_failures_total", help, journal.failures);
    renamed(
        page,
        Counter,
        ("forebay_journal_bypassed_total", "forebay_journal_through_total"),
        "Writes sent at once, past the journal.",
        journal.through,
    );
    page.single(
        Counter,
        "forebay_journal_refused_total",
        "Writes refused because the journal could not be written.",
        journal.refused,
    );
}

/// A metric under its name, and under the one that it had before, which the next release drops.
fn renamed(
    page: &mut Page,
    kind: Kind,
    (name, old): (&'static str, &'static str),
    help: &str,
    value: impl Into<Value>,
) {
    let value = value.into();
    page.single(kind, name, help, value);
    page.single(kind, old, &format!("Deprecated: use {name}."), value);
}

/// Writes a counter with one sample for each value of a label.
fn by(page: &mut Page, (name, label): (&'static str, &'static str), help: &str, values: &[(&str, u64)]) {
    if values.is_empty() {
        return;
    }
    let mut family = page.family(Counter, name, help);
    for (which, value) in values {
        family.sample(&[(label, which)], *value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_help_and_its_type() {
        let metrics = Metrics {
            requests: 7,
            responses: vec![("2xx", 6), ("5xx", 1)],
            journal: Some(JournalMetrics { oldest_ms: 1_050, ..JournalMetrics::default() }),
            ..Metrics::default()
        };
        let text = text(&metrics, Readiness::Ready, &Rollout::example());
        let mut known = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(!known.contains(&name), "{name} stands twice");
                known.push(name);
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(known.last(), Some(&name), "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
        for line in [
            "forebay_requests_total 7",
            "forebay_responses_total{class=\"5xx\"} 1",
            "forebay_journal_oldest_seconds 1.05",
            "forebay_split_weight_percent{route=\"users\",side=\"users-v2\"} 35",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn without_a_journal_nothing_is_told_of_it() {
        assert!(!text(&Metrics::default(), Readiness::Draining, &Rollout::default()).contains("journal"));
    }
}
