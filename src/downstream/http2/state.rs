//! What a stream's response and its task share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use crate::exchange::body::Body;
use crate::exchange::stream::Stream;
use crate::telemetry::clock;

/// What a stream's response and its task share.
#[derive(Default)]
pub(super) struct State {
    pub(super) stream: Rc<Stream>,
    /// The rest of the response's body; `None`: there is none, or not yet.
    pub(super) body: RefCell<Option<Body>>,
    /// A piece of the body was handed over, and the next one is not asked for: the client's window is awaited.
    pub(super) awaits_client: Cell<bool>,
    /// Since when it is (monotonic time).
    stuck_since: Cell<Option<Duration>>,
}

impl State {
    /// The body is asked for: the client has taken what it was given.
    pub(super) fn begin_wait(&self) {
        self.awaits_client.set(false);
        self.stuck_since.set(None);
    }

    /// When the client has taken nothing for too long (monotonic time). Meanwhile goes on with what does not depend on it.
    pub(super) fn write_due(&self, cx: &mut Context<'_>, write_timeout: Duration) -> Option<Duration> {
        if !self.awaits_client.get() {
            return None;
        }
        if let Some(body) = self.body.borrow_mut().as_mut() {
            body.drive(cx);
        }
        let since = self.stuck_since.get().unwrap_or_else(clock::mono);
        self.stuck_since.set(Some(since));
        Some(since + write_timeout)
    }
}
