//! Which side of a split a request goes to, and what its client is told of that.
//!
//! What is named by hand comes first, then the side that the client keeps, then chance. The shares are
//! `policy::route::split`'s, a client's key is `policy::route::sticky`'s.

use std::fmt::Write as _;
use std::rc::Rc;

use message::{FieldLine, Fields, Known};
use policy::balance::prng::splitmix64;
use policy::message::cookies;
use policy::message::scheme::Scheme;
use policy::route::split::Shares;

use super::admit::Admitted;
use super::local_split::{By, LocalSplit};
use super::target::RouteTarget;
use super::worker_state::WorkerState;
use crate::config::plan::{self, SameSite, Sticky, StickyCookie};
use crate::exchange::Exchange;
use crate::exchange::error::ProxyError;
use crate::telemetry::random;

/// Of so many cookies of the name one may be good: the rest is not looked at, as each takes a signature to be checked.
const COOKIES_MAX: usize = 4;

/// Where a request goes.
pub(crate) struct SelectedTarget {
    /// The way on.
    pub onward: Rc<RouteTarget>,
    /// The side, counted from 0; 0 too where there is no split.
    pub side: usize,
    /// The cookie that the client gets.
    cookie: Option<String>,
    /// The line that tells the client of the side.
    note: Option<Rc<FieldLine>>,
}

/// What a client is known by.
struct ClientKey {
    key: u64,
    /// The key to give it: it had none that is good.
    new: Option<u64>,
}

/// Chooses a request's way on.
///
/// # Errors
/// None that a checked plan can bring about.
pub(crate) fn choose(
    site: &WorkerState,
    route: usize,
    ex: &mut Exchange,
    admitted: &Admitted,
) -> Result<SelectedTarget, ProxyError> {
    let Some(split) = site.split(route) else {
        let Some(onward) = site.onward(route, 0).map(Rc::clone) else { return Err(ProxyError::NoRoute) };
        return Ok(SelectedTarget { onward, side: 0, cookie: None, note: None });
    };
    let plan = &split.shared.plan;
    let named = overridden(plan, &mut ex.head.fields);
    let brought = match &plan.sticky {
        Sticky::Cookie(cookie) => take_cookie(split, cookie, named.is_none(), ex),
        Sticky::None | Sticky::ClientIp | Sticky::Header(_) | Sticky::TheirCookie(_) => None,
    };
    let (side, by, new) = match named {
        Some(side) => (side, By::Override, None),
        None => {
            let known = known(split, brought, ex);
            let (side, by) = decide(site, (route, split), known.as_ref(), ex);
            (side, by, known.and_then(|known| known.new))
        }
    };
    let onward = match by {
        By::Override => site.onward_by_hand(route, side),
        By::Sticky | By::Weight | By::Fallback => site.onward(route, side),
    };
    let onward = onward.map(Rc::clone).ok_or(ProxyError::NoRoute)?;
    let name = split.names.get(side).ok_or(ProxyError::NoRoute)?;
    ex.record.side = Some((Rc::clone(name), by.word()));
    let cookie = new.and_then(|key| cookie(split, key, ex, admitted));
    let note = split.notes.get(side).and_then(|notes| notes.get(by as usize)?.clone());
    Ok(SelectedTarget { onward, side, cookie, note })
}

impl SelectedTarget {
    /// Tells the client what it is to be told.
    pub(crate) fn mark(&self, fields: &mut Fields) {
        if let Some(cookie) = &self.cookie {
            fields.append(Known::SetCookie, cookie);
            // A cache that many share would give all of them this client's key (RFC 9111 §5.2.2.7, §7.3).
            fields.append(Known::CacheControl, "private");
        }
        if let Some(note) = &self.note {
            fields.set_line(note);
        }
    }
}

/// The side that the request names by hand. What named it goes no further, whatever it says.
fn overridden(plan: &plan::Split, fields: &mut Fields) -> Option<usize> {
    let name = plan.override_header.as_ref()?;
    let given = fields.first(name)?;
    let side = plan.sides.iter().position(|side| side.name.as_bytes() == given);
    fields.drop_named(name);
    side
}

