//! Declares `[[route]]`, `redirect` and `respond`.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use policy::canary::rules::Rules;

use super::backend::BackendKeys;
use super::cache::RouteCacheKeys;
use super::mirror::MirrorKeys;
use super::split::{SPLIT, StickyCookie};
use super::table;
use crate::config::document::Section;
use crate::config::value::Table as _;

table! {
    /// What forebay does with the requests that match. A route has exactly one of `upstream`, `backends`, `split`,
    /// `redirect` and `respond`.
    pub(super) const ROUTE "[[route]]";

    /// The name in logs, the API and stored state. Left out: its path. If another route has that name, its first host
    /// and its path; if that is taken, too, the same followed by its place in the file, as in `/api (3)`.
    name as Text;
    /// The hosts that match, without port: `shop.example.com`, or `*.example.com` for every name below. Left out: all.
    host as TextOrTexts;
    /// The paths that match: `"/prefix"` by whole segments (`"/api"` and `"/api/"` are the same and match `/api` and
    /// `/api/x`, not `/apis`), `"=/exact"`, or `"~regex"`, which may match anywhere in the path: anchor it with `^` and
    /// `$`.
    path as Text = "/";
    /// The methods that match; GET includes HEAD. Left out: all.
    methods as Texts;
    /// Request headers that must be there with exactly this value.
    headers as Pairs;
    /// Query parameters that must be there with exactly this value.
    query as Pairs;
    /// Cookies that must be there with exactly this value.
    cookies as Pairs;
    /// The prefix that forebay removes from the path before forwarding, in whole segments.
    strip_prefix as Text;
    /// The prefix that forebay adds to the path before forwarding, after `strip_prefix`.
    add_prefix as Text;
    /// The path and query that backends see, as a [template](templates.md): `/v2/users/{1}{query}`. It replaces
    /// `strip_prefix` and `add_prefix`.
    rewrite as Text;
    /// Request headers that forebay sets to this value for backends.
    set_request_headers as Pairs;
    /// Request headers that forebay removes for backends.
    remove_request_headers as Texts = "";
    /// Response headers that forebay sets to this value for clients.
    set_response_headers as Pairs;
    /// Response headers that forebay removes for clients.
    remove_response_headers as Texts = "";
    /// Forwards to the upstream of this name.
    upstream as Text;
    /// Forwards to these backends: an upstream without a table, with every default, named after the route.
    backends as TablesOrTexts(BackendKeys::SECTION);
    /// Shares the requests among several upstreams, by weight. Such a route can't queue writes: its cache can't have
    /// `mode = "write-back"`.
    split as Tables(SPLIT);
    /// What keeps a client on its side of a split. `none`: chance decides each request. `cookie`: a cookie that forebay
    /// sets. `client-ip`: the client's address, of IPv6 the first 64 bits. `header:NAME`, `cookie:NAME`: a header or
    /// cookie of the application; without it, chance decides. When weights change, only as many clients change sides as
    /// necessary.
    sticky as Text = "none";
    /// The cookie of `sticky = "cookie"`.
    sticky_cookie as Table(StickyCookie::SECTION);
    /// The request header by which a client can name a side, by its upstream. It overrides everything else, and never
    /// reaches a backend. forebay ignores it if it names no side. Left out: clients can't name a side.
    override_header as Text;
    /// The response header that names the side, and what decided: `users-v2; by=sticky` (or `override`, `weight`,
    /// `fallback`). Left out: none.
    side_header as Text;
    /// Moves the weights of the split automatically. Left out: no canary.
    canary as Table(Rules::SECTION);
    /// Copies requests to another upstream. Left out: no mirror.
    mirror as Table(MirrorKeys::SECTION);
    /// Answers with a redirect.
    redirect as Table(REDIRECT);
    /// Answers with a fixed response.
    respond as Table(Respond::SECTION);
    /// How the route caches. Left out: it does not cache.
    cache as Table(RouteCacheKeys::SECTION);
}

table! {
    /// A redirect.
    const REDIRECT "redirect = { … }";

    /// The URL, as a [template](templates.md): `https://{host}{path}{query}`.
    to as Text = required("say where to: to = \"https://{host}{path}{query}\"");
    /// 301, 302, 303, 307 or 308.
    status as Count(300, 399) = "308";
}

table! {
    /// A fixed response.
    pub struct Respond "respond = { … }" => check_body;

    /// Its status.
    status: StatusCode as Count(200, 599) = "200" => status;
    /// Its `Content-Type`. Left out: no such field.
    content_type: Option<HeaderValue> as Text => content_type;
    /// Its body.
    body: Bytes as Text = "" => body;
}

fn status(section: &Section<'_>, key: &str) -> StatusCode {
    StatusCode::from_u16(section.number(key)).unwrap_or_default()
}

fn content_type(section: &Section<'_>, key: &str) -> Option<HeaderValue> {
    let text = section.text(key)?;
    let value = HeaderValue::from_str(&text.value).ok().filter(|_| text.value.contains('/'));
    if value.is_none() {
        let hint = "write content_type = \"text/plain; charset=utf-8\"";
        section.report.add(text.span.clone(), format!("{text} is no media type"), hint);
    }
    value
}

fn body(section: &Section<'_>, key: &str) -> Bytes {
    Bytes::from(section.text(key).map(|text| text.value).unwrap_or_default())
}

fn check_body(respond: &Respond, section: &Section<'_>) {
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
    if !respond.body.is_empty() && bodiless.contains(&respond.status) {
        let cause = format!("a response {} has no body", respond.status.as_u16());
        section.report.add(section.at("body"), cause, "leave body out");
    }
}
