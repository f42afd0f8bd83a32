//! The parts of a request from which a backend may build URLs or choose a site, and how a caching route treats each.
//!
//! Requests with the same key may share a response. So every part that a backend may use to build the response's links,
//! redirects or content must be equal for both: normalised, part of the key, or removed. Other fields are up to the
//! origin, with `Vary` (RFC 9111 §4.1), or up to the route, with `key.headers`.

use message::{Edit, Field, Fields, Known, KnownSet};

/// How a caching route treats an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// The backend receives the normalised form that the key contains.
    Normalised,
    /// The backend receives the value from a trusted proxy, and the key contains it. From other peers it is removed.
    Keyed,
    /// Always removed.
    Removed,
}

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// The target's path.
    Path,
    /// The target's query.
    Query,
    /// The field of this name.
    Field(&'static str),
    /// All fields with this name prefix that have no entry of their own.
    Fields(&'static str),
}

/// The items. The method is none of them, because a key only has responses to GET. `X-Forwarded-For` and `X-Real-IP`
/// name the client, which is not part of a URL.
pub const TABLE: &[(Item, Treatment)] = &[
    (Item::Path, Treatment::Normalised),
    (Item::Query, Treatment::Normalised),
    // A name with a final dot is also keyed, because the URI in the key has none.
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

/// The treatment of a field, ignoring the case of its name; `None`: no URL is built from it.
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

/// The edits that make the fields of a request consistent with its key: `Host` normalised, removed fields dropped.
/// `message::forwarding_fields` must have written the forwarding fields, with the same `Host`.
pub fn edits<'h>(headers: &Fields, host: &'h [u8]) -> impl Iterator<Item = Edit<'h>> + use<'h> {
    let is_same = headers.first(Known::Host) == Some(host);
    let host = (!is_same).then(|| Edit::set(Known::Host, host));
    let removed = headers.has(Known::Override).then_some(Edit::DropKnown(KnownSet::of(&[Known::Override])));
    [host, removed].into_iter().flatten()
}

/// The lines of a request that its key contains beyond the URI, sorted by name; lines with the same name in the order
/// of the request. The [`edits`] must have been applied.
pub(in crate::cache) fn keyed(headers: &Fields) -> Vec<Field<'_>> {
    const MAY_BE_KEYED: KnownSet = KnownSet::of(&[Known::Host, Known::XForwardedHost, Known::XForwarded]);
    let host = headers.first(Known::Host);
    let mut tags = headers.tags();
    if !host.is_some_and(has_final_dot) {
        tags = tags.without(Known::Host.into());
    }
    // Set on every request, usually to the value of `Host`.
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
