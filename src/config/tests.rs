//! Tests of whole files: which are accepted, and the problems of the others.

use std::time::Duration;

use proptest::prelude::*;

use super::keys::{Key, Section, TOP};
use super::parse;
use super::plan::{Action, Balance, CacheMode, Check, HashKey, Plan, Route, WriteBack, WriteRetry};

mod acme;
mod admin;
mod cache;
mod canary;
mod listener;
mod mirror;
mod rollout;
mod schema;
mod write_back;

/// The repository's own file.
const EXAMPLE: &str = include_str!("../../config.toml");

/// The start of a file: the only required key.
const LISTEN: &str = "listen = [\"127.0.0.1:0\"]\n";

fn fine(text: &str) -> Plan {
    parse("config.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The problems of a file, as `cause | hint`.
fn problems(text: &str) -> Vec<String> {
    let list = parse("config.toml", text).map_or_else(|problems| problems.list, |_| Vec::new());
    list.into_iter().map(|problem| format!("{} | {}", problem.cause, problem.hint.unwrap_or_default())).collect()
}

fn upstream(lines: &str) -> String {
    format!("{LISTEN}[[upstream]]\nname = \"u\"\n{lines}\n")
}

fn route(lines: &str) -> String {
    format!("{LISTEN}[[route]]\n{lines}\n")
}

/// Asserts that the file has exactly one problem, whose cause and hint contain these words.
fn refused(text: &str, words: &str) {
    let problems = problems(text);
    assert!(problems.len() == 1 && problems[0].contains(words), "{text}\nexpected: {words}\ngot: {problems:#?}");
}

#[test]
fn the_five_line_start_is_fine() {
    let plan = fine(
        "listen = [\"127.0.0.1:8080\"]\n\n[[route]]\npath = \"/\"\nbackends = [\"http://127.0.0.1:9001\", \"http://127.0.0.1:9002\"]\n",
    );
    assert!(plan.tcp_addresses().eq(["127.0.0.1:8080".parse().unwrap()]));
    assert!(matches!(plan.routes[0].action, Action::Forward(0)));
    assert_eq!((&*plan.upstreams[0].name, plan.upstreams[0].backends.len()), ("/", 2));
}

#[test]
fn a_path_with_a_run_of_slashes_matches_nothing_unless_slashes_count() {
    for lines in ["path = \"//a\"", "path = \"=/a//b\"", "path = \"/a\"\nstrip_prefix = \"/a//b\""] {
        let lines = format!("{lines}\nbackends = [\"http://b\"]");
        refused(&route(&lines), "can never match");
        fine(&format!("{LISTEN}[server]\nmerge_slashes = \"off\"\n[[route]]\n{lines}\n"));
    }
    fine(&route("path = \"~^/a//b\"\nbackends = [\"http://b\"]"));
    refused(&format!("{LISTEN}[server]\nmerge_slashes = \"of\""), "did you mean");
}

#[test]
fn what_is_left_out_has_its_default() {
    let plan = fine(&upstream("backends = [\"http://a\"]\nqueue = {}\n[upstream.health]"));
    let (server, upstream) = (&plan.server, &plan.upstreams[0]);
    assert_eq!(server.header_timeout, Duration::from_secs(10));
    assert_eq!((server.header_bytes_max, server.body_bytes_max), (32 << 10, Some(10 << 20)));
    assert_eq!((server.body_rate_min, server.connections_max), (100, None));
    assert_eq!(server.upgrades, ["websocket"]);
    assert!(server.trusted_proxies.is_empty() && server.state_dir.is_none());
    assert_eq!(upstream.balance, Balance::RoundRobin);
    assert_eq!(upstream.backends[0].weight, 1);
    assert_eq!(upstream.ejection.statuses.0, [500..=599]);
    assert_eq!(upstream.retry.statuses.0, [502..=502, 503..=503, 504..=504]);
    assert_eq!(upstream.queue.as_ref().unwrap().length, 100);
    let Check::Http { method, path, .. } = &upstream.health.as_ref().unwrap().check else { panic!("no http check") };
    assert_eq!((method.as_str(), path.as_str()), ("GET", "/"));
}

#[test]
fn zero_turns_a_limit_off() {
    let plan = fine(&format!("{LISTEN}[server]\nbody_bytes_max = 0\nbody_rate_min = \"0\"\nshutdown_timeout = 0"));
    assert_eq!((plan.server.body_bytes_max, plan.server.body_rate_min), (None, 0));
    assert_eq!(plan.server.shutdown_timeout, Duration::ZERO);
}

#[test]
fn six_mistakes_are_told_at_once_with_place_and_hint() {
    let text = r#"listen = ["127.0.0.1"]
[server]
header_timout = "10s"
idle_timeout = 75

[[upstream]]
name = "legacy"
backends = ["httpx://10.0.0.1", { url = "http://10.0.0.2", weight = 3 }]

[[route]]
upstream = "lagacy"
"#;
    let expected = r#"config.toml:1:11: "127.0.0.1" is no address to listen on
    1 | listen = ["127.0.0.1"]
      |           ^ write ip:port, as "0.0.0.0:8080" or "[::]:8080"
config.toml:3:1: unknown key "header_timout" in [server]
    3 | header_timout = "10s"
      | ^ did you mean "header_timeout"?
config.toml:4:16: idle_timeout has no unit
    4 | idle_timeout = 75
      |                ^ write it as "75s"
config.toml:8:13: backend "httpx://10.0.0.1" has an unknown scheme
    8 | backends = ["httpx://10.0.0.1", { url = "http://10.0.0.2", weight = 3 }]
      |             ^ write http://host:port or unix:/path
config.toml:8:69: the balance of this upstream ignores weight
    8 | backends = ["httpx://10.0.0.1", { url = "http://10.0.0.2", weight = 3 }]
      |                                                                     ^ weights count with balance = "weighted", "least-connections", "random" or "hash"
config.toml:11:12: upstream "lagacy" is not defined
   11 | upstream = "lagacy"
      |            ^ did you mean "legacy"?
"#;
    assert_eq!(parse("config.toml", text).unwrap_err().to_string(), expected);
}

#[test]
fn a_syntax_error_has_a_place() {
    let problems = parse("f", "listen = [\"127.0.0.1:80\"\n\n[server\n").unwrap_err().to_string();
    assert!(problems.starts_with("f:") && problems.contains("not TOML"), "{problems}");
    assert!(parse("f", "a = 1\na = 2\n").unwrap_err().to_string().starts_with("f:2:1: not TOML: duplicate key"));
}

#[test]
fn keys_of_the_top_are_checked() {
    for (text, words) in [
        ("", "listen is missing"),
        ("listen = []", "listen is empty"),
        ("listen = \"127.0.0.1:80\"", "listen is a list of strings, not a string"),
        ("listen = [\"127.0.0.1:80\", \"127.0.0.1:80\"]", "is listened on twice"),
        ("listen = [\"localhost:80\"]", "is no address to listen on"),
        ("listen = [\"127.0.0.1:80\"]\nadmins = {}", "unknown key \"admins\""),
        (
            "listen = [\"127.0.0.1:80\"]\nupstream = {}",
            "upstream is a list of tables, not a table | write [[upstream]]",
        ),
        ("listen = [\"127.0.0.1:80\"]\nserver = 5", "server is a table, not a whole number | write [server]"),
    ] {
        refused(text, words);
    }
}

#[test]
fn keys_of_server_and_log_are_checked() {
    for (lines, words) in [
        ("[server]\nworkers = 0", "workers is out of range | from 1 to 1024"),
        ("[server]\nworkers = -1", "workers is out of range"),
        ("[server]\nworkers = 99999999999999999999", "workers is out of range"),
        ("[server]\nheader_timeout = \"0s\"", "header_timeout is out of range | from 1ms to 1h"),
        ("[server]\nheader_timeout = 0", "header_timeout is out of range"),
        ("[server]\nheader_timeout = \"10\"", "header_timeout has no unit"),
        ("[server]\nheader_bytes_max = \"4KiB\"", "header_bytes_max is out of range | from 8KiB to 64KiB"),
        ("[server]\nheader_bytes_max = 65536", "header_bytes_max has no unit"),
        ("[server]\nheader_bytes_max = \"64KB\"", "header_bytes_max has an unknown unit"),
        ("[server]\nconnections_max = 1.5", "connections_max is a whole number, not a number with a fraction"),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/33\"]", "\"10.0.0.0/33\" is no network"),
        ("[server]\nupgrades = [\"H2C\"]", "h2c can't be upgraded to"),
        ("[server]\nupgrades = [\"\"]", "is no protocol"),
        ("[server]\nstate_dir = \"\"", "state_dir is empty"),
        ("[log]\naccess = \"of\"", "access can't be \"of\" | did you mean \"off\"?"),
        ("[log]\naccess_format = \"jsn\"", "access_format can't be \"jsn\" | did you mean \"json\"?"),
        ("[log]\naccess_format = \"plain\"", "can't be \"plain\" | write \"json\", \"combined\", or a text"),
        ("[log]\naccess_format = \"$remote_adr\"", "no variable $remote_adr | did you mean \"remote_addr\"?"),
        ("[log]\naccess_format = \"$status $ssl_cipher\"", "no variable $ssl_cipher | known: remote_addr, "),
        ("[log]\naccess_format = \"$status $\"", "access_format has no variable $ | known: "),
        ("[log]\naccess_format = \"$http_\"", "access_format has no variable $http_ | known: "),
        ("[log]\naccess_format = \"$status\\n\"", "access_format holds a control character | each exchange"),
        ("[log]\naccess_to = \"/var/log/a\"", "access_to can't be \"/var/log/a\" | did you mean \"file:/var/log/a\"?"),
        ("[log]\nevents_to = \"syslog\"", "events_to can't be \"syslog\" | write \"stdout\", \"stderr\", \"file:"),
        ("[log]\naccess_to = \"file:\"", "access_to can't be \"file:\" | write"),
        ("[log]\nlevel = \"verbose\"", "level can't be \"verbose\" | one of error, warn, info, debug, trace"),
    ] {
        refused(&format!("{LISTEN}{lines}"), words);
    }
}

#[test]
fn keys_of_an_upstream_are_checked() {
    const A: &str = "backends = [\"http://a\"]\n";
    for (lines, words) in [
        ("", "backends is missing"),
        ("backends = []", "backends is empty"),
        ("backends = [5]", "backends is a list of strings or tables, not a whole number"),
        ("backends = [\"http://a:80\", \"http://A\"]", "backend \"http://A\" is named twice"),
        ("backends = [{ weight = 1 }]\nbalance = \"hash\"\nhash_key = \"path\"", "url is missing"),
        ("backends = [{ url = \"http://a\", backup = true }]", "every backend is a backup"),
        ("backends = [{ url = \"http://a\", weight = 0 }]\nbalance = \"random\"", "weight is out of range"),
        ("backends = [{ url = \"http://a\", weight = 1 }]\nbalance = \"ip-hash\"", "ignores weight"),
        ("backends = [{ url = \"http://a\", backup = 1 }]", "backup is true or false, not a whole number"),
        (&format!("{A}balance = \"hash\""), "hash_key is missing"),
        (&format!("{A}balance = \"hash\"\nhash_key = \"header:\""), "hash_key can't be \"header:\""),
        (&format!("{A}hash_key = \"path\""), "hash_key has no effect"),
        (&format!("{A}balance = \"least-connection\""), "did you mean \"least-connections\"?"),
        (&format!("{A}queue = {{ length = 0 }}"), "length is out of range | from 1 to 100000"),
        (&format!("{A}[upstream.health]\nstatus = [\"2xx\"]"), "\"2xx\" is no range of status codes"),
        (&format!("{A}[upstream.health]\nstatus = [\"300-200\"]"), "is no range of status codes"),
        (&format!("{A}[upstream.health]\nstatus = []"), "status is empty"),
        (&format!("{A}[upstream.health]\npath = \"healthz\""), "is no path to check"),
        (&format!("{A}[upstream.health]\nhost = \"a b\""), "is no host"),
        (&format!("{A}[upstream.health]\nkind = \"tcp\"\npath = \"/\""), "path has no effect"),
        (&format!("{A}[upstream.health]\nmethod = \"HEAD\"\nbody = \"ok\""), "HEAD has no body"),
        (
            &format!("{A}[upstream.ejection]\nbase_time = \"6m\""),
            "longer than the longest | base_time is 6m, max_time 5m",
        ),
        (&format!("{A}[upstream.retry]\nstatuses = [200]"), "statuses is out of range | from 400 to 599"),
        (&format!("{A}[[upstream]]\nname = \"u\"\n{A}"), "upstream \"u\" is defined twice"),
        (&format!("{A}[[upstream]]\nname = \"\"\n{A}"), "\"\" is no name"),
    ] {
        refused(&upstream(lines), words);
    }
}

#[test]
fn a_hash_key_names_what_is_hashed() {
    for (key, expected) in [
        ("header:X-User", HashKey::Header("x-user".parse().unwrap())),
        ("cookie:sid", HashKey::Cookie("sid".to_owned())),
        ("query:user", HashKey::Query("user".to_owned())),
        ("path", HashKey::Path),
        ("client-ip", HashKey::ClientIp),
    ] {
        let text = upstream(&format!("backends = [\"http://a\"]\nbalance = \"hash\"\nhash_key = \"{key}\""));
        assert_eq!(fine(&text).upstreams[0].balance, Balance::Hash(expected));
    }
}

#[test]
fn keys_of_a_route_are_checked() {
    const A: &str = "backends = [\"http://a\"]\n";
    for (lines, words) in [
        ("", "route \"/\" does nothing | add one of upstream, backends, split, redirect, respond"),
        ("backends = [\"http://a\"]\nrespond = {}", "can't have both backends and respond"),
        ("upstream = \"x\"", "upstream \"x\" is not defined | define it"),
        ("backends = [{ url = \"http://a\", weight = 2 }]", "ignores weight"),
        (&format!("{A}host = \"a:80\""), "\"a:80\" is no host | write it without scheme and port"),
        (&format!("{A}host = \"*\""), "leave host out"),
        (&format!("{A}host = \"www.*\""), "is no host"),
        (&format!("{A}host = []"), "host is empty"),
        (&format!("{A}host = \"*x.example\""), "a whole label"),
        (&format!("{A}path = \"api\""), "path can't be \"api\" | paths start with a slash"),
        (&format!("{A}path = \"/a?b\""), "path can't be"),
        (&format!("{A}path = \"=/a/../b\""), "leave . and .. out"),
        (&format!("{A}path = \"~(\""), "path is no regular expression | unclosed group"),
        (&format!("{A}methods = [\"get\"]"), "\"get\" is no method | methods are case-sensitive"),
        (&format!("{A}headers = {{ \"a b\" = \"x\" }}"), "no name of a header field"),
        (&format!("{A}cookies = {{ \"a b\" = \"x\" }}"), "no name of a cookie"),
        (&format!("{A}query = {{ a = 5 }}"), "query is a table of strings, not a whole number"),
        (&format!("{A}path = \"/a\"\nstrip_prefix = \"/b\""), "strip_prefix never fits"),
        (&format!("{A}add_prefix = \"b\""), "add_prefix can't be \"b\""),
        (&format!("{A}set_request_headers = {{ Host = \"b\" }}"), "host can't be set or removed"),
        (&format!("{A}set_request_headers = {{ a = \"1\", A = \"2\" }}"), "a is set twice"),
        (&format!("{A}set_response_headers = {{ a = \"x\\ny\" }}"), "a can't have this value"),
        (&format!("{A}remove_response_headers = [\"Transfer-Encoding\"]"), "transfer-encoding can't be set or removed"),
        ("redirect = {}", "to is missing"),
        ("redirect = { to = \"/{user}\" }", "has an unknown word in braces | in braces may stand {scheme}, {host}"),
        ("redirect = { to = \"/{hostnme}\" }", "did you mean {hostname}?"),
        ("redirect = { to = \"/{1}\" }", "has a group, but path is no pattern"),
        ("path = \"~^/(a)\"\nredirect = { to = \"/{2}\" }", "or a group of path by number or name"),
        ("redirect = { to = \"/a}\" }", "has a brace without its partner"),
        ("redirect = { to = \"/\u{e4}\" }", "percent-encoded"),
        ("backends = [\"http://a\"]\nrewrite = \"v2\"", "is no path | start with a slash"),
        ("backends = [\"http://a\"]\nrewrite = \"/v2\"\nadd_prefix = \"/a\"", "both rewrite and add_prefix"),
        ("redirect = { to = \"/b\" }\nrewrite = \"/v2\"", "rewrite has no effect"),
        ("redirect = { to = \"javascript:x\" }", "is no target of a redirect"),
        ("redirect = { to = \"/\", status = 304 }", "304 is no redirect"),
        ("respond = { status = 204, body = \"x\" }", "a response 204 has no body"),
        ("respond = { status = 101 }", "status is out of range | from 200 to 599"),
        ("respond = { content_type = \"text\" }", "is no media type"),
        ("respond = {}\nstrip_prefix = \"/\"", "strip_prefix has no effect"),
    ] {
        refused(&route(lines), words);
    }
}

#[test]
fn a_route_behind_its_like_can_never_match() {
    let second = |first: &str, second: &str| format!("{}[[route]]\nrespond = {{}}\n{second}", route(first));
    let same = "name = \"one\"\nrespond = {}\nhost = [\"A.example\", \"b.example\"]\npath = \"/api\"";
    refused(&second(same, "host = \"a.example\"\npath = \"/api/\""), "can never match | route \"one\" before it");
    fine(&second(same, "host = \"c.example\"\npath = \"/api\""));
    fine(&second(same, "host = \"a.example\"\npath = \"/api\"\nmethods = [\"GET\"]"));
    refused(&second("respond = {}", "path = \"~(\""), "path is no regular expression");
    refused(&second("name = \"x\"\nrespond = {}", "name = \"x\"\npath = \"/a\""), "route \"x\" is defined twice");
}

#[test]
fn routes_without_a_name_get_names_of_their_own() {
    let plan = fine(&format!(
        "{LISTEN}[[route]]\nbackends = [\"http://a\"]\n[[route]]\nhost = \"h\"\nbackends = [\"http://a\"]\n[[route]]\nhost = \"h\"\nmethods = [\"GET\"]\nbackends = [\"http://a\"]\n"
    ));
    let names: Vec<_> = plan.upstreams.iter().map(|upstream| &*upstream.name).collect();
    assert_eq!(names, ["/", "h/", "h/ (3)"]);
}

#[test]
fn a_redirect_is_read_in_pieces() {
    let plan = fine(&route("redirect = { to = \"https://{host}/new{path}{query}\" }"));
    let Action::Redirect(redirect) = &plan.routes[0].action else { panic!("no redirect") };
    assert_eq!(redirect.to.to_string(), "https://{host}/new{path}{query}");
    assert_eq!(redirect.status.as_u16(), 308);
}

#[test]
fn a_secret_is_put_in_place_and_never_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "Bearer hunter2\n").unwrap();
    let secret = format!("${{file:{}}}", file.path().display());
    let plan =
        fine(&route(&format!("backends = [\"http://a\"]\nset_request_headers = {{ authorization = \"{secret}\" }}")));
    assert_eq!(plan.routes[0].request_headers.set[0].1, "Bearer hunter2");
    for wrong in [
        "upstream = \"S\"",
        "respond = {}\nname = \"S\"\nx = 1",
        "respond = {}\nhost = \"S\"\npath = \"S\"",
        "name = \"S\"\npath = \"~(S\"",
        "redirect = { to = \"S\" }",
        "respond = { content_type = \"S\" }",
        "backends = [\"S\", \"unix:S\"]\nmethods = [\"S\"]\nremove_request_headers = [\"S\"]\nstrip_prefix = \"S\"",
    ] {
        let problems = parse("f", &route(&wrong.replace('S', &secret))).unwrap_err().to_string();
        assert!(!problems.contains("hunter2"), "{problems}");
    }
    refused(&route("respond = { body = \"${env:FOREBAY_IS_NOT_SET}\" }"), "variable FOREBAY_IS_NOT_SET is not set");
}

