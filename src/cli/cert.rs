//! `forebay cert`: shows the certificates of a running proxy.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::admin_client::{AdminClient, AdminRequest};
use super::layout::{Column, moment, span, table};
use crate::admin::api::certificates::{Certificate, Certificates};
use crate::telemetry::clock;

/// The arguments of `forebay cert`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Cert {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum What {
    /// List the certificates of all listeners (also when nothing is said)
    List,
}

/// Prints the certificates of a running proxy.
#[must_use]
pub(crate) fn run(config: &Path, admin_client: &AdminClient, cert: &Cert) -> ExitCode {
    let (None | Some(What::List)) = cert.what;
    let now = u64::try_from(clock::now().wall.as_millis()).unwrap_or(u64::MAX);
    let request = AdminRequest::get("/api/v1/certificates");
    admin_client.print(config, request, |all: &Certificates| list(&all.certificates, now))
}

fn list(certificates: &[Certificate], now: u64) -> String {
    let columns = [
        Column("NAMES", false),
        Column("ISSUER", false),
        Column("NOT AFTER", false),
        Column("DAYS LEFT", true),
        Column("SOURCE", false),
        Column("NEXT ORDER", false),
    ];
    let row = |certificate: &Certificate| {
        [
            certificate.names.join(", "),
            certificate.issuer.clone(),
            moment(certificate.not_after_unix_ms),
            days_left(certificate.not_after_unix_ms, now),
            certificate.source.clone(),
            next_order(certificate, now),
        ]
    };
    table(&columns, certificates.iter().map(row).collect())
}

fn days_left(not_after: u64, now: u64) -> String {
    const DAY_MS: u64 = 86_400_000;
    match not_after.checked_sub(now) {
        Some(left) => (left / DAY_MS).to_string(),
        None => "expired".to_owned(),
    }
}

/// When it is ordered next, and why the last order has failed.
fn next_order(certificate: &Certificate, now: u64) -> String {
    let Some(order) = &certificate.order else { return "-".to_owned() };
    let next = match order.next_unix_ms.checked_sub(now) {
        Some(wait) if wait > 0 => format!("in {}", span(wait)),
        Some(_) | None => "now".to_owned(),
    };
    match &order.failure {
        Some(failure) => format!("{next}; {} failed: {failure}", order.failures),
        None => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::certificates::CertificateOrder;

    #[test]
    fn a_line_says_how_long_a_certificate_lasts_and_what_happens_then() {
        let (now, day) = (1_796_000_000_000, 86_400_000);
        let certificate = |source: &str, left: u64, order| Certificate {
            names: vec!["a.test".to_owned(), "b.test".to_owned()],
            issuer: "CN=R11".to_owned(),
            not_after_unix_ms: now - day + left * day,
            source: source.to_owned(),
            listeners: Vec::new(),
            order,
        };
        let order = |next_unix_ms, failures, failure: Option<&str>| {
            Some(CertificateOrder { next_unix_ms, failures, failure: failure.map(str::to_owned) })
        };
        let text = list(
            &[
                certificate("acme", 61, order(now + 30 * day, 0, None)),
                certificate("acme", 2, order(now + 90_000, 2, Some("no route"))),
                certificate("acme", 2, order(1, 0, None)),
                certificate("/c.pem", 0, None),
            ],
            now,
        );
        let lines: Vec<&str> = text.lines().collect();
        for (line, words) in [
            (0, &["NAMES", "DAYS LEFT", "NEXT ORDER"][..]),
            (1, &["a.test, b.test", "CN=R11", " 60 ", "acme", "in 30 d"]),
            (2, &[" 1 ", "in 1 min 30 s; 2 failed: no route"]),
            (3, &["now"]),
            (4, &["expired", "/c.pem", "-"]),
        ] {
            assert!(words.iter().all(|word| lines[line].contains(word)), "{words:?} in {}", lines[line]);
        }
    }
}
