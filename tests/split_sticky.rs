//! Sticky splits: by forebay's cookie, the client's address, a header field, or a cookie of the application.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::time::Duration;

use testbed::{Client, Config, Forebay, Response, Sides, StateDir, advance, is_share, split};

const TELLING: &str = "side_header = \"x-answered-by\"";
const SECRET: &str = "a-secret-of-more-than-32-characters";

/// A split of 50 % each with this `sticky`, whose responses name the side.
fn sticky(sides: &Sides, sticky: &str) -> Config {
    sides.split(50.0).route(TELLING).route(&format!("sticky = \"{sticky}\""))
}

/// A split of 50 % each with `sticky = "cookie"` and these keys of the cookie.
fn cookies(sides: &Sides, keys: &str) -> Config {
    sticky(sides, "cookie").route(&format!("sticky_cookie = {{ {keys} }}"))
}

/// The side that answered, and what decided.
#[track_caller]
fn side_and_reason(response: &Response) -> (String, String) {
    let told = response.is_status(200).field("x-answered-by").expect("the side is told");
    let (side, by) = told.split_once("; by=").expect("and why");
    assert_eq!(response.text(), side);
    (side.to_owned(), by.to_owned())
}

/// The `Cookie` field that a client sends after a response.
#[track_caller]
fn cookie(forebay: &Forebay, fields: &str) -> String {
    forebay.get_with("/", fields).cookie().expect("a new client gets a cookie")
}

fn with(cookie: &str) -> String {
    format!("Cookie: {cookie}\r\n")
}

/// Whether this cookie is accepted. Asserts that otherwise it is replaced by a valid one.
#[track_caller]
fn is_accepted(forebay: &Forebay, cookie: &str) -> bool {
    let response = forebay.get_with("/", &with(cookie));
    let (_, by) = side_and_reason(&response);
    let Some(new) = response.cookie() else {
        assert_eq!(by, "sticky", "{cookie}");
        return true;
    };
    assert_eq!(by, "weight", "{cookie}");
    assert!(new.starts_with("forebay_side=v1.") && new != cookie);
    assert_eq!(side_and_reason(&forebay.get_with("/", &with(&new))).1, "sticky");
    false
}

/// Asserts that clients with these fields, all different, stay on their sides, and that both sides have clients.
#[track_caller]
fn stay_and_are_on_both_sides(forebay: &Forebay, fields: impl Fn(usize) -> String) {
    let mut caller = forebay.caller();
    let mut on_new = 0;
    for client in 0..100 {
        let (side, by) = side_and_reason(&caller.get("/", &fields(client)));
        assert_eq!(by, "sticky");
        for _ in 0..3 {
            assert_eq!(side_and_reason(&caller.get("/", &fields(client))), (side.clone(), "sticky".to_owned()));
        }
        on_new += usize::from(side == "new");
    }
    assert!(is_share(on_new, 100, 50.0), "{on_new}");
}

#[test]
fn a_new_client_gets_a_cookie() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie"));
    let response = forebay.get("/");
    assert_eq!(side_and_reason(&response).1, "weight");
    let fields = response.head.fields("set-cookie");
    let [field] = fields.as_slice() else { panic!("{fields:?}") };
    let (pair, attributes) = field.split_once("; ").unwrap();
    assert!(pair.starts_with("forebay_side=v1."), "{pair}");
    assert_eq!(attributes, "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax");
    assert!(!field.contains("new") && !field.contains("old"), "{field}");
    assert_ne!(cookie(&forebay, ""), pair);
}

#[test]
fn the_first_answer_comes_from_the_side_that_the_cookie_gives() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie"));
    let mut caller = forebay.caller();
    let mut on_new = 0;
    for _ in 0..100 {
        let first = caller.get("/", "");
        let (side, _) = side_and_reason(&first);
        let fields = with(&first.cookie().unwrap());
        assert_eq!(side_and_reason(&caller.get("/", &fields)), (side.clone(), "sticky".to_owned()));
        on_new += usize::from(side == "new");
    }
    assert!(is_share(on_new, 100, 50.0), "{on_new}");
}

