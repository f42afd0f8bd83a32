//! What was done, how it ended, and what was wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// How many faults are kept with their texts.
const TEXTS_MAX: usize = 40;

/// Shared by all clients and backends.
#[derive(Default)]
pub(crate) struct Tally {
    requests: AtomicU64,
    faulty: AtomicU64,
    is_over: AtomicBool,
    ends: Mutex<BTreeMap<String, u64>>,
    faults: Mutex<Vec<String>>,
}

impl Tally {
    /// Requests begun.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Faults found.
    pub(crate) fn faulty(&self) -> u64 {
        self.faulty.load(Ordering::Relaxed)
    }

    /// Tells the clients to stop.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether clients are to stop.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// A request has been begun.
    pub(crate) fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Something has ended in this way.
    pub(crate) fn count(&self, end: &str) {
        let mut ends = self.ends.lock();
        match ends.get_mut(end) {
            Some(count) => *count += 1,
            None => {
                ends.insert(end.to_owned(), 1);
            }
        }
    }

    /// Something is wrong.
    pub(crate) fn fault(&self, text: &str) {
        self.faulty.fetch_add(1, Ordering::Relaxed);
        let mut faults = self.faults.lock();
        if faults.len() < TEXTS_MAX {
            println!("FAULT: {text}");
            faults.push(text.to_owned());
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (end, count) in self.ends.lock().iter() {
            writeln!(out, "{count:>9}  {end}")?;
        }
        for fault in self.faults.lock().iter() {
            writeln!(out, "FAULT: {fault}")?;
        }
        writeln!(out, "{} requests, {} faults", self.requests(), self.faulty())
    }
}
