//! Purges and events: what people and other programs make the cache forget.

use http::{HeaderMap, StatusCode};
use policy::cache::key::{Scheme, Target};
use policy::events;

use super::Household;
use crate::admin::{Purge, Refusal};
use crate::events::read::read;
use crate::flow::site::Generation;
use crate::observe::clock;
use crate::store::purge::{Prefix, Purge as Mode};

impl Household {
    /// Forgets (`soft`: makes stale) what is asked for, and counts it.
    pub(super) fn forget(&self, what: &Purge, soft: bool) -> u64 {
        let generation = self.generation.load_full();
        let mode = mode(soft);
        let purged = match what {
            Purge::Url(place) => {
                let target =
                    |scheme| Target::of_normal(scheme, &place.host, place.port, &place.path, place.query.as_deref());
                let schemes = [Scheme::Http, Scheme::Https].into_iter();
                let schemes = schemes.filter(|scheme| place.scheme.is_none_or(|meant| meant == *scheme));
                schemes.map(|scheme| generation.purge_url(&target(scheme), mode)).sum()
            }
            Purge::Prefix(place) => {
                let authority = Some((place.host.clone(), place.port));
                let path = generation.plan.key_path(&place.path).into();
                let prefix = Prefix { scheme: place.scheme, authority, path };
                generation.store.purge_prefix(prefix, mode)
            }
            Purge::Tags(tags) => tags.iter().map(|tag| generation.store.purge_tag(tag, mode)).sum(),
            Purge::All => generation.store.purge_all(mode),
        };
        purged as u64
    }

    /// Takes an event: all of it, or nothing.
    pub(super) fn take_event(&self, headers: &HeaderMap, body: &[u8]) -> Result<u64, Refusal> {
        let generation = self.generation.load_full();
        let touched =
            read(headers, body).map_err(|error| Refusal::new(error.status(), error.to_string())).and_then(|event| {
                events::touched(&generation.plan.invalidate, &event)
                    .map_err(|unfit| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, unfit.to_string()))
            });
        match &touched {
            Ok(rules) if rules.is_empty() => self.events.unknown.up(),
            Ok(_) => self.events.known.up(),
            Err(_) => self.events.refused.up(),
        }
        Ok(touched?.iter().map(|touched| apply(&generation, touched) as u64).sum())
    }
}

fn mode(soft: bool) -> Mode {
    if soft { Mode::Soft(clock::now()) } else { Mode::Hard }
}

/// Does what one rule says.
fn apply(generation: &Generation, touched: &events::Touched) -> usize {
    let mode = mode(touched.soft);
    let tags = touched.tags.iter().map(|tag| generation.store.purge_tag(tag, mode));
    let urls = touched.urls.iter().map(|place| url(generation, place, mode));
    let prefixes = touched.prefixes.iter().map(|place| {
        let authority = place.authority.as_ref().map(|authority| (authority.name.clone(), authority.port));
        let path = generation.plan.key_path(&place.path).into();
        generation.store.purge_prefix(Prefix { scheme: None, authority, path }, mode)
    });
    tags.chain(urls).chain(prefixes).sum()
}

fn url(generation: &Generation, place: &events::Place, mode: Mode) -> usize {
    let query = place.query.as_deref();
    let Some(authority) = &place.authority else { return generation.purge_anywhere(&place.path, query, mode) };
    let target = |scheme| Target::of_normal(scheme, &authority.name, authority.port, &place.path, query);
    [Scheme::Http, Scheme::Https].iter().map(|scheme| generation.purge_url(&target(*scheme), mode)).sum()
}
