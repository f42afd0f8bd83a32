//! Forwarding a HEAD that nothing stored answers, and what its response says of a stored one (RFC 9111 §4.3.5).

use std::sync::Arc;

use http::{Method, StatusCode, Uri};
use message::Fields;
use policy::cache::lookup::is_error;
use policy::cache::validate::{Glimpse, Update, glimpse};
use policy::message::vary::Choice;
use policy::time::Now;

use super::coalesce::Lead;
use super::entry::Entry;
use super::fetch::{ConfirmedBy, OriginFetch, Setback, as_answer, instead, keeping_tags, supersede};
use super::fill;
use super::origin::Fetch;
use crate::exchange::error::ProxyError;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;

/// Forwards a HEAD that nothing stored answers; what comes may tell something of what is stored (RFC 9111 §4.3.5).
///
/// # Errors
/// Why nothing came, unless a stale response stands in for it.
pub(crate) async fn head<F: Fetch>(ex: &mut Exchange, renewal: &OriginFetch<F>) -> Result<Answer, ProxyError> {
    let request = &renewal.request;
    let lead = Lead::alone(&request.caching.store, renewal.errand(Choice::default()));
    let sent = clock::now();
    let mut answer = match request.fetch.fetch(ex, Method::HEAD, request.headers.clone()).await {
        Ok(answer) => answer,
        Err(fault) => return instead(ex, renewal, Setback::ProxyError(&fault)).ok_or(fault),
    };
    let status = answer.status;
    if is_error(status)
        && let Some(served) = instead(ex, renewal, Setback::Status(status))
    {
        return Ok(served);
    }
    let is_stored =
        |entry: &&Entry| renewal.stored().entry.is_some_and(|stored| Arc::ptr_eq(&stored.head, &entry.head));
    if let Some(entry) = renewal.stale.as_ref().filter(|_| status == StatusCode::OK).filter(is_stored) {
        learn(renewal, lead, sent, &answer.fields, entry);
    }
    request.caching.hide_tags(&mut answer.fields);
    Ok(answer)
}

/// What a 200 to HEAD tells of the stored response that it could be about (RFC 9111 §4.3.5).
fn learn<F>(renewal: &OriginFetch<F>, lead: Lead, sent: Now, fields: &Fields, entry: &Entry) {
    let request = &renewal.request;
    let now = clock::now();
    match glimpse(fields, &entry.head.fields, entry.content.length().unwrap_or_default()) {
        Glimpse::Agrees => {
            let target = Uri::default();
            let news = ConfirmedBy { fields, update: Update::Fields, now };
            let renewed = as_answer(request, entry, &news);
            let head = fill::head(&request.caching.rules, &renewal.asked(&target, sent), &renewed, now);
            if let Ok((head, _withheld)) = head {
                let head = keeping_tags(head, entry);
                supersede(lead.store(), renewal, entry, &head);
                lead.put(Entry { head: Arc::new(head), content: entry.content.clone() });
            }
        }
        Glimpse::Differs => request.caching.store.change(&request.key, |old| {
            Some(if Arc::ptr_eq(&old.head, &entry.head) { old.outdated(now) } else { old.clone() })
        }),
    }
}
