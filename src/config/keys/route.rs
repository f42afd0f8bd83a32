//! The keys of `[[route]]` and of the tables in it.

use super::{Kind, section};
use crate::config::keys::cache::ROUTE_CACHE;
use crate::config::keys::rollout::{CANARY, MIRROR, SPLIT, STICKY_COOKIE};
use crate::config::keys::upstream::BACKEND;

section! {
    /// What is done with the requests that match. It has exactly one of `upstream`, `backends`, `split`,
    /// `redirect` and `respond`.
    ROUTE "[[route]]"

    /// What logs and state call it. Left out: its path; where another route has that name, its first host and its path;
    /// where that is taken too, the same with its place in the file behind, as `/api (3)`.
    name: Kind::Text;
    /// The hosts it is for, without port: `shop.example.com`, or `*.example.com` for every name below. Left out: all.
    host: Kind::TextOrTexts;
    /// `"/prefix"` by whole segments (`"/api"` and `"/api/"` are the same and match `/api` and `/api/x`, not `/apis`),
    /// `"=/exact"`, or `"~regex"`, searched for anywhere in the path: anchor it with `^` and `$`.
    path: Kind::Text => "/";
    /// The methods it is for. Left out: all.
    methods: Kind::Texts;
    /// Request headers that must be there with just this value.
    headers: Kind::Pairs;
    /// Query parameters that must be there with just this value.
    query: Kind::Pairs;
    /// Cookies that must be there with just this value.
    cookies: Kind::Pairs;
    /// Taken off the front of the path, in whole segments, before forwarding.
    strip_prefix: Kind::Text;
    /// Put in front of the path before forwarding, after `strip_prefix`.
    add_prefix: Kind::Text;
    /// The path and query that backends see, as a [template](templates.md): `/v2/users/{1}{query}`. In place of
    /// `strip_prefix` and `add_prefix`.
    rewrite: Kind::Text;
    /// Request headers that backends see with just this value.
    set_request_headers: Kind::Pairs;
    /// Request headers that backends don't see.
    remove_request_headers: Kind::Texts => "";
    /// Response headers that clients see with just this value.
    set_response_headers: Kind::Pairs;
    /// Response headers that clients don't see.
    remove_response_headers: Kind::Texts => "";
    /// Forwards to the upstream of this name.
    upstream: Kind::Text;
    /// Forwards to these backends: an upstream in place, with every default, named after the route.
    backends: Kind::TablesOrTexts(&BACKEND);
    /// Shares the requests out among several upstreams, by weight. Writes of such a route are not queued: its cache
    /// can't have `mode = "write-back"`.
    split: Kind::Tables(&SPLIT);
    /// What keeps a client on its side of a split: `none`, so that each request is drawn anew; `cookie`, one of the
    /// proxy's own; `client-ip`, of IPv6 the first 64 bits; `header:NAME` or `cookie:NAME`, which the application
    /// gives. When weights change, only the clients change sides that must. A client without such a header or cookie is
    /// drawn anew.
    sticky: Kind::Text => "none";
    /// The cookie of `sticky = "cookie"`.
    sticky_cookie: Kind::Table(&STICKY_COOKIE);
    /// The request header that may name a side by hand, by its upstream. It goes before everything else, is never sent
    /// on, and is as if not there when it names no side. Left out: nothing does.
    override_header: Kind::Text;
    /// The response header that tells the side, and what decided: `users-v2; by=sticky` (or `override`, `weight`,
    /// `fallback`). Left out: none.
    side_header: Kind::Text;
    /// Moves the weights of the split by itself. Left out: nothing does.
    canary: Kind::Table(&CANARY);
    /// Copies requests to another upstream. Left out: none are.
    mirror: Kind::Table(&MIRROR);
    /// Answers with a redirect.
    redirect: Kind::Table(&REDIRECT);
    /// Answers with a fixed response.
    respond: Kind::Table(&RESPOND);
    /// How it caches. Left out: it does not.
    cache: Kind::Table(&ROUTE_CACHE);
}

section! {
    /// A redirect.
    REDIRECT "redirect = { … }"

    /// Where to, as a [template](templates.md): `https://{host}{path}{query}`.
    to: Kind::Text;
    /// 301, 302, 303, 307 or 308.
    status: Kind::Count(300, 399) => "308";
}

section! {
    /// A fixed response.
    RESPOND "respond = { … }"

    /// Its status.
    status: Kind::Count(200, 599) => "200";
    /// Its `Content-Type`. Left out: no such field.
    content_type: Kind::Text;
    /// Its body.
    body: Kind::Text => "";
}
