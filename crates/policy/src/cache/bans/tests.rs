//! Bans, rule by rule, and against a model that checks everything at once.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cache::key::{KeyRules, Scheme, Space, Target};

const LIMITS: BanLimits = BanLimits { bans_max: 4, bytes_max: 100, swept_max: 2 };

fn key(host: &str, path: &str) -> Key {
    let target = Target::of_normal(Scheme::Http, host, None, path, None);
    Key::of_uri(Space { name: b"shop", rules: &KeyRules::default() }, &target)
}

fn prefix(host: Option<&str>, path: &str) -> Scope {
    let authority = host.map(|host| (host.into(), None));
    Scope::Prefix(Prefix { scheme: None, authority, path: path.into() })
}

fn tags(tags: &[&str]) -> Scope {
    Scope::Tags(tags.iter().map(|tag| Box::from(*tag)).collect())
}

fn anywhere(path: &str) -> Scope {
    Scope::Anywhere(Anywhere { path: path.into(), queries: vec![None] })
}

fn at(seconds: u64) -> Now {
    Now::at(Duration::from_secs(seconds))
}

fn covers(scope: &Scope, key: &Key, tags: &[&str]) -> bool {
    scope.covers(&Subject::new(key, |tag: &str| tags.contains(&tag)))
}

fn add(bans: &mut Bans<()>, scope: Scope, purge: Purge) -> bool {
    let epoch = bans.epoch().next();
    bans.add(Arc::new(Ban { epoch, scope, purge, note: () }))
}

#[test]
fn a_scope_covers_what_it_names() {
    let here = key("a.test", "/x/1");
    for (scope, expected) in [
        (Scope::All, true),
        (tags(&["one", "two"]), true),
        (tags(&["three"]), false),
        (prefix(None, "/x"), true),
        (prefix(Some("a.test"), "/x/"), true),
        (prefix(Some("b.test"), "/x/"), false),
        (prefix(Some("a.test"), "/x/12"), false),
        (anywhere("/x/1"), true),
        (anywhere("/x"), false),
    ] {
        assert_eq!(covers(&scope, &here, &["two"]), expected, "{scope:?}");
    }
}

#[test]
fn two_scopes_merge_into_the_narrowest_simple_one_that_covers_both() {
    for (one, other, expected) in [
        (prefix(Some("a.test"), "/x/1"), prefix(Some("a.test"), "/x/2"), prefix(Some("a.test"), "/x/")),
        (prefix(Some("a.test"), "/x/1"), prefix(Some("b.test"), "/x/1"), prefix(None, "/x/1")),
        (prefix(Some("a.test"), "/x"), prefix(Some("b.test"), "/y"), Scope::All),
        (prefix(Some("a.test"), "/é"), prefix(Some("a.test"), "/è"), prefix(Some("a.test"), "/")),
        (anywhere("/x/1"), prefix(Some("a.test"), "/x/2"), prefix(None, "/x/")),
        (tags(&["a"]), tags(&["a"]), tags(&["a"])),
        (tags(&["a"]), tags(&["b"]), Scope::All),
        (tags(&["a"]), prefix(None, "/x"), Scope::All),
        (Scope::All, anywhere("/x"), Scope::All),
    ] {
        assert_eq!(one.merge(&other), expected);
        assert_eq!(other.merge(&one), expected);
    }
}

#[test]
fn a_list_that_is_full_merges_the_oldest_and_keeps_the_newest() {
    let mut bans = Bans::new(LIMITS);
    for tag in ["a", "b", "c", "d"] {
        assert!(!add(&mut bans, tags(&[tag]), Purge::Hard));
    }
    assert!(add(&mut bans, tags(&["e"]), Purge::Hard));
    let key = key("a.test", "/");
    let verdict =
        |since: Epoch, tag: &'static str| bans.judge(since, &Subject::new(&key, |own: &str| own == tag), |()| ());
    let first = Epoch::default().next();
    // A response checked only against the first ban has not been checked against the second, which it was merged with.
    assert_eq!((verdict(Epoch::default(), "z"), verdict(first, "z")), (BanVerdict::Gone, BanVerdict::Gone));
    assert_eq!((verdict(first.next(), "z"), verdict(first.next(), "d")), (BanVerdict::Untouched, BanVerdict::Gone));
    assert_eq!(bans.waiting(), 4);
}

#[test]
fn bans_with_much_text_are_merged_too_and_one_alone_stays() {
    let mut bans = Bans::new(LIMITS);
    let long = "x".repeat(90);
    assert!(!add(&mut bans, tags(&[&long]), Purge::Hard));
    assert!(add(&mut bans, prefix(None, &format!("/{long}")), Purge::Hard));
    assert_eq!((bans.bytes, bans.waiting()), (0, 1));
    assert!(add(&mut bans, tags(&["y".repeat(200).as_str()]), Purge::Hard));
    assert_eq!((bans.bytes, bans.waiting()), (0, 1));
}