#[test]
fn more_routes_than_fit_are_refused() {
    let text = LISTEN.to_owned() + &"[[route]]\nrespond = {}\n".repeat(10_001);
    let problems = parse("f", &text).unwrap_err();
    assert_eq!(problems.list[0].cause, "there are 10001 tables of route");
}

#[test]
fn a_file_that_is_not_there_is_a_problem() {
    let problems = super::load(std::path::Path::new("/nowhere/config.toml")).unwrap_err().to_string();
    assert!(problems.starts_with("/nowhere/config.toml: can't be opened"), "{problems}");
    assert!(super::load(std::path::Path::new("/")).is_err());
}

/// The example with every commented key enabled.
fn example_in_full() -> String {
    let switch_on = |line: &str| {
        let key = line.trim_start().strip_prefix("# ").filter(|rest| {
            let word = rest.split(' ').next().unwrap_or_default();
            let is_key = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
            rest.starts_with('[') || rest.starts_with("{ url") || (is_key && rest.split(' ').nth(1) == Some("="))
        });
        key.filter(|key| !key.starts_with("hash_key")).unwrap_or(line).to_owned() + "\n"
    };
    EXAMPLE.lines().map(switch_on).collect()
}

#[test]
fn every_key_of_the_example_is_accepted() {
    let full = example_in_full();
    assert_ne!(full, EXAMPLE);
    fine(&full);
}