#[test]
fn a_client_with_a_cookie_stays_and_gets_no_other() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie"));
    let first = forebay.get("/");
    let fields = with(&first.cookie().unwrap());
    for _ in 0..20 {
        let response = forebay.get_with("/", &fields);
        assert_eq!(side_and_reason(&response), (side_and_reason(&first).0, "sticky".to_owned()));
        assert!(!response.head.has("set-cookie"));
    }
}

#[test]
fn the_applications_own_cookies_pass_both_ways() {
    let sides = Sides::start();
    let theirs = testbed::answer(200, &[("Set-Cookie", "session=1; Path=/")], "new");
    sides.new.now(theirs);
    let forebay = Forebay::start(sticky(&sides, "cookie"));
    forebay.api().set_weights("all", &[("new", 100.0)]);
    let response = forebay.get_with("/", "Cookie: theme=dark\r\n");
    let set = response.head.fields("set-cookie");
    assert!(set.len() == 2 && set.contains(&"session=1; Path=/"), "{set:?}");
    let sent = sides.new.last().head.field("cookie").unwrap().to_owned();
    assert!(sent.contains("theme=dark"), "{sent}");
}

#[test]
fn a_cookie_is_found_among_others() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie"));
    let mine = cookie(&forebay, "");
    for among in [format!("a=b; {mine}; c=d"), format!("forebay_side_2=x; {mine}"), format!("{mine};c=d")] {
        assert!(is_accepted(&forebay, &among), "{among}");
    }
    let lines = format!("Cookie: a=b\r\nCookie: {mine}\r\n");
    assert_eq!(side_and_reason(&forebay.get_with("/", &lines)).1, "sticky");
}

#[test]
fn a_client_s_number_is_not_told_to_backends() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie"));
    let mine = cookie(&forebay, "");
    for (sent, expected) in [(format!("theme=dark; {mine}"), Some("theme=dark")), (mine.clone(), None)] {
        forebay.get_with("/", &format!("Cookie: {sent}\r\n")).is_status(200);
        let heads: Vec<_> = [&sides.new, &sides.old].into_iter().flat_map(|side| side.requests()).collect();
        assert!(heads.iter().all(|request| !request.head.text().contains("forebay_side")));
        assert!(expected.is_none_or(|cookie| heads.iter().any(|request| request.head.text().contains(cookie))));
    }
}

#[test]
fn a_bad_cookie_does_not_hide_a_good_one() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie"));
    let mine = cookie(&forebay, "");
    assert!(is_accepted(&forebay, &format!("forebay_side=v1.forged; {mine}")));
}

#[test]
fn a_changed_cookie_is_replaced() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie"));
    let mine = cookie(&forebay, "");
    assert!(is_accepted(&forebay, &mine));
    let (start, length) = ("forebay_side=v1.".len(), mine.len());
    // The last character may have unused bits.
    for place in start..length - 1 {
        let mut characters: Vec<char> = mine.chars().collect();
        characters[place] = if characters[place] == 'A' { 'B' } else { 'A' };
        let changed = String::from_iter(characters);
        assert!(!is_accepted(&forebay, &changed), "{changed}");
    }
    for cut in [start, usize::midpoint(start, length), length - 4] {
        let shorter: String = mine.chars().take(cut).collect();
        assert!(!is_accepted(&forebay, &shorter), "{shorter}");
    }
    assert!(!is_accepted(&forebay, &format!("{mine}AAAA")));
    assert!(!is_accepted(&forebay, &mine.replace("=v1.", "=v2.")));
}

