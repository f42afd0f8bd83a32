//! Backends by name: every address is a separate endpoint, and changes of the addresses are followed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use forebay::upstream::resolver::{LookUp, Resolver};
use testbed::{
    Client, Config, Forebay, Gate, Names, Origin, StateDir, answer, eventually, forward, hang, ok, reset, script,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const ADDRESSES: [&str; 4] = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];

/// Backends on one port of several addresses, behind the name `app.test`.
struct Named {
    names: Names,
    origins: Vec<Origin>,
}

impl Named {
    /// With this many addresses; the name has the first `shown` of them.
    fn new(count: usize, shown: usize) -> Self {
        let origins = Origin::of_one_name(&ADDRESSES[..count]);
        Self { names: Names::with("app.test", &ADDRESSES[..shown]), origins }
    }

    fn backend(&self, keys: &str) -> String {
        format!("{{ url = \"http://app.test:{}\", {keys} }}", self.origins[0].address().port())
    }

    /// One route to the backend; the upstream has these keys.
    fn config(&self, keys: &str) -> Config {
        forward([]).backend(self.backend("")).upstream(&format!("resolve_interval = \"1s\"\n{keys}"))
    }

    fn start(&self, keys: &str) -> Forebay {
        Forebay::start_with(&self.names, self.config(keys))
    }

    fn shows(&self, addresses: &[&str]) {
        self.names.set("app.test", addresses);
    }
}

/// How many of `count` requests each origin answers; each must be answered.
#[track_caller]
fn shares(forebay: &Forebay, count: usize) -> HashMap<String, usize> {
    let mut shares = HashMap::new();
    let mut client = forebay.client();
    let answers = (0..count).map(|_| client.send(GET).read_response().is_status(200).text());
    answers.for_each(|who| *shares.entry(who).or_default() += 1);
    shares
}

/// Waits until these origins answer, and no others; each request meanwhile must be answered.
#[track_caller]
fn only(forebay: &Forebay, who: &[&str]) {
    let wanted: HashSet<String> = who.iter().map(|name| (*name).to_owned()).collect();
    eventually(&format!("only {who:?} answer"), || {
        shares(forebay, 4 * who.len()).into_keys().collect::<HashSet<_>>() == wanted
    });
}

#[test]
fn a_name_that_moves_is_followed_under_traffic_and_no_request_fails() {
    let named = Named::new(2, 1);
    let forebay = named.start("");
    let mut client = forebay.client();
    let mut ask = || client.send(GET).read_response().is_status(200).text();
    assert!((0..20).all(|_| ask() == "0"));
    named.shows(&ADDRESSES[1..2]);
    eventually("the new address is used", || ask() == "1");
    assert!((0..20).all(|_| ask() == "1"), "the old address is used no more");
    eventually("connections to the old address are closed", || named.origins[0].open() == 0);
}

#[test]
fn every_worker_follows_a_name() {
    let named = Named::new(2, 1);
    let forebay = Forebay::start_with(&named.names, named.config("").server("workers = 4"));
    let mut clients: Vec<Client> = (0..16).map(|_| forebay.client()).collect();
    let mut all = |who: &str| clients.iter_mut().all(|client| client.send(GET).read_response().text() == who);
    assert!(all("0"));
    named.shows(&ADDRESSES[1..2]);
    eventually("all workers use the new address", || all("1"));
    eventually("connections to the old address are closed", || named.origins[0].open() == 0);
}

#[test]
fn an_idle_connection_to_an_address_that_has_left_is_closed_without_a_request() {
    let named = Named::new(2, 1);
    let forebay = named.start("");
    forebay.get("/").is(200, "0");
    assert_eq!(named.origins[0].open(), 1);
    named.shows(&ADDRESSES[1..2]);
    eventually("it is closed", || named.origins[0].open() == 0);
}

#[test]
fn all_addresses_of_a_name_share_the_traffic() {
    let named = Named::new(3, 3);
    let forebay = named.start("");
    let each = |count| HashMap::from([("0", count), ("1", count), ("2", count)].map(|(who, n)| (who.to_owned(), n)));
    assert_eq!(shares(&forebay, 30), each(10));
}