#[test]
fn the_comments_of_the_example_show_the_defaults() {
    let (plan, full) = (fine(EXAMPLE), fine(&example_in_full()));
    assert_eq!(plan.upstreams[2].timeouts, full.upstreams[2].timeouts);
    assert_eq!(plan.upstreams[3].ejection, full.upstreams[3].ejection);
    assert_eq!(plan.upstreams[3].retry, full.upstreams[3].retry);
    let caches = [&plan, &full].map(|plan| plan.routes[0].cache.as_deref().unwrap());
    assert_eq!(plan.cache, full.cache);
    assert_eq!(caches[0].exceptions, caches[1].exceptions);
    assert_eq!(caches[0].ttl.heuristic_max, caches[1].ttl.heuristic_max);
    assert_eq!(caches[0].tags_headers, caches[1].tags_headers);
    // The demo overrides these times with shorter ones.
    let given = WriteBack {
        flush_interval: Duration::from_secs(2),
        retry: WriteRetry { base: Duration::from_millis(500), max: Duration::from_secs(3), attempts: 200 },
        ..written_back()
    };
    assert_eq!(full.routes[1].cache.as_deref().unwrap().mode, CacheMode::Back(given));
    assert_eq!((full.invalidate.len(), full.admin.is_some()), (1, true));
    let is_split = |route: &&Route| matches!(route.action, Action::Split(_));
    rollout::is_as_by_default(full.routes.iter().rfind(is_split).unwrap());
    assert_eq!(plan.server.body_bytes_max, full.server.body_bytes_max);
}

