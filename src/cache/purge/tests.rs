//! Purges against a look at every entry, and the sweep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use message::Fields;
use policy::cache::facts::ResponseFacts;
use policy::cache::freshness::{Lifetime, LifetimeSource};
use policy::cache::key::{KeyRules, Scheme, Space, Target};
use policy::cache::stored::Stored;
use policy::message::vary::Choice;
use policy::time::Now;
use proptest::prelude::*;

use super::super::coalesce::{FetchKey, Lead};
use super::super::entry::{Entry, StoredContent};
use super::super::head::StoredHead;
use super::*;
use crate::config::plan;

const HOUR: Duration = Duration::from_secs(3600);
const PATHS: [&str; 6] = ["/", "/x", "/x/1", "/x/2", "/y", "/y/1"];
const TAGS: [&str; 3] = ["a", "b", "c"];

fn at(seconds: u64) -> Now {
    Now::at(Duration::from_secs(seconds))
}

fn key(path: &str) -> Key {
    let target = Target::of_normal(Scheme::Http, "shop.test", None, path, None);
    Key::of_uri(Space { name: b"shop", rules: &KeyRules::default() }, &target)
}

fn entry(tag: &str, received: Now) -> Entry {
    let headers = Fields::new();
    let facts = ResponseFacts::of(StatusCode::OK, &headers, received);
    let lifetime = Lifetime { duration: HOUR, source: LifetimeSource::MaxAge };
    let stored = Stored::new(&facts, Some(lifetime), Duration::ZERO, received);
    let head = StoredHead::new(headers, stored).with_tags([Box::from(tag)].into());
    Entry { head: Arc::new(head), content: StoredContent::One(Bytes::from_static(b"abc")) }
}

fn begin(store: &Arc<Store>, path: &str) -> Lead {
    Lead::alone(store, FetchKey { key: key(path), choice: Choice::default(), is_authorized: false, range: None })
}

fn put(store: &Arc<Store>, path: &str, entry: Entry) {
    begin(store, path).put(entry);
}

fn found(store: &Store, path: &str) -> Option<Entry> {
    store.find(&key(path), &Fields::new()).entry
}

fn store() -> Arc<Store> {
    Arc::new(Store::new(&plan::Cache::default()))
}

fn prefix(path: &str) -> Scope {
    let authority = Some((Box::from("shop.test"), None));
    Scope::Prefix(Prefix { scheme: None, authority, path: path.into() })
}

fn tagged(tag: &str) -> Scope {
    Scope::Tags([Box::from(tag)].into())
}

#[derive(Clone, Debug)]
enum Step {
    Put(usize, usize),
    Find(usize),
    Ban(Scope, bool),
    Url(usize, bool),
    Sweep(usize),
    Begin(usize),
    End(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let path = 0..PATHS.len();
    let scope = prop_oneof![
        1 => Just(Scope::All),
        3 => prop::sample::select(TAGS.as_slice()).prop_map(tagged),
        3 => prop::sample::select(PATHS.as_slice()).prop_map(prefix),
    ];
    prop_oneof![
        5 => (path.clone(), 0..TAGS.len()).prop_map(|(path, tag)| Step::Put(path, tag)),
        4 => path.clone().prop_map(Step::Find),
        3 => (scope, any::<bool>()).prop_map(|(scope, soft)| Step::Ban(scope, soft)),
        1 => (path.clone(), any::<bool>()).prop_map(|(path, soft)| Step::Url(path, soft)),
        2 => (0..16_usize).prop_map(Step::Sweep),
        1 => path.prop_map(Step::Begin),
        1 => (any::<usize>(), 0..TAGS.len()).prop_map(|(which, tag)| Step::End(which, tag)),
    ]
}

/// What a store has that looks at all entries at each purge.
#[derive(Clone, Debug)]
struct Line {
    tag: &'static str,
    received: Now,
    lifetime: Duration,
}

#[derive(Default)]
struct Model {
    lines: BTreeMap<&'static str, Line>,
    /// What is being fetched, and the purges since it began.
    fetches: Vec<(&'static str, Lead, Vec<Scope>)>,
    /// Each ban, and how many responses it should have touched.
    bans: Vec<(Banned, u64)>,
}

fn is_about(scope: &Scope, path: &str, tag: &str) -> bool {
    match scope {
        Scope::All => true,
        Scope::Tags(tags) => tags.iter().any(|own| **own == *tag),
        Scope::Prefix(prefix) => path.starts_with(&*prefix.path),
        Scope::Anywhere(_) => unreachable!(),
    }
}

impl Model {
    fn line(&mut self, path: &'static str, tag: &'static str, now: Now) {
        self.lines.insert(path, Line { tag, received: now, lifetime: HOUR });
    }

    /// Counts.
    fn purge(&mut self, is_soft: bool, now: Now, is_meant: impl Fn(&str, &str) -> bool) -> u64 {
        let meant: Vec<&'static str> =
            self.lines.iter().filter(|(path, line)| is_meant(path, line.tag)).map(|(path, _)| *path).collect();
        for path in &meant {
            if is_soft {
                let line = self.lines.get_mut(path).unwrap();
                line.lifetime = line.lifetime.min(now.mono.saturating_sub(line.received.mono));
            } else {
                self.lines.remove(path);
            }
        }
        meant.len() as u64
    }

