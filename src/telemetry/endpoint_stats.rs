//! What the requests to one endpoint came to: response times, failures by kind.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::counters::Counter;
use super::latency_stats::{Latency, LatencyStats};
use super::per_worker::PerWorker;
use super::window::{Recent, Totals, Window};

/// Why a request to an endpoint failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// No connection.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// The connection was closed before the response.
    Reset,
    /// No response head in time.
    ResponseTimeout,
    /// The response is not HTTP, or can't be passed on.
    Malformed,
    /// The status counts as a failure.
    Status,
    /// The body of the response broke off, or stalled.
    Body,
}

impl FailureKind {
    /// All kinds.
    pub(crate) const ALL: [Self; 7] = [
        Self::Connect,
        Self::ConnectTimeout,
        Self::Reset,
        Self::ResponseTimeout,
        Self::Malformed,
        Self::Status,
        Self::Body,
    ];

    /// The value of the label `kind`.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Reset => "reset",
            Self::ResponseTimeout => "response_timeout",
            Self::Malformed => "malformed",
            Self::Status => "status",
            Self::Body => "body",
        }
    }
}

/// The requests to one endpoint, as one worker has counted them.
#[derive(Debug, Default)]
pub(crate) struct EndpointStats {
    latency: LatencyStats,
    responses: Counter,
    unanswered: Counter,
    failures: [Counter; FailureKind::ALL.len()],
}

impl EndpointStats {
    /// Counts a response: its head was received so long after the request was sent.
    pub(crate) fn answered(&self, after: Duration) {
        self.responses.up();
        self.latency.record(after);
    }

    /// Counts a failure. `is_answered`: the response's head has been counted already.
    pub(crate) fn failed(&self, kind: FailureKind, is_answered: bool) {
        if let Some(count) = self.failures.get(kind as usize) {
            count.up();
        }
        if !is_answered {
            self.unanswered.up();
        }
    }
}

/// The requests to one endpoint, all workers together. It outlives reloads, as long as the endpoint does.
#[derive(Debug, Default)]
pub(crate) struct EndpointTraffic {
    parts: PerWorker<EndpointStats>,
    window: Mutex<Window>,
}

/// What all workers have counted for one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct EndpointTotals {
    /// Requests sent, those of retries too.
    pub(crate) requests: u64,
    /// Failures, in the order of [`FailureKind::ALL`].
    pub(crate) failures: [u64; FailureKind::ALL.len()],
    /// From the end of the request's head to the head of the response.
    pub(crate) latency: Latency,
}

impl EndpointTotals {
    fn window_totals(&self) -> Totals {
        Totals { requests: self.requests, errors: self.failures.iter().sum(), latency: self.latency.histogram.clone() }
    }
}

impl EndpointTraffic {
    /// The part of one more worker.
    #[must_use]
    pub(crate) fn enroll(&self) -> Arc<EndpointStats> {
        self.parts.enroll()
    }

    /// What all workers have counted.
    #[must_use]
    pub(crate) fn totals(&self) -> EndpointTotals {
        let mut totals = EndpointTotals::default();
        self.parts.for_each(|part| {
            // Failures first: a request that ends in between must not look like a failure without a request.
            totals.failures.iter_mut().zip(&part.failures).for_each(|(sum, count)| *sum += count.get());
            totals.requests += part.responses.get() + part.unanswered.get();
            part.latency.add_to(&mut totals.latency);
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
    fn a_failure_without_a_response_is_a_request_and_one_with_a_response_no_other() {
        let traffic = EndpointTraffic::default();
        let (one, two) = (traffic.enroll(), traffic.enroll());
        one.answered(Duration::from_millis(3));
        one.failed(FailureKind::Status, true);
        two.failed(FailureKind::Connect, false);
        let totals = traffic.totals();
        assert_eq!(totals.requests, 2);
        for (kind, count) in FailureKind::ALL.into_iter().zip(totals.failures) {
            let expected = u64::from(matches!(kind, FailureKind::Status | FailureKind::Connect));
            assert_eq!(count, expected, "{}", kind.as_str());
        }
        assert_eq!(totals.latency.total, Duration::from_millis(3));
        assert_eq!(traffic.recent(Duration::ZERO).minute.errors, 2);
    }
}
