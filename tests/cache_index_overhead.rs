//! Holds the index's count of its own cost against the memory of this process. Alone in its file, so that no other
//! test allocates meanwhile.

#![cfg(target_os = "linux")]

use forebay::cache::index::Index;
use policy::cache::bans::Epoch;

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

#[test]
fn an_entry_costs_what_is_counted_for_it() {
    type Entries = Index<u64, [u64; 4]>;
    // Just after the hash table has doubled (7/8 of 2^18 buckets): the dearest moment.
    const ENTRIES: u64 = (1 << 18) / 8 * 7 + 1;
    let before = resident_bytes().unwrap();
    let mut index = Entries::new(u64::MAX);
    for key in 0..ENTRIES {
        index.insert(key, [key; 4], 0, Epoch::default()).unwrap();
    }
    let measured = resident_bytes().unwrap().saturating_sub(before) / ENTRIES;
    let counted = Entries::OVERHEAD_BYTES;
    assert!(measured <= counted, "measured {measured}, counted {counted}");
    assert!(counted < 2 * measured, "measured {measured}, counted {counted}");
    assert_eq!(index.bytes(), ENTRIES * counted);
}