/// The side for a client that is known, or by chance; another where that one can take nothing now.
fn decide(
    site: &WorkerState,
    (route, split): (usize, &LocalSplit),
    known: Option<&ClientKey>,
    ex: &Exchange,
) -> (usize, By) {
    let choose = |shares: &Shares, dice: u64| match known {
        Some(known) => shares.keep(known.key, &split.shared.order),
        None => shares.draw(dice),
    };
    let mut watched = split.watched.borrow_mut();
    let shares = watched.shares();
    let side = choose(shares, ex.dice);
    let can_take =
        |side: usize| site.onward(route, side).is_some_and(|onward| onward.group.shared.can_take(ex.started));
    if !can_take(side)
        && let Some(others) = shares.without(|side| !can_take(side))
    {
        if let Some(tally) = split.tallies.get(side) {
            tally.unanswered();
        }
        // Of the numbers that fall on one side, none is as good as drawn any more.
        return (choose(&others, splitmix64(ex.dice)), By::Fallback);
    }
    let by = if known.is_some_and(|known| known.new.is_none()) { By::Sticky } else { By::Weight };
    (side, by)
}

/// Takes the split's own cookie out of a request. It differs for each client, and means nothing to a backend: where
/// answers vary by `Cookie` none would be shared. The key of the client that brings it, if that `is_asked` for and one
/// is good.
fn take_cookie(split: &LocalSplit, cookie: &StickyCookie, is_asked: bool, ex: &mut Exchange) -> Option<u64> {
    let mut verified = split.verified.as_ref()?.borrow_mut();
    let mut left = if is_asked { COOKIES_MAX } else { 0 };
    let mut key = None;
    let mut visit = |value: &[u8]| {
        if key.is_none() && left > 0 {
            left -= 1;
            key = verified.key(value, ex.started.wall, cookie.max_age);
        }
    };
    ex.head.fields.cut(Known::Cookie, |line, cut| cookies::cuts(line, &cookie.name, &mut visit, cut));
    key
}

/// What the client is known by; `None`: nothing, so chance decides. `brought`: the key that its cookie gives it, where
/// the split has cookies of its own.
fn known(split: &LocalSplit, brought: Option<u64>, ex: &Exchange) -> Option<ClientKey> {
    let headers = &ex.head.fields;
    let salt = split.shared.salt;
    let of = |bytes: &[u8]| Some(ClientKey { key: salt.key(bytes), new: None });
    match &split.shared.plan.sticky {
        Sticky::None => None,
        Sticky::ClientIp => Some(ClientKey { key: salt.address_key(ex.client), new: None }),
        Sticky::Header(name) => of(headers.first(name)?),
        Sticky::TheirCookie(name) => of(cookies::find(headers, name)?.as_bytes()),
        Sticky::Cookie(_) => Some(brought.map_or_else(
            || {
                let new = random::roll();
                ClientKey { key: salt.key(&new.to_be_bytes()), new: Some(new) }
            },
            |key| ClientKey { key, new: None },
        )),
    }
}

/// The cookie that gives a client its key (RFC 6265 §4.1).
fn cookie(split: &LocalSplit, key: u64, ex: &Exchange, admitted: &Admitted) -> Option<String> {
    let Sticky::Cookie(cookie) = &split.shared.plan.sticky else { return None };
    let value = split.shared.signer.as_ref()?.issue(key, ex.started.wall);
    let is_secure = admitted.client.scheme == Scheme::Https || cookie.same_site == SameSite::None;
    Some(written(cookie, &value, is_secure))
}

fn written(cookie: &StickyCookie, value: &str, is_secure: bool) -> String {
    let StickyCookie { name, path, domain, max_age, same_site, secret: _ } = cookie;
    let mut text = format!("{name}={value}; Path={path}; Max-Age={}; HttpOnly", max_age.as_secs());
    let same_site = match same_site {
        SameSite::Lax => "Lax",
        SameSite::Strict => "Strict",
        SameSite::None => "None",
    };
    // Writing to a String can't fail.
    let _written = write!(text, "; SameSite={same_site}");
    if let Some(domain) = domain {
        let _written = write!(text, "; Domain={domain}");
    }
    if is_secure {
        text.push_str("; Secure");
    }
    text
}
