//! The results of both sides of a split, which a canary is judged by.
//!
//! Only requests to backends count, because responses from the cache say nothing about a side.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;

/// The results of one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Finished requests.
    pub requests: u64,
    /// Failed requests: a status of 500 or more, an error that is not the client's, an incomplete body, or no usable
    /// backend.
    pub errors: u64,
    /// Time to the response head, of requests that had one.
    pub latency: Histogram,
}

impl Side {
    fn since(&self, earlier: &Self) -> Self {
        Self { latency: self.latency.since(&earlier.latency), ..self.counts_since(earlier) }
    }

    fn counts_since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            errors: self.errors.saturating_sub(earlier.errors),
            latency: Histogram::new(),
        }
    }

    /// The figures that the other side is compared with.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            requests: self.requests,
            errors: self.errors,
            answered: self.latency.total(),
            p95_micros: self.latency.quantile(0.95).map(|p95| u64::try_from(p95.as_micros()).unwrap_or(u64::MAX)),
        }
    }
}

/// The results of the canary and the stable side, as totals since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The canary.
    pub canary: Side,
    /// All other sides together: the stable side.
    pub stable: Side,
    /// Responses of the stable side that the mirror has compared with the canary's.
    pub compared: u64,
    /// Compared responses that differed.
    pub mismatched: u64,
}

impl Evidence {
    /// The results since `start`. Counts of a side that have decreased yield zero; comparisons that have decreased are
    /// those of a restarted mirror.
    #[must_use]
    pub fn since(&self, start: &Self) -> Self {
        Self {
            canary: self.canary.since(&start.canary),
            stable: self.stable.since(&start.stable),
            ..self.counts_since(start)
        }
    }

    /// The same without latencies, which is cheap.
    #[must_use]
    pub fn counts_since(&self, start: &Self) -> Self {
        let is_same_mirror = self.compared >= start.compared && self.mismatched >= start.mismatched;
        let before = if is_same_mirror { (start.compared, start.mismatched) } else { (0, 0) };
        Self {
            canary: self.canary.counts_since(&start.canary),
            stable: self.stable.counts_since(&start.stable),
            compared: self.compared.saturating_sub(before.0),
            mismatched: self.mismatched.saturating_sub(before.1),
        }
    }
}

/// A summary that a canary is compared with, small enough to be persisted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Requests.
    pub requests: u64,
    /// Failed requests.
    pub errors: u64,
    /// Requests that had a response head.
    pub answered: u64,
    /// The 95th percentile of the latencies, in microseconds.
    pub p95_micros: Option<u64>,
}

impl Figures {
    /// Failed requests in percent; 0 if there were none.
    #[must_use]
    pub fn error_rate(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 * 100.0 / self.requests as f64 }
    }

    /// The 95th percentile of the latencies.
    #[must_use]
    pub fn p95(&self) -> Option<Duration> {
        self.p95_micros.map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(requests: u64, errors: u64) -> Side {
        let mut latency = Histogram::new();
        latency.add(100, requests);
        Side { requests, errors, latency }
    }

    #[test]
    fn a_window_holds_what_came_since_its_start() {
        let start = Evidence { canary: side(10, 1), stable: side(90, 2), compared: 5, mismatched: 1 };
        let totals = Evidence { canary: side(15, 2), stable: side(200, 2), compared: 9, mismatched: 1 };
        let window = Evidence { canary: side(5, 1), stable: side(110, 0), compared: 4, mismatched: 0 };
        assert_eq!(totals.since(&start), window);
    }

    #[test]
    fn counts_that_went_back_are_nothing() {
        let totals = Evidence { canary: side(10, 1), ..Evidence::default() };
        assert_eq!(Evidence::default().since(&totals), Evidence::default());
    }

    #[test]
    fn a_mirror_that_has_begun_anew_is_counted_from_its_beginning() {
        let start = Evidence { compared: 1000, mismatched: 3, ..Evidence::default() };
        let totals = Evidence { compared: 40, mismatched: 4, ..Evidence::default() };
        assert_eq!(totals.since(&start), totals);
    }

    #[test]
    fn a_side_without_requests_has_no_errors() {
        assert_eq!(Side::default().figures(), Figures::default());
        assert_eq!(Figures::default().error_rate().to_string(), "0");
        assert_eq!(side(200, 3).figures().error_rate().to_string(), "1.5");
    }
}
