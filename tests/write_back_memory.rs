//! Compares the accounting of pending writes with the memory of this process. The only test of its file, so that no
//! other test allocates meanwhile.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use testbed::{Client, Forebay, Origin, StateDir, forward, hang};

/// The allocator of the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For a manual run with 60,000: `WRITES=60000 cargo nextest run --test write_back_memory`.
const WRITES: u64 = 20_000;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

fn counted_bytes(forebay: &Forebay) -> u64 {
    let mut admin = forebay.admin();
    admin.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = admin.read_response().text();
    let value = text.lines().find_map(|line| line.strip_prefix("forebay_journal_pending_bytes ")).unwrap();
    value.trim().parse().unwrap()
}

/// The fields that a browser or a library sends with a short write.
fn put(client: &mut Client, number: u64) {
    let head = format!("PUT /carts/{number} HTTP/1.1\r\nHost: shop.example.com\r\nContent-Type: application/json\r\n");
    let fields = "User-Agent: some-client/1.2.3\r\nAccept: */*\r\nContent-Length: 5\r\n\r\nshort";
    client.send(head + fields).read_response().is(202, "");
}

#[test]
fn small_pending_writes_take_what_is_counted_and_little() {
    let writes = std::env::var("WRITES").ok().and_then(|writes| writes.parse().ok()).unwrap_or(WRITES);
    let (state, origin) = (StateDir::new(), Origin::start(hang()));
    let keys = "durability = \"os\"\nflush_interval = \"1h\"\npending_bytes_max = \"128MiB\"\nconcurrency = 1";
    let config = forward([&origin])
        .server(&state.key())
        .cached("mode = \"write-back\"\nttl = \"60s\"")
        .more(&format!("[route.cache.write_back]\n{keys}\n[admin]\nlisten = \"127.0.0.1:0\""));
    let forebay = Forebay::start(config);
    let mut client = forebay.client();
    (0..1_000).for_each(|number| put(&mut client, number));
    let (counted_before, resident_before) = (counted_bytes(&forebay), resident_bytes());
    (1_000..1_000 + writes).for_each(|number| put(&mut client, number));
    let counted = counted_bytes(&forebay) - counted_before;
    let resident = resident_bytes() - resident_before;
    println!("{writes} writes: counted {} each, resident {} each", counted / writes, resident / writes);
    assert!(resident / writes <= 1024 + 5, "{} bytes each", resident / writes);
    let off_percent = counted.abs_diff(resident) * 100 / resident;
    assert!(off_percent <= 20, "counted {counted}, resident {resident}: {off_percent} % off");
}
