//! Counts actions, outcomes and faults.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// The most faults kept with their texts.
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
    /// The number of requests begun.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The number of faults.
    pub(crate) fn faulty(&self) -> u64 {
        self.faulty.load(Ordering::Relaxed)
    }

    /// Tells the clients to stop.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Whether clients must stop.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Counts a request.
    pub(crate) fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an outcome.
    pub(crate) fn count(&self, end: &str) {
        let mut ends = self.ends.lock();
        match ends.get_mut(end) {
            Some(count) => *count += 1,
            None => {
                ends.insert(end.to_owned(), 1);
            }
        }
    }

    /// Records a fault.
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
