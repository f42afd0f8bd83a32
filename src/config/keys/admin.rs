//! The keys of `[admin]` and of `[[invalidate]]`.

use super::{Kind, section};

section! {
    /// A listener apart from the clients', for people and programs that ask and direct. Left out: there is none.
    once ADMIN "[admin]"

    /// Where: `ip:port`, or `unix:/path` for a socket that only this user may open.
    listen: Kind::Text => "127.0.0.1:9900", next_start;
    /// A secret, at least 16 visible characters, that every request must bring as `Authorization: Bearer …`: write it as
    /// `"${env:NAME}"` or `"${file:/path}"`. Left out: none is asked for, which only loopback addresses and Unix sockets
    /// allow.
    token: Kind::Text, next_start;
    /// Names, without port, that a request's `Host` may have beside the address itself and `localhost`. Others are
    /// refused, so that no web page can reach the listener through a name of its own.
    hosts: Kind::Texts => "", next_start;
}

section! {
    /// What an event makes the cache forget. Several may be for one type. It names at least one of `tags`, `urls` and
    /// `prefixes`. In these, `{type}`, `{aggregate_id}` (or `{subject}`, the same) and paths into the event's data, as
    /// `{data.user_id}` or `{data.items.0.id}`, stand for what the event holds there: a string that is not empty, a
    /// whole number, `true` or `false`. An event that lacks one is refused whole. `{{` and `}}` are plain braces.
    INVALIDATE "[[invalidate]]"

    /// The type of events it is for, exactly.
    event: Kind::Text;
    /// Tags to purge, as the response headers of `tags_header` hold them: `"user:{data.user_id}"`.
    tags: Kind::Texts => "";
    /// URLs to purge, each one alone: `"/api/orders/{aggregate_id}"` for every host, or `"https://shop.example.com/…"`
    /// for one. Values stay within their segment of the path or their parameter of the query.
    urls: Kind::Texts => "";
    /// Beginnings of URLs to purge: `"/api/lists/{data.user_id}/"`. Without a slash at the end, `/a/1` is `/a/10` too.
    prefixes: Kind::Texts => "";
    /// `true`: what is purged becomes stale, and is served while it is fetched anew; `false`: it is gone.
    soft: Kind::Flag => "false";
}
