//! Scripted seats for the balancers' tests, and the bounds that fair chance keeps.

use std::cell::Cell;

use super::Seats;

/// Backends as a test wants them, and a count of how often a balancer asked.
#[derive(Debug)]
pub(super) struct Scripted {
    count: usize,
    usable: Vec<usize>,
    /// Below its limit and not tried yet.
    pub(super) free: Vec<bool>,
    pub(super) in_flight: Vec<u32>,
    pub(super) latency: Vec<f64>,
    epoch: u64,
    asked: Cell<usize>,
    loads_asked: Cell<usize>,
}

impl Scripted {
    /// So many backends, all open and idle.
    pub(super) fn of(count: usize) -> Self {
        Self {
            count,
            usable: (0..count).collect(),
            free: vec![true; count],
            in_flight: vec![0; count],
            latency: vec![0.0; count],
            epoch: 1,
            asked: Cell::new(0),
            loads_asked: Cell::new(0),
        }
    }

    /// Takes a backend out of service or brings it back.
    pub(super) fn set_usable(&mut self, index: usize, usable: bool) {
        match (self.usable.binary_search(&index), usable) {
            (Ok(at), false) => {
                self.usable.remove(at);
            }
            (Err(at), true) => self.usable.insert(at, index),
            (Ok(_), true) | (Err(_), false) => return,
        }
        self.epoch += 1;
    }

    /// How often `open` was called since the last time this was.
    pub(super) fn asked(&self) -> usize {
        self.asked.take()
    }

    /// How often `in_flight` was called since the last time this was.
    pub(super) fn loads_asked(&self) -> usize {
        self.loads_asked.take()
    }
}

impl Seats for Scripted {
    fn len(&self) -> usize {
        self.count
    }

    fn usable(&self) -> &[usize] {
        &self.usable
    }

    fn open(&self, index: usize) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.usable.binary_search(&index).is_ok() && self.free[index]
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.loads_asked.set(self.loads_asked.get() + 1);
        self.in_flight[index]
    }

    fn in_flight_total(&self) -> u64 {
        self.in_flight.iter().map(|in_flight| u64::from(*in_flight)).sum()
    }

    fn latency(&self, index: usize) -> f64 {
        self.latency[index]
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }
}

/// Fails unless `count` of `draws` is what a chance of `share` gives, within five standard deviations.
#[track_caller]
pub(crate) fn assert_binomial(count: u64, draws: u64, share: f64) {
    let mean = draws as f64 * share;
    let bound = 5.0 * (mean * (1.0 - share)).sqrt() + 1.0;
    assert!((count as f64 - mean).abs() <= bound, "{count} of {draws}, expected {mean:.1} ± {bound:.1}");
}
