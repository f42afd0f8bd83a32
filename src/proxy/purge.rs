//! Invalidation by URL, as clients write it; and `PURGE`: invalidation by request, for peers that may.
//!
//! Of a `PURGE` only the peer's own address counts, whatever forwarding headers say.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use message::{Fields, Known};
use policy::cache::key::{Key, Scheme, Space, Target};

use super::admit::Admitted;
use super::worker_state::{Snapshot, WorkerState};
use crate::cache::purge::{Anywhere, Banned, Prefix, Purge};
use crate::exchange::body::Body;
use crate::exchange::{Answer, Exchange};
use crate::telemetry::clock;

/// What to purge: `url` (unless given), `prefix`, `tag` or `all`.
const WHAT: &str = "forebay-purge";
/// The tags to purge, with commas between.
const TAGS: &str = "forebay-purge-tag";
/// `hard` (unless given) or `soft`.
const MODE: &str = "forebay-purge-mode";
/// Whether to answer only when all is swept, with the count: `true` or `false` (unless given).
const WAIT: &str = "forebay-purge-wait";

/// For how long a `PURGE` waits until all is swept.
const SWEPT_MAX: Duration = Duration::from_secs(8);

/// What a `PURGE` comes to.
pub(crate) enum Outcome {
    /// It is answered.
    Answered(Answer),
    /// It is answered when all is swept: [`swept`] waits.
    Sweeps(Banned),
}

/// What a purge has done.
enum Purged {
    /// So many responses were touched.
    Counted(usize),
    /// It holds; how many responses it touches the sweep will show.
    Banned(Banned),
}

/// Answers a `PURGE`; `None`: it is none, or nothing is ever stored for its URI, so that it is a method like any other.
#[must_use]
pub(crate) fn answer(site: &WorkerState, ex: &Exchange, admitted: &Admitted) -> Option<Outcome> {
    if *"PURGE" != *ex.head.method.as_str() {
        return None;
    }
    let path = ex.head.uri.path();
    site.cachings_of(&admitted.host.name, path).next()?;
    let peer = ex.connection.peer.ip().to_canonical();
    if !site.plan().cache.purge_from.iter().any(|network| network.contains(peer)) {
        let refused = said(StatusCode::FORBIDDEN, "{\"error\":\"this peer may not purge\"}\n".to_owned());
        return Some(Outcome::Answered(refused));
    }
    let purged = waits(&ex.head.fields).and_then(|waits| Ok((purge(site, ex, admitted)?, waits)));
    Some(match purged {
        Ok((Purged::Banned(banned), true)) => Outcome::Sweeps(banned),
        Ok((Purged::Banned(banned), false)) => {
            Outcome::Answered(said(StatusCode::OK, format!("{{\"epoch\":{}}}\n", banned.epoch())))
        }
        Ok((Purged::Counted(purged), _)) => {
            Outcome::Answered(said(StatusCode::OK, format!("{{\"purged\":{purged}}}\n")))
        }
        Err(wrong) => Outcome::Answered(said(StatusCode::BAD_REQUEST, format!("{{\"error\":\"{wrong}\"}}\n"))),
    })
}

/// Answers a `PURGE` when all is swept; without the count when that takes too long.
pub(crate) async fn swept(site: &WorkerState, ex: &Exchange, banned: &Banned) -> Answer {
    let until = clock::mono() + SWEPT_MAX;
    let swept = pin!(site.generation.store.swept(banned));
    let epoch = banned.epoch();
    said(
        StatusCode::OK,
        match ex.stream.deadline.wait(until, swept).await {
            Ok(purged) => format!("{{\"epoch\":{epoch},\"purged\":{purged}}}\n"),
            Err(_expired) => format!("{{\"epoch\":{epoch}}}\n"),
        },
    )
}

fn waits(headers: &Fields) -> Result<bool, &'static str> {
    match word(headers, WAIT)? {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err("forebay-purge-wait is true or false"),
    }
}

fn purge(site: &WorkerState, ex: &Exchange, admitted: &Admitted) -> Result<Purged, &'static str> {
    let headers = &ex.head.fields;
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
            let schemes = [Scheme::Http, Scheme::Https];
            Ok(Purged::Counted(schemes.map(|scheme| site.generation.purge_url(&target(scheme), mode)).iter().sum()))
        }
        Some("prefix") => {
            let authority = Some((Box::from(&**host), port));
            let prefix = Prefix { scheme: None, authority, path: uri.path().into() };
            Ok(Purged::Banned(store.purge_prefix(prefix, mode)))
        }
        Some("tag") => {
            let tags = word(headers, TAGS)?.ok_or("forebay-purge-tag names no tag")?;
            let tags = tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(Box::from).collect();
            Ok(Purged::Banned(store.purge_tags(tags, mode)))
        }
        Some("all") => Ok(Purged::Banned(store.purge_all(mode))),
        Some(_) => Err("forebay-purge is url, prefix, tag or all"),
    }
}

impl Snapshot {
    /// Forgets all that routes have stored for a URL, and counts it.
    pub(crate) fn purge_url(&self, target: &Target<'_>, mode: Purge) -> usize {
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

    /// Forgets all that routes have stored for a path, whatever the host.
    pub(crate) fn purge_anywhere(&self, path: &str, query: Option<&str>, mode: Purge) -> Banned {
        let path = &*self.plan.key_path(path);
        let target = Target::of_normal(Scheme::Http, "", None, path, query);
        let mut queries = Vec::new();
        for (space, rules) in self.spaces() {
            let key = Key::of_uri(Space { name: &space, rules: &rules.key }, &target);
            let query = key.parts().and_then(|parts| parts.query).map(Box::from);
            if !queries.contains(&query) {
                queries.push(query);
            }
        }
        self.store.purge_anywhere(Anywhere { path: path.into(), queries }, mode)
    }
}

/// A field that may stand once.
fn word<'a>(headers: &'a Fields, name: &str) -> Result<Option<&'a str>, &'static str> {
    let mut lines = headers.values(name);
    let first = lines.next().map(std::str::from_utf8).transpose().map_err(|_| "a purge field is no text")?;
    if first.is_some_and(|first| !first.is_ascii()) {
        return Err("a purge field is no text");
    }
    if lines.next().is_some() { Err("a purge field stands twice") } else { Ok(first.map(str::trim)) }
}

fn said(status: StatusCode, text: String) -> Answer {
    let mut answer = Answer::new(Body::whole(Bytes::from(text)));
    answer.status = status;
    answer.fields.set(Known::ContentType, "application/json");
    answer.fields.set(Known::CacheControl, "no-store");
    answer
}
