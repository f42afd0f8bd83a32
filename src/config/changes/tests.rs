//! Tests of the differences between two files, for every key.

use super::super::keys::{Key, Kind, Section, TOP};
use super::*;
use crate::config::parse;

const BASE: &str = "listen = [\"127.0.0.1:8080\"]\n";
const ROUTES: &str = "[[upstream]]\nname = \"a\"\nbackends = [\"http://10.0.0.1:80\"]\n\
                      [[route]]\npath = \"/a\"\nupstream = \"a\"\n[[route]]\npath = \"/b\"\nrespond = { body = \"b\" }\n";

fn between(old: &str, new: &str) -> Changes {
    let (old, new) = (parse("old", old).unwrap(), parse("new", new).unwrap());
    Changes::between(&old, &new, (&old.settings, true))
}

#[test]
fn of_the_same_file_nothing_has_changed() {
    let text = format!("{BASE}{ROUTES}");
    let changes = between(&text, &text);
    assert_eq!((changes.to_string().as_str(), changes.next_start()), ("nothing has changed", None));
    let moved = format!("{BASE}# A comment.\n\n[server]\nidle_timeout = \"75s\"\n[log]\n{ROUTES}");
    assert_eq!(between(&text, &moved).to_string(), "nothing has changed");
}

#[test]
fn what_has_come_gone_and_become_something_else_is_named() {
    let old = format!("{BASE}{ROUTES}");
    let new = "listen = [\"127.0.0.1:8081\"]\n[server]\nidle_timeout = \"1s\"\n\
               [[upstream]]\nname = \"a\"\nbackends = [\"http://10.0.0.2:80\"]\n\
               [[upstream]]\nname = \"c\"\nbackends = [\"http://10.0.0.3:80\"]\n\
               [[route]]\npath = \"/a\"\nupstream = \"a\"\nstrip_prefix = \"/a\"\n\
               [[route]]\npath = \"/c\"\nupstream = \"c\"\n";
    let told = "listeners added: 127.0.0.1:8081; listeners removed: 127.0.0.1:8080; routes added: /c; \
                routes removed: /b; routes changed: /a; upstreams added: c; \
                backends added: a http://10.0.0.2:80; backends removed: a http://10.0.0.1:80; \
                keys changed: server.idle_timeout";
    assert_eq!(between(&old, new).to_string(), told);
}

#[test]
fn a_long_list_is_cut() {
    let many: String = (0..30).map(|number| format!("[[route]]\npath = \"/{number}\"\nrespond = {{}}\n")).collect();
    let told = between(&format!("{BASE}{ROUTES}"), &format!("{BASE}{ROUTES}{many}")).to_string();
    assert!(told.starts_with("routes added: /0, /1, ") && told.ends_with(" and 10 more"), "{told}");
}

#[test]
fn what_waits_for_the_next_start_is_told_of_at_each_reload_until_it_is_as_at_the_start() {
    let plan = |text: &str| parse("file", &format!("{BASE}{text}{ROUTES}")).unwrap();
    let (started, changed) = (plan("[server]\nworkers = 1\n"), plan("[server]\nworkers = 2\n"));
    let first = Changes::between(&started, &changed, (&started.settings, true));
    let second = Changes::between(&changed, &changed, (&started.settings, true));
    for changes in [first, second] {
        assert_eq!(changes.next_start().as_deref(), Some("server.workers"));
        assert_eq!(changes.to_string(), "nothing has changed");
    }
    assert_eq!(Changes::between(&changed, &started, (&started.settings, true)).next_start(), None);
}

#[test]
fn a_route_that_would_queue_writes_without_a_journal_waits_for_the_next_start() {
    let back = format!(
        "{BASE}[server]\nstate_dir = \"/var/lib/forebay\"\n{ROUTES}[[route]]\npath = \"/c\"\nupstream = \"a\"\n\
         [route.cache]\nmode = \"write-back\"\n"
    );
    let (old, new) = (parse("old", &format!("{BASE}{ROUTES}")).unwrap(), parse("new", &back).unwrap());
    let told = "server.state_dir, mode = \"write-back\" of route /c";
    assert_eq!(Changes::between(&old, &new, (&old.settings, false)).next_start().as_deref(), Some(told));
    assert_eq!(Changes::between(&new, &new, (&new.settings, true)).next_start(), None);
}

