//! What a running proxy shows of itself: its state, routes and endpoints over the admin API, in metrics and on the
//! command line; and endpoints that a person takes out of use.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testbed::{Forebay, Origin, Response, answer, eventually, forward, ok};

const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

fn asks(forebay: &Forebay, method: &str, target: &str, body: &str) -> Response {
    let length = body.len();
    let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
    forebay.admin().send(format!("{head}{body}")).read_response_to(method)
}

fn get(forebay: &Forebay, target: &str) -> Value {
    let response = asks(forebay, "GET", target, "");
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_str(&response.text()).unwrap()
}

/// The endpoints of the only upstream.
fn endpoints(forebay: &Forebay) -> Vec<Value> {
    get(forebay, "/api/v1/upstreams")["upstreams"][0]["endpoints"].as_array().unwrap().clone()
}

#[test]
fn requests_show_by_route_and_by_endpoint() {
    let origin = Origin::start(ok("fine"));
    origin.at("/broken", answer(503, &[], ""));
    let forebay = Forebay::start(forward([&origin]).cached("ttl = \"60s\"").more(ADMIN));
    forebay.get("/a").is_stored();
    forebay.get("/a").is_hit();
    forebay.get("/broken").is_status(503);
    forebay.is_idle();

    let routes = get(&forebay, "/api/v1/routes");
    let route = &routes["routes"][0];
    assert_eq!((&route["requests"], &route["errors"]), (&json!(3), &json!(1)), "{route}");
    assert_eq!((&route["cache"]["hit"], &route["cache"]["miss"]), (&json!(1), &json!(2)), "{route}");
    assert_eq!(route["bytes_sent"], json!(8));
    assert_eq!(route["minute"]["requests"], json!(3));
    assert!(route["minute"]["p50_ms"].as_f64().unwrap() <= route["minute"]["p99_ms"].as_f64().unwrap());

    let endpoint = &endpoints(&forebay)[0];
    assert_eq!((&endpoint["up"], &endpoint["requests"]), (&json!(true), &json!(2)), "{endpoint}");
    assert_eq!(endpoint["failures"], json!({"status": 1}));
    assert_eq!((&endpoint["minute"]["requests"], &endpoint["minute"]["errors"]), (&json!(2), &json!(1)));

    let overview = get(&forebay, "/api/v1/status");
    assert_eq!((&overview["status"], &overview["endpoints_up"]), (&json!("ready"), &json!(1)), "{overview}");
    assert_eq!((&overview["minute"]["requests"], &overview["reload"]), (&json!(3), &Value::Null));

    let metrics = asks(&forebay, "GET", "/metrics", "").text();
    let name = route["name"].as_str().unwrap();
    for line in [
        format!("forebay_route_requests_total{{route=\"{name}\",method=\"GET\",code=\"2xx\"}} 2"),
        format!("forebay_route_requests_total{{route=\"{name}\",method=\"GET\",code=\"5xx\"}} 1"),
        format!("forebay_route_request_duration_seconds_count{{route=\"{name}\"}} 3"),
        format!("forebay_route_cache_requests_total{{route=\"{name}\",result=\"hit\"}} 1"),
        format!("forebay_route_response_body_bytes_total{{route=\"{name}\"}} 8"),
        "forebay_config_last_reload_successful 1".to_owned(),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    let of_endpoint = |family: &str| {
        let found = metrics.lines().find(|line| line.starts_with(family));
        found.unwrap_or_else(|| panic!("{family}")).rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(of_endpoint("forebay_endpoint_requests_total{"), "2");
    assert_eq!(of_endpoint("forebay_endpoint_response_time_seconds_count{"), "2");
    assert!(metrics.contains("kind=\"status\"} 1"), "{metrics}");
}

#[test]
fn an_endpoint_that_is_down_says_since_when_and_why() {
    let (good, bad) = (Origin::start(ok("fine")), Origin::start(ok("fine")));
    let health = "health = { path = \"/healthz\", interval = \"10ms\", fall = 2, rise = 2 }";
    bad.at("/healthz", answer(503, &[], ""));
    let forebay = Forebay::start(forward([&good, &bad]).upstream(health).more(ADMIN));
    eventually("the endpoint is down", || endpoints(&forebay)[1]["up"] == json!(false));
    let down = &endpoints(&forebay)[1];
    assert_eq!(down["reasons"], json!(["down"]), "{down}");
    let change = &down["history"][0];
    assert_eq!(change["event"], json!("down"));
    assert!(change["reason"].as_str().unwrap().contains("503"), "{change}");
    let metrics = asks(&forebay, "GET", "/metrics", "").text();
    assert!(metrics.contains("reason=\"down\"} 1"), "{metrics}");
    bad.at("/healthz", ok(""));
    eventually("the endpoint is up", || endpoints(&forebay)[1]["history"][0]["event"] == json!("up"));
    assert_eq!(endpoints(&forebay)[1]["up"], json!(true));
}

#[test]
fn a_drained_endpoint_gets_no_new_requests_until_it_is_ready_again() {
    let (one, two) = (Origin::start(ok("one")), Origin::start(ok("two")));
    let forebay = Forebay::start(forward([&one, &two]).more(ADMIN));
    let upstream = get(&forebay, "/api/v1/upstreams")["upstreams"][0].clone();
    let name = upstream["name"].as_str().unwrap().replace('/', "%2F");
    let backend = upstream["endpoints"][0]["backend"].as_str().unwrap();
    let order = json!({"backend": backend, "by": "alice"}).to_string();
    let drained = asks(&forebay, "POST", &format!("/api/v1/upstreams/{name}/drain"), &order);
    assert_eq!(drained.status, 200, "{}", drained.text());
    let endpoint = &endpoints(&forebay)[0];
    assert_eq!((&endpoint["up"], &endpoint["reasons"]), (&json!(false), &json!(["drained"])));
    assert_eq!(endpoint["history"][0]["reason"], json!("alice"));
    for _ in 0..8 {
        assert_eq!(forebay.get("/").text(), "two");
    }
    let ready = asks(&forebay, "POST", &format!("/api/v1/upstreams/{name}/ready"), &order);
    assert_eq!(ready.status, 200);
    let found: Vec<String> = (0..8).map(|_| forebay.get("/").text()).collect();
    assert!(found.iter().any(|text| text == "one"), "{found:?}");

    let missing = json!({"backend": "http://192.0.2.1:80"}).to_string();
    assert_eq!(asks(&forebay, "POST", &format!("/api/v1/upstreams/{name}/drain"), &missing).status, 404);
    assert_eq!(asks(&forebay, "POST", "/api/v1/upstreams/none/drain", &order).status, 404);
    assert_eq!(asks(&forebay, "POST", &format!("/api/v1/upstreams/{name}/drain"), "{}").status, 400);
}

#[test]
fn counts_and_drains_outlive_a_reload() {
    let origin = Origin::start(ok("fine"));
    let other = Origin::start(ok("fine"));
    let config = || forward([&origin, &other]).more(ADMIN);
    let forebay = Forebay::start(config());
    forebay.get("/").is_status(200);
    forebay.is_idle();
    let upstream = get(&forebay, "/api/v1/upstreams")["upstreams"][0].clone();
    let name = upstream["name"].as_str().unwrap().replace('/', "%2F");
    let order = json!({"backend": upstream["endpoints"][0]["backend"]}).to_string();
    asks(&forebay, "POST", &format!("/api/v1/upstreams/{name}/drain"), &order).is_status(200);
    for retries in ["0", "1", "2"] {
        forebay.reload(config().upstream(&format!("retry = {{ attempts = {retries} }}")));
        forebay.get("/").is_status(200);
    }
    forebay.is_idle();
    let endpoints = endpoints(&forebay);
    assert_eq!(endpoints[0]["reasons"], json!(["drained"]));
    let requests: u64 = endpoints.iter().map(|endpoint| endpoint["requests"].as_u64().unwrap()).sum();
    assert_eq!(requests, 4);
    assert_eq!(get(&forebay, "/api/v1/routes")["routes"][0]["requests"], json!(4));
}

#[test]
fn the_command_line_shows_and_drains() {
    let origin = Origin::start(ok("fine"));
    let other = Origin::start(ok("fine"));
    let forebay = Forebay::start(forward([&origin, &other]).more(ADMIN));
    forebay.get("/").is_status(200);
    forebay.is_idle();
    let says = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        let output = command.args(words).args(["--admin", &forebay.admin_address().to_string()]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{words:?}: {text} {}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let status = says(&["status"]);
    assert!(status.contains("2 of 2 get requests") && status.contains("1 requests"), "{status}");
    assert!(says(&["status", "--routes"]).contains("REQUESTS/S"));
    let upstream = get(&forebay, "/api/v1/upstreams")["upstreams"][0].clone();
    let (name, backend) = (upstream["name"].as_str().unwrap(), upstream["endpoints"][1]["backend"].as_str().unwrap());
    let drained = says(&["backend", "drain", name, backend, "--by", "alice"]);
    assert!(drained.contains("drained") && drained.contains("alice"), "{drained}");
    assert!(says(&["backend", "show", name]).contains("drained"));
    let ready = says(&["backend", "ready", name, backend]);
    assert!(!ready.contains("drained"), "{ready}");
    let parsed: Value = serde_json::from_str(&says(&["backend", "--json"])).unwrap();
    assert_eq!(parsed["upstreams"][0]["endpoints"].as_array().unwrap().len(), 2);
}

/// A page of metrics with all that there is.
fn full_page() -> String {
    let origin = Origin::start(ok("fine"));
    let state = testbed::StateDir::new();
    let config = forward([&origin]).cached("ttl = \"60s\"").server(&state.key()).more(ADMIN);
    let forebay = Forebay::start(config);
    forebay.get("/").is_stored();
    forebay.is_idle();
    asks(&forebay, "GET", "/metrics", "").text()
}

/// Runs Prometheus' own checker on a text.
fn promtool(words: &[&str], text: &str) {
    let mut checker = Command::new("promtool");
    let checker = checker.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checker = checker.spawn().expect("promtool is installed: ./test does that");
    checker.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = checker.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{text}");
}

#[test]
fn prometheus_finds_no_fault_with_the_metrics() {
    promtool(&["check", "metrics"], &full_page());
}

#[test]
fn alerts_and_the_grafana_dashboard_name_only_metrics_that_exist() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/prometheus/forebay.rules.yml");
    promtool(&["check", "rules", rules], "");
    let page = full_page();
    let known: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let dashboard = include_str!("../contrib/grafana/forebay.json");
    serde_json::from_str::<Value>(dashboard).unwrap();
    // A split is not on the page above.
    let elsewhere = ["forebay_split_weight_percent"];
    let mut named = 0;
    for word in [dashboard, include_str!("../contrib/prometheus/forebay.rules.yml")]
        .iter()
        .flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with("forebay_") || word.starts_with("process_"))
    {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end)).unwrap_or(word);
        assert!(known.contains(word) || known.contains(family) || elsewhere.contains(&word), "{word}");
        assert!(!page.contains(&format!("# HELP {word} Deprecated")), "{word} is an old name");
        named += 1;
    }
    assert!(named > 20);
}
