//! Finds the hop-by-hop fields of a head (RFC 9110 §7.6.1).
//!
//! Dropped: `Connection` and all fields it names, `Keep-Alive`, `Proxy-Connection`, `TE`, `Transfer-Encoding`,
//! `Upgrade`, and fields from proxy to proxy (`Proxy-Authenticate`, `Proxy-Authentication-Info`, `Proxy-Authorization`,
//! RFC 9110 §11.7: this proxy does not use them, and they may be secret). Kept unless named: `Trailer`, because
//! trailers are forwarded. A request's `TE: trailers` is rewritten, because it states what this proxy supports.
//! `Upgrade` (see `upgrade`) and `Transfer-Encoding` must be evaluated before.

use message::{Edit, Fields, Known, KnownSet, Name};

use super::list::{elements, holds, is_token};
use super::names;

/// Fields of one connection, and fields between proxies.
pub const HOP_BY_HOP: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyAuthenticate,
    Known::ProxyAuthenticationInfo,
    Known::ProxyAuthorization,
    Known::ProxyConnection,
    Known::Te,
    Known::TransferEncoding,
    Known::Upgrade,
]);

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client to a backend.
    Request,
    /// From a backend to a client.
    Response,
}

/// A request's `Connection` names an end-to-end field: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Connection names a field that is not the connection's own")]
pub struct Nominated;

/// The hop-by-hop fields of a head; empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HopByHop {
    tags: KnownSet,
    /// Fields that `Connection` names, without case.
    nominated: Vec<Vec<u8>>,
    /// Whether `TE: trailers` is sent to the backend.
    takes_trailers: bool,
}

impl HopByHop {
    /// Prepares the head for the next connection.
    pub fn apply(&self, fields: &mut Fields) {
        if self.nominated.is_empty() && !self.takes_trailers {
            fields.drop_known(self.tags);
        } else {
            fields.apply_all(self.edits());
        }
    }

    /// The edits that prepare the head for the next connection.
    pub fn edits(&self) -> impl Iterator<Item = Edit<'_>> {
        let nominated = self.nominated.iter().map(|name| Edit::Drop(Name::Text(name)));
        let dropped = (!self.tags.is_empty()).then_some(Edit::DropKnown(self.tags));
        let te = self.takes_trailers.then(|| {
            [Edit::append(Known::Te, b"trailers".as_slice()), Edit::append(Known::Connection, b"te".as_slice())]
        });
        nominated.chain(dropped).chain(te.into_iter().flatten())
    }
}

/// Finds the hop-by-hop fields of a message. A head without any costs one comparison.
///
/// A response may name any field; named end-to-end fields are kept, so that a careless backend cannot remove fields
/// that protect its users.
///
/// # Errors
/// [`Nominated`] if a request's `Connection` names an end-to-end field, whether or not that field is present.
pub fn find(fields: &Fields, direction: Direction) -> Result<HopByHop, Nominated> {
    let tags = fields.tags().intersection(HOP_BY_HOP);
    if tags.is_empty() {
        return Ok(HopByHop::default());
    }
    let is_listed = tags.contains(Known::Connection) && !is_plain(fields);
    let nominated = if is_listed { nominated(fields, direction)? } else { Vec::new() };
    let takes_trailers =
        direction == Direction::Request && tags.contains(Known::Te) && holds(fields.values(Known::Te), "trailers");
    Ok(HopByHop { tags, nominated, takes_trailers })
}

/// Whether `Connection` is a single common option that names no field.
fn is_plain(fields: &Fields) -> bool {
    matches!(fields.only(Known::Connection), Some(b"keep-alive" | b"Keep-Alive" | b"close" | b"Close"))
}

