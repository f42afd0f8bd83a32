//! Queued writes under thousands of random histories: writers, a journal in bytes with group commit, crashes at any byte
//! of what was not synced, damage, restarts, a backend that answers everything, and people who revive and discard.
//!
//! What must hold is in `truth`: acknowledged writes are sent or dead, in their order, one at a time for a key, and none
//! that is not durable. A failure names its seed. Not in it: a backend that carries a request out long after the
//! connection was given up; against that only `Idempotency-Key` helps.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod disk;
mod reading;
mod stuck;
mod truth;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

const SEEDS: u64 = 3_000;
const STEPS: usize = 120;

/// How often what happened in all histories: a simulation that never gets anywhere proves nothing.
pub(crate) type Seen = BTreeMap<&'static str, u64>;

fn run(seed: u64, seen: &mut Seen) {
    let mut world = World::new(seed, std::mem::take(seen));
    for _ in 0..STEPS {
        world.step();
        world.check();
    }
    world.end();
    *seen = world.seen;
}

#[test]
fn no_acknowledged_write_is_lost_or_out_of_order_in_thousands_of_histories() {
    let seeds = match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS,
    };
    let is_whole = seeds.end - seeds.start > 1;
    let mut seen = Seen::new();
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &mut seen)));
        assert!(outcome.is_ok(), "SEED={seed} replays the history that failed");
    }
    let wanted = [
        "acknowledged",
        "superseded",
        "sent",
        "settled",
        "retried",
        "refused",
        "attempts used up",
        "unsent",
        "slept",
        "crashed",
        "recovered",
        "lost unacknowledged",
        "sent again after a crash",
        "applied unnoticed",
        "turn at once",
        "turn later",
        "left",
        "full",
        "revived",
        "discarded",
        "cancelled",
        "cancelled in vain",
        "freed",
        "made small",
        "not made small",
        "dropped",
        "rotted",
        "opaque",
        "dirty",
    ];
    for what in wanted.iter().filter(|_| is_whole) {
        assert!(seen.get(what).is_some_and(|times| *times > 50), "{what} hardly ever happened: {seen:?}");
    }
}
