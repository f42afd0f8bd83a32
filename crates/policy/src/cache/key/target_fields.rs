//! What a backend builds URLs or routes from, and what becomes of each on a caching route.
//!
//! Two requests with one key may be answered by one response. So all that a backend may build that response's links,
//! redirects and content from must be the same for both: made the same, or in the key, or taken away. All other fields
//! are the origin's business, through `Vary` (RFC 9111 §4.1), or the route's, through `key.headers`.

use http::header::HOST;
use http::{HeaderName, HeaderValue};
use message::Fields;

use crate::message::census::{Census, Rare};
use crate::message::names::{self, X_FORWARDED_HOST};

/// What becomes of an item on a caching route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The backend sees the form that the key holds, however the client wrote it.
    Normalised,
    /// The backend sees what a trusted proxy wrote, and the key holds it. From others it is removed.
    Keyed,
    /// Removed, whoever wrote it.
    Removed,
}

/// Part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The target's path.
    Path,
    /// The target's query.
    Query,
    /// The field of this name.
    Field(&'static str),
    /// All fields whose names begin so and are not named alone.
    Fields(&'static str),
}

/// All that a backend builds URLs or routes from. The method is not among it: under a key there are answers to GET
/// alone. `X-Forwarded-For` and `X-Real-IP` name the client, which is no part of a URL.
pub const TABLE: &[(Item, Treatment)] = &[
    (Item::Path, Treatment::Normalised),
    (Item::Query, Treatment::Normalised),
    // With a final dot it is in the key, too: the URI's part of that has none.
    (Item::Field("host"), Treatment::Normalised),
    (Item::Field("x-forwarded-proto"), Treatment::Normalised),
    (Item::Field("forwarded"), Treatment::Normalised),
    (Item::Field("x-forwarded-host"), Treatment::Keyed),
    (Item::Field("x-forwarded-port"), Treatment::Keyed),
    (Item::Field("x-forwarded-prefix"), Treatment::Keyed),
    (Item::Field("x-forwarded-scheme"), Treatment::Keyed),
    (Item::Field("x-forwarded-server"), Treatment::Keyed),
    (Item::Field("x-forwarded-ssl"), Treatment::Keyed),
    (Item::Fields("x-forwarded-"), Treatment::Keyed),
    (Item::Field("x-original-url"), Treatment::Removed),
    (Item::Field("x-original-uri"), Treatment::Removed),
    (Item::Field("x-original-host"), Treatment::Removed),
    (Item::Field("x-original-method"), Treatment::Removed),
    (Item::Field("x-rewrite-url"), Treatment::Removed),
    (Item::Field("x-host"), Treatment::Removed),
    (Item::Field("x-http-host-override"), Treatment::Removed),
    (Item::Field("x-scheme"), Treatment::Removed),
    (Item::Field("x-url-scheme"), Treatment::Removed),
    (Item::Field("front-end-https"), Treatment::Removed),
    (Item::Field("x-script-name"), Treatment::Removed),
    (Item::Field("x-http-method"), Treatment::Removed),
    (Item::Field("x-http-method-override"), Treatment::Removed),
    (Item::Field("x-method-override"), Treatment::Removed),
];

/// What becomes of a field; `None`: no URL is built from it. Lower case is expected.
#[must_use]
pub fn treatment(name: &str) -> Option<Treatment> {
    if name == "x-forwarded-for" {
        return None;
    }
    let found = TABLE.iter().find(|(item, _)| match item {
        Item::Field(field) => *field == name,
        Item::Fields(front) => name.starts_with(front),
        Item::Path | Item::Query => false,
    });
    found.map(|(_, treatment)| *treatment)
}

/// Makes the fields of a request agree with its key: `Host` in normal form, what is removed gone. Forwarding fields
/// have been written by `message::stamp`, with the same `Host`; `census` counts the request.
pub fn settle(headers: &mut Fields, census: Census, host: &HeaderValue) {
    if headers.get(HOST) != Some(host) {
        headers.insert(HOST, host.clone());
    }
    if census.has(Rare::Override) {
        names::drop_overrides(headers);
    }
}

/// The fields of a settled request that its key holds beside its URI, in the order of their names.
pub(super) fn keyed(headers: &Fields) -> Vec<&HeaderName> {
    let host = headers.get(HOST);
    let is_keyed = |name: &&HeaderName| match name.as_str() {
        "host" => host.is_some_and(has_final_dot),
        // Written for every request, mostly with what `Host` says anyway.
        "x-forwarded-host" => headers.get_all(&X_FORWARDED_HOST).iter().any(|value| Some(value) != host),
        name => name.starts_with("x-forwarded-") && treatment(name) == Some(Treatment::Keyed),
    };
    let mut keyed: Vec<&HeaderName> = headers.keys().filter(is_keyed).collect();
    keyed.sort_unstable_by_key(|name| name.as_str());
    keyed
}

fn has_final_dot(host: &HeaderValue) -> bool {
    host.as_bytes().split(|byte| *byte == b':').next().is_some_and(|name| name.ends_with(b"."))
}

#[cfg(test)]
mod tests;