#[test]
fn garbage_for_a_cookie_is_replaced() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie"));
    let long = "A".repeat(4000);
    for garbage in ["", "new", "old", "v1", "v1.", "v1..", "v1...", "v1.\u{e4}", "%00", "\"v1.x\"", "v1.=", &long] {
        assert!(!is_accepted(&forebay, &format!("forebay_side={garbage}")), "{garbage}");
    }
    assert!(!is_accepted(&forebay, "forebay_side"));
}

#[test]
fn a_cookie_signed_by_another_is_replaced() {
    let sides = Sides::start();
    let other = Forebay::start(cookies(&sides, "secret = \"another-secret-of-more-than-32-characters\""));
    let foreign = cookie(&other, "");
    let forebay = Forebay::start(cookies(&sides, &format!("secret = \"{SECRET}\"")));
    assert!(!is_accepted(&forebay, &foreign));
}

#[test]
fn proxies_with_one_secret_believe_each_others_cookies_and_agree() {
    let sides = Sides::start();
    let config = || cookies(&sides, &format!("secret = \"{SECRET}\""));
    let (one, two) = (Forebay::start(config()), Forebay::start(config()));
    for _ in 0..20 {
        let first = one.get("/");
        let there = two.get_with("/", &with(&first.cookie().unwrap()));
        assert_eq!(side_and_reason(&there), (side_and_reason(&first).0, "sticky".to_owned()));
    }
}

#[test]
fn a_cookie_is_good_after_a_restart_with_a_state_dir() {
    let (sides, state) = (Sides::start(), StateDir::new());
    let config = || sticky(&sides, "cookie").server(&state.key());
    let forebay = Forebay::start(config());
    let mine = cookie(&forebay, "");
    let side = side_and_reason(&forebay.get_with("/", &with(&mine)));
    drop(forebay);
    let forebay = Forebay::start(config());
    assert_eq!(side_and_reason(&forebay.get_with("/", &with(&mine))), side);
}

#[test]
fn an_old_cookie_is_replaced() {
    let sides = Sides::start();
    let forebay = Forebay::start(cookies(&sides, "max_age = \"1h\""));
    let response = forebay.get("/");
    assert!(response.field("set-cookie").unwrap().contains("; Max-Age=3600;"));
    let mine = response.cookie().unwrap();
    advance(Duration::from_mins(50));
    assert!(is_accepted(&forebay, &mine));
    advance(Duration::from_mins(20));
    assert!(!is_accepted(&forebay, &mine));
}

#[test]
fn a_client_that_came_by_https_gets_a_secure_cookie_if_one_may_believe_it() {
    let sides = Sides::start();
    let fields = |forebay: &Forebay| {
        let response = forebay.get_with("/", "X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1\r\n");
        response.field("set-cookie").unwrap().to_owned()
    };
    let trusting = Forebay::start(sticky(&sides, "cookie").server("trusted_proxies = [\"127.0.0.1/32\"]"));
    let field = fields(&trusting);
    assert!(field.split("; ").any(|attribute| attribute == "Secure") && field.contains("SameSite=Lax"), "{field}");
    assert!(!trusting.get("/").field("set-cookie").unwrap().contains("Secure"));
    let wary = Forebay::start(sticky(&sides, "cookie"));
    assert!(!fields(&wary).contains("Secure"));
}

#[test]
fn same_site_is_as_the_file_says_and_none_is_secure() {
    let sides = Sides::start();
    for (word, wanted, is_secure) in [("lax", "Lax", false), ("strict", "Strict", false), ("none", "None", true)] {
        let forebay = Forebay::start(cookies(&sides, &format!("same_site = \"{word}\"")));
        let response = forebay.get("/");
        let field = response.field("set-cookie").unwrap();
        assert!(field.split("; ").any(|attribute| attribute == format!("SameSite={wanted}")), "{field}");
        assert_eq!(field.split("; ").any(|attribute| attribute == "Secure"), is_secure, "{field}");
    }
}

