//! A flight before its head is there: who leads, who waits, and who comes next.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Id, Limits};

/// A leader that has asked the backend, and those who wait for the answer.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) fetcher: Id,
    /// When the leader counts as failed.
    pub(super) head_due: Duration,
    /// Longest waiting first. All may wait equally long, so the first is also the first due.
    pub(super) followers: VecDeque<Follower>,
    failures: u32,
}

#[derive(Debug)]
pub(super) struct Follower {
    pub(super) id: Id,
    /// When it has waited long enough.
    pub(super) due: Duration,
}

/// How a flight goes on without its leader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This one leads from now on.
    Leads(Id),
    /// Nobody does, and these wait no longer.
    Ends(Vec<Id>),
}

impl Asking {
    pub(super) fn new(fetcher: Id, limits: &Limits, now: Duration) -> Self {
        let head_due = now.saturating_add(limits.head_wait_max);
        Self { fetcher, head_due, followers: VecDeque::new(), failures: 0 }
    }

    pub(super) fn due(&self) -> Duration {
        self.followers.front().map_or(self.head_due, |first| first.due.min(self.head_due))
    }

    /// Nobody waits any more.
    pub(super) fn dismiss(&mut self) -> Vec<Id> {
        self.followers.drain(..).map(|follower| follower.id).collect()
    }

    /// The leader has failed: the next one, if one more attempt is allowed.
    pub(super) fn fail(&mut self, limits: &Limits, now: Duration) -> Next {
        self.failures = self.failures.saturating_add(1);
        if self.failures < limits.attempts_max { self.promote(limits, now) } else { Next::Ends(self.dismiss()) }
    }

    /// The leader is gone: the next one.
    pub(super) fn promote(&mut self, limits: &Limits, now: Duration) -> Next {
        let Some(next) = self.followers.pop_front() else { return Next::Ends(Vec::new()) };
        self.fetcher = next.id;
        self.head_due = now.saturating_add(limits.head_wait_max);
        Next::Leads(next.id)
    }

    /// Takes out the followers that have waited long enough.
    pub(super) fn late_followers(&mut self, now: Duration) -> Vec<Id> {
        std::iter::from_fn(|| self.followers.pop_front_if(|first| first.due <= now)).map(|late| late.id).collect()
    }
}