/// A few valid values of a kind.
fn values(kind: Kind) -> Vec<String> {
    const TEXTS: [&str; 22] = [
        "127.0.0.1:9",
        "letsencrypt",
        "letsencrypt-staging",
        "ops@a.example",
        "dev@a.example",
        "http://10.0.0.1",
        "http://10.0.0.2:81",
        "http-01",
        "tls-alpn-01",
        "127.0.0.1:10",
        "10.0.0.0/8",
        "10.1.0.0/16",
        "a.example",
        "websocket",
        "file:/var/log/a",
        "0123456789abcdef",
        "$status $request",
        "/var/lib/a",
        "fedcba9876543210",
        "stdout",
        "stderr",
        "json",
    ];
    match kind {
        Kind::Text => TEXTS.iter().map(|text| format!("\"{text}\"")).collect(),
        Kind::Texts | Kind::TextOrTexts => TEXTS.iter().map(|text| format!("[\"{text}\"]")).collect(),
        Kind::Choice(words) => words.iter().map(|word| format!("\"{word}\"")).collect(),
        Kind::Flag => vec!["true".to_owned(), "false".to_owned()],
        Kind::Count(least, most) => vec![least.to_string(), (least + 1).to_string(), most.to_string()],
        Kind::Duration(..) => ["1ms", "1s", "1m", "1h"].iter().map(|time| format!("\"{time}\"")).collect(),
        Kind::Size(..) => ["1B", "10KiB", "60KiB", "1MiB", "64MiB"].iter().map(|size| format!("\"{size}\"")).collect(),
        Kind::Decimal(..)
        | Kind::Percent(..)
        | Kind::Counts(..)
        | Kind::Percents(..)
        | Kind::Pairs
        | Kind::DurationByStatus(..)
        | Kind::Table(_)
        | Kind::Tables(_)
        | Kind::TablesOrTexts(_) => Vec::new(),
    }
}

/// A file in which this key of this section has this value.
fn file(section: &Section, key: &Key, value: &str) -> String {
    let line = format!("{} = {value}\n", key.name);
    match section.heading {
        "" => line,
        // It needs these, whatever else it has.
        "[tls.acme]" => {
            format!(
                "{BASE}[server]\nstate_dir = \"/s\"\n{heading}\nterms_agreed = true\n{line}",
                heading = section.heading
            )
        }
        heading => format!("{BASE}{heading}\n{line}"),
    }
}

/// This table and the tables in it that a file has once, each with the prefix of its keys' full names.
fn once(prefix: String, section: &'static Section) -> Vec<(String, &'static Section)> {
    let tables = section.keys.iter().filter(|key| matches!(key.kind, Kind::Table(_)));
    let inner: Vec<_> =
        tables.filter_map(|key| Some(once(format!("{prefix}{}.", key.name), key.kind.inner()?))).flatten().collect();
    std::iter::once((prefix, section)).chain(inner).collect()
}

#[test]
fn every_key_of_a_table_that_is_there_once_takes_effect_or_is_said_to_wait() {
    for (prefix, section) in once(String::new(), &TOP) {
        for key in section.keys.iter().filter(|key| key.kind.inner().is_none()) {
            let name = format!("{prefix}{}", key.name);
            if name == "tls.acme.terms_agreed" {
                // Its one value is `true`.
                assert_eq!(key.reload, Some(Reload::Now));
                continue;
            }
            let fine = values(key.kind).into_iter().map(|value| file(section, key, &value));
            let fine: Vec<String> = fine.filter(|text| parse("file", text).is_ok()).take(2).collect();
            let [old, new] = fine.as_slice() else { panic!("{name}: no two values are known") };
            let changes = between(old, new);
            let told = (changes.settings.as_slice(), changes.next_start.as_slice());
            let expected: (&[String], &[String]) = match key.reload {
                Some(Reload::Now) if name == "listen" => {
                    assert!(!changes.listeners.added.is_empty());
                    (&[], &[])
                }
                Some(Reload::Now) => (std::slice::from_ref(&name), &[]),
                Some(Reload::NextStart) => (&[], std::slice::from_ref(&name)),
                None => panic!("{name} does not say when a change takes effect"),
            };
            assert_eq!(told, expected, "{name}\n{old}\n{new}");
        }
    }
}
