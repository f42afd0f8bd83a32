//! Tests of `split`, `sticky` and the other keys of splits: accepted values, and problems.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use policy::canary::rules::Rules;
use policy::route::split::Share;

use super::{LISTEN, fine, problems, refused};
use crate::config::plan::{Action, Canary, Mirror, Route, SameSite, Side, Split, Sticky, StickyCookie};

/// Two sides of 20 and 80 percent.
const SPLIT: &str = "split = [{ upstream = \"new\", weight = 20 }, { upstream = \"old\", weight = 80 }]\n";

/// Every key, with other values than the defaults where that can be.
pub(super) const EVERY_KEY: &str = "
path = \"/api/users\"
split = [ { upstream = \"new\", weight = 0.125 }, { upstream = \"old\", weight = 99 }, { upstream = \"third\", weight = 0.875 } ]
sticky = \"cookie\"
sticky_cookie = { name = \"side\", path = \"/api\", domain = \"Example.com\", max_age = \"1h\", same_site = \"none\", secret = \"0123456789abcdef\" }
override_header = \"X-Forebay-Upstream\"
side_header = \"x-forebay-side\"
[route.cache]
share_sides = true
[route.canary]
upstream = \"new\"
steps = [0.5, 12.5, 100]
hold = \"90s\"
requests_min = 50
error_rate_max_increase = 2
confidence = 99.9
p95_max_ratio = 2
mismatch_rate_max = 0.1
error_ratio_ceiling = 10.5
on_failure = \"pause\"
rollback = \"steps\"
rollback_interval = \"1s\"
webhook = \"http://127.0.0.1:9/hook?a=b\"
[route.mirror]
upstream = \"new\"
percent = 12.5
methods = [\"GET\", \"POST\", \"GET\"]
body_bytes_max = \"2MiB\"
in_flight_max = 8
timeout = \"2s\"
[route.mirror.compare]
status = false
headers = [\"ETag\"]
json_body = true
other_body = false
ignore = [\"/updated_at\", \"/items/*/seen\"]
noise_from = \"old\"
samples_max = 5
sample_values = true
";

/// A file with upstreams `new`, `old` and `third`, and one route of these lines.
pub(super) fn route(lines: &str) -> String {
    let upstream = |name: &str| format!("[[upstream]]\nname = \"{name}\"\nbackends = [\"http://{name}\"]\n");
    format!("{LISTEN}{}{}{}[[route]]\n{lines}\n", upstream("new"), upstream("old"), upstream("third"))
}

/// A route with a split of `new` and `old`, and these lines.
pub(super) fn splitting(lines: &str) -> String {
    route(&format!("{SPLIT}{lines}"))
}

/// A split with a canary of these lines.
pub(super) fn trying(lines: &str) -> String {
    splitting(&format!("[route.canary]\nupstream = \"new\"\n{lines}"))
}

/// A route to `old` with a mirror of these lines.
pub(super) fn mirroring(lines: &str) -> String {
    route(&format!("upstream = \"old\"\n[route.mirror]\nupstream = \"new\"\n{lines}"))
}

fn split_of(text: &str) -> Arc<Split> {
    match &fine(text).routes[0].action {
        Action::Split(split) => Arc::clone(split),
        Action::Forward(_) | Action::Redirect(_) | Action::Respond(_) => panic!("no split"),
    }
}

pub(super) fn canary_of(text: &str) -> Canary {
    split_of(text).canary.clone().expect("it has a canary")
}

pub(super) fn mirror_of(text: &str) -> Mirror {
    let mirror = fine(text).routes[0].mirror.clone();
    Mirror::clone(&mirror.expect("it has a mirror"))
}

pub(super) fn percent(percent: f64) -> Share {
    Share::from_percent(percent).unwrap()
}

pub(super) fn field(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

#[test]
fn what_is_left_out_of_a_split_has_its_default() {
    let split = split_of(&splitting(""));
    let side = |upstream, name| Side { upstream, name: Arc::from(name) };
    assert_eq!(split.sides, [side(0, "new"), side(1, "old")]);
    assert_eq!(split.shares.all(), [percent(20.0), percent(80.0)]);
    assert_eq!((&split.sticky, split.shares_cache), (&Sticky::None, false));
    assert!(split.override_header.is_none() && split.side_header.is_none() && split.canary.is_none());
    assert!(fine(&splitting("")).routes[0].mirror.is_none());
}

#[test]
fn every_key_of_a_split_is_read() {
    let split = split_of(&route(EVERY_KEY));
    let names: Vec<_> = split.sides.iter().map(|side| (side.upstream, &*side.name)).collect();
    assert_eq!(names, [(0, "new"), (1, "old"), (2, "third")]);
    assert_eq!(split.shares.all(), [percent(0.125), percent(99.0), percent(0.875)]);
    let Sticky::Cookie(StickyCookie { name, path, domain, max_age, same_site, secret }) = &split.sticky else {
        panic!("no cookie: {:?}", split.sticky);
    };
    assert_eq!((name.as_str(), path.as_str(), domain.as_deref()), ("side", "/api", Some("example.com")));
    assert_eq!((*max_age, *same_site), (Duration::from_secs(3600), SameSite::None));
    assert!(secret.as_ref().is_some_and(|secret| secret.is(b"0123456789abcdef")));
    assert_eq!(split.override_header, Some(field("x-forebay-upstream")));
    assert_eq!(split.side_header, Some(field("x-forebay-side")));
    assert!(split.shares_cache);
}

/// Asserts that the split route of the example shows the defaults, except for keys without one, and for those that the
/// demo overrides: it has shorter times, and its samples show values.
pub(super) fn is_as_by_default(route: &Route) {
    let Action::Split(split) = &route.action else { panic!("no split: {route:?}") };
    let Sticky::Cookie(cookie) = &split.sticky else { panic!("no cookie: {:?}", split.sticky) };
    assert_eq!(split_of(&splitting("sticky = \"cookie\"")).sticky, Sticky::Cookie(cookie.clone()));
    let (canary, mirror) = (split.canary.as_ref().unwrap(), route.mirror.as_deref().unwrap());
    let given = canary_of(&trying("steps = [20, 50, 100]\nhold = \"5s\"")).rules;
    let rules = Rules { mismatch_rate_max: Some(0.1), ..given };
    assert_eq!((&canary.rules, canary.webhook.is_some()), (&rules, true));
    let keeps =
        "compare = { ignore = [\"/updated_at\", \"/items/*/seen\"], noise_from = \"old\", sample_values = true }";
    let mut default = mirror_of(&mirroring(keeps));
    let noise_from = mirror.compare.as_ref().and_then(|compare| compare.noise_from);
    if let Some(compare) = &mut default.compare {
        compare.noise_from = noise_from;
    }
    assert_eq!(*mirror, Mirror { upstream: mirror.upstream, ..default });
}

#[test]
fn the_sides_of_a_split_are_checked() {
    for (split, words) in [
        ("[]", "split has no sides | name at least two"),
        ("[{ upstream = \"new\", weight = 100 }]", "split has one side | add the other, or forward all"),
        (
            "[{ upstream = \"new\", weight = 20 }, { upstream = \"old\", weight = 70 }]",
            "split adds up to 90 percent | weights are percent and sum to 100",
        ),
        (
            "[{ upstream = \"new\", weight = 0.1 }, { upstream = \"old\", weight = 99.95 }]",
            "split adds up to 100.05 percent",
        ),
        (
            "[{ upstream = \"new\", weight = 0.0005 }, { upstream = \"old\", weight = 99.9 }]",
            "weight is finer than a thousandth | at most three decimals: 33.333",
        ),
        (
            "[{ upstream = \"new\", weight = 101 }, { upstream = \"old\", weight = 0 }]",
            "weight is out of range | from 0 to 100",
        ),
        ("[{ upstream = \"new\", weight = -1 }, { upstream = \"old\", weight = 100 }]", "weight is out of range"),
        ("[{ upstream = \"new\", weight = nan }, { upstream = \"old\", weight = 100 }]", "weight is out of range"),
        (
            "[{ upstream = \"new\", weight = \"20\" }, { upstream = \"old\", weight = 80 }]",
            "weight is a percentage, not a string | write weight = 2.5",
        ),
        ("[{ upstream = \"new\" }, { upstream = \"old\", weight = 80 }]", "weight is missing | write { upstream ="),
        ("[{ weight = 20 }, { upstream = \"old\", weight = 80 }]", "upstream is missing | write { upstream ="),
        (
            "[{ upstream = \"old\", weight = 20 }, { upstream = \"old\", weight = 80 }]",
            "side \"old\" is named twice | give it one weight",
        ),
        (
            "[{ upstream = \"new\", weight = 20 }, { upstream = \"thrid\", weight = 80 }]",
            "upstream \"thrid\" is not defined | did you mean \"third\"?",
        ),
        ("[\"new\"]", "split is a list of tables, not a string"),
        (
            "[{ upstream = \"new\", wieght = 20, weight = 20 }, { upstream = \"old\", weight = 80 }]",
            "did you mean \"weight\"?",
        ),
    ] {
        refused(&route(&format!("split = {split}")), words);
    }
}

#[test]
fn a_wrong_sum_is_shown_at_the_split() {
    let text = route("split = [{ upstream = \"new\", weight = 20 }, { upstream = \"old\", weight = 70 }]");
    let told = super::parse("config.toml", &text).unwrap_err().to_string();
    let expected = "split adds up to 90 percent\n   12 | split = [{ upstream = \"new\", weight = 20 }, \
                    { upstream = \"old\", weight = 70 }]\n      |         ^ weights are percent and sum to 100\n";
    assert!(told.ends_with(expected), "{told}");
}

#[test]
fn weights_are_exact_and_may_be_nothing() {
    let split = |weights: [&str; 3]| {
        let side = |(name, weight)| format!("{{ upstream = \"{name}\", weight = {weight} }}");
        let sides = ["new", "old", "third"].into_iter().zip(weights).map(side).collect::<Vec<_>>().join(", ");
        split_of(&route(&format!("split = [{sides}]"))).shares.all().to_vec()
    };
    assert_eq!(split(["33.333", "33.333", "33.334"]), [33.333, 33.333, 33.334].map(percent));
    assert_eq!(split(["0", "100.0", "0.0"]), [0.0, 100.0, 0.0].map(percent));
    assert_eq!(split(["1e1", "0x0a", "8_0"]), [10.0, 10.0, 80.0].map(percent));
}

#[test]
fn a_route_splits_or_does_something_else() {
    for (other, first, second) in [
        ("upstream = \"old\"", "upstream", "split"),
        ("backends = [\"http://a\"]", "backends", "split"),
        ("respond = {}", "split", "respond"),
        ("redirect = { to = \"/\" }", "split", "redirect"),
    ] {
        refused(&splitting(other), &format!("a route can't have both {first} and {second} | leave one out"));
    }
}

#[test]
fn what_is_for_splits_has_no_effect_elsewhere() {
    for (key, lines) in [
        ("sticky", "sticky = \"client-ip\""),
        ("sticky_cookie", "sticky_cookie = {}"),
        ("override_header", "override_header = \"x-side\""),
        ("side_header", "side_header = \"x-side\""),
        ("canary", "canary = { upstream = \"new\" }"),
        ("share_sides", "cache = { share_sides = false }"),
    ] {
        let words = format!("{key} has no effect | it is for routes with split");
        refused(&route(&format!("upstream = \"old\"\n{lines}")), &words);
        let told = problems(&route(&format!("respond = {{}}\n{lines}")));
        assert!(told.iter().any(|problem| problem.contains(&words)), "{told:#?}");
    }
}

#[test]
fn what_keeps_a_client_on_its_side_is_read() {
    for (text, expected) in [
        ("none", Sticky::None),
        ("client-ip", Sticky::ClientIp),
        ("header:X-User", Sticky::Header(field("x-user"))),
        ("cookie:Session", Sticky::TheirCookie("Session".to_owned())),
    ] {
        assert_eq!(split_of(&splitting(&format!("sticky = \"{text}\""))).sticky, expected);
    }
    let Sticky::Cookie(cookie) = split_of(&splitting("sticky = \"cookie\"")).sticky.clone() else {
        panic!("no cookie")
    };
    let expected = StickyCookie {
        name: "forebay_side".to_owned(),
        path: "/".to_owned(),
        domain: None,
        max_age: Duration::from_secs(30 * 86_400),
        same_site: SameSite::Lax,
        secret: None,
    };
    assert_eq!(cookie, expected);
}

#[test]
fn what_keeps_a_client_on_its_side_is_checked() {
    let kinds = "| one of none, cookie, client-ip, header:NAME, cookie:NAME";
    for text in ["", "ip", "Cookie", "header:", "header:a b", "cookie:", "cookie:a b", "query:a", "client-ip:"] {
        refused(&splitting(&format!("sticky = \"{text}\"")), &format!("sticky can't be {text:?} {kinds}"));
    }
    let alone = "sticky_cookie has no effect | add sticky = \"cookie\", or leave it out";
    refused(&splitting("sticky_cookie = {}"), alone);
    refused(&splitting("sticky = \"client-ip\"\nsticky_cookie = {}"), alone);
    for (cookie, words) in [
        ("name = \"a b\"", "this is no name of a cookie"),
        ("name = \"\"", "this is no name of a cookie"),
        ("name = \"__Host-side\", path = \"/api\"", "browsers would refuse this cookie"),
        ("name = \"__Host-side\", domain = \"a.example\"", "browsers would refuse this cookie"),
        ("path = \"api\"", "\"api\" is no path of a cookie | start with a slash"),
        ("path = \"/;a=b\"", "is no path of a cookie"),
        ("path = \"/a b\"", "is no path of a cookie"),
        ("domain = \".example.com\"", "\".example.com\" is no domain of a cookie | write a name without dot"),
        ("domain = \"https://example.com\"", "is no domain of a cookie"),
        ("domain = \"\"", "is no domain of a cookie"),
        ("max_age = \"59s\"", "max_age is out of range | from 1m to 400d"),
        ("max_age = \"9601h\"", "max_age is out of range"),
        ("same_site = \"Lax\"", "same_site can't be \"Lax\" | did you mean \"lax\"?"),
        ("secret = \"short\"", "this is no secret | at least 16 visible ASCII characters"),
        ("secure = true", "unknown key \"secure\" in sticky_cookie = { … }"),
    ] {
        refused(&splitting(&format!("sticky = \"cookie\"\nsticky_cookie = {{ {cookie} }}")), words);
    }
}

#[test]
fn the_bounds_of_a_cookie_are_within() {
    for cookie in [
        "max_age = \"1m\"",
        "max_age = \"400d\"",
        "name = \"__Host-side\"",
        "same_site = \"none\"",
        "same_site = \"strict\"",
    ] {
        fine(&splitting(&format!("sticky = \"cookie\"\nsticky_cookie = {{ {cookie} }}")));
    }
}

#[test]
fn fields_that_mean_something_else_don_t_tell_of_sides() {
    let taken = "it means something else already; take one of your own";
    for key in ["override_header", "side_header"] {
        refused(&splitting(&format!("{key} = \"a b\"")), "this is no name of a header field");
        for name in ["Host", "connection", "Content-Length", "transfer-encoding", "te", "upgrade", "via"] {
            let words = format!("{key} can't be {name:?} | {taken}");
            refused(&splitting(&format!("{key} = \"{name}\"")), &words);
        }
    }
    for name in ["Cookie", "authorization", "x-forwarded-for", "range", "forebay-mirror"] {
        refused(&splitting(&format!("override_header = \"{name}\"")), "override_header can't be");
    }
    for name in ["Set-Cookie", "content-type", "cache-control", "location", "vary"] {
        refused(&splitting(&format!("side_header = \"{name}\"")), "side_header can't be");
    }
}

#[test]
fn a_split_queues_no_writes() {
    let with_dir = |lines: &str| splitting(lines).replace("[[route]]", "[server]\nstate_dir = \"/s\"\n[[route]]");
    let words = "a route with split can't queue writes | a write would be read back on one side only";
    refused(&with_dir("cache = { mode = \"write-back\" }"), words);
    fine(&with_dir("cache = { mode = \"write-through\", ttl = \"1m\" }"));
}

#[test]
fn a_secret_in_what_is_for_splits_is_never_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2 \u{e9}").unwrap();
    let secret = format!("${{file:{}}}", file.path().display());
    for lines in [
        "sticky = \"S\"",
        "sticky = \"cookie\"\nsticky_cookie = { name = \"S\", path = \"S\", domain = \"S\", secret = \"S\" }",
        "override_header = \"S\"\nside_header = \"S\"",
        "canary = { upstream = \"S\", webhook = \"http://a/S#\" }",
        "mirror = { upstream = \"S\", methods = [\"S\"], compare = { ignore = [\"S\"], headers = [\"S\"], noise_from = \"S\" } }",
    ] {
        let told = problems(&splitting(&lines.replace('S', &secret))).concat();
        assert!(!told.is_empty() && !told.contains("hunter2"), "{told}");
    }
}
