//! A flight before its head is there: who leads, who waits, and who comes next.

use std::collections::VecDeque;
use std::time::Duration;

use super::{FETCHES_MAX, Id, Limits};

/// Leaders that have asked the backend, and those who wait for an answer.
#[derive(Debug)]
pub(super) struct Asking {
    leaders: [Option<Id>; FETCHES_MAX],
    /// When the last of them began, even if it has failed since: so failing backends are not asked faster than slow ones.
    began: Duration,
    /// Longest waiting first.
    pub(super) followers: VecDeque<Follower>,
    failures: u32,
}

#[derive(Debug)]
pub(super) struct Follower {
    pub(super) id: Id,
    /// When it arrived.
    pub(super) since: Duration,
}

/// How a flight goes on without one of its leaders.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This one leads from now on.
    Leads(Id),
    /// Another leader has asked already.
    Stays,
    /// Nobody leads, and these wait no longer.
    Ends(Vec<Id>),
}

impl Asking {
    pub(super) fn new(leader: Id, now: Duration) -> Self {
        let mut leaders = [None; FETCHES_MAX];
        leaders.iter_mut().take(1).for_each(|place| *place = Some(leader));
        Self { leaders, began: now, followers: VecDeque::new(), failures: 0 }
    }

    pub(super) fn is_led_by(&self, id: Id) -> bool {
        self.leaders.contains(&Some(id))
    }

    /// When the follower that has waited longest is to lead too, if there is one and it may.
    pub(super) fn due(&self, limits: &Limits) -> Option<Duration> {
        let first = self.followers.front().filter(|_| self.leaders.contains(&None))?;
        Some(first.since.max(self.began).saturating_add(limits.another_after))
    }

    /// Nobody waits any more.
    pub(super) fn dismiss(&mut self) -> Vec<Id> {
        self.followers.drain(..).map(|follower| follower.id).collect()
    }

    /// A leader has failed: another one leads, if none is left and one more attempt is allowed.
    pub(super) fn fail(&mut self, leader: Id, limits: &Limits, now: Duration) -> Next {
        self.failures = self.failures.saturating_add(1);
        self.remove(leader);
        if self.has_leader() {
            Next::Stays
        } else if self.failures < limits.attempts_max {
            self.next(now)
        } else {
            Next::Ends(self.dismiss())
        }
    }

    /// What a leader was answered is of use to it alone: the others may still get something.
    pub(super) fn unshared(&mut self, leader: Id) -> Next {
        self.remove(leader);
        if self.has_leader() { Next::Stays } else { Next::Ends(self.dismiss()) }
    }

    /// A leader's client has gone: its place is free.
    pub(super) fn leave(&mut self, leader: Id, limits: &Limits, now: Duration) -> Next {
        self.remove(leader);
        let has_waited = |first: &Follower| now >= first.since.saturating_add(limits.another_after);
        if self.has_leader() && !self.followers.front().is_some_and(has_waited) {
            return Next::Stays;
        }
        self.next(now)
    }

    /// The follower that has waited longest leads from now on, if there is one and it may.
    pub(super) fn promote(&mut self, now: Duration) -> Option<Id> {
        let place = self.leaders.iter_mut().find(|place| place.is_none())?;
        let id = self.followers.pop_front()?.id;
        *place = Some(id);
        self.began = now;
        Some(id)
    }

    fn next(&mut self, now: Duration) -> Next {
        self.promote(now).map_or(Next::Ends(Vec::new()), Next::Leads)
    }

    fn has_leader(&self) -> bool {
        self.leaders.iter().any(Option::is_some)
    }

    fn remove(&mut self, leader: Id) {
        self.leaders.iter_mut().filter(|place| **place == Some(leader)).for_each(|place| *place = None);
    }
}
