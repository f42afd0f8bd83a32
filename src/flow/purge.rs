//! `PURGE`: forgetting by request, for peers that may.
//!
//! Only the peer's own address counts, whatever forwarding headers say.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use policy::cache::key::{Key, Scheme, Space, Target};

use super::sanitize::Admitted;
use super::site::Site;
use crate::exchange::body::Body;
use crate::exchange::{Answer, Exchange};
use crate::store::purge::Purge;

/// What to purge: `url` (unless given), `prefix`, `tag` or `all`.
const WHAT: &str = "forebay-purge";
/// The tags to purge, with commas between.
const TAGS: &str = "forebay-purge-tag";
/// `hard` (unless given) or `soft`.
const MODE: &str = "forebay-purge-mode";

/// Answers a `PURGE`; `None`: nothing is ever stored for this URI, so it is a method like any other.
#[must_use]
pub fn answer(site: &Site, ex: &Exchange, admitted: &Admitted) -> Option<Answer> {
    let path = ex.head.uri.path();
    site.cachings_of(&admitted.host.name, path).next()?;
    let peer = ex.connection.peer.ip().to_canonical();
    if !site.plan().cache.purge_from.iter().any(|network| network.contains(peer)) {
        return Some(said(StatusCode::FORBIDDEN, "{\"error\":\"this peer may not purge\"}\n".to_owned()));
    }
    Some(match purge(site, ex, admitted) {
        Ok(purged) => said(StatusCode::OK, format!("{{\"purged\":{purged}}}\n")),
        Err(wrong) => said(StatusCode::BAD_REQUEST, format!("{{\"error\":\"{wrong}\"}}\n")),
    })
}

fn purge(site: &Site, ex: &Exchange, admitted: &Admitted) -> Result<usize, &'static str> {
    let headers = &ex.head.headers;
    let mode = match word(headers, MODE)? {
        None | Some("hard") => Purge::Hard,
        Some("soft") => Purge::Soft(ex.started),
        Some(_) => return Err("forebay-purge-mode is hard or soft"),
    };
    let store = &site.generation.store;
    let (host, port, uri) = (&admitted.host.name, admitted.host.port, &ex.head.uri);
    match word(headers, WHAT)? {
        None | Some("url") => {
            let mut purged = 0;
            for scheme in [Scheme::Http, Scheme::Https] {
                let target = Target::of_normal(scheme, host, port, uri.path(), uri.query());
                let mut seen: Vec<Key> = Vec::new();
                for caching in site.cachings_of(host, uri.path()) {
                    let key = Key::of_uri(Space { name: &caching.space, rules: &caching.rules.key }, &target);
                    if !seen.contains(&key) {
                        purged += store.purge_uri(&key, mode);
                        seen.push(key);
                    }
                }
            }
            Ok(purged)
        }
        Some("prefix") => Ok(store.purge_prefix(host, port, uri.path(), mode)),
        Some("tag") => {
            let tags = word(headers, TAGS)?.ok_or("forebay-purge-tag names no tag")?;
            Ok(tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(|tag| store.purge_tag(tag, mode)).sum())
        }
        Some("all") => Ok(store.purge_all(mode)),
        Some(_) => Err("forebay-purge is url, prefix, tag or all"),
    }
}

/// A field that may stand once.
fn word<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, &'static str> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next().map(HeaderValue::to_str).transpose().map_err(|_| "a purge field is no text")?;
    if lines.next().is_some() { Err("a purge field stands twice") } else { Ok(first.map(str::trim)) }
}

fn said(status: StatusCode, text: String) -> Answer {
    let mut answer = Answer::new(Body::whole(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
