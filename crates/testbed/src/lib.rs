//! Scripted origins, an in-process proxy and a raw-bytes client.
//!
//! A wire test is three things in a few lines: an [`Origin`] that plays a [`Script`], a [`Forebay`] in front of it on a
//! port of its own, and a [`Client`] that sends bytes as they stand and reads what came back, framing included. Nothing
//! here sleeps for a fixed time: what must come true is waited for by [`eventually`], under a deadline. Whatever fails
//! panics with the bytes received so far. What is right and wrong is for the tests to say, not for this crate.

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
pub use process::Process;
pub use rollout::{Api, Caller, Sides, is_share};
pub use script::{Gate, Script, answer, chunked, close, echo, hang, ok, ranged, raw, reset, script, validated};
pub use shown_certificate::shown_certificate;
pub use state::StateDir;
pub use time::{advance, date};
pub use tls::{Authority, Pair, TlsClient};

use std::time::{Duration, Instant};

/// How long anything in a test may take before it has failed.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Waits until `condition` holds.
///
/// # Panics
///
/// When it does not hold within [`DEADLINE`]; `what` says what was waited for.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