/// The write-back settings of the example's commented route: the defaults, except for `queue` and `keep_headers`.
fn written_back() -> WriteBack {
    let keeps = "queue = [\"POST\", \"PATCH\"]\nkeep_headers = [\"authorization\"]";
    let text = format!(
        "{LISTEN}[server]\nstate_dir = \"/s\"\n[[route]]\nbackends = [\"http://a\"]\n[route.cache]\nmode = \"write-back\"\n[route.cache.write_back]\n{keeps}"
    );
    match &fine(&text).routes[0].cache.as_deref().unwrap().mode {
        CacheMode::Back(write_back) => write_back.clone(),
        CacheMode::Aside | CacheMode::Through => panic!("no write-back"),
    }
}

/// Calls `visit` for every key, with the beginning of a file up to the key's name. `path`: the name of the table that
/// `headers` open.
fn each_key(
    section: &'static Section,
    (path, headers): (&str, &str),
    visit: &mut impl FnMut(&'static Section, &'static Key, String),
) {
    for key in section.keys {
        visit(section, key, format!("{headers}{} = ", key.name));
        let Some(inner) = key.kind.inner() else { continue };
        let path = format!("{path}{}", key.name);
        let header = if key.kind.noun() == "a table" { format!("[{path}]") } else { format!("[[{path}]]") };
        each_key(inner, (&format!("{path}."), &format!("{headers}{header}\n")), visit);
    }
}