#[test]
fn a_cookie_has_the_name_path_and_domain_that_the_file_says() {
    let sides = Sides::start();
    let forebay = Forebay::start(cookies(&sides, "name = \"side\", path = \"/shop\", domain = \"shop.test\""));
    let response = forebay.get("/");
    let field = response.field("set-cookie").unwrap();
    assert!(field.starts_with("side=v1."), "{field}");
    for attribute in ["Path=/shop", "Domain=shop.test"] {
        assert!(field.split("; ").any(|found| found == attribute), "{attribute} in {field}");
    }
    assert_eq!(side_and_reason(&forebay.get_with("/", &with(&response.cookie().unwrap()))).1, "sticky");
}

#[test]
fn who_names_a_side_by_hand_gets_no_cookie() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie").route("override_header = \"x-side\""));
    let response = forebay.get_with("/", "X-Side: new\r\n");
    assert_eq!(side_and_reason(&response), ("new".to_owned(), "override".to_owned()));
    assert!(!response.head.has("set-cookie"));
    assert!(forebay.get_with("/", "X-Side: neither\r\n").head.has("set-cookie"));
}

#[test]
fn raising_a_share_moves_the_clients_that_it_must_and_none_back() {
    let sides = Sides::start();
    let forebay = Forebay::start(sides.split(20.0).route("sticky = \"cookie\""));
    let mut caller = forebay.caller();
    let cookies: Vec<String> = (0..400).map(|_| with(&caller.get("/", "").cookie().unwrap())).collect();
    let mut on_new = || -> Vec<bool> { cookies.iter().map(|cookie| caller.get("/", cookie).text() == "new").collect() };
    let before = on_new();
    forebay.api().set_weights("all", &[("new", 35.0)]);
    let after = on_new();
    let count = |sides: &[bool]| sides.iter().filter(|is_new| **is_new).count();
    assert!(is_share(count(&before), 400, 20.0) && is_share(count(&after), 400, 35.0));
    let moves = before.iter().zip(&after);
    assert_eq!(moves.clone().filter(|(before, after)| **before && !**after).count(), 0, "nobody goes back");
    let moved = moves.filter(|(before, after)| !**before && **after).count();
    assert!(is_share(moved, 400, 15.0), "{moved}");
    forebay.api().set_weights("all", &[("new", 20.0)]);
    assert_eq!(on_new(), before);
}

/// Two routes that split the same two upstreams in halves, the second as this list says.
fn two_routes(sides: &Sides, keys: &str, second: &str) -> Forebay {
    let more = format!("[[route]]\nname = \"second\"\npath = \"/second\"\nsplit = [{second}]\n{keys}\n{TELLING}");
    Forebay::start(
        split(&[("new", &sides.new, 50.0), ("old", &sides.old, 50.0)]).route(keys).route(TELLING).more(&more),
    )
}

const NEW: &str = "{ upstream = \"new\", weight = 50 }";
const OLD: &str = "{ upstream = \"old\", weight = 50 }";

#[test]
fn a_client_is_on_the_same_side_of_all_routes_that_split_the_same_upstreams() {
    let sides = Sides::start();
    let forebay = two_routes(&sides, "sticky = \"cookie\"", &format!("{NEW}, {OLD}"));
    let mut caller = forebay.caller();
    for _ in 0..40 {
        let first = caller.get("/", "");
        let second = caller.get("/second", &with(&first.cookie().unwrap()));
        assert_eq!(side_and_reason(&second), (side_and_reason(&first).0, "sticky".to_owned()));
        assert!(!second.head.has("set-cookie"));
    }
}

#[test]
fn the_order_in_which_a_file_names_the_sides_moves_nobody() {
    let sides = Sides::start();
    let forebay = two_routes(&sides, "sticky = \"header:x-user\"", &format!("{OLD}, {NEW}"));
    let mut caller = forebay.caller();
    for user in 0..40 {
        let fields = format!("X-User: {user}\r\n");
        assert_eq!(side_and_reason(&caller.get("/", &fields)), side_and_reason(&caller.get("/second", &fields)));
    }
}

