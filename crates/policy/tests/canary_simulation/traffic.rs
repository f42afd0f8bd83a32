//! Traffic that never was: requests that are shared out, fail, and take their time.

use std::time::Duration;

use fastrand::Rng;
use policy::canary::evidence::{Evidence, Side};
use policy::canary::histogram::{self, Histogram};

/// How many latencies a side has, all equally likely.
const LATENCIES: usize = 64;

/// Below that many, requests are drawn one by one.
const FEW: u64 = 40;

/// How a side answers.
#[derive(Clone, Debug)]
pub(crate) struct Nature {
    /// The share of its requests that fail.
    pub(crate) errors: f64,
    /// Where it counts the latencies of its answers.
    buckets: Vec<usize>,
}

impl Nature {
    /// Fails at this rate; its latencies have a lognormal distribution with a median of 20 ms, `slower` times as long.
    pub(crate) fn new(errors: f64, slower: f64) -> Self {
        let mut rng = Rng::with_seed(7);
        let mut drawn: Vec<f64> = (0..LATENCIES * 64).map(|_| 0.02 * slower * (0.6 * normal(&mut rng)).exp()).collect();
        drawn.sort_by(f64::total_cmp);
        let buckets = drawn.iter().skip(32).step_by(64).map(|seconds| Duration::from_secs_f64(*seconds));
        Self { errors, buckets: buckets.map(histogram::bucket).collect() }
    }

    /// Answers so many requests.
    fn answer(&self, side: &mut Side, requests: u64, rng: &mut Rng) {
        side.requests += requests;
        side.errors += binomial(requests, self.errors, rng);
        if requests < FEW {
            (0..requests).filter_map(|_| rng.choice(&self.buckets)).for_each(|bucket| side.latency.add(*bucket, 1));
            return;
        }
        let each = requests as f64 / self.buckets.len() as f64;
        self.buckets.iter().for_each(|bucket| side.latency.add(*bucket, poisson(each, rng)));
    }
}

/// What two sides answer in some time. `share`: the canary's.
pub(crate) fn pass(totals: &mut Evidence, mean: f64, share: f64, sides: (&Nature, &Nature), rng: &mut Rng) {
    let (canary, stable) = sides;
    canary.answer(&mut totals.canary, poisson(mean * share, rng), rng);
    stable.answer(&mut totals.stable, poisson(mean * (1.0 - share), rng), rng);
}

/// The same totals in a process that has begun anew.
pub(crate) fn nothing() -> Evidence {
    let side = || Side { requests: 0, errors: 0, latency: Histogram::new() };
    Evidence { canary: side(), stable: side(), compared: 0, mismatched: 0 }
}

fn binomial(among: u64, share: f64, rng: &mut Rng) -> u64 {
    let mean = among as f64 * share;
    if among < FEW {
        return (0..among).filter(|_| rng.f64() < share).count() as u64;
    }
    if share < 0.1 && mean < 30.0 {
        return poisson(mean, rng).min(among);
    }
    let drawn = mean + normal(rng) * (mean * (1.0 - share)).sqrt();
    (drawn.round().max(0.0) as u64).min(among)
}

fn poisson(mean: f64, rng: &mut Rng) -> u64 {
    if mean >= 30.0 {
        return (mean + normal(rng) * mean.sqrt()).round().max(0.0) as u64;
    }
    let floor = (-mean).exp();
    let mut product = rng.f64();
    let mut count = 0;
    while product > floor {
        product *= rng.f64();
        count += 1;
    }
    count
}

fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}
