//! A request on a route that caches: answered from the store where that may be, else forwarded, and learnt from.

use std::rc::Rc;
use std::time::Duration;

use http::{Method, StatusCode, Uri};
use http_body::Body as _;
use message::{Fields, Known, KnownSet};
use policy::cache::facts::RequestFacts;
use policy::cache::forget::{self, forgotten};
use policy::cache::key::{Key, KeyBuffer, LookupKey, Space, Target};
use policy::cache::overlap::Writer;
use policy::message::cache_control::RequestDirectives;
use policy::message::cache_status::{CacheStatus, Forward, Handling};
use policy::message::conditions::asks_the_origin;

use super::gate;
use super::onward::Onward;
use super::sanitize::{self, Admitted};
use super::site::Site;
use super::through::{self, Outgoing, Underway};
use super::write::{Pending, Writing, line, pending};
use crate::config::plan::{CacheMode, Route};
use crate::exchange::fault::Fault;
use crate::exchange::{Answer, Exchange};
use crate::observe::clock;
use crate::store::purge::{Prefix, Purge};
use crate::store::serve::Wanted;
use crate::store::{self, Caching, Fetch, Request};
use crate::upstream::send::Draft;
use crate::writeback::desk::Found;
use crate::writeback::take::FOREBAY_WRITE;

/// A route that caches, where it leads, and how it caches.
pub type Way<'a> = (&'a Route, &'a Rc<Onward>, &'a Rc<Caching>);

/// Answers a request on a caching route that [`at_once`] has no answer for.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub async fn answer(site: &Site, way: Way<'_>, ex: &mut Exchange, admitted: &Admitted) -> Result<Answer, Fault> {
    let (route, onward, caching) = way;
    sanitize::stamp_settled(site, ex, admitted);
    if let Some(answer) = Box::pin(kept(site, way, ex, admitted)).await {
        return answer;
    }
    let target = target(ex, admitted);
    let has_body = ex.body.as_ref().is_some_and(|body| !body.is_end_stream());
    let space = Space { name: &caching.space, rules: &caching.rules.key };
    let key = Key::of_request(space, &ex.head.method, &target, &ex.head.fields, has_body);
    let aside = aside(ex, admitted, key.is_some());
    let (Some(key), None) = (key, aside) else {
        let target = target.into_owned();
        let key = key_of_content(space, ex, &target);
        if is_only_if_cached(ex) {
            return Err(Fault::OnlyIfCached);
        }
        let draft = gate::draft(site, route, &onward.group, (ex, admitted))?;
        ex.cache_status = aside;
        return Box::pin(pass(site, (onward, caching), ex, (draft, target, key))).await;
    };
    settle_query(caching, ex)?;
    let draft = gate::draft(site, route, &onward.group, (ex, admitted))?;
    let fetch = ToUpstream { onward: Rc::clone(onward), target: draft.target };
    let caching = Rc::clone(caching);
    let (method, headers, is_returning) = (draft.method, draft.headers, admitted.is_returning);
    store::answer(ex, Request { caching, key, method, headers, is_returning, fetch }).await
}

/// Gives a request the query that its key holds: what the answer is made of must be the same for all who get it.
fn settle_query(caching: &Caching, ex: &mut Exchange) -> Result<(), Fault> {
    let uri = &ex.head.uri;
    let normal = caching.rules.key.query(uri.query());
    if normal.as_deref() == uri.query() {
        return Ok(());
    }
    let settled = sanitize::with_path(uri.path(), normal.as_deref()).ok_or(Fault::BadRequest("invalid target"))?;
    ex.head.uri = settled;
    Ok(())
}

/// The key of what a PUT or POST may bring for GETs to come. `None`: nothing, as where the backend sees another query
/// than the key holds.
fn key_of_content(space: Space<'_>, ex: &Exchange, target: &Target<'_>) -> Option<Key> {
    let is_settled = || space.rules.query(target.query()).as_deref() == target.query();
    // Before the route's changes to the fields, as for a GET.
    matches!(ex.head.method, Method::PUT | Method::POST)
        .then(|| Key::of_request(space, &Method::GET, target, &ex.head.fields, false))
        .flatten()
        .filter(|_| is_settled())
}

/// Fields by which a request asks for more than what is stored.
const NOT_PLAIN: KnownSet = KnownSet::of(&[
    Known::CacheControl,
    Known::IfMatch,
    Known::IfModifiedSince,
    Known::IfNoneMatch,
    Known::IfRange,
    Known::IfUnmodifiedSince,
    Known::Pragma,
    Known::Range,
]);

