//! What a backend's answer to a queued write means, and how long to wait before it is sent again.
//!
//! What then becomes of the write, and of the others of its key, is decided in [`super::queue`].

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::class::Class;

/// A `Retry-After` is believed up to this many times the longest wait between attempts.
const RETRY_AFTER_FACTOR_MAX: u32 = 10;

/// What one attempt to send a write has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The backend has carried it out.
    Done,
    /// The backend could not now, or nobody knows whether it could: another attempt may be better.
    Retry {
        /// The answer's status; `None`: no answer (timeout, reset).
        status: Option<u16>,
        /// What `Retry-After` asks for.
        after: Option<Duration>,
    },
    /// The backend will not have it, however often it is sent.
    Refused {
        /// The answer's status.
        status: u16,
    },
    /// Nothing was sent: no connection, or no backend is usable. Not an attempt; a deploy may take as long as it takes.
    Unsent,
}

/// Why a write became a dead letter. `Display` is the text kept in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The backend refused it.
    Refused,
    /// As many attempts as are allowed have failed.
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

/// What a final status says of a write.
///
/// 2xx: done. 408, 425, 429 and 5xx: another attempt may be better. All else is a refusal; a redirect too, since nobody
/// is left to follow it. 404 and 410 to a DELETE mean that there is nothing left to delete: done. They are to be
/// expected, when the PUT before it was coalesced into it, or when the answer to an earlier attempt was lost.
///
/// Source: RFC 9110 §15, RFC 6585 §4, RFC 8470 §5.2.
#[must_use]
pub fn judge(class: Class, status: StatusCode, after: Option<Duration>) -> Outcome {
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
    /// The longest wait after the first failure; doubled with each further one.
    pub base: Duration,
    /// What it never grows beyond.
    pub max: Duration,
}

impl Backoff {
    /// How long to wait after that many failures in a row: evenly between nothing and `base · 2^(failures − 1)`, never
    /// more than `max`, as `dice` (an even number) has it. What `Retry-After` asks for (`after`, believed up to ten
    /// times `max`) comes on top, so that it is a lower bound and yet not all come back at one moment.
    ///
    /// Source: Brooker, "Exponential Backoff And Jitter", 2015 (full jitter); RFC 9110 §10.2.3.
    #[must_use]
    pub fn wait(&self, failures: u32, after: Option<Duration>, dice: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.max);
        let nanoseconds = (u128::from(dice) * ceiling.as_nanos()) >> 64;
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

    fn judged(status: u16) -> Outcome {
        judge(Class::Put, StatusCode::from_u16(status).unwrap(), None)
    }

    #[test]
    fn success_is_done() {
        assert!([200, 201, 202, 204, 205, 299].iter().all(|status| judged(*status) == Outcome::Done));
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for status in [408, 425, 429, 500, 501, 502, 503, 504, 599] {
            assert_eq!(judged(status), Outcome::Retry { status: Some(status), after: None });
        }
    }

    #[test]
    fn redirects_and_other_client_errors_are_refusals() {
        for status in [301, 304, 307, 400, 401, 403, 404, 405, 409, 410, 412, 413, 422] {
            assert_eq!(judged(status), Outcome::Refused { status });
        }
    }

    #[test]
    fn nothing_left_to_delete_is_done() {
        for status in [StatusCode::NOT_FOUND, StatusCode::GONE] {
            assert_eq!(judge(Class::Delete, status, None), Outcome::Done);
            assert_eq!(judge(Class::Other, status, None), Outcome::Refused { status: status.as_u16() });
        }
        assert_eq!(judge(Class::Delete, StatusCode::FORBIDDEN, None), Outcome::Refused { status: 403 });
    }

    #[test]
    fn retry_after_is_kept_with_the_outcome() {
        let after = Some(Duration::from_secs(7));
        let outcome = judge(Class::Put, StatusCode::SERVICE_UNAVAILABLE, after);
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
        fn a_wait_lies_within_its_bounds(failures: u32, after in proptest::option::of(0_u64..1_000_000), dice: u64) {
            let after = after.map(Duration::from_secs);
            let wait = BACKOFF.wait(failures, after, dice);
            let asked = after.unwrap_or_default().min(Duration::from_secs(300));
            prop_assert!(wait >= asked && wait <= asked + BACKOFF.max);
        }
    }
}
