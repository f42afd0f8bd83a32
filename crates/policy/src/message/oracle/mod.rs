//! The rules as they were when heads were maps, against which today's are held: on any head both give the same verdict.

mod cache_control;
mod census;
mod conditions;
mod etag;
mod forwarded;
mod hop;
mod list;
mod names;
mod stamp;
mod vary;
mod via;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use message::{Fields, Known};
use proptest::prelude::*;

use self::census::{Census, Rare};
use super::scheme::Scheme;
use super::{cache_control as new_cache_control, conditions as new_conditions, forwarded as new_forwarded};
use super::{hop as new_hop, names as new_names, stamp as new_stamp, trailers, vary as new_vary, via as new_via};

/// Names that the rules look at, those that begin or end as they do, and ordinary ones.
const NAMES: &[&str] = &[
    "accept",
    "accept-encoding",
    "accept-language",
    "accept-charset",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content_length",
    "cookie",
    "date",
    "etag",
    "expect",
    "forebay-write",
    "x-forebay-a_b",
    "forwarded",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "max-forwards",
    "pragma",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "sec-fetch-mode",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "x-custom",
    "x_custom",
    "x-forwarded-for",
    "x-forwarded-for_",
    "x_forwarded_for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-original-url",
    "x_original_url",
    "x-real-ip",
    "x-request-id",
];

/// Values that mean something in one field or another.
const VALUES: &[&str] = &[
    "",
    "*",
    "close",
    "keep-alive",
    "Keep-Alive",
    "close, TE",
    "x-custom, close",
    "X-Forwarded-For",
    "content-length, a",
    "accept, x_custom",
    "content-a b, @",
    "trailers",
    "gzip;q=0.5, trailers",
    "chunked",
    "websocket",
    "192.0.2.1",
    "192.0.2.1, 10.0.0.2",
    "10.0.0.7:80,unknown",
    "https",
    "http, https",
    "wss",
    "gopher",
    "a.example:08443",
    "for=192.0.2.1;proto=https",
    "for=10.0.0.2;host=\"A.example\", for=\"[2001:db8::1]\";proto=http",
    "1.1 forebay",
    "1.0 fred, 1.1 FOREBAY (x)",
    "max-age=60",
    "max-age=1, max-age=2, s-maxage=\"3\"",
    "no-cache=\"x-a, x-b\", private",
    "no-store, max-stale, min-fresh=5, only-if-cached",
    "public, immutable, stale-while-revalidate=9, must-revalidate",
    "private=\"\", no-transform, stale-if-error=7, Must-Understand, proxy-revalidate",
    "no-cache",
    "\"a\"",
    "W/\"a\"",
    "\"b\", \"a\"",
    "Mon, 01 Jan 2024 00:00:00 GMT",
    "Tue, 02 Jan 2024 00:00:00 GMT",
    "bytes=0-1",
    "x-custom",
    "Accept, COOKIE",
    "gzip, br",
    "BR;q=1.0 , gzip",
    "en;q=0.5, de",
    "text/html, */*;q=0.1",
    "a;b=\"x, y\"",
];

type Head = Vec<(String, &'static str)>;

fn any_head() -> impl Strategy<Value = Head> {
    let field = (proptest::sample::select(NAMES), any::<u32>(), proptest::sample::select(VALUES));
    let cased = |(name, case, value): (&'static str, u32, &'static str)| {
        let name = name
            .bytes()
            .enumerate()
            .map(|(at, byte)| char::from(if case >> (at % 32) & 1 == 1 { byte.to_ascii_uppercase() } else { byte }));
        (name.collect(), value)
    };
    proptest::collection::vec(field.prop_map(cased), 0..12)
}

/// Heads of these fields alone, which rules look at together.
fn head_of(names: &'static [&'static str]) -> impl Strategy<Value = Head> {
    let field = (proptest::sample::select(names), proptest::sample::select(VALUES));
    proptest::collection::vec(field.prop_map(|(name, value)| (name.to_owned(), value)), 0..6)
}