/// Answers with what is stored, where nothing but the URI matters for that: by far the most frequent way. What the
/// request would say to a backend is not worked out for it.
pub fn at_once(
    site: &Site,
    (route, caching): (&Route, &Caching),
    ex: &mut Exchange,
    admitted: &Admitted,
) -> Option<Answer> {
    let head = &ex.head;
    let is_plain = caching.is_plain
        && route.request_headers.is_empty()
        && matches!(head.method, Method::GET | Method::HEAD)
        && !admitted.tags.intersects(NOT_PLAIN)
        && site.desk().is_none_or(|desk| desk.is_idle())
        && admitted.switches.is_none()
        && ex.body.as_ref().is_none_or(http_body::Body::is_end_stream)
        && !admitted.host.has_final_dot
        && !admitted.is_trusted;
    if !is_plain {
        return None;
    }
    let target = target(ex, admitted);
    let space = Space { name: &caching.space, rules: &caching.rules.key };
    let mut buffer = KeyBuffer::new();
    store::at_once(ex, caching, LookupKey::of_uri(space, &target, &mut buffer))
}

/// What writes that are pending have to say: to a write of the same URI, and to a read of it. `None`: nothing.
async fn kept(
    site: &Site,
    (route, onward, caching): Way<'_>,
    ex: &mut Exchange,
    admitted: &Admitted,
) -> Option<Result<Answer, Fault>> {
    let desk = site.desk()?;
    let back = match &caching.rules.mode {
        CacheMode::Back(back) => Some(back),
        // What was queued before the route's mode was changed is still in order.
        CacheMode::Aside | CacheMode::Through if desk.is_idle() => return None,
        CacheMode::Aside | CacheMode::Through => None,
    };
    let target = target(ex, admitted).into_owned();
    let is_write = !forget::is_safe(&ex.head.method);
    if is_write && back.is_none() && matches!(desk.find(line(caching, &target).bytes()), Found::Clean) {
        return None;
    }
    if is_write {
        let draft = match gate::draft(site, route, &onward.group, (ex, admitted)) {
            Ok(draft) => draft,
            Err(fault) => return Some(Err(fault)),
        };
        let aside = Handling::Forwarded { why: Forward::Method, status: None, stored: false, collapsed: false };
        ex.cache_status = Some(CacheStatus::new(aside));
        let writing = Writing { site, desk, route: &route.name, caching, onward, back, target };
        return Some(writing.answer(ex, draft).await);
    }
    if !matches!(ex.head.method, Method::GET | Method::HEAD) || desk.is_idle() {
        return None;
    }
    let wanted = Wanted { method: &ex.head.method, headers: &ex.head.fields, dice: ex.dice };
    match pending(desk, &line(caching, &target), &wanted, ex)? {
        Pending::Answer(answer) => {
            ex.cache_status = Some(CacheStatus { detail: Some("dirty"), ..CacheStatus::new(Handling::Hit) });
            Some(Ok(answer))
        }
        Pending::Ask => {
            let draft = match gate::draft(site, route, &onward.group, (ex, admitted)) {
                Ok(draft) => draft,
                Err(fault) => return Some(Err(fault)),
            };
            let aside = Handling::Forwarded { why: Forward::Bypass, status: None, stored: false, collapsed: false };
            ex.cache_status = Some(CacheStatus { detail: Some("write-pending"), ..CacheStatus::new(aside) });
            let mut answer = match onward.forward(ex, &draft).await {
                Ok(answer) => answer,
                Err(fault) => return Some(Err(fault)),
            };
            caching.hide_tags(&mut answer.fields);
            answer.fields.set(&FOREBAY_WRITE, "pending");
            Some(Ok(answer))
        }
    }
}

/// The target in the form that keys are made of (RFC 9110 §7.1).
fn target<'a>(ex: &'a Exchange, admitted: &'a Admitted) -> Target<'a> {
    let uri = &ex.head.uri;
    Target::of_normal(admitted.client.scheme, &admitted.host.name, admitted.host.port, uri.path(), uri.query())
}

/// Whether the cache follows what a request writes.
fn writes_through(caching: &Caching, draft: &Draft) -> bool {
    let is_asked_for = match caching.rules.mode {
        CacheMode::Through => true,
        CacheMode::Aside | CacheMode::Back(_) => false,
    };
    is_asked_for && !forget::is_safe(&draft.method) && draft.switches.is_none()
}

/// Why a request is never looked up, if it is not.
fn aside(ex: &Exchange, admitted: &Admitted, has_key: bool) -> Option<CacheStatus<'static>> {
    let (why, detail) = if !matches!(ex.head.method, Method::GET | Method::HEAD) {
        (Forward::Method, None)
    } else if !has_key {
        (Forward::Bypass, Some("request-body"))
    } else if admitted.switches.is_some() {
        (Forward::Bypass, Some("upgrade"))
    } else if asks_the_origin(&ex.head.fields) {
        (Forward::Bypass, Some("precondition"))
    } else {
        return None;
    };
    let handling = Handling::Forwarded { why, status: None, stored: false, collapsed: false };
    Some(CacheStatus { detail, ..CacheStatus::new(handling) })
}

/// Whether a request that is never looked up wants nothing but what is stored (RFC 9111 §5.2.1.7). To methods that are
/// never answered from a store the directive means nothing.
fn is_only_if_cached(ex: &mut Exchange) -> bool {
    let is_it =
        matches!(ex.head.method, Method::GET | Method::HEAD) && RequestDirectives::of(&ex.head.fields).only_if_cached;
    if is_it {
        ex.cache_status = Some(CacheStatus { detail: Some("only-if-cached"), ..CacheStatus::new(Handling::Neither) });
    }
    is_it
}

