//! Invalidation of many stored responses at once: bans, by prefix, tag or for all.
//!
//! A ban costs the same however much is stored: it is put on a list, under a number, its [`Epoch`]. Every stored
//! response notes the epoch up to which it has been held against the list. When it is used, and that is not the present
//! epoch, it is held against the newer bans first; so a ban holds from the moment it is on the list. A sweep through all
//! that is stored makes bans superfluous and gives memory back; who sweeps is the caller's business.
//!
//! Source: the ban list of Varnish; what its lurker does there is the sweep here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::key::{Key, Parts};
use crate::time::Now;

mod scope;

pub use scope::{Anywhere, Prefix, Scope};

/// How many bans there had been at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The one that the next ban makes.
    #[must_use]
    pub fn next(self) -> Self {
        // 2^64 bans do not happen within the life of a process.
        Self(self.0.wrapping_add(1))
    }

    /// As a number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What becomes of what is purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// It is gone.
    Hard,
    /// It is stale from this moment on: served while it is fetched anew, where that is allowed.
    Soft(Now),
}

impl Purge {
    /// Both: what leaves nothing fresher than either.
    fn merge(self, other: Self) -> Self {
        match (self, other) {
            (Self::Soft(one), Self::Soft(other)) => Self::Soft(earlier(one, other)),
            (Self::Hard, _) | (_, Self::Hard) => Self::Hard,
        }
    }
}

fn earlier(one: Now, other: Now) -> Now {
    if other.mono < one.mono { other } else { one }
}

/// One ban. `T` is for the caller, for example to count what it met.
#[derive(Debug)]
pub struct Ban<T> {
    /// Its number.
    pub epoch: Epoch,
    /// What it is about.
    pub scope: Scope,
    /// What becomes of that.
    pub purge: Purge,
    /// The caller's.
    pub note: T,
}

/// A stored response as bans look at it.
#[derive(Debug)]
pub struct Subject<'a, F> {
    parts: Option<Parts<'a>>,
    /// Whether it carries this tag.
    has_tag: F,
}

impl<'a, F: Fn(&str) -> bool> Subject<'a, F> {
    /// What is stored under this key; `has_tag` says whether it carries a tag.
    #[must_use]
    pub fn new(key: &'a Key, has_tag: F) -> Self {
        Self { parts: key.parts(), has_tag }
    }
}

/// What bans make of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None is about it.
    Untouched,
    /// It has been stale since then.
    Stale(Now),
    /// It is gone.
    Gone,
}

/// Bounds on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many bans; two become one that is wider when there are more.
    pub bans_max: usize,
    /// How many bytes of text they hold together; likewise.
    pub bytes_max: usize,
    /// How many bans are kept that all stored responses have been held against: for what is being fetched.
    pub swept_max: usize,
}

/// The bans that count, the oldest first.
#[derive(Debug)]
pub struct Bans<T> {
    list: VecDeque<Arc<Ban<T>>>,
    limits: Limits,
    bytes: usize,
    epoch: Epoch,
    /// All that is stored has been held against the bans up to this one.
    swept: Epoch,
    /// The newest ban that is not on the list any more.
    dropped: Epoch,
}

impl<T: Clone> Bans<T> {
    /// No bans.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let none = Epoch::default();
        Self { list: VecDeque::new(), limits, bytes: 0, epoch: none, swept: none, dropped: none }
    }

    /// The epoch of the newest ban: what is stored now has nothing to do with those up to it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Up to which ban all that is stored has been held against the list.
    #[must_use]
    pub fn swept(&self) -> Epoch {
        self.swept
    }

    /// How many bans wait for the sweep.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.newer(self.swept).len()
    }

    /// Adds a ban, whose epoch is later than that of all others. `true`: others had to be merged into a wider one.
    pub fn add(&mut self, ban: Arc<Ban<T>>) -> bool {
        self.epoch = ban.epoch;
        self.bytes += ban.scope.bytes();
        self.list.push_back(ban);
        let mut has_merged = false;
        while self.list.len() > self.limits.bans_max || self.bytes > self.limits.bytes_max {
            if self.list.front().is_some_and(|oldest| oldest.epoch <= self.swept) {
                self.drop_oldest();
            } else if !self.merge_oldest() {
                break;
            } else {
                has_merged = true;
            }
        }
        has_merged
    }

    /// All that is stored has been held against the bans up to this one.
    pub fn sweep(&mut self, up_to: Epoch) {
        self.swept = self.swept.max(up_to);
        while self.list.len() > self.limits.swept_max
            && self.list.front().is_some_and(|oldest| oldest.epoch <= self.swept)
        {
            self.drop_oldest();
        }
    }

    /// The bans since then, the oldest first.
    pub fn newer(&self, since: Epoch) -> impl ExactSizeIterator<Item = &Ban<T>> {
        let known = self.list.partition_point(|ban| ban.epoch <= since);
        self.list.iter().skip(known).map(|ban| &**ban)
    }

    /// Holds a stored response against the bans since then. `meets` is called for each that touches it.
    pub fn judge<F: Fn(&str) -> bool>(
        &self,
        since: Epoch,
        subject: &Subject<'_, F>,
        mut meets: impl FnMut(&T),
    ) -> Verdict {
        let mut verdict = Verdict::Untouched;
        for ban in self.newer(since).filter(|ban| ban.scope.covers(subject)) {
            meets(&ban.note);
            verdict = match (ban.purge, verdict) {
                // What is gone is not there for the bans that follow.
                (Purge::Hard, _) => return Verdict::Gone,
                (Purge::Soft(now), Verdict::Stale(since)) => Verdict::Stale(earlier(now, since)),
                (Purge::Soft(now), Verdict::Untouched | Verdict::Gone) => Verdict::Stale(now),
            };
        }
        verdict
    }

    /// Whether a ban since then is about what has been fetched; also when so many have been that it can't be told.
    #[must_use]
    pub fn concern<F: Fn(&str) -> bool>(&self, since: Epoch, subject: &Subject<'_, F>) -> bool {
        since < self.dropped || self.judge(since, subject, |_| ()) != Verdict::Untouched
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.list.pop_front() {
            self.bytes -= oldest.scope.bytes();
            self.dropped = oldest.epoch;
        }
    }

    /// Makes one ban of the two oldest, under the later number: what was held against the first alone is held against
    /// both. `false`: there are no two.
    fn merge_oldest(&mut self) -> bool {
        if self.list.len() < 2 {
            return false;
        }
        let (Some(first), Some(second)) = (self.list.pop_front(), self.list.pop_front()) else { return false };
        let scope = first.scope.merge(&second.scope);
        self.bytes = self.bytes - first.scope.bytes() - second.scope.bytes() + scope.bytes();
        let (purge, note) = (first.purge.merge(second.purge), second.note.clone());
        self.list.push_front(Arc::new(Ban { epoch: second.epoch, scope, purge, note }));
        true
    }
}

#[cfg(test)]
mod tests;
