//! Classifies a backend's response to a queued write, and computes the delay before the next attempt.
//!
//! [`super::queue`] decides what then happens to the write and to the others of its key.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::class::Class;

/// A `Retry-After` is honoured up to this multiple of the longest back-off.
const RETRY_AFTER_FACTOR_MAX: u32 = 10;

/// The outcome of one attempt to send a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend has carried out the write.
    Done,
    /// The backend could not carry it out now, or the outcome is unknown: retry.
    Retry {
        /// Status of the response; `None`: no response (timeout, reset).
        status: Option<u16>,
        /// The delay that `Retry-After` asks for.
        after: Option<Duration>,
    },
    /// The backend will not accept the write, however often it is sent.
    Refused {
        /// Status of the response.
        status: u16,
    },
    /// Nothing was sent: no connection, or no usable backend. Does not count as an attempt, so a deployment may take
    /// any time.
    Unsent,
}

/// Why a write became a dead letter. `Display` is the text stored in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The backend refused it.
    Refused,
    /// The maximum number of attempts has failed.
    AttemptsUsedUp,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused by the backend",
            Self::AttemptsUsedUp => "all attempts failed",
        })
    }
}

/// Classifies the final status of a write.
///
/// 2xx: done. 408, 425, 429 and 5xx: retry. Anything else is a refusal, including redirects, since no client is left to
/// follow them. 404 and 410 to a DELETE mean that there is nothing left to delete: done. They are to be expected if the
/// PUT before the DELETE was coalesced into it, or if the response to an earlier attempt was lost.
///
/// Source: RFC 9110 §15, RFC 6585 §4, RFC 8470 §5.2.
#[must_use]
pub fn classify(class: Class, status: StatusCode, after: Option<Duration>) -> Outcome {
    let gone = [StatusCode::NOT_FOUND, StatusCode::GONE].contains(&status);
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if status.is_success() || (gone && class == Class::Delete) {
        Outcome::Done
    } else if status.is_server_error() || passing {
        Outcome::Retry { status: Some(status.as_u16()), after }
    } else {
        Outcome::Refused { status: status.as_u16() }
    }
}

/// Exponential backoff with full jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the delay after the first failure; doubles with each further one.
    pub base: Duration,
    /// The largest upper bound.
    pub max: Duration,
}

impl Backoff {
    /// The delay after `failures` failures in a row: uniform between zero and `base · 2^(failures − 1)`, at most `max`;
    /// `random` is a uniform number. The delay of `Retry-After` (`after`, honoured up to ten times `max`) is added, so
    /// that it is a lower bound and retries still spread out.
    ///
    /// Source: Brooker, "Exponential Backoff And Jitter", 2015 (full jitter); RFC 9110 §10.2.3.
    #[must_use]
    pub fn wait(&self, failures: u32, after: Option<Duration>, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.max);
        let nanoseconds = (u128::from(random) * ceiling.as_nanos()) >> 64;
        let jittered = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let asked = after.unwrap_or_default().min(self.max.saturating_mul(RETRY_AFTER_FACTOR_MAX));
        asked.saturating_add(jittered)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(30) };

    fn classified(status: u16) -> Outcome {
        classify(Class::Put, StatusCode::from_u16(status).unwrap(), None)
    }

    #[test]
    fn success_is_done() {
        assert!([200, 201, 202, 204, 205, 299].iter().all(|status| classified(*status) == Outcome::Done));
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for status in [408, 425, 429, 500, 501, 502, 503, 504, 599] {
            assert_eq!(classified(status), Outcome::Retry { status: Some(status), after: None });
        }
    }

    #[test]
    fn redirects_and_other_client_errors_are_refusals() {
        for status in [301, 304, 307, 400, 401, 403, 404, 405, 409, 410, 412, 413, 422] {
            assert_eq!(classified(status), Outcome::Refused { status });
        }
    }

    #[test]
    fn nothing_left_to_delete_is_done() {
        for status in [StatusCode::NOT_FOUND, StatusCode::GONE] {
            assert_eq!(classify(Class::Delete, status, None), Outcome::Done);
            assert_eq!(classify(Class::Other, status, None), Outcome::Refused { status: status.as_u16() });
        }
        assert_eq!(classify(Class::Delete, StatusCode::FORBIDDEN, None), Outcome::Refused { status: 403 });
    }

    #[test]
    fn retry_after_is_kept_with_the_outcome() {
        let after = Some(Duration::from_secs(7));
        let outcome = classify(Class::Put, StatusCode::SERVICE_UNAVAILABLE, after);
        assert_eq!(outcome, Outcome::Retry { status: Some(503), after });
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_longest() {
        let highest = |failures| BACKOFF.wait(failures, None, u64::MAX).as_secs_f64().round();
        let ceilings: Vec<_> = (1..=7).map(highest).collect();
        assert_eq!(ceilings, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]);
        assert_eq!(BACKOFF.wait(7, None, 0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_wait_lies_within_its_bounds(failures: u32, after in proptest::option::of(0_u64..1_000_000), random: u64) {
            let after = after.map(Duration::from_secs);
            let wait = BACKOFF.wait(failures, after, random);
            let asked = after.unwrap_or_default().min(Duration::from_secs(300));
            prop_assert!(wait >= asked && wait <= asked + BACKOFF.max);
        }
    }
}
