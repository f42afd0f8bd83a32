//! What a backend builds URLs or routes from, and what becomes of each on a caching route.
//!
//! Two requests with one key may be answered by one response. So all that a backend may build that response's links,
//! redirects and content from must be the same for both: made the same, or in the key, or taken away. All other fields
//! are the origin's business, through `Vary` (RFC 9111 §4.1), or the route's, through `key.headers`.

use message::{Edit, Field, Fields, Known, KnownSet};

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

/// What becomes of a field, whatever the case of its name; `None`: no URL is built from it.
#[must_use]
pub fn treatment(name: &[u8]) -> Option<Treatment> {
    if name.eq_ignore_ascii_case(b"x-forwarded-for") {
        return None;
    }
    let found = TABLE.iter().find(|(item, _)| match item {
        Item::Field(field) => name.eq_ignore_ascii_case(field.as_bytes()),
        Item::Fields(front) => {
            name.get(..front.len()).is_some_and(|start| start.eq_ignore_ascii_case(front.as_bytes()))
        }
        Item::Path | Item::Query => false,
    });
    found.map(|(_, treatment)| *treatment)
}

/// The edits that make the fields of a request agree with its key: `Host` in normal form, what is removed gone.
/// Forwarding fields have been written by `message::forwarding_fields`, with the same `Host`.
pub fn edits<'h>(headers: &Fields, host: &'h [u8]) -> impl Iterator<Item = Edit<'h>> + use<'h> {
    let is_same = headers.first(Known::Host) == Some(host);
    let host = (!is_same).then(|| Edit::set(Known::Host, host));
    let removed = headers.has(Known::Override).then_some(Edit::DropKnown(KnownSet::of(&[Known::Override])));
    [host, removed].into_iter().flatten()
}

/// The lines of a request that its key holds beside its URI, in the order of their names, those of one name in the
/// order of the request. The [`edits`] must have been applied.
pub(in crate::cache) fn keyed(headers: &Fields) -> Vec<Field<'_>> {
    const MAY_BE_KEYED: KnownSet = KnownSet::of(&[Known::Host, Known::XForwardedHost, Known::XForwarded]);
    let host = headers.first(Known::Host);
    let mut tags = headers.tags();
    if !host.is_some_and(has_final_dot) {
        tags = tags.without(Known::Host.into());
    }
    // Written for every request, mostly with what `Host` says anyway.
    if headers.values(Known::XForwardedHost).all(|value| Some(value) == host) {
        tags = tags.without(Known::XForwardedHost.into());
    }
    if !tags.intersects(MAY_BE_KEYED) {
        return Vec::new();
    }
    let is_keyed = |field: &Field<'_>| MAY_BE_KEYED.contains(field.known) && tags.contains(field.known);
    let mut keyed: Vec<Field<'_>> = headers.iter().filter(is_keyed).collect();
    keyed.sort_by(|one, other| lower_case(one.name).cmp(lower_case(other.name)));
    keyed
}

/// The bytes of a name in lower case.
pub(super) fn lower_case(name: &[u8]) -> impl Iterator<Item = u8> {
    name.iter().map(u8::to_ascii_lowercase)
}

fn has_final_dot(host: &[u8]) -> bool {
    host.split(|byte| *byte == b':').next().is_some_and(|name| name.ends_with(b"."))
}

#[cfg(test)]
mod tests;
