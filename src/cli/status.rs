//! `forebay status`: shows the load of a running proxy, its last reload, and its routes.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::admin_client::{AdminClient, AdminRequest};
use super::layout::{Column, moment, named, span, table};
use crate::admin::api::status::{Overview, Period, Route, Routes};
use crate::telemetry::clock;

/// The arguments of `forebay status`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Status {
    /// Show the routes and their requests of the last minute
    #[arg(long)]
    routes: bool,
}

/// Prints the state of a running proxy.
#[must_use]
pub(crate) fn run(config: &Path, admin_client: &AdminClient, status: &Status) -> ExitCode {
    let now = u64::try_from(clock::now().wall.as_millis()).unwrap_or(u64::MAX);
    if status.routes {
        admin_client.print(config, AdminRequest::get("/api/v1/routes"), |routes: &Routes| list(&routes.routes))
    } else {
        admin_client.print(config, AdminRequest::get("/api/v1/status"), |overview: &Overview| summary(overview, now))
    }
}

fn summary(overview: &Overview, now: u64) -> String {
    let Overview { version, status, workers, connections, endpoints, endpoints_up, .. } = overview;
    let up = span(now.saturating_sub(overview.started_unix_ms));
    let mut lines = vec![
        ("forebay", format!("{version}, {status}, up for {up}, {workers} workers")),
        ("endpoints", format!("{endpoints_up} of {endpoints} get requests")),
        (
            "now",
            format!(
                "{connections} connections, {} requests in flight, {} queued, {} connections to backends",
                overview.requests_in_flight, overview.requests_queued, overview.backend_connections
            ),
        ),
        ("last minute", period(&overview.minute)),
        ("last 15 min", period(&overview.quarter)),
    ];
    match &overview.reload {
        None => lines.push(("reload", "none since the start".to_owned())),
        Some(reload) => {
            let outcome = if reload.succeeded { "succeeded" } else { "FAILED, nothing has changed" };
            lines.push(("reload", format!("{}: {outcome}", moment(reload.at_unix_ms))));
            lines.extend(reload.message.lines().map(|line| ("", line.to_owned())));
        }
    }
    named(&lines)
}

/// The requests of a period, in one line.
fn period(period: &Period) -> String {
    let Period { requests, errors, rate, .. } = period;
    let times = [("p50", period.p50_ms), ("p95", period.p95_ms), ("p99", period.p99_ms)];
    let times = times.iter().filter_map(|(name, time)| Some(format!(", {name} {}", milliseconds(Some((*time)?)))));
    format!("{requests} requests, {rate:.1} a second, {errors} failed{}", times.collect::<String>())
}

/// A duration in milliseconds with three significant digits, from 10 s on in seconds; `-` for none.
pub(super) fn milliseconds(time: Option<f64>) -> String {
    match time {
        None => "-".to_owned(),
        Some(ms @ ..10.0) => format!("{ms:.2} ms"),
        Some(ms @ ..100.0) => format!("{ms:.1} ms"),
        Some(ms @ ..10_000.0) => format!("{ms:.0} ms"),
        Some(ms) => format!("{:.1} s", ms / 1e3),
    }
}

fn list(routes: &[Route]) -> String {
    let columns = [
        Column("ROUTE", false),
        Column("UPSTREAM", false),
        Column("REQUESTS/S", true),
        Column("FAILED", true),
        Column("P50", true),
        Column("P95", true),
        Column("P99", true),
        Column("HITS", true),
    ];
    let row = |route: &Route| {
        let minute = &route.minute;
        [
            route.name.clone(),
            if route.upstreams.is_empty() { "-".to_owned() } else { route.upstreams.join(", ") },
            format!("{:.1}", minute.rate),
            share(minute.errors, minute.requests),
            milliseconds(minute.p50_ms),
            milliseconds(minute.p95_ms),
            milliseconds(minute.p99_ms),
            hits(route),
        ]
    };
    table(&columns, routes.iter().map(row).collect())
}

/// The share of requests on a caching route that the cache answered: hits and stale responses.
fn hits(route: &Route) -> String {
    let Some(cache) = &route.cache else { return "-".to_owned() };
    let of = |result: &str| cache.get(result).copied().unwrap_or_default();
    share(of("hit") + of("stale"), cache.values().sum())
}

/// `part` of `whole` in percent; `-` if `whole` is 0.
pub(super) fn share(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", part as f64 * 100.0 / whole as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::status::Reload;

    #[test]
    fn the_state_is_told_in_a_few_lines() {
        let minute = Period {
            seconds: 60.0,
            requests: 1200,
            errors: 3,
            rate: 20.0,
            p50_ms: Some(1.234),
            p95_ms: Some(45.67),
            p99_ms: Some(12_345.0),
        };
        let overview = Overview {
            version: "1.2.3".to_owned(),
            status: "ready".to_owned(),
            workers: 2,
            endpoints: 3,
            endpoints_up: 2,
            minute,
            reload: Some(Reload { at_unix_ms: 0, succeeded: false, message: "two\nlines".to_owned() }),
            ..Overview::default()
        };
        let text = summary(&overview, 65_000);
        for part in [
            "1.2.3, ready, up for 1 min 5 s, 2 workers",
            "2 of 3 get requests",
            "1200 requests, 20.0 a second, 3 failed, p50 1.23 ms, p95 45.7 ms, p99 12.3 s",
            "1970-01-01 00:00:00 UTC: FAILED, nothing has changed",
            "\n             two\n             lines\n",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
