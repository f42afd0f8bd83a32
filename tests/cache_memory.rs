//! Compares the cache's own accounting with the memory of this process. The only test of its file, so that no other
//! test allocates meanwhile.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay::cache::Store;
use forebay::cache::coalesce::{FetchKey, Lead};
use forebay::cache::entry::{Blocks, Entry, StoredContent};
use forebay::cache::head::StoredHead;
use forebay::config::plan;
use http::StatusCode;
use message::Fields;
use policy::cache::facts::ResponseFacts;
use policy::cache::freshness::{Lifetime, LifetimeSource};
use policy::cache::key::{Key, KeyRules, Scheme, Space, Target};
use policy::cache::stored::Stored;
use policy::message::vary::Choice;
use policy::time::Now;

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The most memory of a response of five fields and 100 bytes.
const SMALL_BYTES_MAX: u64 = 800;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

fn key(number: u64) -> Key {
    let path = format!("/objects/{number}");
    let target = Target::of_normal(Scheme::Http, "shop.test", None, &path, None);
    Key::of_uri(Space { name: b"origins", rules: &KeyRules::default() }, &target)
}

fn head(fields: &Fields) -> StoredHead {
    let now = Now { mono: Duration::from_secs(1), wall: Duration::from_secs(1_800_000_000) };
    let facts = ResponseFacts::of(StatusCode::OK, fields, now);
    let lifetime = Lifetime { duration: Duration::from_secs(3600), source: LifetimeSource::MaxAge };
    StoredHead::new(fields.compact(), Stored::new(&facts, Some(lifetime), Duration::ZERO, now))
}

fn entry(number: u64, length: usize) -> Entry {
    let mut headers = Fields::new();
    for (name, value) in [
        ("content-type", "application/json".to_owned()),
        ("cache-control", "max-age=3600".to_owned()),
        ("etag", format!("\"{number:x}\"")),
        ("date", "Sat, 21 Nov 2026 12:00:00 GMT".to_owned()),
        ("content-length", length.to_string()),
        ("x-request", format!("{number:032x}")),
    ] {
        headers.set(name, value);
    }
    let head = head(&headers);
    // In pieces, as a body arrives.
    let mut blocks = Blocks::new(Some(length as u64));
    let body = vec![b'x'; length];
    let pieces: Vec<Bytes> = body.chunks(5000).flat_map(|piece| blocks.copy(piece)).collect();
    Entry { head: Arc::new(head), content: StoredContent::gather(pieces, true) }
}

/// Stores many times the cache's size, then compares its accounting with the memory of the process.
#[track_caller]
fn counts_what_it_takes(lengths: impl Fn(u64) -> usize, rounds: u64) {
    const MEMORY_MAX: u64 = 64 << 20;
    let before = resident_bytes();
    let store = Arc::new(Store::new(&plan::Cache { memory_max: MEMORY_MAX, ..plan::Cache::default() }));
    for number in 0..rounds {
        let errand = FetchKey { key: key(number), choice: Choice::default(), is_authorized: false, range: None };
        // Pseudo-random, but the same in each run.
        let drawn = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        Lead::alone(&store, errand).put(entry(number, lengths(drawn)));
    }
    let (counted, measured) = (store.bytes(), resident_bytes().saturating_sub(before));
    assert!(counted > MEMORY_MAX / 10 * 9 && counted <= MEMORY_MAX, "it is full: {counted}");
    let off_percent = counted.abs_diff(measured) * 100 / measured;
    assert!(off_percent <= 10, "counted {counted}, measured {measured}: {off_percent} % off");
}

/// Five fields and 100 bytes.
fn small_entry(number: u64) -> Entry {
    let fields: Fields = [
        ("content-type", "application/json".to_owned()),
        ("cache-control", "max-age=3600".to_owned()),
        ("etag", format!("\"{number:x}\"")),
        ("date", "Sat, 21 Nov 2026 12:00:00 GMT".to_owned()),
        ("content-length", "100".to_owned()),
    ]
    .into_iter()
    .collect();
    let pieces = Blocks::new(Some(100)).copy(&[b'x'; 100]);
    Entry { head: Arc::new(head(&fields)), content: StoredContent::gather(pieces, true) }
}

#[test]
fn a_small_response_takes_little_beside_its_content() {
    const ENTRIES: u64 = 100_000;
    let before = resident_bytes();
    let store = Arc::new(Store::new(&plan::Cache { memory_max: 1 << 30, ..plan::Cache::default() }));
    for number in 0..ENTRIES {
        let errand = FetchKey { key: key(number), choice: Choice::default(), is_authorized: false, range: None };
        Lead::alone(&store, errand).put(small_entry(number));
    }
    assert_eq!(store.len() as u64, ENTRIES);
    // Serves each response once, because a shared one may need an additional counter.
    let served: Vec<Entry> = (0..ENTRIES).filter_map(|number| store.find(&key(number), &Fields::new()).entry).collect();
    let counted = store.bytes() / ENTRIES;
    let measured = resident_bytes().saturating_sub(before) / ENTRIES - (size_of::<Entry>() as u64);
    println!("counted {counted} bytes, measured {measured}");
    assert_eq!(served.len() as u64, ENTRIES);
    assert!(counted <= SMALL_BYTES_MAX, "counted {counted}");
    assert!(measured <= SMALL_BYTES_MAX, "measured {measured}");
}

#[test]
fn what_is_counted_for_bodies_of_all_sizes_is_what_they_take() {
    counts_what_it_takes(|drawn| 1024 + usize::try_from(drawn % (63 * 1024)).unwrap(), 20_000);
}

#[test]
fn what_is_counted_for_small_bodies_is_what_they_take() {
    counts_what_it_takes(|drawn| usize::try_from(drawn % 1500).unwrap(), 200_000);
}

#[test]
fn what_is_counted_for_large_bodies_is_what_they_take() {
    counts_what_it_takes(|drawn| 300_000 + usize::try_from(drawn % 700_000).unwrap(), 1_000);
}
