//! Requests of an ACME authority that verifies a name by `http-01` (RFC 8555 §8.3): the answers that we have win over routes
//! and redirects.

use bytes::Bytes;
use http::Method;
use message::Known;

use super::worker_state::WorkerState;
use crate::exchange::body::Body;
use crate::exchange::{Answer, Exchange};

/// Where such requests go.
const PREFIX: &str = "/.well-known/acme-challenge/";

/// What becomes of such a request.
pub(crate) enum Challenged {
    /// We have the answer.
    Answered(Answer),
    /// Another node may have it: the index of the route to it.
    Forwarded(usize),
}

/// `None`: it is no such request, or one that we know nothing of.
pub(crate) fn find(site: &WorkerState, ex: &Exchange) -> Option<Challenged> {
    let plan = site.plan();
    plan.acme.as_ref()?;
    let token = ex.head.uri.path().strip_prefix(PREFIX)?;
    let is_head = ex.head.method == Method::HEAD;
    if !is_head && ex.head.method != Method::GET {
        return None;
    }
    let Some(text) = site.generation.published.text(token) else {
        return plan.challenge_peer.map(Challenged::Forwarded);
    };
    let length = text.len();
    let mut answer = Answer::new(Body::whole(if is_head { Bytes::new() } else { Bytes::from(text.into_string()) }));
    answer.fields.set(Known::ContentType, "application/octet-stream");
    answer.fields.set(Known::CacheControl, "no-store");
    if is_head {
        answer.fields.set(Known::ContentLength, length.to_string());
    }
    Some(Challenged::Answered(answer))
}