fn both(head: &Head) -> (Fields, HeaderMap) {
    let mut map = HeaderMap::new();
    for (name, value) in head {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
    }
    (head.iter().map(|(name, value)| (name.as_str(), value)).collect(), map)
}

fn same(fields: Fields, map: &HeaderMap) -> Result<(), TestCaseError> {
    prop_assert_eq!(&fields.into_map(), map);
    Ok(())
}

const CONDITIONS: &[&str] = &[
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "range",
    "etag",
    "date",
    "last-modified",
];
const FORWARDING: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-port",
    "x-real-ip",
    "accept",
];
const CHOOSING: &[&str] =
    &["vary", "accept", "accept-encoding", "accept-language", "accept-charset", "x-custom", "cookie"];

proptest! {
    #[test]
    fn what_belongs_to_a_connection_is_dropped_as_before(head in any_head(), is_request: bool) {
        let (mut fields, mut map) = both(&head);
        let (old, new) = match is_request {
            true => (hop::Direction::Request, new_hop::Direction::Request),
            false => (hop::Direction::Response, new_hop::Direction::Response),
        };
        let census = Census::of(&map);
        prop_assert_eq!(census.has_hop_by_hop(), fields.tags().intersects(new_hop::HOP_BY_HOP));
        prop_assert_eq!(census.hosts(), fields.values(Known::Host).count());
        match (hop::remove(&mut map, old, census), new_hop::find(&fields, new)) {
            (Err(_), Err(_)) => {}
            (old, new) => {
                prop_assert_eq!(old.is_ok(), new.is_ok());
                fields.apply_all(new.unwrap_or_default().edits());
                same(fields, &map)?;
            }
        }
    }

    #[test]
    fn names_fall_into_the_same_kinds(head in any_head()) {
        for (name, _) in &head {
            let (lower, known) = (name.to_lowercase(), Known::of(name.as_bytes()));
            prop_assert_eq!(names::is_forwarding(&lower), new_names::FORWARDING.contains(known), "{}", name);
            prop_assert_eq!(names::is_ours(&lower), new_names::OURS.contains(known), "{}", name);
            prop_assert_eq!(names::is_override(&lower), known == Known::Override, "{}", name);
            prop_assert_eq!(names::is_order(&lower), known == Known::Forebay, "{}", name);
            let is_twin = new_names::is_underscore_twin(name.as_bytes());
            prop_assert_eq!(names::is_underscore_twin(&lower), is_twin, "{}", name);
            let field = message::Field { name: name.as_bytes(), value: b"", known };
            prop_assert!(!(is_twin || known == Known::Override) || !trailers::may_pass(field), "{}", name);
        }
        let (fields, map) = both(&head);
        let census = Census::of(&map);
        for (rare, known) in [
            (Rare::Te, Known::Te), (Rare::TransferEncoding, Known::TransferEncoding), (Rare::Upgrade, Known::Upgrade),
            (Rare::ContentLength, Known::ContentLength), (Rare::Expect, Known::Expect), (Rare::Trailer, Known::Trailer),
            (Rare::Override, Known::Override), (Rare::Underscore, Known::Underscore), (Rare::Via, Known::Via),
            (Rare::MaxForwards, Known::MaxForwards), (Rare::RequestId, Known::XRequestId), (Rare::Ours, Known::Forebay),
            (Rare::Connection, Known::Connection),
        ] {
            prop_assert_eq!(census.has(rare), fields.has(known), "{:?}", known);
        }
    }

    #[test]
    fn forwarding_fields_are_read_and_written_as_before(head in head_of(FORWARDING), is_trusted: bool) {
        let (mut fields, mut map) = both(&head);
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let peer = if is_trusted { "10.0.0.1" } else { "192.0.2.9" }.parse().unwrap();
        let old = forwarded::client(peer, Scheme::Http, &map, &trusted);
        let new = new_forwarded::client(peer, Scheme::Http, &fields, &trusted);
        let (Ok(old), Ok(new)) = (&old, &new) else {
            prop_assert_eq!(old.is_ok(), new.is_ok());
            return Ok(());
        };
        prop_assert_eq!((old.address, old.scheme, &old.hops), (new.address, new.scheme, &new.hops));
        prop_assert_eq!(old.host.as_ref().map(HeaderValue::as_bytes), new.host.as_deref().map(str::as_bytes));
        let (was, is) = (
            stamp::Stamp::new(peer, Scheme::Http, &trusted),
            new_stamp::Stamp::new(peer, Scheme::Http, &trusted),
        );
        let census = Census::of(&map);
        was.apply(&mut map, census, old, &HeaderValue::from_static("shop.example"));
        fields.apply_all(is.write(&fields, new, b"shop.example").edits());
        same(fields, &map)?;
    }

    #[test]
    fn our_signature_is_counted_and_written_as_before(head in head_of(&["via", "x-custom"])) {
        let (mut fields, mut map) = both(&head);
        let (old, new) = (via::Signature::new("forebay").unwrap(), new_via::Signature::new("forebay").unwrap());
        prop_assert_eq!(old.count(&map), new.count(&fields));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            old.sign(&mut map, version);
            fields.append(Known::Via, new.value(version));
        }
        same(fields, &map)?;
    }

    #[test]
    fn directives_are_read_as_before(head in head_of(&["cache-control", "pragma", "x-custom"])) {
        let (fields, map) = both(&head);
        let (old, new) = (cache_control::ResponseDirectives::of(&map), new_cache_control::ResponseDirectives::of(&fields));
        prop_assert_eq!(format!("{old:?}"), format!("{new:?}"));
        let (old, new) = (cache_control::RequestDirectives::of(&map), new_cache_control::RequestDirectives::of(&fields));
        prop_assert_eq!(format!("{old:?}"), format!("{new:?}"));
    }

    #[test]
    fn requests_choose_as_before(response in head_of(CHOOSING), one in head_of(CHOOSING), two in head_of(CHOOSING)) {
        let (fields, map) = both(&response);
        let (old, new) = (vary::Vary::of(&map), new_vary::Vary::of(&fields));
        prop_assert_eq!(format!("{old:?}"), format!("{new:?}"));
        let ((one, old_one), (two, old_two)) = (both(&one), both(&two));
        let (was, is) = (old.choice(&old_one), new.choice(&one));
        prop_assert_eq!(was.as_ref().map(vary::Choice::as_bytes), is.as_ref().map(new_vary::Choice::as_bytes));
        if let (Some(was), Some(is)) = (was, is) {
            prop_assert_eq!(old.matches(&was, &old_two), new.matches(&is, &two));
        }
    }

    #[test]
    fn conditions_are_judged_as_before(
        asked in head_of(CONDITIONS),
        stored in head_of(CONDITIONS),
        method in proptest::sample::select(vec![Method::GET, Method::HEAD, Method::PUT]),
        is_cache: bool,
    ) {
        const NOW: Duration = Duration::from_secs(1_704_240_000);
        let ((asked, old_asked), (stored, old_stored)) = (both(&asked), both(&stored));
        prop_assert_eq!(conditions::asks_the_origin(&old_asked), new_conditions::asks_the_origin(&asked));
        let old = conditions::evaluate_stored(&method, &old_asked, StatusCode::OK, &old_stored, NOW);
        let new = new_conditions::evaluate_stored(&method, &asked, StatusCode::OK, &stored, NOW);
        prop_assert_eq!(format!("{old:?}"), format!("{new:?}"));
        let (old_role, role) = match is_cache {
            true => (conditions::Role::Cache, new_conditions::Role::Cache),
            false => (conditions::Role::Origin, new_conditions::Role::Origin),
        };
        let selected = conditions::Selected::of(StatusCode::OK, &old_stored, NOW);
        let old = conditions::evaluate(old_role, &method, &old_asked, conditions::Dates::of(&old_asked, NOW), &selected);
        let selected = new_conditions::Selected::of(StatusCode::OK, &stored, NOW);
        let new = new_conditions::evaluate(role, &method, &asked, new_conditions::Dates::of(&asked, NOW), &selected);
        prop_assert_eq!(format!("{old:?}"), format!("{new:?}"));
    }
}
