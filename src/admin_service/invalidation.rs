//! Purges and events of the admin API.

use std::sync::Arc;

use http::StatusCode;
use message::Fields;
use policy::cache::key::{Scheme, Target};
use policy::events;

use super::AdminService;
use crate::admin::{ApiError, Invalidated, Purge, Sweep};
use crate::cache::Store;
use crate::cache::purge::{Banned, Prefix, Purge as PurgeMode};
use crate::events::read::read;
use crate::proxy::worker_state::Snapshot;
use crate::telemetry::clock;

impl AdminService {
    /// Purges responses from the cache: removes them, or with `soft` makes them stale.
    pub(super) fn purge_cache(&self, what: &Purge, soft: bool) -> Invalidated {
        let snapshot = self.snapshot.load_full();
        let (store, mode) = (&snapshot.store, purge_mode(soft));
        match what {
            Purge::Url(url) => {
                let target = |scheme| Target::of_normal(scheme, &url.host, url.port, &url.path, url.query.as_deref());
                let schemes = [Scheme::Http, Scheme::Https].into_iter();
                let schemes = schemes.filter(|scheme| url.scheme.is_none_or(|wanted| wanted == *scheme));
                let purged: usize = schemes.map(|scheme| snapshot.purge_url(&target(scheme), mode)).sum();
                invalidated(store, purged, Vec::new())
            }
            Purge::Prefix(url) => {
                let authority = Some((url.host.clone(), url.port));
                let path = snapshot.plan.key_path(&url.path).into();
                let prefix = Prefix { scheme: url.scheme, authority, path };
                invalidated(store, 0, vec![store.purge_prefix(prefix, mode)])
            }
            Purge::Tags(tags) => invalidated(store, 0, vec![store.purge_tags(tags.as_slice().into(), mode)]),
            Purge::All => invalidated(store, 0, vec![store.purge_all(mode)]),
        }
    }

    /// Parses an event and applies all rules of its type. An error in one of them applies none.
    pub(super) fn apply_event(&self, fields: &Fields, body: &[u8]) -> Result<Invalidated, ApiError> {
        let snapshot = self.snapshot.load_full();
        let touched =
            read(fields, body).map_err(|error| ApiError::new(error.status(), error.to_string())).and_then(|event| {
                events::touched(&snapshot.plan.invalidate, &event)
                    .map_err(|unfit| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, unfit.to_string()))
            });
        match &touched {
            Ok(rules) if rules.is_empty() => self.events.unknown.up(),
            Ok(_) => self.events.known.up(),
            Err(_) => self.events.refused.up(),
        }
        let (mut counted, mut bans) = (0, Vec::new());
        for touched in touched? {
            counted += apply_rule(&snapshot, touched, &mut bans);
        }
        Ok(invalidated(&snapshot.store, counted, bans))
    }
}

/// The result: the responses that were counted by URL, and a future that counts those of the bans.
fn invalidated(store: &Arc<Store>, counted: usize, bans: Vec<Banned>) -> Invalidated {
    let sweep = bans.last().map(Banned::epoch).map(|epoch| {
        let store = Arc::clone(store);
        let touched = async move {
            let mut touched = 0;
            for banned in &bans {
                touched += store.swept(banned).await;
            }
            touched
        };
        Sweep { epoch, touched: Box::pin(touched) }
    });
    Invalidated { counted: counted as u64, sweep }
}

fn purge_mode(soft: bool) -> PurgeMode {
    if soft { PurgeMode::Soft(clock::now()) } else { PurgeMode::Hard }
}

/// Applies one rule. Returns how many responses its URLs have invalidated; its tags and prefixes are added to `bans`.
fn apply_rule(snapshot: &Snapshot, touched: events::EventEffect, bans: &mut Vec<Banned>) -> usize {
    let mode = purge_mode(touched.soft);
    if !touched.tags.is_empty() {
        let tags = touched.tags.into_iter().map(String::into_boxed_str).collect();
        bans.push(snapshot.store.purge_tags(tags, mode));
    }
    for place in &touched.prefixes {
        let authority = place.authority.as_ref().map(|authority| (authority.name.clone(), authority.port));
        let path = snapshot.plan.key_path(&place.path).into();
        bans.push(snapshot.store.purge_prefix(Prefix { scheme: None, authority, path }, mode));
    }
    touched.urls.iter().map(|place| purge_url(snapshot, place, mode, bans)).sum()
}

fn purge_url(snapshot: &Snapshot, place: &events::UrlPattern, mode: PurgeMode, bans: &mut Vec<Banned>) -> usize {
    let query = place.query.as_deref();
    let Some(authority) = &place.authority else {
        bans.push(snapshot.purge_anywhere(&place.path, query, mode));
        return 0;
    };
    let target = |scheme| Target::of_normal(scheme, &authority.name, authority.port, &place.path, query);
    [Scheme::Http, Scheme::Https].iter().map(|scheme| snapshot.purge_url(&target(*scheme), mode)).sum()
}