/// The way to an upstream, for the store.
#[derive(Clone, Debug)]
struct ToUpstream {
    onward: Rc<Onward>,
    target: Uri,
}

impl Fetch for ToUpstream {
    async fn fetch(&self, ex: &mut Exchange, method: Method, headers: Fields) -> Result<Answer, Fault> {
        let draft = Draft { method, target: self.target.clone(), headers, source: None, switches: None };
        self.onward.forward(ex, &draft).await
    }

    fn time_limit(&self) -> Duration {
        self.onward.group.shared.plan.timeouts.request
    }
}

/// Forwards a request that changes something, on a route that need not cache, and forgets what others have stored.
///
/// # Errors
/// What the client is to be told instead of an answer.
pub async fn change(
    site: &Site,
    (route, onward): (&Route, &Rc<Onward>),
    ex: &mut Exchange,
    admitted: &Admitted,
) -> Result<Answer, Fault> {
    sanitize::stamp(site, ex, admitted, &admitted.host.authority);
    let target = target(ex, admitted).into_owned();
    let draft = gate::draft(site, route, &onward.group, (ex, admitted))?;
    write(site, onward, ex, Outgoing { draft: &draft, target: &target, writer: Writer::Client }).await
}

/// Forwards a request, and forgets what it has made void (RFC 9111 §4.4).
pub(super) async fn write(
    site: &Site,
    onward: &Onward,
    ex: &mut Exchange,
    outgoing: Outgoing<'_>,
) -> Result<Answer, Fault> {
    let Outgoing { draft, target, writer: _ } = outgoing;
    let method = draft.method.clone();
    if forget::is_safe(&method) {
        return onward.forward(ex, draft).await;
    }
    let underway = Underway::begin(site, outgoing);
    let answered = onward.forward(ex, draft).await;
    let is_success = answered.as_ref().is_ok_and(|answer| answer.status.is_success());
    underway.end(through::ended(&answered, ex), is_success, |_is_alone| match &answered {
        Ok(answer) => {
            for target in forgotten(&method, target, answer.status, &answer.fields) {
                forget_target(site, &target);
            }
        }
        Err(fault) if fault.leaves_doubt() => forget_target(site, target),
        Err(_) => {}
    });
    answered
}

/// Forwards a request that the store can't answer; keeps what it brings, where that may be.
async fn pass(
    site: &Site,
    (onward, caching): (&Rc<Onward>, &Rc<Caching>),
    ex: &mut Exchange,
    (draft, target, key): (Draft, Target<'static>, Option<Key>),
) -> Result<Answer, Fault> {
    let sent = clock::now();
    // What POST brings may stand for the target itself; then its fields choose like those of GET.
    let asked = key.clone().filter(|_| draft.method == Method::POST);
    let asked = asked.map(|key| (key, draft.headers.clone(), draft.source.is_some()));
    let outgoing = Outgoing { draft: &draft, target: &target, writer: Writer::Client };
    let mut answer = if writes_through(caching, &draft) {
        let key = key.filter(|_| draft.method == Method::PUT);
        through::write(site, (onward, caching), ex, outgoing, key).await?
    } else {
        write(site, onward, ex, outgoing).await?
    };
    let is_stored = answer.status == StatusCode::OK && answer.fields.has(Known::ContentLocation);
    let uri = target.to_string().parse::<Uri>();
    let (Some((key, headers, has_body)), Ok(uri)) = (asked.filter(|_| is_stored), uri) else {
        caching.hide_tags(&mut answer.fields);
        return Ok(answer);
    };
    let facts = RequestFacts::of(&Method::POST, &uri, &headers, has_body);
    Ok(store::take_unasked(ex, caching, (key, &headers, facts, sent), answer))
}

/// Forgets all that is stored for URIs of this origin whose path begins with this one's.
pub(super) fn forget_members(site: &Site, collection: &Target<'_>) {
    let authority = Some((Box::from(collection.name()), Some(collection.port())));
    let path = site.plan().key_path(collection.path()).into();
    let prefix = Prefix { scheme: Some(collection.scheme()), authority, path };
    let _touched = site.generation.store.purge_prefix(prefix, Purge::Hard);
}

/// Forgets all that is stored for a target, by whichever route's rules.
pub(super) fn forget_target(site: &Site, target: &Target<'_>) {
    // What a response names has not been through `sanitize`.
    let target = &target.on_path(site.plan().key_path(target.path()));
    for caching in site.cachings_of(target.name(), target.path()) {
        caching.store.purge_uri(&line(caching, target), Purge::Hard);
    }
}

/// The same, but for what is stored under this key of its URI.
pub(super) fn forget_others(site: &Site, target: &Target<'_>, own: &Key) {
    for caching in site.cachings_of(target.name(), target.path()) {
        let key = line(caching, target);
        if key != *own {
            caching.store.purge_uri(&key, Purge::Hard);
        }
    }
}