#[test]
fn an_address_that_joins_gets_its_share() {
    let named = Named::new(3, 2);
    let forebay = named.start("");
    only(&forebay, &["0", "1"]);
    named.shows(&ADDRESSES[..3]);
    only(&forebay, &["0", "1", "2"]);
}

#[test]
fn one_sick_address_is_ejected_alone() {
    let named = Named::new(3, 3);
    named.origins[1].now(answer(500, &[], "sick"));
    let forebay = named
        .start("[upstream.ejection]\nconsecutive_failures = 2\nbase_time = \"1m\"\n[upstream.retry]\nattempts = 0");
    let failed = (0..60).filter(|_| forebay.get("/").status == 500).count();
    assert_eq!((failed, named.origins[1].seen()), (2, 2));
    only(&forebay, &["0", "2"]);
}

#[test]
fn one_address_that_fails_its_checks_is_down_alone() {
    let named = Named::new(3, 3);
    let forebay = named.start("[upstream.health]\npath = \"/healthz\"\ninterval = \"50ms\"");
    eventually("every address is checked", || named.origins.iter().all(|origin| origin.count("GET /healthz") > 0));
    named.origins[2].at("/healthz", answer(503, &[], ""));
    only(&forebay, &["0", "1"]);
    named.origins[2].at("/healthz", ok("fine"));
    only(&forebay, &["0", "1", "2"]);
}

#[test]
fn an_address_that_refuses_costs_no_request() {
    let named = Named::new(2, 2);
    named.origins[0].go_down();
    let forebay = named.start("");
    for _ in 0..10 {
        forebay.get("/").is(200, "1");
    }
}

#[test]
fn the_only_address_of_a_name_is_never_ejected() {
    let named = Named::new(1, 1);
    named.origins[0].now(answer(500, &[], "sick"));
    let forebay = named.start("[upstream.ejection]\nconsecutive_failures = 1");
    for _ in 0..10 {
        forebay.get("/").is(500, "sick");
    }
    assert_eq!(named.origins[0].seen(), 10);
}

#[test]
fn an_ejection_stays_with_its_address_when_the_others_change() {
    let named = Named::new(4, 4);
    named.shows(&ADDRESSES[1..3]);
    named.origins[2].now(answer(500, &[], "sick"));
    let forebay = named
        .start("[upstream.ejection]\nconsecutive_failures = 1\nbase_time = \"1m\"\n[upstream.retry]\nattempts = 0");
    (0..4).for_each(|_| drop(forebay.get("/")));
    only(&forebay, &["1"]);
    // Before it in order one comes, behind it another.
    named.shows(&ADDRESSES);
    only(&forebay, &["0", "1", "3"]);
    assert_eq!(named.origins[2].seen(), 1);
}

#[test]
fn checks_follow_the_name_too() {
    let named = Named::new(2, 1);
    let _forebay = named.start("[upstream.health]\npath = \"/healthz\"\ninterval = \"20ms\"");
    let checks = |place: usize| named.origins[place].count("GET /healthz");
    eventually("the address is checked", || checks(0) > 1);
    named.shows(&ADDRESSES[1..2]);
    eventually("the new address is checked", || checks(1) > 1);
    let (old, new) = (checks(0), checks(1));
    eventually("the new address is checked again and again", || checks(1) > new + 10);
    assert!(checks(0) <= old + 1, "{old} checks of the old address, then {}", checks(0));
}

#[test]
fn a_name_that_stops_resolving_keeps_its_addresses() {
    let named = Named::new(2, 1);
    let forebay = named.start("");
    forebay.get("/").is(200, "0");
    named.names.lose("app.test");
    let before = named.names.look_ups();
    eventually("it is looked up in vain", || {
        forebay.get("/").is(200, "0");
        named.names.look_ups() >= before + 2
    });
    named.shows(&[]);
    let before = named.names.look_ups();
    eventually("it has no address for a while", || {
        forebay.get("/").is(200, "0");
        named.names.look_ups() >= before + 2
    });
    named.shows(&ADDRESSES[1..2]);
    only(&forebay, &["1"]);
}

