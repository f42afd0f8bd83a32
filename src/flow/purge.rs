//! Forgetting by URL, as clients write it; and `PURGE`: forgetting by request, for peers that may.
//!
//! Of a `PURGE` only the peer's own address counts, whatever forwarding headers say.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use policy::cache::key::{Key, Scheme, Space, Target};

use super::sanitize::Admitted;
use super::site::{Generation, Site};
use crate::exchange::body::Body;
use crate::exchange::{Answer, Exchange};
use crate::store::purge::{Anywhere, Prefix, Purge};

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
            let target = |scheme| Target::of_normal(scheme, host, port, uri.path(), uri.query());
            Ok([Scheme::Http, Scheme::Https]
                .map(|scheme| site.generation.purge_url(&target(scheme), mode))
                .iter()
                .sum())
        }
        Some("prefix") => {
            let authority = Some((Box::from(&**host), port));
            Ok(store.purge_prefix(Prefix { scheme: None, authority, path: uri.path().into() }, mode))
        }
        Some("tag") => {
            let tags = word(headers, TAGS)?.ok_or("forebay-purge-tag names no tag")?;
            Ok(tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(|tag| store.purge_tag(tag, mode)).sum())
        }
        Some("all") => Ok(store.purge_all(mode)),
        Some(_) => Err("forebay-purge is url, prefix, tag or all"),
    }
}

impl Generation {
    /// Forgets all that routes have stored for a URL, and counts it.
    pub fn purge_url(&self, target: &Target<'_>, mode: Purge) -> usize {
        let target = &target.on_path(self.plan.key_path(target.path()));
        let mut seen: Vec<Key> = Vec::new();
        for (space, rules) in self.spaces_of(target.name(), target.path()) {
            let key = Key::of_uri(Space { name: &space, rules: &rules.key }, target);
            if !seen.contains(&key) {
                seen.push(key);
            }
        }
        seen.iter().map(|key| self.store.purge_uri(key, mode)).sum()
    }

    /// Forgets all that routes have stored for a path, whatever the host, and counts it.
    pub fn purge_anywhere(&self, path: &str, query: Option<&str>, mode: Purge) -> usize {
        let path = &*self.plan.key_path(path);
        let target = Target::of_normal(Scheme::Http, "", None, path, query);
        let mut spaces = Vec::new();
        for (space, rules) in self.spaces() {
            let key = Key::of_uri(Space { name: &space, rules: &rules.key }, &target);
            let query = key.parts().and_then(|parts| parts.query).map(Box::from);
            if !spaces.contains(&(space.clone(), query.clone())) {
                spaces.push((space, query));
            }
        }
        self.store.purge_anywhere(Anywhere { path: path.into(), spaces }, mode)
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
