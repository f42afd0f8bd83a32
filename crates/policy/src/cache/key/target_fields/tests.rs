//! For each item of the table: what a backend receives depends only on the key.

use std::net::IpAddr;

use http::{HeaderValue, Method};
use proptest::prelude::*;

use super::super::{Key, KeyRules, Pattern, Scheme, Space, Target};
use super::*;
use crate::message::forwarded::client;
use crate::message::forwarding_fields::ForwardingFields;
use crate::message::host::Host;
use crate::message::network::Network;
use crate::message::target::normal_path;

/// A request as written by a client or proxy.
#[derive(Clone, Debug)]
struct Written {
    is_trusted: bool,
    host: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    fields: Vec<(&'static str, &'static str)>,
}

/// A request as received by its backend.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    path: String,
    query: Option<String>,
    headers: Fields,
}

impl Seen {
    fn of(&self, item: Item) -> Vec<String> {
        let values = |name: &str| -> Vec<String> { self.headers.values(name).map(text).collect() };
        match item {
            Item::Path => vec![self.path.clone()],
            Item::Query => self.query.iter().cloned().collect(),
            // It also names the client; for URLs, only the scheme matters.
            Item::Field("forwarded") => {
                let elements = values("forwarded").join(",");
                let mut schemes: Vec<String> = elements
                    .split([',', ';'])
                    .filter(|pair| !pair.trim().starts_with("for="))
                    .map(str::to_owned)
                    .collect();
                schemes.dedup();
                schemes
            }
            Item::Field(name) => values(name),
            Item::Fields(front) => {
                let is_named = |name: &str| name.starts_with(front) && name != "x-forwarded-for";
                let lines = self.headers.iter().map(|field| (text(field.name).to_lowercase(), text(field.value)));
                let mut all: Vec<String> =
                    lines.filter(|(name, _)| is_named(name)).map(|(name, value)| format!("{name}: {value}")).collect();
                all.sort();
                all
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn rules() -> KeyRules {
    KeyRules { sort_query: true, drop_query: vec![Pattern::parse("utm_*").unwrap()], ..KeyRules::default() }
}

/// The processing of a request on a caching route, as far as policy does it.
fn pass(written: &Written) -> (Key, Seen) {
    let trusted: [Network; 1] = ["10.0.0.0/8".parse().unwrap()];
    let peer: IpAddr = if written.is_trusted { "10.0.0.1" } else { "192.0.2.1" }.parse().unwrap();
    let mut headers = Fields::from_iter([("host", written.host)]);
    headers.extend(written.fields.iter().copied());
    if !written.is_trusted {
        headers.drop_known(Known::Override);
    }
    let client = client(peer, Scheme::Http, &headers, &trusted).unwrap();
    let host = Host::parse(written.host.as_bytes()).unwrap();
    let authority = HeaderValue::from_str(&host.authority(client.scheme)).unwrap();
    let stamp = ForwardingFields::new(peer, Scheme::Http, &trusted);
    headers.apply_all(stamp.write(&headers, &client, authority.as_bytes()).edits());
    headers.apply_all(edits(&headers, authority.as_bytes()));
    let rules = rules();
    let path = normal_path(written.path).unwrap();
    let query = rules.query(written.query).map(|query| query.into_owned());
    let target = Target::new(client.scheme, &host, path.clone(), written.query.map(Into::into));
    let key = Key::of_request(Space { name: b"s", rules: &rules }, &Method::GET, &target, &headers, false).unwrap();
    (key, Seen { path: path.into_owned(), query, headers })
}

fn any_request() -> impl Strategy<Value = Written> {
    let named = TABLE.iter().filter_map(|(item, _)| match item {
        Item::Field("host") | Item::Path | Item::Query => None,
        Item::Field(name) => Some(*name),
        Item::Fields(_) => Some("x-forwarded-path"),
    });
    let names: Vec<&'static str> = named.chain(["x-forwarded-for", "x-forwarded-base"]).collect();
    let field = proptest::sample::select(names).prop_flat_map(|name| {
        let values: &[&str] = match name {
            "x-forwarded-proto" | "x-forwarded-scheme" => &["http", "https", "wss", "ws", "HTTPS"],
            "x-forwarded-for" => &["192.0.2.9", "6.6.6.6, 192.0.2.9", "10.0.0.2"],
            "forwarded" => &[
                "for=192.0.2.9",
                "for=6.6.6.6;proto=https, for=192.0.2.9;proto=http",
                "for=_x;host=b;proto=https",
                "host=\"B:80\";for=10.0.0.2",
            ],
            "x-forwarded-host" => &["a", "A", "b", "a:80", "a:443", "a."],
            _ => &["/p", "1", "https://b/x"],
        };
        (Just(name), proptest::sample::select(values))
    });
    (
        any::<bool>(),
        proptest::sample::select(vec!["a", "A", "a.", "a:", "a:80", "a:080", "a:443", "a:0443", "A.:80", "a:8080"]),
        proptest::sample::select(vec!["/x", "/x/", "/y/../x", "/%78", "//x", "/%2f"]),
        proptest::sample::select(vec![
            None,
            Some(""),
            Some("a=1&utm_x=b"),
            Some("utm_x=b"),
            Some("b=2&a=1"),
            Some("a=1&b=2"),
        ]),
        proptest::collection::vec(field, 0..4),
    )
        .prop_map(|(is_trusted, host, path, query, fields)| Written { is_trusted, host, path, query, fields })
}

/// Another request that shares most parts with the first one, so that keys are often equal.
fn any_pair() -> impl Strategy<Value = (Written, Written)> {
    (any_request(), any_request(), any::<[bool; 5]>()).prop_map(
        |(one, mut other, [trust, host, path, query, fields])| {
            if trust {
                other.is_trusted = one.is_trusted;
            }
            if host {
                other.host = one.host;
            }
            if path {
                other.path = one.path;
            }
            if query {
                other.query = one.query;
            }
            if fields {
                other.fields.clone_from(&one.fields);
            }
            (one, other)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn requests_with_one_key_look_the_same_to_a_backend((one, other) in any_pair()) {
        let ((key, seen), (other_key, other_seen)) = (pass(&one), pass(&other));
        if key == other_key {
            for (item, _) in TABLE {
                prop_assert_eq!(seen.of(*item), other_seen.of(*item), "{:?}: {:?} and {:?}", item, one, other);
            }
        }
    }

    #[test]
    fn what_is_removed_is_gone_and_what_is_keyed_comes_from_trusted_proxies_alone(written in any_request()) {
        let (_, seen) = pass(&written);
        for field in seen.headers.iter() {
            prop_assert_ne!(treatment(field.name), Some(Treatment::Removed));
            if treatment(field.name) == Some(Treatment::Keyed) && field.known != Known::XForwardedHost {
                prop_assert!(written.is_trusted, "{field:?}");
            }
        }
    }

    #[test]
    fn all_requests_for_a_uri_are_found_by_it(written in any_request()) {
        let (key, seen) = pass(&written);
        let rules = rules();
        let host = Host::parse(seen.headers.first(Known::Host).unwrap()).unwrap();
        let scheme = if seen.headers.first(Known::XForwardedProto) == Some(b"https") { Scheme::Https } else { Scheme::Http };
        let target = Target::new(scheme, &host, seen.path.as_str().into(), seen.query.as_deref().map(Into::into));
        let of_uri = Key::of_uri(Space { name: b"s", rules: &rules }, &target);
        prop_assert_eq!(key.uri(), of_uri.bytes());
    }
}

#[test]
fn every_field_that_overrides_or_forwards_is_in_the_table() {
    for (item, treatment) in TABLE {
        if let Item::Field(name) = item {
            assert_eq!((Known::of(name.as_bytes()) == Known::Override), *treatment == Treatment::Removed, "{name}");
            let known = Known::of(name.as_bytes());
            assert_eq!(known == Known::Override, *treatment == Treatment::Removed, "{name}");
            let is_tagged = matches!(known, Known::XForwarded | Known::XForwardedHost);
            assert_eq!(is_tagged, *treatment == Treatment::Keyed, "{name}");
        }
    }
    assert_eq!(treatment(b"X-Forwarded-Whatever"), Some(Treatment::Keyed));
    assert_eq!((treatment(b"x-forwarded-for"), treatment(b"accept")), (None, None));
}

#[test]
fn a_final_dot_and_another_forwarded_host_are_in_the_key() {
    let plain = Written { is_trusted: true, host: "a", path: "/", query: None, fields: vec![] };
    let key = pass(&plain).0;
    assert!(!key.has_choice());
    for other in [
        Written { host: "a.", ..plain.clone() },
        Written { fields: vec![("x-forwarded-host", "b")], ..plain.clone() },
        Written { fields: vec![("x-forwarded-prefix", "/p")], ..plain.clone() },
        Written { fields: vec![("x-forwarded-prefix", "/p"), ("x-forwarded-prefix", "/p")], ..plain.clone() },
    ] {
        assert!(pass(&other).0 != key && pass(&other).0.has_choice(), "{other:?}");
    }
    for same in [
        Written { host: "A:080", ..plain.clone() },
        Written {
            is_trusted: false,
            fields: vec![("x-forwarded-prefix", "/p"), ("x-original-url", "/q")],
            ..plain.clone()
        },
        Written { fields: vec![("x-forwarded-host", "A:80")], ..plain.clone() },
        Written { fields: vec![("x-original-url", "/q"), ("x-http-method-override", "PUT")], ..plain.clone() },
    ] {
        assert_eq!(pass(&same).0, key, "{same:?}");
    }
}
