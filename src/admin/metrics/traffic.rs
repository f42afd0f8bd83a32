//! The metrics of routes, endpoints, the process and reloads.

use crate::admin::api::{EndpointMetrics, ProcessMetrics, ReloadMetrics, RouteMetrics};
use crate::telemetry::exposition::Kind::{Counter, Gauge, Histogram};
use crate::telemetry::exposition::Page;

/// Writes the metrics of each route.
pub(super) fn routes(page: &mut Page, routes: &[RouteMetrics]) {
    if routes.is_empty() {
        return;
    }
    let help = "Requests that have ended, by the class of their status; none: the client left before there was one.";
    let mut requests = page.family(Counter, "forebay_route_requests_total", help);
    for route in routes {
        for (method, code, count) in &route.requests {
            requests.sample(&[("route", &route.name), ("method", method), ("code", code)], *count);
        }
    }
    let help = "From a request's head to the end of its response.";
    let mut duration = page.family(Histogram, "forebay_route_request_duration_seconds", help);
    for route in routes {
        let times = &route.duration;
        duration.histogram(&[("route", &route.name)], &times.buckets, times.sum, times.count);
    }
    let help = "Bytes of responses' bodies sent to clients.";
    let mut bytes = page.family(Counter, "forebay_route_response_body_bytes_total", help);
    for route in routes {
        bytes.sample(&[("route", &route.name)], route.bytes_sent);
    }
    if routes.iter().all(|route| route.cache.is_empty()) {
        return;
    }
    let help = "Requests on caching routes, by what the cache did for them.";
    let mut cache = page.family(Counter, "forebay_route_cache_requests_total", help);
    for route in routes {
        for (result, count) in &route.cache {
            cache.sample(&[("route", &route.name), ("result", result)], *count);
        }
    }
}

/// Writes the metrics of each endpoint.
pub(super) fn endpoints(page: &mut Page, endpoints: &[EndpointMetrics]) {
    if endpoints.is_empty() {
        return;
    }
    let help = "Why an endpoint gets no requests: 1 where the reason holds.";
    let mut out = page.family(Gauge, "forebay_endpoint_out", help);
    for endpoint in endpoints {
        for (reason, holds) in &endpoint.reasons {
            let [upstream, backend, address] = labels(endpoint);
            out.sample(&[upstream, backend, address, ("reason", reason)], u64::from(*holds));
        }
    }
    let mut weight = page.family(Gauge, "forebay_endpoint_weight", "The weight of an endpoint, as in the file.");
    for endpoint in endpoints {
        weight.sample(&labels(endpoint), endpoint.weight);
    }
    let help = "Requests sent to an endpoint, those of retries too.";
    let mut requests = page.family(Counter, "forebay_endpoint_requests_total", help);
    for endpoint in endpoints {
        requests.sample(&labels(endpoint), endpoint.requests);
    }
    let mut failures = page.family(Counter, "forebay_endpoint_failures_total", "Requests that an endpoint failed.");
    for endpoint in endpoints {
        for (kind, count) in &endpoint.failures {
            let [upstream, backend, address] = labels(endpoint);
            failures.sample(&[upstream, backend, address, ("kind", kind)], *count);
        }
    }
    let help = "From sending a request to the head of its response.";
    let mut times = page.family(Histogram, "forebay_endpoint_response_time_seconds", help);
    for endpoint in endpoints {
        let time = &endpoint.response_time;
        times.histogram(&labels(endpoint), &time.buckets, time.sum, time.count);
    }
}

fn labels(endpoint: &EndpointMetrics) -> [(&'static str, &str); 3] {
    [("upstream", &endpoint.upstream), ("backend", &endpoint.backend), ("address", &endpoint.address)]
}

/// Writes the metrics of the process, under the names of the Prometheus client libraries.
pub(super) fn process(page: &mut Page, process: &ProcessMetrics) {
    page.family(Gauge, "forebay_build_info", "The version that runs; always 1.")
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.single(Gauge, "process_start_time_seconds", "When the process started.", process.started);
    page.single(Gauge, "process_resident_memory_bytes", "Resident memory.", process.resident_bytes);
    page.single(Counter, "process_cpu_seconds_total", "Processor time, user and system.", process.cpu_seconds);
    page.single(Gauge, "process_open_fds", "Descriptors open.", process.open_descriptors);
    page.single(Gauge, "process_max_fds", "How many descriptors may be open.", process.max_descriptors);
}

/// Writes the metrics of reloads.
pub(super) fn reloads(page: &mut Page, reloads: &ReloadMetrics) {
    let help = "Reloads of the configuration, by whether they took effect.";
    page.family(Counter, "forebay_config_reloads_total", help)
        .sample(&[("result", "success")], reloads.succeeded)
        .sample(&[("result", "failure")], reloads.failed);
    let help = "Whether the last reload took effect; 1 if there was none.";
    let succeeded = u64::from(reloads.last_succeeded.unwrap_or(true));
    page.single(Gauge, "forebay_config_last_reload_successful", help, succeeded);
    let help = "When the present configuration came into force.";
    page.single(Gauge, "forebay_config_in_force_since_timestamp_seconds", help, reloads.in_force_since);
}
