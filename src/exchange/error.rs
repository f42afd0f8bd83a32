//! What can go wrong with a request, once: what the client is told, whose fault it is, whether a repeat may help.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use policy::message::grpc;

use crate::telemetry::endpoint_stats::FailureKind;

/// Whose fault a failed exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client's.
    Client,
    /// A backend's: it counts against it.
    Backend,
    /// Ours: limits reached, nobody left to ask.
    Forebay,
}

/// A failed exchange. `Display` is the access log's text; the client sees [`ProxyError::status`] and an id.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProxyError {
    /// The request is not one (RFC 9110 §15.5.1).
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// The client's TLS connection was made for a host with another certificate (§15.5.20).
    #[error("Host and SNI have different certificates")]
    Misdirected,
    /// A method that is never forwarded (§15.5.6).
    #[error("method not allowed")]
    MethodNotAllowed,
    /// An expectation that can't be met (§15.5.18).
    #[error("unknown expectation")]
    Expectation,
    /// The target is longer than 16 KiB (§15.5.15).
    #[error("target longer than {limit} bytes")]
    TargetTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The request body is longer than it may be (§15.5.14).
    #[error("request body over server.body_bytes_max = {limit} bytes")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The request body stopped, or came too slowly (§15.5.9).
    #[error("request body too slow")]
    BodyTooSlow,
    /// The request body broke off, or its framing is wrong.
    #[error("request body broken")]
    BodyBroken,
    /// The client left before it was answered. Never sent.
    #[error("client left")]
    ClientLeft,
    /// The request has come back to this proxy (RFC 5842 §7.2).
    #[error("loop: Via names this proxy more than {} times", policy::message::via::PASSES_MAX)]
    Loop,
    /// No route takes this request (§15.5.5).
    #[error("no route")]
    NoRoute,
    /// Every endpoint of the upstream is down, ejected or full (§15.6.4).
    #[error("upstream {upstream}: none of {total} endpoints is usable")]
    NoBackend {
        /// The upstream's name.
        upstream: Arc<str>,
        /// How many endpoints it has; 0 while no name of its backends is resolved.
        total: usize,
    },
    /// The upstream's queue is full (§15.6.4).
    #[error("upstream {upstream}: queue full at {length}")]
    QueueFull {
        /// The upstream's name.
        upstream: Arc<str>,
        /// How many may wait.
        length: usize,
    },
    /// No backend became usable in time (§15.6.4).
    #[error("upstream {upstream}: queued for {limit:?}")]
    QueueTimeout {
        /// The upstream's name.
        upstream: Arc<str>,
        /// The longest wait.
        limit: Duration,
    },
    /// We have run out of descriptors, ports or memory for a connection (§15.6.4).
    #[error("no resources to connect to {backend}: {reason}")]
    Exhausted {
        /// The backend's name.
        backend: Arc<str>,
        /// What the system says.
        reason: Arc<str>,
    },
    /// A write can't be put into the journal (§15.6.4).
    #[error("{reason}")]
    Journal {
        /// What the system says.
        reason: Arc<str>,
    },
    /// The client wants only what is stored, and that can't be served (RFC 9111 §5.2.1.7).
    #[error("only-if-cached")]
    OnlyIfCached,
    /// More requests than allowed wait for the same answer already (§15.6.4).
    #[error("cache.coalesce_waiting_max requests wait for this already")]
    Crowded,
    /// What this request waited for, another's fetch or write, took longer than it may last (§15.6.5).
    #[error("waited for another request longer than upstream.timeouts.request")]
    WaitedInVain,
    /// The fetch that this request read along with was given up.
    #[error("another request's fetch was given up")]
    FetchBroken,
    /// This client read too slowly along with another request's fetch, and the rest could not be had otherwise.
    #[error("read too slowly along with another request's fetch, and the rest could not be fetched")]
    Outpaced,
    /// No connection to the backend (§15.6.3).
    #[error("backend {backend}: {reason}")]
    Connect {
        /// The backend's name.
        backend: Arc<str>,
        /// What the system says.
        reason: Arc<str>,
    },
    /// No connection to the backend in time (§15.6.5).
    #[error("backend {backend}: no connection within {limit:?}")]
    ConnectTimeout {
        /// The backend's name.
        backend: Arc<str>,
        /// The longest wait.
        limit: Duration,
    },
    /// The backend closed or reset the connection before it answered (§15.6.3).
    #[error("backend {backend}: closed before its answer")]
    Reset {
        /// The backend's name.
        backend: Arc<str>,
    },
    /// The backend says that it has not processed the request (RFC 9113 §8.7; here §15.6.3).
    #[error("backend {backend}: refused the request before it was processed")]
    Unprocessed {
        /// The backend's name.
        backend: Arc<str>,
    },
    /// Every stream of every connection to the backend is in use (§15.6.4).
    #[error("backend {backend}: no stream free within {limit:?}")]
    NoStream {
        /// The backend's name.
        backend: Arc<str>,
        /// The longest wait.
        limit: Duration,
    },
    /// The client wants to switch protocols, and the backend speaks HTTP/2 (§15.6.2).
    #[error("backend {backend}: HTTP/2 can't switch protocols")]
    NoUpgrade {
        /// The backend's name.
        backend: Arc<str>,
    },
    /// The backend's answer is not HTTP, or not to be passed on (§15.6.3).
    #[error("backend {backend}: bad answer: {reason}")]
    BadAnswer {
        /// The backend's name.
        backend: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// No response head in time (§15.6.5).
    #[error("backend {backend}: no response head within {limit:?}")]
    HeadTimeout {
        /// The backend's name.
        backend: Arc<str>,
        /// The longest wait.
        limit: Duration,
    },
    /// The client's deadline for its gRPC call has passed (§15.6.5).
    #[error("grpc-timeout has passed")]
    CallDeadline,
    /// The answer's body broke off.
    #[error("backend {backend}: body cut short")]
    BodyCut {
        /// The backend's name.
        backend: Arc<str>,
    },
    /// The answer's body stopped.
    #[error("backend {backend}: body stalled for {limit:?}")]
    BodyStalled {
        /// The backend's name.
        backend: Arc<str>,
        /// The longest wait.
        limit: Duration,
    },
}

