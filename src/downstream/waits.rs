//! What a connection waits for and for how long, on its one timer.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use http1::HeadLimits;

use crate::config::plan::{HalfClose, Http2, Server};
use crate::exchange::deadline::Deadline;
use crate::exchange::timer::Timer;

/// The longest target of a request, in bytes.
const TARGET_BYTES_MAX: usize = 16 * 1024;
/// The most field lines of a request.
const FIELDS_MAX: usize = 100;

/// What a plan says of client connections.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) head: HeadLimits,
    /// How long a head may take, and a new connection until it begins with one.
    pub(super) header_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) half_close: HalfClose,
    pub(super) http2: Http2,
}

impl Limits {
    pub(super) fn of(server: &Server) -> Self {
        Self {
            head: HeadLimits::new(server.header_bytes_max, TARGET_BYTES_MAX, FIELDS_MAX),
            header_timeout: server.header_timeout,
            idle_timeout: server.idle_timeout,
            write_timeout: server.write_timeout,
            half_close: server.half_close,
            http2: server.http2.clone(),
        }
    }
}

/// What has taken too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// The client, to take what is written.
    Client,
    /// Something that the request under way waits for: it sees so itself when it is polled.
    Exchange,
}

/// The one timer of a connection.
#[derive(Debug, Default)]
pub(super) struct Waits {
    timer: Timer,
    /// The exchange's deadline that has passed, if one has.
    expired: Option<Duration>,
}

impl Waits {
    /// Ready when `due` (monotonic time) has passed.
    pub(super) fn poll_until(&mut self, due: Duration, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.poll(due, cx)
    }

    /// Ready when something of the request under way has taken too long: a write, which may last until `write_due`, or
    /// what `deadline` was set for. After [`Late::Exchange`] the exchange is to be polled; a deadline that it leaves as it
    /// is has become void.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        deadline: &Deadline,
        write_due: Option<Duration>,
    ) -> Poll<Late> {
        loop {
            let (due, late) = match (deadline.at(), write_due) {
                (Some(at), Some(write)) if at < write => (at, Late::Exchange),
                (_, Some(write)) => (write, Late::Client),
                (Some(at), None) => (at, Late::Exchange),
                (None, None) => return Poll::Pending,
            };
            ready!(self.timer.poll(due, cx));
            if late == Late::Client || self.expired != Some(due) {
                self.expired = Some(due);
                return Poll::Ready(late);
            }
            deadline.clear();
        }
    }
}
