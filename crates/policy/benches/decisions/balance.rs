//! Choosing a backend: each policy, over 3 to 1000 backends; and the keys of those that hash.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use divan::{Bencher, black_box};
use policy::balance::prng::splitmix64;
use policy::balance::{
    Balancer, Consistent, Draw, EndpointView, IpHash, LeastConnections, PeakEwma, Random, RoundRobin, TwoChoices,
    Weighted, key,
};

const BACKENDS: [usize; 3] = [3, 50, 1000];

/// Backends under load, all in service; of ten the last is full. Each lies on a cache line of its own, as in the proxy.
struct Busy {
    endpoints: Vec<Endpoint>,
    usable: Vec<usize>,
    in_flight_total: u64,
}

#[repr(align(64))]
struct Endpoint {
    open: bool,
    in_flight: u32,
    latency: f64,
}

impl Busy {
    fn new(count: usize) -> Self {
        let endpoint = |index: usize| Endpoint {
            open: index % 10 != 9,
            in_flight: 1 + (index % 7) as u32,
            latency: ((index % 5) * 1_000_000) as f64,
        };
        let endpoints: Vec<Endpoint> = (0..count).map(endpoint).collect();
        let in_flight_total = endpoints.iter().map(|endpoint| u64::from(endpoint.in_flight)).sum();
        Self { endpoints, usable: (0..count).collect(), in_flight_total }
    }
}

impl EndpointView for Busy {
    fn len(&self) -> usize {
        self.endpoints.len()
    }

    fn usable(&self) -> &[usize] {
        &self.usable
    }

    fn open(&self, index: usize) -> bool {
        self.endpoints.get(index).is_some_and(|endpoint| endpoint.open)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.endpoints.get(index).map_or(0, |endpoint| endpoint.in_flight)
    }

    fn in_flight_total(&self) -> u64 {
        self.in_flight_total
    }

    fn latency(&self, index: usize) -> f64 {
        self.endpoints.get(index).map_or(0.0, |endpoint| endpoint.latency)
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
    let endpoints = Busy::new(count);
    let mut random = 0;
    bencher.bench_local(|| {
        random = splitmix64(random);
        balancer.pick(&endpoints, &Draw { key: random, random, retry: false })
    });
}

#[divan::bench(args = BACKENDS, sample_size = 256)]
fn round_robin(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::RoundRobin(RoundRobin::new(0)));
}

#[divan::bench(args = BACKENDS, sample_size = 256)]
fn weighted(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::Weighted(Weighted::new(&weights(backends))));
}

#[divan::bench(args = BACKENDS, sample_size = 256)]
fn least_connections(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::LeastConnections(LeastConnections::new(&weights(backends))));
}

#[divan::bench(args = BACKENDS, sample_size = 256)]
fn ip_hash(bencher: Bencher<'_, '_>, backends: usize) {
    let names = names(backends);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    picks(bencher, backends, Balancer::IpHash(IpHash::new(&names)));
}

#[divan::bench(args = BACKENDS, sample_size = 256)]
fn random(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::Random(Random::new(&weights(backends))));
}

#[divan::bench(args = BACKENDS, sample_size = 256)]
fn two_choices(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::TwoChoices(TwoChoices));
}

#[divan::bench(args = BACKENDS, sample_size = 256)]
fn peak_ewma(bencher: Bencher<'_, '_>, backends: usize) {
    picks(bencher, backends, Balancer::PeakEwma(PeakEwma));
}

#[divan::bench(args = BACKENDS, sample_size = 256)]
fn consistent_hash(bencher: Bencher<'_, '_>, backends: usize) {
    let names = names(backends);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    picks(bencher, backends, Balancer::Consistent(Consistent::new(&names, &weights(backends))));
}

#[divan::bench]
fn key_of_ipv4(bencher: Bencher<'_, '_>) {
    bencher.bench(|| key::of_address(black_box(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 17)))));
}

#[divan::bench]
fn key_of_ipv6(bencher: Bencher<'_, '_>) {
    let address = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0x17, 0x4, 0x5e8, 0x1, 0x2, 0x3));
    bencher.bench(|| key::of_address(black_box(address)));
}

#[divan::bench]
fn key_of_field(bencher: Bencher<'_, '_>) {
    bencher.bench(|| key::of_bytes(black_box(b"8f1c2b7e90aa41d3")));
}
