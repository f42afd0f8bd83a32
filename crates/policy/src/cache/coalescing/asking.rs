//! A coalesced fetch before its head has arrived: its leaders, its followers, and the next leader.

use std::collections::VecDeque;
use std::time::Duration;

use super::{CoalescingLimits, FETCHES_MAX, Id};

/// The leaders that have sent a request, and their followers.
#[derive(Debug)]
pub(super) struct Asking {
    leaders: [Option<Id>; FETCHES_MAX],
    /// When the last leader began, even if it has failed since: so failing backends do not get requests faster than
    /// slow ones.
    began: Duration,
    /// Followers, oldest first.
    pub(super) followers: VecDeque<Follower>,
    failures: u32,
}

#[derive(Debug)]
pub(super) struct Follower {
    pub(super) id: Id,
    /// When it arrived.
    pub(super) since: Duration,
}

/// How a coalesced fetch continues without one of its leaders.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This follower becomes a leader.
    Leads(Id),
    /// Another leader is fetching.
    Stays,
    /// There is no leader, and these followers stop waiting.
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

    /// When the oldest follower becomes a leader; `None`: there is none, or there are enough leaders.
    pub(super) fn due(&self, limits: &CoalescingLimits) -> Option<Duration> {
        let first = self.followers.front().filter(|_| self.leaders.contains(&None))?;
        Some(first.since.max(self.began).saturating_add(limits.another_after))
    }

    /// Removes all followers.
    pub(super) fn dismiss(&mut self) -> Vec<Id> {
        self.followers.drain(..).map(|follower| follower.id).collect()
    }

    /// Handles a failed leader: another follower leads if no leader is left and another attempt is allowed.
    pub(super) fn fail(&mut self, leader: Id, limits: &CoalescingLimits, now: Duration) -> Next {
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

    /// Handles a response that only its leader can use: the others may still get one.
    pub(super) fn unshared(&mut self, leader: Id) -> Next {
        self.remove(leader);
        if self.has_leader() { Next::Stays } else { Next::Ends(self.dismiss()) }
    }

    /// Handles a leader whose client has left.
    pub(super) fn leave(&mut self, leader: Id, limits: &CoalescingLimits, now: Duration) -> Next {
        self.remove(leader);
        let has_waited = |first: &Follower| now >= first.since.saturating_add(limits.another_after);
        if self.has_leader() && !self.followers.front().is_some_and(has_waited) {
            return Next::Stays;
        }
        self.next(now)
    }

    /// Makes the oldest follower a leader, if there is one and the limit allows.
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
