//! The one timer of a task: armed for the earliest thing that is due, and not touched while that moves later.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use crate::telemetry::clock;

/// The one timer of a task: a client connection's loop, say.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// What the timer is set for (monotonic time), while it is.
    armed: Option<Duration>,
}

impl Timer {
    /// Ready when `due` (monotonic time) has passed. May wake the task earlier than that; then it is asked again.
    pub(crate) fn poll(&mut self, due: Duration, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.armed.is_none_or(|armed| due < armed) {
                self.arm(due);
            } else if !self.sleep.as_ref().is_some_and(|sleep| sleep.is_elapsed()) {
                // Armed for an earlier moment than is due now, and registered already: most polls end here.
                return Poll::Pending;
            }
            let Some(sleep) = &mut self.sleep else { return Poll::Pending };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.armed = None;
            if clock::mono() >= due {
                return Poll::Ready(());
            }
        }
    }

    fn arm(&mut self, due: Duration) {
        self.armed = Some(due);
        let at = clock::instant(due);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }
}
