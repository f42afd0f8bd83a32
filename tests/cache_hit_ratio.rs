//! Holds the index's order of use, which lets entries stay that were used a moment ago, against the exact order: the hit
//! ratio is the same within half a point.

use forebay::cache::index::Index;
use lru::LruCache;
use policy::cache::bans::Epoch;

type Entries = Index<u64, ()>;

/// How much the hit ratio may differ.
const TOLERANCE: f64 = 0.005;
const REQUESTS: usize = 100_000;
const KEYS: usize = 20_000;
const SEED: u64 = 7;

/// One request: a key, and how many bytes its entry holds.
type Request = (u64, u64);

/// Draws keys so that the n-th most popular one has the weight 1 / n^exponent.
struct Zipf {
    cumulated: Vec<f64>,
    sum: f64,
}

impl Zipf {
    fn new(exponent: f64) -> Self {
        let mut sum = 0.0;
        let weight = |rank: usize| 1.0 / (rank as f64).powf(exponent);
        let mut cumulated = Vec::with_capacity(KEYS);
        for rank in 1..=KEYS {
            sum += weight(rank);
            cumulated.push(sum);
        }
        Self { cumulated, sum }
    }

    fn draw(&self, random: &mut fastrand::Rng) -> u64 {
        let at = random.f64() * self.sum;
        self.cumulated.partition_point(|sum| *sum < at) as u64
    }
}

/// Some are small and some a hundred times as large, always the same for one key.
fn bytes(key: u64) -> u64 {
    100 + (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % 10_000
}

fn popular(exponent: f64) -> Vec<Request> {
    let (zipf, mut random) = (Zipf::new(exponent), fastrand::Rng::with_seed(SEED));
    (0..REQUESTS).map(|_| zipf.draw(&mut random)).map(|key| (key, bytes(key))).collect()
}

/// Every tenth thousand of requests is a scan through keys that are never asked for again.
fn scanned(exponent: f64) -> Vec<Request> {
    let mut requests = popular(exponent);
    for (at, request) in requests.iter_mut().enumerate().filter(|(at, _)| at / 1000 % 10 == 9) {
        let key = (KEYS + at) as u64;
        *request = (key, bytes(key));
    }
    requests
}

/// What is popular changes all the time.
fn shifting(exponent: f64) -> Vec<Request> {
    let shifted = popular(exponent).into_iter().enumerate().map(|(at, (key, _))| key + at as u64 / 50);
    shifted.map(|key| (key, bytes(key))).collect()
}

/// The same keys in the same order, a few more than there is room for.
fn looped() -> Vec<Request> {
    (0..REQUESTS as u64).map(|at| (at % 2200, 5000)).collect()
}

fn ratio(requests: &[Request], mut is_hit: impl FnMut(Request) -> bool) -> f64 {
    let hits = requests.iter().filter(|request| is_hit(**request)).count();
    hits as f64 / requests.len() as f64
}

fn of_index(requests: &[Request], bytes_max: u64) -> f64 {
    let mut index = Entries::new(bytes_max);
    ratio(requests, |(key, bytes)| {
        let is_hit = index.find(&key).and_then(|place| index.touch(place)).is_some();
        if !is_hit {
            drop(index.insert(key, (), bytes, Epoch::default()));
        }
        is_hit
    })
}

fn of_exact_order(requests: &[Request], bytes_max: u64) -> f64 {
    let (mut cache, mut held) = (LruCache::unbounded(), 0);
    ratio(requests, |(key, bytes)| {
        let is_hit = cache.get(&key).is_some();
        if !is_hit {
            let bytes = bytes + Entries::OVERHEAD_BYTES;
            cache.put(key, bytes);
            held += bytes;
            while held > bytes_max
                && let Some((_, oldest)) = cache.pop_lru()
            {
                held -= oldest;
            }
        }
        is_hit
    })
}

#[test]
fn the_hit_ratio_is_that_of_exact_order_within_half_a_point() {
    let traces = [
        ("popular 0.7", popular(0.7)),
        ("popular 1.0", popular(1.0)),
        ("scanned 0.7", scanned(0.7)),
        ("scanned 1.0", scanned(1.0)),
        ("shifting 0.9", shifting(0.9)),
        ("looped", looped()),
    ];
    for (name, requests) in &traces {
        for entries in [50, 500, 2000] {
            let bytes_max = entries * (5100 + Entries::OVERHEAD_BYTES);
            let (own, exact) = (of_index(requests, bytes_max), of_exact_order(requests, bytes_max));
            println!("{name}, room for {entries}: {own:.4}, exact {exact:.4}");
            assert!((own - exact).abs() <= TOLERANCE, "{name}, room for {entries}: {own}, exact {exact}");
        }
    }
}
