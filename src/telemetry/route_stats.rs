//! What the requests of one route came to: statuses by method, durations, bytes, results of the cache.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;

use super::counters::{CacheResult, CacheResults, Counter};
use super::latency_stats::{Latency, LatencyStats};
use super::per_worker::PerWorker;
use super::window::{Recent, Totals, Window};

/// The values of the label `method`. Any other method counts as the last.
pub(crate) const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

/// The values of the label `code`. `none`: the client left before there was a response.
pub(crate) const CODES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// The place of `5xx` in [`CODES`].
const SERVER_ERROR: usize = 5;

/// The requests of one route, as one worker has counted them.
#[derive(Debug, Default)]
pub(crate) struct RouteStats {
    requests: [[Counter; CODES.len()]; METHODS.len()],
    duration: LatencyStats,
    bytes_sent: Counter,
    cache: CacheResults,
}

impl RouteStats {
    /// Counts a request that has ended: with this status, if there was a response, so long after its head was received.
    pub(crate) fn ended(&self, method: &Method, status: Option<StatusCode>, took: Duration, bytes_sent: u64) {
        if let Some(count) = self.requests.get(method_index(method)).and_then(|codes| codes.get(code_index(status))) {
            count.up();
        }
        self.duration.record(took);
        self.bytes_sent.add(bytes_sent);
    }

    /// Counts what the cache did for a request.
    pub(crate) fn cached(&self, result: CacheResult) {
        self.cache.of(result).up();
    }
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => METHODS.len() - 1,
    }
}

fn code_index(status: Option<StatusCode>) -> usize {
    match status.map(|status| status.as_u16() / 100) {
        None => 0,
        Some(class @ 1..5) => usize::from(class),
        Some(_) => SERVER_ERROR,
    }
}

/// The requests of one route, all workers together. It outlives reloads, as long as there is a route of that name.
#[derive(Debug, Default)]
pub(crate) struct RouteTraffic {
    parts: PerWorker<RouteStats>,
    window: Mutex<Window>,
}

/// What all workers have counted for one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteTotals {
    /// Requests, by the places of [`METHODS`] and [`CODES`].
    pub(crate) requests: [[u64; CODES.len()]; METHODS.len()],
    /// From the request's head to the end of the response.
    pub(crate) duration: Latency,
    /// Bytes of responses' bodies.
    pub(crate) bytes_sent: u64,
    /// What the cache did, in the order of [`CacheResults::ALL`].
    pub(crate) cache: [u64; CacheResults::ALL.len()],
}

impl RouteTotals {
    fn window_totals(&self) -> Totals {
        Totals { requests: self.all(), errors: self.errors(), latency: self.duration.histogram.clone() }
    }

    /// All its requests.
    #[must_use]
    pub(crate) fn all(&self) -> u64 {
        self.requests.iter().flatten().sum()
    }

    /// Those whose status is 5xx.
    #[must_use]
    pub(crate) fn errors(&self) -> u64 {
        self.requests.iter().filter_map(|codes| codes.get(SERVER_ERROR)).sum()
    }
}

impl RouteTraffic {
    /// The part of one more worker.
    #[must_use]
    pub(crate) fn enroll(&self) -> Arc<RouteStats> {
        self.parts.enroll()
    }

    /// What all workers have counted.
    #[must_use]
    pub(crate) fn totals(&self) -> RouteTotals {
        let mut totals = RouteTotals::default();
        self.parts.for_each(|part| {
            for (sums, counts) in totals.requests.iter_mut().zip(&part.requests) {
                sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count.get());
            }
            part.duration.add_to(&mut totals.duration);
            totals.bytes_sent += part.bytes_sent.get();
            for (sum, result) in totals.cache.iter_mut().zip(CacheResults::ALL) {
                *sum += part.cache.of(result).get();
            }
        });
        totals
    }

    /// Ends a slot of the window (monotonic time).
    pub(crate) fn tick(&self, now: Duration) {
        self.window.lock().tick(self.totals().window_totals(), now);
    }

    /// The latest requests, up to this moment (monotonic time).
    #[must_use]
    pub(crate) fn recent(&self, now: Duration) -> Recent {
        self.window.lock().recent(&self.totals().window_totals(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_counts_under_its_method_and_the_class_of_its_status() {
        let traffic = RouteTraffic::default();
        let (one, two) = (traffic.enroll(), traffic.enroll());
        one.ended(&Method::GET, Some(StatusCode::OK), Duration::from_millis(5), 100);
        two.ended(&Method::GET, Some(StatusCode::NO_CONTENT), Duration::from_millis(7), 0);
        two.ended(&Method::POST, Some(StatusCode::BAD_GATEWAY), Duration::from_millis(9), 20);
        two.ended(&Method::from_bytes(b"BREW").unwrap(), None, Duration::ZERO, 0);
        two.ended(&Method::GET, StatusCode::from_u16(999).ok(), Duration::ZERO, 0);
        two.cached(CacheResult::Hit);
        let totals = traffic.totals();
        let of = |method: &str, code: &str| {
            let method = METHODS.iter().position(|known| *known == method).unwrap();
            totals.requests[method][CODES.iter().position(|known| *known == code).unwrap()]
        };
        assert_eq!((of("GET", "2xx"), of("POST", "5xx"), of("other", "none"), of("GET", "5xx")), (2, 1, 1, 1));
        assert_eq!((totals.all(), totals.errors(), totals.bytes_sent), (5, 2, 120));
        assert_eq!((totals.duration.histogram.total(), totals.duration.total), (5, Duration::from_millis(21)));
        assert_eq!(totals.cache, [1, 0, 0, 0, 0]);
    }

    #[test]
    fn recent_requests_are_those_of_the_window() {
        let traffic = RouteTraffic::default();
        let part = traffic.enroll();
        part.ended(&Method::GET, Some(StatusCode::OK), Duration::from_millis(5), 0);
        traffic.tick(Duration::from_secs(10));
        part.ended(&Method::GET, Some(StatusCode::BAD_GATEWAY), Duration::from_millis(5), 0);
        let recent = traffic.recent(Duration::from_secs(15));
        assert_eq!((recent.minute.requests, recent.minute.errors), (2, 1));
    }
}