#[test]
fn every_key_is_shown_in_the_example() {
    each_key(&TOP, ("", ""), &mut |section, key, _| {
        let shown = EXAMPLE.contains(&format!("{} = ", key.name)) || EXAMPLE.contains(&format!("{}]", key.name));
        assert!(shown, "{} {}", section.heading, key.name);
    });
}

#[test]
fn no_key_takes_a_date() {
    each_key(&TOP, ("", ""), &mut |_, key, start| {
        let problems = problems(&format!("{start}1979-05-27\n"));
        let cause = format!("{} is ", key.name);
        assert!(
            problems.iter().any(|problem| problem.contains(&cause) && problem.contains("a date")),
            "{start} {problems:?}"
        );
    });
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = parse("f", &text).map_err(|problems| problems.to_string());
    }

    #[test]
    fn no_text_of_toml_pieces_panics(pieces in prop::collection::vec(prop::sample::select(vec![
        "[", "]", "{", "}", "=", ".", ",", "\n", "\"", "'", "#", "[[route]]\n", "[[upstream]]\n", "name", "path", "host",
        " = ", "\"/\"", "\"~(\"", "5", "1979-05-27", "true", "backends", "upstream", "redirect", "cache", "404", "[[invalidate]]\n", "[admin]\n", "urls", "write_back", "{data.", "split", "canary", "mirror", "[route.canary]\n", "weight", "0.5", "${env:", "é", "\u{0}",
    ]), 0..40)) {
        let _ = parse("f", &pieces.concat()).map_err(|problems| problems.to_string());
    }

    #[test]
    fn no_mutation_of_a_valid_file_panics(at in 0..EXAMPLE.len(), length in 0..40_usize, put in "\\PC{0,8}") {
        let full = example_in_full();
        let kept = full.char_indices().filter(|(index, _)| !(at..at + length).contains(index)).map(|(_, kept)| kept);
        let mut mutated: String = kept.collect();
        let put_at = (at..).find(|at| *at >= mutated.len() || mutated.is_char_boundary(*at)).unwrap_or_default();
        mutated.insert_str(put_at.min(mutated.len()), &put);
        let _ = parse("f", &mutated).map_err(|problems| problems.to_string());
    }
}
