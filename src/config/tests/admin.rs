//! Tests of `[admin]` and `[[invalidate]]`: accepted values, and problems.

use policy::events::{Event, JsonValue, touched};

use super::{LISTEN, fine, problems, refused};
use crate::config::plan::{Admin, AdminAddress};

/// Long enough for a token.
const TOKEN: &str = "0123456789abcdef";

fn with_admin(lines: &str) -> String {
    format!("{LISTEN}[admin]\n{lines}")
}

fn admin(lines: &str) -> Admin {
    fine(&with_admin(lines)).admin.expect("it has a listener")
}

fn with_rule(lines: &str) -> String {
    format!("{LISTEN}[[invalidate]]\n{lines}")
}

#[test]
fn without_its_table_there_is_no_admin_listener() {
    assert!(fine(LISTEN).admin.is_none());
    let admin = admin("");
    assert_eq!(admin.listen, AdminAddress::Ip("127.0.0.1:9900".parse().unwrap()));
    assert!(admin.token.is_none() && admin.hosts.is_empty());
}

#[test]
fn every_key_of_the_admin_listener_is_read() {
    let open =
        admin(&format!("listen = \"0.0.0.0:9900\"\ntoken = \"{TOKEN}\"\nhosts = [\"Admin.example.com\", \"[::1]\"]"));
    assert_eq!(open.listen, AdminAddress::Ip("0.0.0.0:9900".parse().unwrap()));
    assert!(open.token.is_some_and(|token| token.is(TOKEN.as_bytes())));
    assert_eq!(open.hosts, [Box::from("admin.example.com"), Box::from("[::1]")]);
    assert_eq!(admin("listen = \"unix:/run/a.sock\"").listen, AdminAddress::Unix("/run/a.sock".into()));
}

#[test]
fn keys_of_the_admin_listener_are_checked() {
    let open = "the admin listener is open to other machines, and has no token | add token = \"${env:";
    for (lines, words) in [
        ("listen = \"localhost:9900\"", "\"localhost:9900\" is no address to listen on | write ip:port"),
        ("listen = \"unix:run/a.sock\"", "\"unix:run/a.sock\" has no absolute path"),
        ("listen = [\"127.0.0.1:1\"]", "listen is a string, not a list"),
        ("listen = \"0.0.0.0:9900\"", open),
        ("listen = \"[::]:9900\"", open),
        ("listen = \"10.0.0.1:9900\"", open),
        ("token = \"short\"", "this is no token | at least 16 visible ASCII characters"),
        ("token = \"0123456789 abcdef\"", "this is no token"),
        ("token = \"\"", "this is no token"),
        ("hosts = [\"https://a\"]", "\"https://a\" is no host | write a name without scheme and port"),
        ("hosts = [\"a:80\"]", "\"a:80\" is no host"),
        ("port = 9900", "unknown key \"port\" in [admin]"),
    ] {
        refused(&with_admin(lines), words);
    }
}

#[test]
fn the_admin_listener_is_not_where_clients_are() {
    for (clients, admin) in [("127.0.0.1:80", "127.0.0.1:80"), ("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80")]
    {
        let text = format!("listen = [\"{clients}\"]\n[admin]\nlisten = \"{admin}\"");
        refused(&text, "is for clients already | take another port");
    }
    fine("listen = [\"127.0.0.2:80\"]\n[admin]\nlisten = \"127.0.0.1:80\"");
    fine("listen = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"");
}

#[test]
fn a_token_is_never_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2 {data.hunter2").unwrap();
    let secret = format!("${{file:{}}}", file.path().display());
    let told = problems(&with_admin(&format!("token = \"{secret}\""))).concat();
    assert!(told.contains("this is no token") && !told.contains("hunter2"), "{told}");
    let told =
        problems(&with_rule(&format!("event = \"a\"\ntags = [\"{secret}\"]\nurls = [\"/{secret}}}\"]"))).concat();
    assert!(told.contains("is no template") && !told.contains("hunter2"), "{told}");
    let shown = format!("{:?}", admin(&format!("token = \"{TOKEN}\"")));
    assert!(!shown.contains(TOKEN), "{shown}");
}

#[test]
fn a_rule_is_read_with_its_templates() {
    assert!(fine(LISTEN).invalidate.is_empty());
    let plan = fine(&with_rule(
        "event = \"OrderCreated\"\ntags = [\"orders\", \"user:{data.user_id}\"]\n\
         urls = [\"/api/orders/{aggregate_id}\"]\nprefixes = [\"https://shop.example.com/lists/{data.user_id}/\"]\nsoft = true",
    ));
    let event = Event {
        kind: "OrderCreated".into(),
        subject: Some("o-1".into()),
        data: JsonValue::table([("user_id", JsonValue::Whole(7))]),
    };
    let touched = touched(&plan.invalidate, &event).unwrap();
    assert_eq!(touched[0].tags, ["orders", "user:7"]);
    assert_eq!((&*touched[0].urls[0].path, &*touched[0].prefixes[0].path), ("/api/orders/o-1", "/lists/7/"));
    assert!(touched[0].soft);
}

#[test]
fn keys_of_a_rule_are_checked() {
    for (lines, words) in [
        ("tags = [\"a\"]", "event is missing | say for which type"),
        ("event = \"\"\ntags = [\"a\"]", "event is empty"),
        ("event = \"a\"", "this rule invalidates nothing | add tags, urls or prefixes"),
        ("event = \"a\"\ntags = []\nurls = []", "this rule invalidates nothing"),
        ("event = \"a\"\ntags = \"a\"", "tags is a list of strings, not a string"),
        ("event = \"a\"\ntags = [\"\"]", "\"\" is empty"),
        ("event = \"a\"\ntags = [\"{user}\"]", "\"{user}\" names \"user\"; known are type, aggregate_id"),
        ("event = \"a\"\ntags = [\"{data.x\"]", "has an open brace; {{ stands for a plain one | values stand in"),
        ("event = \"a\"\nurls = [\"api/{data.x}\"]", "is no URL with a path"),
        ("event = \"a\"\nurls = [\"http://{data.x}/\"]", "has a host with braces"),
        ("event = \"a\"\nurls = [\"/a/../{data.x}\"]", "has a . or .. segment"),
        ("event = \"a\"\nprefixes = [\"/a?b={data.x}\"]", "has a query, but is the beginning of a path"),
        ("event = \"a\"\ntags = [\"a\"]\nsoft = \"yes\"", "soft is true or false, not a string"),
        ("event = \"a\"\ntag = [\"a\"]\nurls = [\"/\"]", "did you mean \"tags\"?"),
    ] {
        refused(&with_rule(lines), words);
    }
    let many = vec!["\"a\""; 101].join(", ");
    refused(&with_rule(&format!("event = \"a\"\ntags = [{many}]")), "there are 101 tags | at most 100");
}
