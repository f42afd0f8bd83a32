//! The metrics of certificates.

use std::time::Duration;

use crate::admin::api::certificates::{AcmeMetrics, Certificate};
use crate::telemetry::exposition::Kind::{Counter, Gauge};
use crate::telemetry::exposition::Page;

/// Writes all of them; nothing where no listener speaks TLS.
pub(super) fn write(page: &mut Page, metrics: &AcmeMetrics) {
    let AcmeMetrics { orders, failures, certificates } = metrics;
    if certificates.is_empty() {
        return;
    }
    page.single(Counter, "forebay_acme_orders_total", "Certificates ordered from an ACME authority.", *orders);
    page.single(Counter, "forebay_acme_order_failures_total", "Orders of certificates that failed.", *failures);
    let help = "When forebay orders a certificate next, in seconds since 1970.";
    each(page, ("forebay_certificate_next_order_timestamp_seconds", help), certificates, |one| {
        one.order.as_ref().map(|order| order.next_unix_ms)
    });
}

fn each(
    page: &mut Page,
    (name, help): (&'static str, &str),
    certificates: &[Certificate],
    value: impl Fn(&Certificate) -> Option<u64>,
) {
    let mut samples = certificates.iter().filter_map(|one| Some((one, value(one)?))).peekable();
    if samples.peek().is_none() {
        return;
    }
    let mut family = page.family(Gauge, name, help);
    for (certificate, ms) in samples {
        let subject = certificate.names.first().map_or("", String::as_str);
        let labels = [("name", subject), ("source", &certificate.source)];
        family.sample(&labels, Duration::from_millis(ms).as_secs());
    }
}