impl ProxyError {
    /// What the client is told (RFC 9110 §15).
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::BodyBroken | Self::ClientLeft => StatusCode::BAD_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TargetTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoBackend { .. }
            | Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::Exhausted { .. }
            | Self::Crowded
            | Self::NoStream { .. }
            | Self::Journal { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoUpgrade { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Connect { .. }
            | Self::Reset { .. }
            | Self::Unprocessed { .. }
            | Self::BadAnswer { .. }
            | Self::BodyCut { .. }
            | Self::FetchBroken
            | Self::Outpaced => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout { .. }
            | Self::HeadTimeout { .. }
            | Self::BodyStalled { .. }
            | Self::OnlyIfCached
            | Self::CallDeadline
            | Self::WaitedInVain => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The `grpc-status` that the client of a gRPC call gets.
    #[must_use]
    pub(crate) fn grpc_status(&self) -> grpc::Status {
        let is_late = matches!(self, Self::CallDeadline);
        if is_late { grpc::Status::DEADLINE_EXCEEDED } else { grpc::Status::of_http(self.status()) }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::BadRequest(_)
            | Self::Misdirected
            | Self::MethodNotAllowed
            | Self::Expectation
            | Self::TargetTooLong { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::ClientLeft
            | Self::NoRoute
            | Self::OnlyIfCached => Blame::Client,
            Self::NoBackend { .. }
            | Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::Exhausted { .. }
            | Self::Crowded
            | Self::NoStream { .. }
            | Self::NoUpgrade { .. }
            | Self::CallDeadline
            | Self::Journal { .. }
            | Self::WaitedInVain
            | Self::FetchBroken
            | Self::Outpaced
            | Self::Loop => Blame::Forebay,
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Reset { .. }
            | Self::Unprocessed { .. }
            | Self::BadAnswer { .. }
            | Self::HeadTimeout { .. }
            | Self::BodyCut { .. }
            | Self::BodyStalled { .. } => Blame::Backend,
        }
    }

    /// Whether another backend might do better. Whether this request may be sent again is `policy::retry`'s to say.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.blame() == Blame::Backend || matches!(self, Self::NoStream { .. })
    }

    /// Whether a backend may have done what it was asked, though nobody knows.
    #[must_use]
    pub fn leaves_doubt(&self) -> bool {
        let was_not_asked =
            matches!(self, Self::Connect { .. } | Self::ConnectTimeout { .. } | Self::Unprocessed { .. });
        self.blame() == Blame::Backend && !was_not_asked
    }

    /// Whether no response came from any backend, so that the cache is disconnected (RFC 9111 §4.2.4). Limits that the
    /// cache sets itself are no silence, nor is an answer that can't be passed on.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        match self {
            Self::NoBackend { .. }
            | Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::Exhausted { .. }
            | Self::WaitedInVain
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Reset { .. }
            | Self::Unprocessed { .. }
            | Self::NoStream { .. }
            | Self::HeadTimeout { .. } => true,
            Self::BadRequest(_)
            | Self::Misdirected
            | Self::MethodNotAllowed
            | Self::Expectation
            | Self::TargetTooLong { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::ClientLeft
            | Self::NoRoute
            | Self::Loop
            | Self::OnlyIfCached
            | Self::Journal { .. }
            | Self::Crowded
            | Self::NoUpgrade { .. }
            | Self::CallDeadline
            | Self::FetchBroken
            | Self::Outpaced
            | Self::BadAnswer { .. }
            | Self::BodyCut { .. }
            | Self::BodyStalled { .. } => false,
        }
    }

    /// Whether the client's connection can't be used after this: what follows on it may not be a request.
    #[must_use]
    pub fn closes_connection(&self) -> bool {
        self.blame() == Blame::Client && !matches!(self, Self::NoRoute | Self::OnlyIfCached | Self::Misdirected)
    }

