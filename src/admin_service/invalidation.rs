//! Purges and events: what people and other programs make the cache forget.

use std::sync::Arc;

use http::StatusCode;
use message::Fields;
use policy::cache::key::{Scheme, Target};
use policy::events;

use super::AdminService;
use crate::admin::{Done, Purge, Refusal, Sweep};
use crate::cache::Store;
use crate::cache::purge::{Banned, Prefix, Purge as Mode};
use crate::events::read::read;
use crate::proxy::worker_state::Snapshot;
use crate::telemetry::clock;

impl AdminService {
    /// Forgets (`soft`: makes stale) what is asked for.
    pub(super) fn forget(&self, what: &Purge, soft: bool) -> Done {
        let generation = self.generation.load_full();
        let (store, mode) = (&generation.store, mode(soft));
        match what {
            Purge::Url(place) => {
                let target =
                    |scheme| Target::of_normal(scheme, &place.host, place.port, &place.path, place.query.as_deref());
                let schemes = [Scheme::Http, Scheme::Https].into_iter();
                let schemes = schemes.filter(|scheme| place.scheme.is_none_or(|meant| meant == *scheme));
                let purged: usize = schemes.map(|scheme| generation.purge_url(&target(scheme), mode)).sum();
                done(store, purged, Vec::new())
            }
            Purge::Prefix(place) => {
                let authority = Some((place.host.clone(), place.port));
                let path = generation.plan.key_path(&place.path).into();
                let prefix = Prefix { scheme: place.scheme, authority, path };
                done(store, 0, vec![store.purge_prefix(prefix, mode)])
            }
            Purge::Tags(tags) => done(store, 0, vec![store.purge_tags(tags.as_slice().into(), mode)]),
            Purge::All => done(store, 0, vec![store.purge_all(mode)]),
        }
    }

    /// Takes an event: all of it, or nothing.
    pub(super) fn take_event(&self, fields: &Fields, body: &[u8]) -> Result<Done, Refusal> {
        let generation = self.generation.load_full();
        let touched =
            read(fields, body).map_err(|error| Refusal::new(error.status(), error.to_string())).and_then(|event| {
                events::touched(&generation.plan.invalidate, &event)
                    .map_err(|unfit| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, unfit.to_string()))
            });
        match &touched {
            Ok(rules) if rules.is_empty() => self.events.unknown.up(),
            Ok(_) => self.events.known.up(),
            Err(_) => self.events.refused.up(),
        }
        let (mut counted, mut bans) = (0, Vec::new());
        for touched in touched? {
            counted += apply(&generation, touched, &mut bans);
        }
        Ok(done(&generation.store, counted, bans))
    }
}

/// What has been done, and how to learn what the bans have touched.
fn done(store: &Arc<Store>, counted: usize, bans: Vec<Banned>) -> Done {
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
    Done { counted: counted as u64, sweep }
}

fn mode(soft: bool) -> Mode {
    if soft { Mode::Soft(clock::now()) } else { Mode::Hard }
}

/// Does what one rule says. Says how many responses URLs have touched; the rest is banned.
fn apply(generation: &Snapshot, touched: events::Touched, bans: &mut Vec<Banned>) -> usize {
    let mode = mode(touched.soft);
    if !touched.tags.is_empty() {
        let tags = touched.tags.into_iter().map(String::into_boxed_str).collect();
        bans.push(generation.store.purge_tags(tags, mode));
    }
    for place in &touched.prefixes {
        let authority = place.authority.as_ref().map(|authority| (authority.name.clone(), authority.port));
        let path = generation.plan.key_path(&place.path).into();
        bans.push(generation.store.purge_prefix(Prefix { scheme: None, authority, path }, mode));
    }
    touched.urls.iter().map(|place| url(generation, place, mode, bans)).sum()
}

fn url(generation: &Snapshot, place: &events::Place, mode: Mode, bans: &mut Vec<Banned>) -> usize {
    let query = place.query.as_deref();
    let Some(authority) = &place.authority else {
        bans.push(generation.purge_anywhere(&place.path, query, mode));
        return 0;
    };
    let target = |scheme| Target::of_normal(scheme, &authority.name, authority.port, &place.path, query);
    [Scheme::Http, Scheme::Https].iter().map(|scheme| generation.purge_url(&target(*scheme), mode)).sum()
}
