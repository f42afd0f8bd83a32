//! Decides whether a request may be sent again.
//!
//! [`may_repeat`] decides whether a repetition is safe, [`Budget`] whether the upstream can bear it. The number of
//! attempts, and the responses that count as failures, are configuration; [`crate::balance`] picks the backend.

pub mod budget;

use http::Method;

pub use budget::Budget;

/// How far an attempt progressed before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No byte of the request reached the backend: connecting failed, or a reused connection was closed already.
    Nothing,
    /// Part or all of the request was sent, and no response began. The backend may have carried it out.
    Sent,
    /// The backend began to respond. No byte of the response was sent to the client.
    Answered,
}

/// What is available of a request's body for another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// There is no body.
    Empty,
    /// The complete body: still unread, or kept in the replay buffer.
    Whole,
    /// Part of it was sent and is not kept.
    Lost,
}

/// Whether a failed attempt may be repeated, on the same backend or another.
///
/// Only if the body is available, and either no byte reached the backend or the method is idempotent. So a POST or
/// PATCH is never carried out twice.
///
/// Source: RFC 9110 §9.2.2.
#[must_use]
pub fn may_repeat(method: &Method, progress: Progress, body: Replay) -> bool {
    let harmless = match progress {
        Progress::Nothing => true,
        Progress::Sent | Progress::Answered => is_idempotent(method),
    };
    let can_send = match body {
        Replay::Empty | Replay::Whole => true,
        Replay::Lost => false,
    };
    harmless && can_send
}

/// Whether RFC 9110 §9.2.2 defines the method as idempotent. Unknown methods are not.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE].contains(method)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROGRESS: [Progress; 3] = [Progress::Nothing, Progress::Sent, Progress::Answered];
    const REPLAY: [Replay; 3] = [Replay::Empty, Replay::Whole, Replay::Lost];

    #[test]
    fn an_idempotent_request_is_repeated_however_far_it_came() {
        for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            for progress in PROGRESS {
                assert!(may_repeat(&method, progress, Replay::Empty), "{method} {progress:?}");
                assert!(may_repeat(&method, progress, Replay::Whole), "{method} {progress:?}");
            }
        }
    }

    #[test]
    fn a_post_is_repeated_only_if_nothing_of_it_was_sent() {
        for method in [Method::POST, Method::PATCH, Method::CONNECT] {
            assert!(may_repeat(&method, Progress::Nothing, Replay::Whole), "{method}");
            assert!(!may_repeat(&method, Progress::Sent, Replay::Whole), "{method}");
            assert!(!may_repeat(&method, Progress::Answered, Replay::Empty), "{method}");
        }
    }

    #[test]
    fn a_body_that_is_lost_is_never_repeated() {
        for method in [Method::GET, Method::PUT, Method::POST] {
            for progress in PROGRESS {
                assert!(!may_repeat(&method, progress, Replay::Lost), "{method} {progress:?}");
            }
        }
    }

    #[test]
    fn method_names_are_case_sensitive() {
        let lower = Method::from_bytes(b"get").expect("a token");
        assert!(!may_repeat(&lower, Progress::Sent, Replay::Empty));
    }

    proptest! {
        #[test]
        fn an_unknown_method_that_was_sent_is_never_repeated(
            name in "[A-Z]{8,12}",
            progress in 1_usize..3,
            body in 0_usize..3,
        ) {
            let method = Method::from_bytes(name.as_bytes()).expect("a token");
            prop_assert!(!may_repeat(&method, PROGRESS[progress], REPLAY[body]));
        }
    }
}