    /// What was wrong, without the backend's name.
    #[must_use]
    pub fn cause(&self) -> Cause<'_> {
        Cause(self)
    }

    /// How a backend failed, for its counters. Faults that are not a backend's count as malformed responses.
    #[must_use]
    pub(crate) fn failure_kind(&self) -> FailureKind {
        match self {
            Self::Connect { .. } => FailureKind::Connect,
            Self::ConnectTimeout { .. } => FailureKind::ConnectTimeout,
            Self::Reset { .. } | Self::Unprocessed { .. } => FailureKind::Reset,
            Self::HeadTimeout { .. } => FailureKind::ResponseTimeout,
            Self::BodyCut { .. } | Self::BodyStalled { .. } => FailureKind::Body,
            Self::BadRequest(_)
            | Self::Misdirected
            | Self::MethodNotAllowed
            | Self::Expectation
            | Self::TargetTooLong { .. }
            | Self::BodyTooLarge { .. }
            | Self::BodyTooSlow
            | Self::BodyBroken
            | Self::ClientLeft
            | Self::Loop
            | Self::NoRoute
            | Self::NoBackend { .. }
            | Self::QueueFull { .. }
            | Self::QueueTimeout { .. }
            | Self::Exhausted { .. }
            | Self::Journal { .. }
            | Self::OnlyIfCached
            | Self::Crowded
            | Self::WaitedInVain
            | Self::FetchBroken
            | Self::Outpaced
            | Self::NoStream { .. }
            | Self::NoUpgrade { .. }
            | Self::CallDeadline
            | Self::BadAnswer { .. } => FailureKind::Malformed,
        }
    }

    /// What the client may read of it: no names of backends or upstreams.
    #[must_use]
    pub fn told(&self) -> String {
        let told = match (self, self.blame()) {
            (Self::BadRequest(what), _) => what,
            (_, Blame::Client) => return self.to_string(),
            (Self::Journal { .. }, _) => "the write can't be stored",
            (Self::WaitedInVain | Self::FetchBroken, _) => "the backend took too long",
            (Self::CallDeadline, _) => "the deadline of the call has passed",
            (Self::NoUpgrade { .. }, _) => "the backend can't switch protocols",
            (Self::Loop, _) => "the request has come back to this proxy",
            (_, Blame::Forebay) => "no backend can take this request now",
            (Self::BadAnswer { .. }, _) => "the backend's answer can't be passed on",
            (_, Blame::Backend) if self.status() == StatusCode::GATEWAY_TIMEOUT => "the backend took too long",
            (_, Blame::Backend) => "the backend failed",
        };
        told.to_owned()
    }
}

/// What was wrong, without the backend's name: for a text that has named it.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a>(&'a ProxyError);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let after_name = if let ProxyError::Connect { backend, .. }
        | ProxyError::ConnectTimeout { backend, .. }
        | ProxyError::Reset { backend }
        | ProxyError::Unprocessed { backend }
        | ProxyError::NoStream { backend, .. }
        | ProxyError::NoUpgrade { backend }
        | ProxyError::BadAnswer { backend, .. }
        | ProxyError::HeadTimeout { backend, .. }
        | ProxyError::BodyCut { backend }
        | ProxyError::BodyStalled { backend, .. } = self.0
        {
            text.strip_prefix(&format!("backend {backend}: "))
        } else {
            None
        };
        f.write_str(after_name.unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_does_not_repeat_the_name() {
        let backend: Arc<str> = Arc::from("http://app.test:80 at 10.0.0.1:80");
        assert_eq!(ProxyError::Reset { backend }.cause().to_string(), "closed before its answer");
        assert_eq!(ProxyError::NoRoute.cause().to_string(), "no route");
    }

    #[test]
    fn no_client_is_told_a_backends_name() {
        let backend: Arc<str> = Arc::from("http://10.9.8.7:80");
        let reason: Arc<str> = Arc::from("connection refused by 10.9.8.7");
        let limit = Duration::from_secs(1);
        let faults = [
            ProxyError::NoBackend { upstream: Arc::from("10.9.8.7"), total: 1 },
            ProxyError::Exhausted { backend: backend.clone(), reason: reason.clone() },
            ProxyError::Connect { backend: backend.clone(), reason: reason.clone() },
            ProxyError::ConnectTimeout { backend: backend.clone(), limit },
            ProxyError::Reset { backend: backend.clone() },
            ProxyError::Unprocessed { backend: backend.clone() },
            ProxyError::NoStream { backend: backend.clone(), limit },
            ProxyError::NoUpgrade { backend: backend.clone() },
            ProxyError::BadAnswer { backend: backend.clone(), reason },
            ProxyError::HeadTimeout { backend: backend.clone(), limit },
            ProxyError::BodyCut { backend: backend.clone() },
            ProxyError::BodyStalled { backend, limit },
        ];
        for fault in faults {
            assert!(!fault.told().contains("10.9.8.7"), "{fault:?}");
            assert!(fault.status().is_server_error());
        }
    }
}