#[test]
fn a_client_is_known_by_its_address() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "client-ip"));
    let mut seen = Vec::new();
    for last in 1..=60 {
        let get = || {
            let mut client = Client::from([127, 0, 1, last], forebay.address());
            side_and_reason(&client.send("GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n").read_response())
        };
        let (side, by) = get();
        assert_eq!(get(), (side.clone(), by.clone()));
        assert_eq!(by, "sticky");
        seen.push(side);
    }
    assert!(seen.iter().any(|side| side == "new") && seen.iter().any(|side| side == "old"));
}

#[test]
fn an_address_is_believed_from_a_trusted_proxy_alone() {
    let sides = Sides::start();
    let from = |client: usize| format!("X-Forwarded-For: 192.0.2.{client}\r\n");
    let trusting = Forebay::start(sticky(&sides, "client-ip").server("trusted_proxies = [\"127.0.0.1/32\"]"));
    stay_and_are_on_both_sides(&trusting, from);
    let wary = Forebay::start(sticky(&sides, "client-ip"));
    let side = side_and_reason(&wary.get("/"));
    for client in 0..40 {
        assert_eq!(side_and_reason(&wary.get_with("/", &from(client))), side);
    }
}

#[test]
fn of_an_ipv6_address_the_network_counts() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "client-ip").server("trusted_proxies = [\"127.0.0.1/32\"]"));
    let mut caller = forebay.caller();
    for network in 0..30 {
        let mut side = |host: &str| {
            side_and_reason(&caller.get("/", &format!("X-Forwarded-For: 2001:db8:0:{network:x}::{host}\r\n")))
        };
        let first = side("1");
        assert!(["2", "ffff", "5678:9abc:def0"].iter().all(|host| side(host) == first));
    }
    stay_and_are_on_both_sides(&forebay, |client| format!("X-Forwarded-For: 2001:db8:0:{client:x}::1\r\n"));
}

#[test]
fn a_client_is_known_by_a_field() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "header:X-User"));
    stay_and_are_on_both_sides(&forebay, |client| format!("X-User: u{client}\r\n"));
    assert!(!forebay.get_with("/", "X-User: u1\r\n").head.has("set-cookie"));
    assert!([&sides.new, &sides.old].iter().all(|side| side.requests()[0].head.has("x-user")));
}

#[test]
fn a_client_is_known_by_a_cookie_of_the_application() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "cookie:session"));
    stay_and_are_on_both_sides(&forebay, |client| format!("Cookie: a=b; session=s{client}; theme={client}\r\n"));
    let sides_of = |fields: &str| side_and_reason(&forebay.get_with("/", fields));
    assert_eq!(sides_of("Cookie: session=s1; x=1\r\n"), sides_of("Cookie: y=2; session=s1\r\n"));
    assert!(!forebay.get_with("/", "Cookie: session=s1\r\n").head.has("set-cookie"));
}

#[test]
fn a_client_without_what_it_is_known_by_is_drawn_by_weight() {
    for by in ["header:x-user", "cookie:session"] {
        let sides = Sides::start();
        let forebay = Forebay::start(sticky(&sides, by));
        let drawn: Vec<_> = (0..100).map(|_| side_and_reason(&forebay.get_with("/", "Cookie: other=1\r\n"))).collect();
        assert!(drawn.iter().all(|(_, by)| by == "weight"));
        let on_new = drawn.iter().filter(|(side, _)| side == "new").count();
        assert!(is_share(on_new, 100, 50.0), "{on_new}");
    }
}

#[test]
fn a_client_that_is_not_sticky_gets_no_cookie() {
    let sides = Sides::start();
    let forebay = Forebay::start(sticky(&sides, "none"));
    let response = forebay.get("/");
    assert_eq!(side_and_reason(&response).1, "weight");
    assert!(!response.head.has("set-cookie"));
}