#[test]
fn another_order_of_the_same_addresses_changes_nothing() {
    let named = Named::new(2, 2);
    let forebay = named.start("");
    only(&forebay, &["0", "1"]);
    let accepted = || named.origins.iter().map(Origin::accepted).collect::<Vec<_>>();
    let before = accepted();
    for addresses in [["127.0.0.2", "127.0.0.1"], ["::ffff:127.0.0.1", "127.0.0.2"]] {
        named.shows(&addresses);
        let look_ups = named.names.look_ups();
        eventually("it is looked up again", || named.names.look_ups() > look_ups);
        only(&forebay, &["0", "1"]);
    }
    assert_eq!(accepted(), before);
}

#[test]
fn a_request_under_way_finishes_at_the_address_that_has_left() {
    let named = Named::new(2, 1);
    let gate = Gate::new();
    named.origins[0].at("/held", script().wait(&gate).then(ok("finished")));
    let forebay = named.start("");
    let mut client = forebay.client();
    client.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is under way", || named.origins[0].held() == 1);
    named.shows(&ADDRESSES[1..2]);
    only(&forebay, &["1"]);
    gate.open();
    client.read_response().is(200, "finished");
    eventually("its connection is closed then", || named.origins[0].open() == 0);
}

#[test]
fn a_request_whose_address_has_left_is_tried_again_at_a_new_one() {
    let named = Named::new(2, 1);
    let gate = Gate::new();
    named.origins[0].at("/held", script().wait(&gate).then(reset()));
    named.origins[1].at("/held", ok("again"));
    let forebay = named.start("");
    let mut client = forebay.client();
    client.send("GET /held HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("it is under way", || named.origins[0].held() == 1);
    named.shows(&ADDRESSES[1..2]);
    only(&forebay, &["1"]);
    gate.open();
    client.read_response().is(200, "again");
}

#[test]
fn a_request_waits_in_the_queue_for_the_first_address() {
    let named = Named::new(1, 0);
    named.names.lose("app.test");
    let forebay = named.start("queue = { length = 10, wait_max = \"1m\" }");
    let mut client = forebay.client();
    client.send(GET);
    forebay.eventually("it waits", |gauges| gauges.queued == 1);
    named.shows(&ADDRESSES[..1]);
    client.read_response().is(200, "0");
}

#[test]
fn without_a_queue_a_name_without_an_address_is_unavailable() {
    let named = Named::new(1, 0);
    let forebay = named.start("");
    forebay.get("/").is_status(503);
    named.shows(&ADDRESSES[..1]);
    eventually("it is found", || forebay.get("/").status == 200);
}

#[test]
fn a_request_that_waits_goes_to_an_address_that_joins() {
    let named = Named::new(2, 1);
    let gate = Gate::new();
    named.origins[0].now(script().wait(&gate).then(ok("0")));
    let keys = "resolve_interval = \"1s\"\nqueue = { length = 10, wait_max = \"1m\" }";
    let config = forward([]).backend(named.backend("max_in_flight = 1")).upstream(keys);
    let forebay = Forebay::start_with(&named.names, config);
    let (mut first, mut second) = (forebay.client(), forebay.client());
    first.send(GET);
    eventually("the address is full", || named.origins[0].held() == 1);
    second.send(GET);
    forebay.eventually("the second waits", |gauges| gauges.queued == 1);
    named.shows(&ADDRESSES[..2]);
    second.read_response().is(200, "1");
    gate.open();
    first.read_response().is(200, "0");
}

#[test]
fn max_in_flight_holds_for_each_address() {
    let named = Named::new(2, 2);
    let gate = Gate::new();
    named.origins.iter().for_each(|origin| origin.now(script().wait(&gate).then(ok("done"))));
    let forebay = Forebay::start_with(&named.names, forward([]).backend(named.backend("max_in_flight = 1")));
    let mut clients = [forebay.client(), forebay.client()];
    for client in &mut clients {
        client.send(GET);
    }
    eventually("both are full", || named.origins.iter().all(|origin| origin.held() == 1));
    forebay.get("/").is_status(503);
    gate.open();
    for client in &mut clients {
        client.read_response().is(200, "done");
    }
}

/// Which origin each of some keys is sent to.
fn homes(forebay: &Forebay) -> Vec<String> {
    (0..48).map(|key| forebay.get(&format!("/{key}")).is_status(200).text()).collect()
}

#[test]
fn a_balancer_that_hashes_goes_by_the_address_so_a_change_moves_its_keys_alone() {
    let named = Named::new(4, 3);
    let by_path = "balance = \"hash\"\nhash_key = \"path\"";
    let forebay = named.start(by_path);
    let before = homes(&forebay);
    let by_address = Forebay::start(forward(&named.origins[..3]).upstream(by_path));
    assert_eq!(homes(&by_address), before, "a name hashes like the addresses that it stands for");
    named.shows(&["127.0.0.1", "127.0.0.3", "127.0.0.4"]);
    eventually("the change is followed", || homes(&forebay).contains(&"3".to_owned()));
    for (old, new) in before.iter().zip(homes(&forebay)) {
        assert!(*old == new || old == "1" || new == "3", "{old} is now {new}");
        assert_ne!(new, "1");
    }
}

#[test]
fn only_addresses_of_the_family_asked_for_are_used() {
    let named = Named::new(2, 1);
    named.shows(&["127.0.0.2", "::1"]);
    only(&named.start(""), &["1"]);
    only(&named.start("address_family = \"ipv4\""), &["1"]);
    named.start("address_family = \"both\"\n[upstream.retry]\nattempts = 3").get("/").is(200, "1");
    named.shows(&["127.0.0.2"]);
    named.start("address_family = \"ipv6\"").get("/").is_status(503);
}

#[test]
fn a_reload_to_another_name_waits_until_that_is_looked_up() {
    let named = Named::new(2, 1);
    named.names.set("next.test", &ADDRESSES[1..2]);
    let forebay = named.start("");
    forebay.get("/").is(200, "0");
    let next = format!("\"http://next.test:{}\"", named.origins[0].address().port());
    forebay.reload(forward([]).backend(next));
    eventually("the new backend is used", || forebay.get("/").is_status(200).text() == "1");
}

#[test]
fn a_reload_keeps_the_addresses_and_goes_on_following() {
    let named = Named::new(2, 1);
    let forebay = named.start("");
    forebay.get("/").is(200, "0");
    forebay.reload(named.config("slow_start = \"1ms\""));
    named.names.lose("app.test");
    forebay.get("/").is(200, "0");
    assert_eq!(named.origins[0].accepted(), 1, "its connection stays too");
    named.shows(&ADDRESSES[1..2]);
    only(&forebay, &["1"]);
}

#[test]
fn names_that_change_at_once_are_all_followed() {
    let named = Named::new(4, 1);
    let port = named.origins[0].address().port();
    let names: Vec<String> = (0..40).map(|nth| format!("app-{nth}.test")).collect();
    names.iter().for_each(|name| named.names.set(name, &ADDRESSES[..1]));
    let config = names.iter().fold(forward([]), |config, name| config.backend(format!("\"http://{name}:{port}\"")));
    let forebay = Forebay::start_with(&named.names, config.upstream("resolve_interval = \"1s\""));
    assert_eq!(shares(&forebay, 80), HashMap::from([("0".to_owned(), 80)]));
    names.iter().enumerate().for_each(|(nth, name)| named.names.set(name, &[ADDRESSES[nth % 4]]));
    let even = ["0", "1", "2", "3"].map(|who| (who.to_owned(), 20));
    eventually("each is followed", || shares(&forebay, 80) == HashMap::from(even.clone()));
}

#[test]
fn a_mirror_follows_its_name() {
    let (main, named) = (Origin::start(ok("main")), Named::new(2, 1));
    let upstream =
        format!("[[upstream]]\nname = \"shadow\"\nbackends = [{}]\nresolve_interval = \"1s\"", named.backend(""));
    let mirrored = forward([&main]).route("mirror = { upstream = \"shadow\" }").more(&upstream);
    let forebay = Forebay::start_with(&named.names, mirrored);
    forebay.get("/").is(200, "main");
    eventually("the first copy arrives", || named.origins[0].seen() == 1);
    named.shows(&ADDRESSES[1..2]);
    eventually("copies go to the new address", || {
        forebay.get("/").is(200, "main");
        named.origins[1].seen() > 0
    });
}

#[test]
fn queued_writes_follow_the_name() {
    let (state, named) = (StateDir::new(), Named::new(2, 1));
    let config = named.config("").server(&state.key()).cached("mode = \"write-back\"\nttl = \"60s\"");
    let flush = "[route.cache.write_back]\nflush_interval = \"10ms\"";
    let forebay = Forebay::start_with(&named.names, config.more(flush));
    let put = |target: &str| {
        let put = format!("PUT {target} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1\r\n\r\nx");
        forebay.ask(put).is_status(202);
    };
    put("/a");
    eventually("it arrives", || named.origins[0].count_whole("PUT /a") == 1);
    named.shows(&ADDRESSES[1..2]);
    eventually("the connection to the old address is closed", || named.origins[0].open() == 0);
    put("/b");
    eventually("it arrives at the new address", || named.origins[1].count_whole("PUT /b") == 1);
    assert_eq!(named.origins[0].count("PUT /b"), 0);
}

#[test]
fn a_hanging_address_times_out_alone() {
    let named = Named::new(2, 2);
    named.origins[0].now(hang());
    let keys = "[upstream.timeouts]\nresponse_head = \"100ms\"\n[upstream.ejection]\nconsecutive_failures = 1";
    let forebay = named.start(keys);
    for _ in 0..6 {
        forebay.get("/").is(200, "1");
    }
    assert_eq!(named.origins[0].seen(), 1);
}

#[test]
fn metrics_name_each_endpoint() {
    let named = Named::new(2, 2);
    named.origins[1].go_down();
    let config = named.config("[upstream.health]\nkind = \"tcp\"\ninterval = \"20ms\"\nfall = 1");
    let forebay = Forebay::start_with(&named.names, config.more("[admin]\nlisten = \"127.0.0.1:0\""));
    let port = named.origins[0].address().port();
    let line = |address: &str, usable: u8| {
        let labels = format!("upstream=\"origins\",backend=\"http://app.test:{port}\",address=\"{address}:{port}\"");
        format!("forebay_endpoint_usable{{{labels}}} {usable}\n")
    };
    eventually("each has its line", || {
        let admin = forebay.admin().send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").read_response().text();
        admin.contains(&line("127.0.0.1", 1)) && admin.contains(&line("127.0.0.2", 0))
    });
}

/// A resolver that answers no look-up while a test holds its lock.
#[derive(Debug)]
struct Silent(Arc<Mutex<()>>);

impl Resolver for Silent {
    fn look_up<'a>(&'a self, _host: &'a str, _port: u16) -> LookUp<'a> {
        let held = Arc::clone(&self.0);
        Box::pin(async move {
            tokio::task::spawn_blocking(move || drop(held.lock())).await?;
            Ok(Vec::new())
        })
    }
}

#[test]
fn the_end_does_not_wait_for_a_look_up() {
    let main = Origin::start(ok("main"));
    let shadow = "[[upstream]]\nname = \"shadow\"\nbackends = [\"http://app.test:80\"]";
    let config = forward([&main]).route("mirror = { upstream = \"shadow\" }").more(shadow);
    let plan = forebay::config::parse("test.toml", &config.to_string()).unwrap();
    let held = Arc::new(Mutex::new(()));
    let silence = held.lock().unwrap();
    let running = forebay::supervisor::start_with(plan, Arc::new(Silent(Arc::clone(&held)))).unwrap();
    Client::to(running.addresses()[0]).send(GET).read_response().is(200, "main");
    let (ended, has_ended) = mpsc::channel();
    let stopping = std::thread::spawn(move || {
        drop(running);
        ended.send(()).unwrap();
    });
    let in_time = has_ended.recv_timeout(Duration::from_secs(60));
    drop(silence);
    stopping.join().unwrap();
    assert!(in_time.is_ok());
}
