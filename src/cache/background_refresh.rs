//! Fetching behind a response that was served stale (RFC 5861 §3): in a task of its own, that no client waits for.

use std::rc::Rc;

use http::Method;
use policy::cache::reach::FetchReach;
use policy::message::cache_control::RequestDirectives;
use policy::message::cache_status::Forward;

use super::coalesce::Lead;
use super::entry::Entry;
use super::fetch::{self, Audience, OriginFetch};
use super::origin::{Fetch, Request};
use crate::exchange::Exchange;
use crate::exchange::deadline::attended;
use crate::telemetry::clock;

/// Fetches anew what was just served stale, unless somebody is at it.
pub(crate) fn refresh<F: Fetch>(ex: &Exchange, request: Request<F>, stale: Entry) {
    let directives = RequestDirectives::default();
    let (stale, why) = (Some(stale), Forward::Stale);
    let renewal = OriginFetch {
        request,
        stale,
        held: None,
        why,
        directives,
        reach: FetchReach::Whole,
        audience: Audience::Nobody,
    };
    let Some(lead) = Lead::behind(&renewal.request.caching.store, renewal.errand(renewal.choice())) else { return };
    let mut behind = ex.behind(clock::now());
    let deadline = Rc::clone(&behind.stream.deadline);
    let renewal = OriginFetch { request: Request { method: Method::GET, ..renewal.request }, ..renewal };
    tokio::task::spawn_local(async move {
        // Nobody reads what comes of it: the store has it, or keeps what it had.
        let _answer = attended(&deadline, fetch::fetch(&mut behind, &renewal, lead)).await;
    });
}