    fn agrees(&self, store: &Store, path: &str) {
        let lifetime = |entry: Entry| (entry.head.stored.freshness(at(0)).lifetime, entry.head.tags()[0].to_string());
        let line = self.lines.get(path).map(|line| (line.lifetime, line.tag.to_owned()));
        assert_eq!(found(store, path).map(lifetime), line, "{path}");
    }
}

fn run(store: &Arc<Store>, model: &mut Model, step: Step, now: Now) {
    match step {
        Step::Put(path, tag) => {
            put(store, PATHS[path], entry(TAGS[tag], now));
            model.line(PATHS[path], TAGS[tag], now);
        }
        Step::Find(path) => model.agrees(store, PATHS[path]),
        Step::Ban(scope, is_soft) => {
            let count = model.purge(is_soft, now, |path, tag| is_about(&scope, path, tag));
            model.fetches.iter_mut().for_each(|(_, _, since)| since.push(scope.clone()));
            let purge = if is_soft { Purge::Soft(now) } else { Purge::Hard };
            model.bans.push((store.ban(scope, purge), count));
        }
        Step::Url(path, is_soft) => {
            let path = PATHS[path];
            let purge = if is_soft { Purge::Soft(now) } else { Purge::Hard };
            let count = model.purge(is_soft, now, |other, _| other == path);
            model.fetches.iter_mut().filter(|(of, ..)| *of == path).for_each(|(_, _, since)| since.push(Scope::All));
            assert_eq!(store.purge_uri(&key(path), purge) as u64, count, "{path}");
        }
        Step::Sweep(place) => {
            if let Some(shard) = store.shards().nth(place) {
                let mut left = Vec::new();
                shard.lock().sweep(1, &mut left);
            }
        }
        Step::Begin(path) => model.fetches.push((PATHS[path], begin(store, PATHS[path]), Vec::new())),
        Step::End(which, tag) => {
            if !model.fetches.is_empty() {
                let (path, lead, since) = model.fetches.swap_remove(which % model.fetches.len());
                lead.put(entry(TAGS[tag], now));
                if !since.iter().any(|scope| is_about(scope, path, TAGS[tag])) {
                    model.line(path, TAGS[tag], now);
                }
            }
        }
    }
}

fn sweep_all(store: &Store) {
    while !store.note_swept() {
        (0..store.shards().count()).for_each(|place| while !store.sweep_part(place) {});
    }
}

proptest! {
    #[test]
    fn it_does_what_a_look_at_every_entry_does(steps in prop::collection::vec(step(), 1..80)) {
        let (store, mut model) = (store(), Model::default());
        for (second, step) in (1..).zip(steps) {
            run(&store, &mut model, step, at(second));
        }
        sweep_all(&store);
        prop_assert_eq!(store.len(), model.lines.len());
        for path in PATHS {
            model.agrees(&store, path);
        }
        for (banned, count) in &model.bans {
            prop_assert_eq!(banned.touched.load(Ordering::Relaxed), *count);
        }
        prop_assert_eq!(store.bans(), (0, 0));
    }
}

#[test]
fn what_is_banned_costs_memory_until_it_is_swept() {
    let store = store();
    for path in PATHS {
        put(&store, path, entry("a", at(1)));
    }
    let before = store.bytes();
    let banned = store.purge_tags([Box::from("a")].into(), Purge::Hard);
    assert_eq!((store.bytes(), store.len(), store.bans()), (before, PATHS.len(), (1, 0)));
    assert!(PATHS.iter().all(|path| found(&store, path).is_none()));
    sweep_all(&store);
    assert_eq!((store.bytes(), store.bans()), (0, (0, 0)));
    assert_eq!(banned.touched.load(Ordering::Relaxed), PATHS.len() as u64);
}

#[test]
fn with_more_bans_than_fit_all_that_is_older_may_go_and_what_is_newer_stays() {
    let store = store();
    put(&store, "/x", entry("old", at(1)));
    for ban in 0..5000 {
        store.purge_tags([format!("t{ban}").into()].into(), Purge::Hard);
    }
    put(&store, "/y", entry("new", at(1)));
    let (waiting, merged) = store.bans();
    assert_eq!((waiting, merged), (4096, 5000 - 4096));
    assert!(found(&store, "/x").is_none() && found(&store, "/y").is_some());
    sweep_all(&store);
    assert_eq!(store.len(), 1);
}

#[tokio::test(flavor = "local")]
async fn who_waits_is_told_the_count_when_all_is_swept_and_may_leave() {
    let store = store();
    start_sweeping(&store);
    for path in PATHS {
        put(&store, path, entry("a", at(1)));
    }
    let first = store.purge_prefix(Prefix { scheme: None, authority: None, path: "/x".into() }, Purge::Hard);
    let second = store.purge_all(Purge::Soft(at(2)));
    // The one gives up before the other has its answer.
    drop(store.swept(&first));
    assert_eq!((store.swept(&second).await, store.swept(&first).await), (3, 3));
    assert!(first.epoch() < second.epoch());
    assert_eq!((store.len(), store.bans()), (3, (0, 0)));
}

#[tokio::test(flavor = "local")]
async fn a_sweep_ends_with_its_store() {
    let store = store();
    let sweep = keep_sweeping(Arc::downgrade(&store), store.to_sweep.subscribe());
    store.purge_all(Purge::Hard);
    drop(store);
    sweep.await;
}
