//! `forebay backend`: lists the endpoints of a running proxy, shows why one gets no requests, drains one and re-enables
//! it.

use std::path::Path;
use std::process::ExitCode;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use super::admin_client::{AdminClient, AdminRequest, segment};
use super::layout::{Column, moment, table};
use super::status::{milliseconds, share};
use super::{EXIT_USAGE, output};
use crate::admin::api::status::{Endpoint, EndpointOrder, Upstream, Upstreams};

/// The environment variable with the author of an order; `--by` overrides it.
const USER_VARIABLE: &str = "USER";

/// The arguments of `forebay backend`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Backend {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Action {
    /// List endpoints, their state and their requests of the last minute (also when no command is given)
    List,
    /// Show an upstream's endpoints with their failures and the history of their health
    Show {
        /// The name of the upstream
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        upstream: String,
    },
    /// Send no new requests to an endpoint, until `ready` or a restart; those in flight finish
    Drain(Order),
    /// Send requests to an endpoint again
    Ready(Order),
}

#[derive(Clone, Debug, PartialEq, Eq, Args)]
struct Order {
    /// The name of the upstream
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    upstream: String,
    /// The URL of the backend, as the list shows it
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    backend: String,
    /// Only this address of the backend's name
    #[arg(long, value_name = "IP:PORT")]
    address: Option<String>,
    /// Your name, which the API and the event log show [default: $USER]
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
}

/// Sends the request to the admin API, and prints the endpoints.
#[must_use]
pub(crate) fn run(config: &Path, admin_client: &AdminClient, backend: &Backend) -> ExitCode {
    match backend.action.as_ref().unwrap_or(&Action::List) {
        Action::List => {
            admin_client.print(config, AdminRequest::get("/api/v1/upstreams"), |all: &Upstreams| list(&all.upstreams))
        }
        Action::Show { upstream } => {
            admin_client.print(config, AdminRequest::get(format!("/api/v1/upstreams/{}", segment(upstream))), details)
        }
        Action::Drain(order) => send(config, admin_client, order, "drain"),
        Action::Ready(order) => send(config, admin_client, order, "ready"),
    }
}

fn send(config: &Path, admin_client: &AdminClient, order: &Order, verb: &str) -> ExitCode {
    let by = order.by.clone().or_else(|| std::env::var(USER_VARIABLE).ok().filter(|user| !user.is_empty()));
    let body = EndpointOrder { backend: order.backend.clone(), address: order.address.clone(), by };
    let Ok(body) = serde_json::to_vec(&body) else {
        output::print_error("forebay: the request can't be written\n");
        return ExitCode::from(EXIT_USAGE);
    };
    let target = format!("/api/v1/upstreams/{}/{verb}", segment(&order.upstream));
    admin_client
        .print(config, AdminRequest::post(target, body), |upstream: &Upstream| list(std::slice::from_ref(upstream)))
}

fn list(upstreams: &[Upstream]) -> String {
    let columns = [
        Column("UPSTREAM", false),
        Column("BACKEND", false),
        Column("ADDRESS", false),
        Column("STATE", false),
        Column("IN FLIGHT", true),
        Column("REQUESTS/S", true),
        Column("FAILED", true),
        Column("P50", true),
        Column("P95", true),
        Column("WHY", false),
    ];
    let row = |upstream: &Upstream, endpoint: &Endpoint| {
        let minute = &endpoint.minute;
        [
            upstream.name.clone(),
            endpoint.backend.clone(),
            endpoint.address.clone().unwrap_or_else(|| "-".to_owned()),
            state(endpoint),
            endpoint.requests_in_flight.to_string(),
            format!("{:.1}", minute.rate),
            share(minute.errors, minute.requests),
            milliseconds(minute.p50_ms),
            milliseconds(minute.p95_ms),
            why(endpoint),
        ]
    };
    let rows =
        upstreams.iter().flat_map(|upstream| upstream.endpoints.iter().map(move |endpoint| row(upstream, endpoint)));
    table(&columns, rows.collect())
}

fn state(endpoint: &Endpoint) -> String {
    match (endpoint.up, endpoint.backup) {
        (false, _) => endpoint.reasons.join(", "),
        (true, true) => "up, backup".to_owned(),
        (true, false) => "up".to_owned(),
    }
}

/// The last event that took an endpoint out of use, if it is still in the history.
fn why(endpoint: &Endpoint) -> String {
    let ended = ["up", "reachable", "returned", "readied"];
    let cause = endpoint.history.iter().find(|change| !ended.contains(&&*change.event)).filter(|_| !endpoint.up);
    cause.map_or_else(|| "-".to_owned(), |change| change.reason.clone())
}

fn details(upstream: &Upstream) -> String {
    let mut text = format!("{} ({})\n", upstream.name, upstream.balance);
    text.push_str(&list(std::slice::from_ref(upstream)));
    for endpoint in &upstream.endpoints {
        let failures: Vec<String> = endpoint.failures.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let failures = if failures.is_empty() { "no failures".to_owned() } else { failures.join(", ") };
        let address = endpoint.address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
        text.push('\n');
        let name = format!("{}{address}", endpoint.backend);
        text.push_str(&super::admin_client::printable(&format!("{name}: {} requests, {failures}", endpoint.requests)));
        text.push('\n');
        let rows = endpoint.history.iter();
        let rows: Vec<_> =
            rows.map(|change| [moment(change.at_unix_ms), change.event.clone(), change.reason.clone()]).collect();
        if !rows.is_empty() {
            text.push_str(&table(&[Column("WHEN", false), Column("EVENT", false), Column("WHY", false)], rows));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::status::HealthChange;

    #[test]
    fn an_endpoint_that_is_out_says_why() {
        let change = |event: &str, reason: &str| HealthChange {
            at_unix_ms: 0,
            event: event.to_owned(),
            reason: reason.to_owned(),
        };
        let down = Endpoint {
            backend: "http://a:1".to_owned(),
            reasons: vec!["down".to_owned()],
            history: vec![change("down", "check got 503\u{1b}[2J"), change("up", "check got 200")],
            ..Endpoint::default()
        };
        let up = Endpoint { backend: "http://b:1".to_owned(), up: true, ..down.clone() };
        let upstream = Upstream { name: "shop".to_owned(), balance: "random".to_owned(), endpoints: vec![down, up] };
        let text = details(&upstream);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].contains("http://a:1") && lines[2].ends_with("check got 503\u{fffd}[2J"), "{text}");
        assert!(lines[3].contains("http://b:1") && lines[3].contains("  up  ") && lines[3].ends_with('-'), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
