//! The response to bytes that are no request that can be served, and how they are counted.

use http::StatusCode;
use http1::Sender;

use super::worker::Worker;
use crate::exchange::ClientConnection;
use crate::telemetry::access_record::{AccessRecord, Request};
use crate::telemetry::clock;

/// Why bytes never became a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The head can't be read, or where its body ends can't be said.
    #[error("{0}")]
    Malformed(#[from] http1::Error),
    /// The target has a fragment, which is never sent (RFC 9110 §4.2.5).
    #[error("fragment in the target")]
    Fragment,
    /// The target is none.
    #[error("malformed target")]
    Target,
    /// Of an HTTP/2 request, `Host` names another than `:authority` (RFC 9113 §8.3.1).
    #[error("Host and :authority differ")]
    Authority,
    /// Of an HTTP/2 request, a value begins or ends with a blank (RFC 9113 §8.2.1).
    #[error("blank around a field value")]
    Blank,
    /// Of an HTTP/2 request, `:scheme` is neither `http` nor `https`.
    #[error("scheme is neither http nor https")]
    Scheme,
    /// The head did not come in time (RFC 9110 §15.5.9).
    #[error("request head too slow")]
    Slow,
}

impl Refusal {
    /// The status that says so.
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Malformed(error) => error.status(Sender::Client).code(),
            Self::Fragment | Self::Target | Self::Authority | Self::Blank | Self::Scheme => 400,
            Self::Slow => 408,
        }
    }

    /// Counts and logs it, with as much of the request as is known.
    pub(super) fn count(self, worker: &Worker, client: &ClientConnection, request: impl FnOnce() -> Option<Request>) {
        let now = clock::now();
        let status = StatusCode::from_u16(self.status()).ok();
        // The log has no name for a version that is not spoken here.
        let is_known = worker.ledger.is_logging() && self != Self::Malformed(http1::Error::Version);
        let request = is_known.then(request).flatten().map(Box::new);
        let record = AccessRecord { status, request, fault: Some(self.to_string()), ..AccessRecord::default() };
        worker.ledger.counters.unreadable.up();
        worker.ledger.begin();
        worker.ledger.end(&record, client.peer.ip().to_canonical(), now, now);
    }

    /// The response, the last on its connection.
    pub(super) fn response(self, date: &str) -> Vec<u8> {
        let status = self.status();
        let reason = message::Status::new(status).map_or("", message::Status::reason);
        format!("HTTP/1.1 {status} {reason}\r\nconnection: close\r\ncontent-length: 0\r\ndate: {date}\r\n\r\n")
            .into_bytes()
    }
}
