//! Choosing a backend: each policy, over 2 to 1000 backends.

use divan::Bencher;
use policy::balance::dice::splitmix64;
use policy::balance::{
    Balancer, Consistent, Draw, IpHash, LeastConnections, PeakEwma, Random, RoundRobin, Seats, TwoChoices, Weighted,
};

const BACKENDS: [usize; 4] = [2, 10, 100, 1000];

/// Backends under load, all in service; of ten the last is full.
struct Busy {
    count: usize,
}

impl Seats for Busy {
    fn len(&self) -> usize {
        self.count
    }

    fn usable(&self, index: usize) -> bool {
        index < self.count
    }

    fn open(&self, index: usize) -> bool {
        index % 10 != 9
    }

    fn in_flight(&self, index: usize) -> u32 {
        (index % 7) as u32
    }

    fn latency(&self, index: usize) -> f64 {
        ((index % 5) * 1_000_000) as f64
    }

    fn epoch(&self) -> u64 {
        1
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|index| format!("http://10.0.{}.{}:8080", index / 250, index % 250)).collect()
}

fn weights(count: usize) -> Vec<u32> {
    (1..=3).cycle().take(count).collect()
}

fn picks(bencher: Bencher<'_, '_>, count: usize, mut balancer: Balancer) {
    let seats = Busy { count };
    let mut dice = 0;
    bencher.bench_local(|| {
        dice = splitmix64(dice);
        balancer.pick(&seats, &Draw { key: dice, dice, retry: false })
    });
}

#[divan::bench(args = BACKENDS)]
fn round_robin(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::RoundRobin(RoundRobin::new(0)));
}

#[divan::bench(args = BACKENDS)]
fn weighted(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::Weighted(Weighted::new(&weights(backends))));
}

#[divan::bench(args = BACKENDS)]
fn least_connections(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::LeastConnections(LeastConnections::new(&weights(backends))));
}

#[divan::bench(args = BACKENDS)]
fn ip_hash(bencher: Bencher<'_, '_>, backends: usize) {
    let names = names(backends);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    picks(bencher, backends, Balancer::IpHash(IpHash::new(&names)));
}

#[divan::bench(args = BACKENDS)]
fn random(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::Random(Random::new(&weights(backends))));
}

#[divan::bench(args = BACKENDS)]
fn two_choices(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::TwoChoices(TwoChoices));
}

#[divan::bench(args = BACKENDS)]
fn peak_ewma(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::PeakEwma(PeakEwma));
}

#[divan::bench(args = BACKENDS)]
fn consistent_hash(bencher: Bencher<'_, '_>, backends: usize) {
    let names = names(backends);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    picks(bencher, backends, Balancer::Consistent(Consistent::new(&names, &weights(backends))));
}
