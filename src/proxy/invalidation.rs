//! What a write makes void: its URI marked while it is on its way, and what is stored for it invalidated when it has ended.

use std::sync::Arc;

use http::StatusCode;
use policy::cache::invalidation::InvalidatedTargets;
use policy::cache::key::{Key, Space, Target};
use policy::cache::overlap::{Ended, Writer};

use super::worker_state::WorkerState;
use crate::cache::Caching;
use crate::cache::purge::{Prefix, Purge};
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;
use crate::upstream::send::UpstreamRequest;

/// The URI that a write's order is kept by.
#[must_use]
pub(crate) fn line(caching: &Caching, target: &Target<'_>) -> Key {
    Key::of_uri(Space { name: &caching.space, rules: &caching.rules.key }, target)
}

/// A write that is about to go out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    /// What the backend gets.
    pub(super) draft: &'a UpstreamRequest,
    /// What it is about, as clients name it.
    pub(super) target: &'a Target<'static>,
    /// Who sends it.
    pub(super) writer: Writer,
}

/// A write on its way. Marks its URI before it goes out and when it has ended; dropped in between, as when its client
/// leaves, nobody knows whether it was applied, and the URI is invalidated. So is what else it may have changed, where it has
/// succeeded or its end is not known.
pub(crate) struct Underway<'a> {
    site: &'a WorkerState,
    target: &'a Target<'static>,
    reach: InvalidatedTargets,
    uri: Arc<str>,
    writer: Writer,
    is_over: bool,
}

impl<'a> Underway<'a> {
    /// A write to this target is about to go out: what is being fetched for it is not to be stored.
    #[must_use]
    pub(super) fn begin(site: &'a WorkerState, write: Outgoing<'a>) -> Self {
        let Outgoing { target, writer, draft } = write;
        let reach = InvalidatedTargets::of(&draft.method, target, &draft.headers);
        let uri = Arc::from(target.to_string());
        site.generation.store.write_begins(&uri, writer, clock::mono());
        for caching in site.cachings_of(target.name(), target.path()) {
            caching.store.outdate_uri(&line(caching, target));
        }
        Self { site, target, reach, uri, writer, is_over: false }
    }

    /// It has ended, and was a success or not. `then` learns whether it was alone, and changes what is stored of the target.
    pub(crate) fn end<R>(mut self, ended: Ended, is_success: bool, then: impl FnOnce(bool) -> R) -> R {
        self.is_over = true;
        let store = &self.site.generation.store;
        let changed = store.write_ended(&self.uri, self.writer, ended, then);
        if is_success || ended == Ended::Unsure {
            self.invalidate_reach();
        }
        changed
    }

    fn invalidate_reach(&self) {
        if let Some(destination) = &self.reach.destination {
            invalidate_target(self.site, destination);
        }
        for collection in &self.reach.collections {
            invalidate_members(self.site, collection);
        }
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let store = &self.site.generation.store;
            store.write_ended(&self.uri, self.writer, Ended::Unsure, |_| {
                invalidate_target(self.site, self.target);
            });
            self.invalidate_reach();
        }
    }
}

/// Whether a write may yet be applied.
#[must_use]
pub(crate) fn ended(answered: &Result<Answer, ProxyError>, ex: &Exchange) -> Ended {
    match answered {
        // These say that whoever answers does not know how it ended either (RFC 9110 §15.6.3, §15.6.5).
        Ok(answer) if matches!(answer.status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT) => Ended::Unsure,
        Ok(_) if ex.record.sends <= 1 => Ended::Known,
        Err(_) if ex.record.sends == 0 => Ended::Known,
        Ok(_) | Err(_) => Ended::Unsure,
    }
}

/// Forgets all that is stored for URIs of this origin whose path begins with this one's.
pub(super) fn invalidate_members(site: &WorkerState, collection: &Target<'_>) {
    let authority = Some((Box::from(collection.name()), Some(collection.port())));
    let path = site.plan().key_path(collection.path()).into();
    let prefix = Prefix { scheme: Some(collection.scheme()), authority, path };
    let _touched = site.generation.store.purge_prefix(prefix, Purge::Hard);
}

/// Invalidates all that is stored for a target, under the rules of any route.
pub(super) fn invalidate_target(site: &WorkerState, target: &Target<'_>) {
    // What a response names has not been through `sanitize`.
    let target = &target.on_path(site.plan().key_path(target.path()));
    for caching in site.cachings_of(target.name(), target.path()) {
        caching.store.purge_uri(&line(caching, target), Purge::Hard);
    }
}

/// The same, but for what is stored under this key of its URI.
pub(super) fn invalidate_others(site: &WorkerState, target: &Target<'_>, own: &Key) {
    for caching in site.cachings_of(target.name(), target.path()) {
        let key = line(caching, target);
        if key != *own {
            caching.store.purge_uri(&key, Purge::Hard);
        }
    }
}