/// The fields of the head that `Connection` names, other than those that are dropped anyway. A head may name thousands
/// of fields, so each is looked up among the sorted names of the fields.
fn nominated(fields: &Fields, direction: Direction) -> Result<Vec<Vec<u8>>, Nominated> {
    let mut nominated = Vec::new();
    let mut there: Option<Vec<Vec<u8>>> = None;
    let names = || {
        let mut names: Vec<_> = fields.iter().map(|field| field.name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        names
    };
    // Only a token can be a field name.
    let is_name = |option: &&[u8]| is_token(option) && !is_ordinary_option(option);
    for option in elements(fields.values(Known::Connection)).filter(is_name) {
        match (is_end_to_end(option), direction) {
            (true, Direction::Request) => return Err(Nominated),
            (true, Direction::Response) => {}
            (false, _) => {
                let there = there.get_or_insert_with(names);
                let lower_case = || option.iter().map(u8::to_ascii_lowercase);
                if let Ok(place) = there.binary_search_by(|name| name.iter().copied().cmp(lower_case())) {
                    nominated.push(there.remove(place));
                }
            }
        }
    }
    Ok(nominated)
}

/// Options that name no field, or one that is dropped anyway.
fn is_ordinary_option(option: &[u8]) -> bool {
    [&b"keep-alive"[..], b"close", b"upgrade", b"te", b"proxy-connection"]
        .iter()
        .any(|known| option.eq_ignore_ascii_case(known))
}

/// Whether a field is end-to-end, so that `Connection` must not name it: fields that frame, route, authenticate or
/// describe the message, that control caches and browsers, and that only this proxy writes. Ignores case.
fn is_end_to_end(name: &[u8]) -> bool {
    const TAGS: KnownSet = names::OURS.union(KnownSet::of(&[
        Known::Age,
        Known::Authorization,
        Known::CacheControl,
        Known::Cookie,
        Known::Date,
        Known::Etag,
        Known::Expect,
        Known::Expires,
        Known::Host,
        Known::LastModified,
        Known::Location,
        Known::MaxForwards,
        Known::Origin,
        Known::Pragma,
        Known::Range,
        Known::SetCookie,
        Known::TransferEncoding,
        Known::Vary,
    ]));
    const PREFIXES: [&[u8]; 5] = [b"content-", b"if-", b"access-control-", b"sec-", b"cross-origin-"];
    const NAMES: &[&[u8]] = &[
        b"permissions-policy",
        b"referrer-policy",
        b"strict-transport-security",
        b"www-authenticate",
        b"x-content-type-options",
        b"x-frame-options",
    ];
    let starts_with = |prefix: &&[u8]| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    TAGS.contains(Known::of(name))
        || NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
        || PREFIXES.iter().any(starts_with)
}

#[cfg(test)]
mod tests {
    use super::super::scripted::fields;
    use super::*;
    use proptest::prelude::*;

    fn removed(direction: Direction, pairs: &[(&str, &str)]) -> Result<Fields, Nominated> {
        let mut fields = fields(pairs);
        let found = find(&fields, direction)?;
        found.apply(&mut fields);
        Ok(fields)
    }

    #[test]
    fn a_nominated_host_is_refused() {
        assert_eq!(removed(Direction::Request, &[("host", "a"), ("connection", "close, Host")]), Err(Nominated));
    }

    #[test]
    fn nominated_forwarding_framing_and_own_fields_are_refused() {
        let cases = [
            "x-forwarded-for, content-length",
            "content-length",
            "transfer-encoding",
            "forwarded",
            "via",
            "x-request-id",
            "forebay-side",
            "authorization",
            "Cache-Control",
            "cookie",
            "if-none-match",
        ];
        for options in cases {
            assert_eq!(removed(Direction::Request, &[("connection", options)]), Err(Nominated), "{options}");
        }
    }

    #[test]
    fn nominated_fields_are_removed_over_several_lines() {
        let left = removed(
            Direction::Request,
            &[
                ("connection", "close, X-One"),
                ("x-one", "1"),
                ("connection", "x-two"),
                ("x-two", "2"),
                ("accept", "*/*"),
            ],
        );
        assert_eq!(left, Ok(fields(&[("accept", "*/*")])));
    }

    #[test]
    fn thousands_of_nominated_names_are_no_more_edits_than_there_are_fields() {
        let options: Vec<String> = (0..5000).map(|number| format!("X-{}", number % 1000)).collect();
        let mut head = fields(&[("x-7", "1"), ("X-07", "2"), ("x-7", "3"), ("X-999", "4")]);
        head.append(Known::Connection, options.join(","));
        let found = find(&head, Direction::Request).unwrap();
        assert_eq!(found.edits().count(), 3);
        head.apply_all(found.edits());
        assert_eq!(head, fields(&[("X-07", "2")]));
    }

    #[test]
    fn fields_of_the_connection_go_also_when_not_nominated() {
        let left = removed(
            Direction::Request,
            &[
                ("keep-alive", "timeout=5"),
                ("proxy-connection", "keep-alive"),
                ("te", "gzip"),
                ("transfer-encoding", "chunked"),
                ("upgrade", "websocket"),
                ("proxy-authorization", "Basic x"),
                ("trailer", "x-sum"),
                ("cookie", "a=b"),
            ],
        );
        assert_eq!(left, Ok(fields(&[("trailer", "x-sum"), ("cookie", "a=b")])));
    }

    #[test]
    fn te_trailers_is_written_anew_for_a_backend() {
        let left = removed(Direction::Request, &[("te", "gzip, trailers"), ("connection", "te, close")]);
        assert_eq!(left, Ok(fields(&[("te", "trailers"), ("connection", "te")])));
    }

    #[test]
    fn a_response_can_not_take_away_what_protects_its_users() {
        let left = removed(
            Direction::Response,
            &[
                ("connection", "strict-transport-security, x-hop, set-cookie"),
                ("strict-transport-security", "max-age=1"),
                ("set-cookie", "a=b"),
                ("x-hop", "1"),
                ("te", "trailers"),
            ],
        );
        assert_eq!(left, Ok(fields(&[("strict-transport-security", "max-age=1"), ("set-cookie", "a=b")])));
    }

    #[test]
    fn an_option_that_is_no_field_name_is_harmless() {
        assert_eq!(removed(Direction::Request, &[("connection", "a b, \"x\", @, content-a b")]), Ok(Fields::new()));
    }

    #[test]
    fn a_head_without_fields_of_the_connection_needs_no_edit() {
        let found = find(&fields(&[("host", "a"), ("accept", "*/*")]), Direction::Request).unwrap();
        assert_eq!((found.edits().count(), found), (0, HopByHop::default()));
    }

    const HOP: [&str; 7] =
        ["keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade", "proxy-authorization", "connection"];
    const ORDINARY: [&str; 6] = ["accept", "cookie", "x-one", "x-two", "user-agent", "trailer"];

    proptest! {
        #[test]
        fn no_field_of_the_connection_survives_and_all_others_do(
            hop in proptest::sample::subsequence(HOP.to_vec(), 0..=HOP.len()),
            ordinary in proptest::sample::subsequence(ORDINARY.to_vec(), 0..=ORDINARY.len()),
            nominated in proptest::sample::subsequence(vec!["x-one", "X-Two", "close", "keep-alive", "x-three"], 0..=5),
        ) {
            let mut before = Fields::new();
            for name in hop.iter().chain(&ordinary).filter(|name| **name != "connection") {
                before.append(*name, "1");
            }
            for option in &nominated {
                before.append(Known::Connection, option);
            }
            let mut after = before.clone();
            find(&before, Direction::Request).unwrap().apply(&mut after);
            for name in HOP {
                prop_assert!(!after.contains(name));
            }
            for name in ordinary {
                let named = nominated.iter().any(|option| option.eq_ignore_ascii_case(name));
                prop_assert_eq!(after.contains(name), !named, "{}", name);
            }
        }
    }
}
