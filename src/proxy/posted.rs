//! What the answer to a POST leaves in the cache: it may stand for the target itself (RFC 9110 §9.3.3).

use http::{Method, StatusCode, Uri};
use message::{Fields, Known};
use policy::cache::facts::RequestFacts;
use policy::cache::key::{Key, Target};
use policy::time::Now;

use super::way::Way;
use crate::cache;
use crate::cache::fill::Asked;
use crate::exchange::{Answer, Exchange};
use crate::upstream::send::UpstreamRequest;

/// A POST that goes out: what its answer would be stored by.
pub(super) struct Posted {
    key: Key,
    headers: Fields,
    has_body: bool,
    sent: Now,
}

impl Posted {
    /// A request goes out. `key`: what a GET of its target would be looked up by. `None`: nothing of its answer is stored.
    pub(super) fn begin(key: Option<&Key>, draft: &UpstreamRequest, sent: Now) -> Option<Self> {
        let key = key.filter(|_| draft.method == Method::POST)?.clone();
        Some(Self { key, headers: draft.headers.clone(), has_body: draft.source.is_some(), sent })
    }

    /// Stores the answer, where it says that it stands for the target. Its fields then choose like those of GET.
    pub(super) fn keep(
        posted: Option<Self>,
        way: &Way<'_>,
        ex: &mut Exchange,
        target: &Target<'static>,
        answer: Answer,
    ) -> Answer {
        let is_kept = answer.status == StatusCode::OK && answer.fields.has(Known::ContentLocation);
        let uri = || target.to_string().parse::<Uri>().ok();
        let Some((posted, uri)) = posted.filter(|_| is_kept).zip(uri()) else { return way.untagged(answer) };
        let facts = RequestFacts::of(&Method::POST, &uri, &posted.headers, posted.has_body);
        let asked = Asked { facts, headers: &posted.headers, sent: posted.sent };
        cache::take_unasked(ex, way.caching, posted.key, &asked, answer)
    }
}
