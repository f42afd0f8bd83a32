//! Scripted endpoints for the balancers' tests, and a statistical assertion.

use std::cell::Cell;

use super::EndpointView;

/// Endpoints in a state that a test sets; counts the calls of a balancer.
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
    /// `count` endpoints, all open and idle.
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

    /// The number of calls of `open` since the last call of this.
    pub(super) fn asked(&self) -> usize {
        self.asked.take()
    }

    /// The number of calls of `in_flight` since the last call of this.
    pub(super) fn loads_asked(&self) -> usize {
        self.loads_asked.take()
    }
}

impl EndpointView for Scripted {
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

/// Fails unless `count` of `draws` is within five standard deviations of the expected value for probability `share`.
#[track_caller]
pub(crate) fn assert_binomial(count: u64, draws: u64, share: f64) {
    let mean = draws as f64 * share;
    let bound = 5.0 * (mean * (1.0 - share)).sqrt() + 1.0;
    assert!((count as f64 - mean).abs() <= bound, "{count} of {draws}, expected {mean:.1} ± {bound:.1}");
}
