//! A route that caches, where it leads, and what its stages ask of it.

use std::rc::Rc;
use std::sync::Arc;

use policy::cache::key::Space;

use super::target::RouteTarget;
use super::worker_state::WorkerState;
use super::write_through::Through;
use crate::cache::Caching;
use crate::config::plan::{CacheMode, Route, WriteBack};
use crate::exchange::Answer;
use crate::write_queue::WriteQueue;

/// A route that caches, where it leads, and how it caches.
pub(super) struct Way<'a> {
    pub(super) site: &'a WorkerState,
    pub(super) route: &'a Route,
    pub(super) onward: &'a Rc<RouteTarget>,
    pub(super) caching: &'a Rc<Caching>,
}

impl<'a> Way<'a> {
    /// Where a write goes that the cache follows.
    pub(super) fn through(&self) -> Through<'a> {
        Through { site: self.site, onward: self.onward, caching: self.caching }
    }
}

/// Where a route queues writes, and how.
#[derive(Clone, Copy)]
pub(super) struct Queue<'a> {
    pub(super) desk: &'a Arc<WriteQueue>,
    pub(super) back: &'a WriteBack,
}

impl<'a> Way<'a> {
    /// What is pending, if anything is.
    pub(super) fn desk(&self) -> Option<&'a WriteQueue> {
        self.site.desk().map(|desk| &**desk).filter(|desk| !desk.is_idle())
    }

    /// Where the route queues writes; `None`: it does not.
    pub(super) fn queue(&self) -> Option<Queue<'a>> {
        match &self.caching.rules.mode {
            CacheMode::Back(back) => self.site.desk().map(|desk| Queue { desk, back }),
            CacheMode::Aside | CacheMode::Through => None,
        }
    }

    /// Takes the tags off an answer: they are for us.
    pub(super) fn untagged(&self, mut answer: Answer) -> Answer {
        self.caching.hide_tags(&mut answer.fields);
        answer
    }

    pub(super) fn space(&self) -> Space<'_> {
        Space { name: &self.caching.space, rules: &self.caching.rules.key }
    }
}