#[test]
fn what_has_been_swept_goes_before_anything_is_merged_and_is_known_to_fetches_for_a_while() {
    let mut bans = Bans::new(LIMITS);
    let mut epochs = vec![bans.epoch()];
    for tag in ["a", "b", "c"] {
        add(&mut bans, tags(&[tag]), Purge::Hard);
        epochs.push(bans.epoch());
    }
    bans.sweep(bans.epoch());
    assert_eq!((bans.waiting(), bans.list.len()), (0, 2));
    let key = key("a.test", "/");
    let tagged = |tag: &'static str| Subject::new(&key, move |own: &str| own == tag);
    assert!(bans.concern(epochs[0], &tagged("none")), "nobody knows what the first was about");
    assert!(!bans.concern(epochs[1], &tagged("none")));
    assert!(bans.concern(epochs[1], &tagged("b")) && !bans.concern(epochs[2], &tagged("b")));
    for tag in ["d", "e", "f", "g"] {
        assert!(!add(&mut bans, tags(&[tag]), Purge::Hard));
    }
    assert!(add(&mut bans, tags(&["h"]), Purge::Hard));
}

/// A stored response, in the model and in the list.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    tag: &'static str,
    checked: Epoch,
    /// Its state according to the list.
    state: BanVerdict,
    /// Its state if every ban were checked against everything at once.
    promised: BanVerdict,
}

#[derive(Clone, Debug)]
enum Step {
    Ban(Scope, bool),
    Store(usize, usize),
    Use(usize),
    Sweep,
}

const TAGS: [&str; 3] = ["a", "b", "c"];
const PATHS: [&str; 4] = ["/", "/x", "/x/1", "/y"];

fn step() -> impl Strategy<Value = Step> {
    let path = || prop::sample::select(PATHS.as_slice());
    let scope = prop_oneof![
        1 => Just(Scope::All),
        4 => prop::sample::select(TAGS.as_slice()).prop_map(|tag| tags(&[tag])),
        4 => (any::<bool>(), path()).prop_map(|(named, path)| prefix(named.then_some("a.test"), path)),
        2 => path().prop_map(anywhere),
    ];
    prop_oneof![
        4 => (scope, any::<bool>()).prop_map(|(scope, soft)| Step::Ban(scope, soft)),
        3 => (0..PATHS.len(), 0..TAGS.len()).prop_map(|(path, tag)| Step::Store(path, tag)),
        3 => (0..8_usize).prop_map(Step::Use),
        1 => Just(Step::Sweep),
    ]
}

fn staler(one: BanVerdict, other: BanVerdict) -> BanVerdict {
    match (one, other) {
        (BanVerdict::Gone, _) | (_, BanVerdict::Gone) => BanVerdict::Gone,
        (BanVerdict::Stale(one), BanVerdict::Stale(other)) => BanVerdict::Stale(earlier(one, other)),
        (BanVerdict::Untouched, verdict) | (verdict, BanVerdict::Untouched) => verdict,
    }
}

fn hold(bans: &Bans<()>, entry: &mut Entry) {
    let subject = Subject::new(&entry.key, |tag: &str| tag == entry.tag);
    entry.state = staler(entry.state, bans.judge(entry.checked, &subject, |()| ()));
    entry.checked = bans.epoch();
}

/// Whether the first is at least as stale as the second.
fn is_no_fresher(one: BanVerdict, other: BanVerdict) -> bool {
    staler(one, other) == one
}

proptest! {
    /// With room for all bans the list is exact; otherwise entries are staler than in the model, never fresher.
    #[test]
    fn a_list_does_what_a_look_at_everything_does(
        steps in prop::collection::vec(step(), 1..60),
        bans_max in prop_oneof![Just(2_usize), Just(5), Just(1000)],
    ) {
        let mut bans = Bans::new(BanLimits { bans_max, bytes_max: 10_000, swept_max: 1 });
        let mut entries: Vec<Entry> = Vec::new();
        for (second, step) in (1..).zip(steps) {
            match step {
                Step::Ban(scope, is_soft) => {
                    let purge = if is_soft { Purge::Soft(at(second)) } else { Purge::Hard };
                    for entry in entries.iter_mut().filter(|entry| covers(&scope, &entry.key, &[entry.tag])) {
                        let promised = if is_soft { BanVerdict::Stale(at(second)) } else { BanVerdict::Gone };
                        entry.promised = staler(entry.promised, promised);
                    }
                    add(&mut bans, scope, purge);
                }
                Step::Store(path, tag) => {
                    let (state, checked) = (BanVerdict::Untouched, bans.epoch());
                    let key = key("a.test", PATHS[path]);
                    entries.push(Entry { key, tag: TAGS[tag], checked, state, promised: state });
                }
                Step::Use(which) => {
                    let count = entries.len().max(1);
                    if let Some(entry) = entries.get_mut(which % count) {
                        hold(&bans, entry);
                        prop_assert!(is_no_fresher(entry.state, entry.promised), "{entry:?} of {bans:?}");
                        prop_assert!(bans_max < 1000 || entry.state == entry.promised, "{entry:?} of {bans:?}");
                    }
                }
                Step::Sweep => {
                    entries.iter_mut().for_each(|entry| hold(&bans, entry));
                    bans.sweep(bans.epoch());
                    prop_assert_eq!(bans.waiting(), 0);
                }
            }
            prop_assert!(bans.list.len() <= bans_max);
            let epochs: BTreeSet<Epoch> = bans.list.iter().map(|ban| ban.epoch).collect();
            prop_assert_eq!(epochs.len(), bans.list.len());
        }
    }
}
