//! Bans: invalidate many stored responses at once, by prefix, by tag, or all.
//!
//! The cost of a ban does not depend on the number of stored responses: it is added to a list under a number, its
//! [`Epoch`]. Every stored response has the epoch up to which it was checked against the list. When it is used later,
//! it is checked against the newer bans first, so a ban takes effect at once. A sweep over all stored responses makes
//! bans superfluous and frees memory; the caller runs it.
//!
//! Source: the ban list of Varnish, whose lurker corresponds to the sweep.

use std::collections::VecDeque;
use std::sync::Arc;

use super::key::{Key, KeyParts};
use crate::time::Now;

mod scope;

pub use scope::{Anywhere, Prefix, Scope};

/// The number of bans added up to some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// The epoch of the next ban.
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

/// The effect of a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// Invalidate the response.
    Hard,
    /// Mark the response stale from this time on: where allowed, it is served while it is fetched again.
    Soft(Now),
}

impl Purge {
    /// The stronger of two purges: leaves no response fresher than either would.
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

/// A ban. `T` is data of the caller, for example a counter.
#[derive(Debug)]
pub struct Ban<T> {
    /// Its number.
    pub epoch: Epoch,
    /// The responses it applies to.
    pub scope: Scope,
    /// Its effect.
    pub purge: Purge,
    /// Data of the caller.
    pub note: T,
}

/// A stored response as evaluated by bans.
#[derive(Debug)]
pub struct Subject<'a, F> {
    parts: Option<KeyParts<'a>>,
    /// Whether the response has this tag.
    has_tag: F,
}

impl<'a, F: Fn(&str) -> bool> Subject<'a, F> {
    /// A response stored under this key; `has_tag` says whether it has a tag.
    #[must_use]
    pub fn new(key: &'a Key, has_tag: F) -> Self {
        Self { parts: key.parts(), has_tag }
    }
}

/// The effect of the bans on a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanVerdict {
    /// No ban applies.
    Untouched,
    /// The response has been stale since this time.
    Stale(Now),
    /// The response is invalidated.
    Gone,
}

/// The limits of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanLimits {
    /// The most bans; beyond, two are merged into a wider one.
    pub bans_max: usize,
    /// The most bytes of text of all bans; beyond, likewise.
    pub bytes_max: usize,
    /// The most bans kept after a sweep, for fetches in progress.
    pub swept_max: usize,
}

/// The bans in effect, oldest first.
#[derive(Debug)]
pub struct Bans<T> {
    list: VecDeque<Arc<Ban<T>>>,
    limits: BanLimits,
    bytes: usize,
    epoch: Epoch,
    /// All stored responses have been checked against the bans up to this one.
    swept: Epoch,
    /// The newest ban removed from the list.
    dropped: Epoch,
}

impl<T: Clone> Bans<T> {
    /// An empty list.
    #[must_use]
    pub fn new(limits: BanLimits) -> Self {
        let none = Epoch::default();
        Self { list: VecDeque::new(), limits, bytes: 0, epoch: none, swept: none, dropped: none }
    }

    /// The epoch of the newest ban; responses stored from now on are not affected by it.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The epoch up to which all stored responses have been checked.
    #[must_use]
    pub fn swept(&self) -> Epoch {
        self.swept
    }

    /// The number of bans that wait for a sweep.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.newer(self.swept).len()
    }

    /// Adds a ban with a later epoch than all others. `true`: two others were merged into a wider one.
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

    /// Records that all stored responses have been checked against the bans up to this one.
    pub fn sweep(&mut self, up_to: Epoch) {
        self.swept = self.swept.max(up_to);
        while self.list.len() > self.limits.swept_max
            && self.list.front().is_some_and(|oldest| oldest.epoch <= self.swept)
        {
            self.drop_oldest();
        }
    }

    /// The bans since an epoch, oldest first.
    pub fn newer(&self, since: Epoch) -> impl ExactSizeIterator<Item = &Ban<T>> {
        let known = self.list.partition_point(|ban| ban.epoch <= since);
        self.list.iter().skip(known).map(|ban| &**ban)
    }

    /// Checks a stored response against the bans since an epoch. `meets` is called for each ban that applies.
    pub fn judge<F: Fn(&str) -> bool>(
        &self,
        since: Epoch,
        subject: &Subject<'_, F>,
        mut meets: impl FnMut(&T),
    ) -> BanVerdict {
        let mut verdict = BanVerdict::Untouched;
        for ban in self.newer(since).filter(|ban| ban.scope.covers(subject)) {
            meets(&ban.note);
            verdict = match (ban.purge, verdict) {
                // Later bans do not apply to an invalidated response.
                (Purge::Hard, _) => return BanVerdict::Gone,
                (Purge::Soft(now), BanVerdict::Stale(since)) => BanVerdict::Stale(earlier(now, since)),
                (Purge::Soft(now), BanVerdict::Untouched | BanVerdict::Gone) => BanVerdict::Stale(now),
            };
        }
        verdict
    }

    /// Whether a ban since an epoch applies to a fetched response; also `true` if the bans since then are no longer
    /// known.
    #[must_use]
    pub fn concern<F: Fn(&str) -> bool>(&self, since: Epoch, subject: &Subject<'_, F>) -> bool {
        since < self.dropped || self.judge(since, subject, |_| ()) != BanVerdict::Untouched
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.list.pop_front() {
            self.bytes -= oldest.scope.bytes();
            self.dropped = oldest.epoch;
        }
    }

    /// Merges the two oldest bans under the later number, so that responses checked only against the first are checked
    /// against both. `false`: there are no two.
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
