//! Scripted origins, an in-process proxy and a raw-bytes client.
//!
//! A wire test needs three things and a few lines: an [`Origin`] that plays a [`Script`], a [`Forebay`] in front of it
//! on its own port, and a [`Client`] that sends raw bytes and reads the response including its framing. Nothing here
//! sleeps for a fixed time: [`eventually`] waits for a condition under a deadline. Every failure panics with the bytes
//! received so far. Tests decide what is correct, not this crate.

mod client;
mod compared;
mod config;
mod crowd;
mod disk;
mod forebay;
mod head;
mod mirror;
mod names;
mod origin;
mod pebble;
mod process;
mod rollout;
mod script;
mod shown_certificate;
mod socket;
mod state;
mod time;
mod tls;
mod wire;

pub use client::{Client, Ending, Response};
pub use compared::{Compared, places, skipped};
pub use config::{Config, forward, routes, split};
pub use crowd::{asking, crowd, leader_and_followers};
pub use disk::Disk;
pub use forebay::Forebay;
pub use head::Head;
pub use names::Names;
pub use origin::{BodyEnd, Origin, Request};
pub use pebble::Pebble;
pub use process::Process;
pub use rollout::{Api, Caller, Sides, is_share};
pub use script::{Gate, Script, answer, chunked, close, echo, hang, ok, ranged, raw, reset, script, validated};
pub use shown_certificate::shown_certificate;
pub use state::StateDir;
pub use time::{advance, date};
pub use tls::{Authority, Pair, TlsClient};

use std::time::{Duration, Instant};

/// The longest time that anything in a test may take.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not hold within [`DEADLINE`]; `what` describes the condition.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    within(DEADLINE, Duration::from_millis(1), what, condition);
}

/// The same for what takes seconds by its nature, and is looked at less often.
///
/// # Panics
///
/// When it does not hold within a minute; `what` says what was waited for.
#[track_caller]
pub fn in_the_end(what: &str, condition: impl FnMut() -> bool) {
    within(Duration::from_secs(60), Duration::from_millis(20), what, condition);
}

#[track_caller]
fn within(longest: Duration, pause: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < longest, "not within {longest:?}: {what}");
        std::thread::sleep(pause);
    }
}
