//! Measures in rounds in which the proxies take turns, so that a disturbance of the machine affects all of them.
//!
//! A round is void, with a reason, if there was an error or the backend saw unexpected requests.

use std::time::Duration;

use crate::Fallible;
use crate::backend::Backend;
use crate::figures::load_summary::LoadSummary;
use crate::figures::statistics;
use crate::load::Load;
use crate::machine;
use crate::peers::{Peer, Proxy};
use crate::works::Work;

/// The duration of the load before the first round.
const WARM_UP: Duration = Duration::from_secs(1);

/// The figures of one proxy in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Processor time for a request, user and system, in µs.
    pub(crate) cpu_us: f64,
    /// Requests per second.
    pub(crate) per_second: f64,
    /// The median latency in ms.
    pub(crate) p50_ms: f64,
    /// The 99th percentile of the latency in ms.
    pub(crate) p99_ms: f64,
    /// The peak of resident memory in MiB.
    pub(crate) peak_mib: f64,
    /// Stolen time of the machine in percent.
    pub(crate) stolen: f64,
}

/// The rounds of a proxy in one workload, in order; a void one with its reason.
pub(crate) type Rounds = Vec<Result<Sample, String>>;

/// A workload with the rounds of each proxy.
pub(crate) struct Row {
    /// The workload.
    pub(crate) work: Work,
    /// The rounds by proxy.
    pub(crate) proxies: Vec<(Peer, Rounds)>,
}

/// The parameters of a measurement.
pub(crate) struct Course<'a> {
    /// The load generator.
    pub(crate) load: &'a Load,
    /// The backend, for its counter.
    pub(crate) backend: &'a Backend,
    /// The number of rounds.
    pub(crate) rounds: usize,
    /// The duration of each, for each proxy.
    pub(crate) time: Duration,
    /// Called before each run; an error ends the measurement.
    pub(crate) go_on: &'a dyn Fn() -> Fallible<()>,
}

impl Course<'_> {
    /// Measures all rounds of one workload.
    pub(crate) fn measure(&self, work: Work, proxies: &[&Proxy]) -> Fallible<Row> {
        for proxy in proxies {
            (self.go_on)()?;
            // Errors will also occur in the rounds.
            let _warm = self.load.run(work, proxy.address, WARM_UP);
        }
        let places: Vec<usize> = (0..proxies.len()).collect();
        let mut found: Vec<(Peer, Rounds)> = proxies.iter().map(|proxy| (proxy.peer, Vec::new())).collect();
        for round in 0..self.rounds {
            for place in statistics::order(&places, round) {
                (self.go_on)()?;
                let (Some(proxy), Some((_, rounds))) = (proxies.get(place), found.get_mut(place)) else { continue };
                rounds.push(self.sample(work, proxy).map_err(|error| error.to_string()));
            }
            eprint!(".");
        }
        eprintln!();
        Ok(Row { work, proxies: found })
    }

    /// The backend's processor time for a request of 1 KiB without a proxy, in µs.
    pub(crate) fn backend_us(&self) -> Fallible<f64> {
        let cpu_before = self.backend.cpu();
        let load = self.load.run(Work::PassSmall, self.backend.address(), WARM_UP)?;
        Ok(self.backend.cpu().saturating_sub(cpu_before).as_secs_f64() * 1e6 / answered(Work::PassSmall, &load))
    }

    fn sample(&self, work: Work, proxy: &Proxy) -> Fallible<Sample> {
        proxy.process.forget_peak();
        let cores_before = machine::cores();
        let (asked_before, cpu_before) = (self.backend.count()?, proxy.process.cpu());
        let load = self.load.run(work, proxy.address, self.time)?;
        let (asked, cpu) = (self.backend.count()? - asked_before, proxy.process.cpu().saturating_sub(cpu_before));
        void(work, &load, asked)?;
        let requests = answered(work, &load);
        Ok(Sample {
            cpu_us: cpu.as_secs_f64() * 1e6 / requests,
            per_second: requests / load.duration.as_secs_f64(),
            p50_ms: load.p50.as_secs_f64() * 1e3,
            p99_ms: load.p99.as_secs_f64() * 1e3,
            peak_mib: proxy.process.peak_kib() as f64 / 1024.0,
            stolen: machine::cores().zip(cores_before).map_or(0.0, |(after, before)| after.stolen_since(before)),
        })
    }
}

/// Why the round is void; `None`: it is valid.
fn void(work: Work, load: &LoadSummary, asked: u64) -> Fallible<()> {
    if load.errors > 0 {
        return Err(format!("{} errors among {} requests", load.errors, load.requests).into());
    }
    if load.requests == 0 || load.duration.is_zero() {
        return Err("no answer".into());
    }
    if work.is_hit() && asked > 0 {
        return Err(format!("the backend was asked {asked} times for what is stored").into());
    }
    if !work.is_hit() && asked < load.requests {
        return Err(format!("{} answers, of which the backend gave {asked}", load.requests).into());
    }
    Ok(())
}

/// The number of responses. For the large body it is computed from the bytes, because several are in progress at the
/// end.
fn answered(work: Work, load: &LoadSummary) -> f64 {
    match work {
        Work::PassHuge => load.bytes as f64 / work.body_bytes() as f64,
        Work::PassSmall
        | Work::HitSmall
        | Work::HitLarge
        | Work::PassLarge
        | Work::Post
        | Work::PassBrowser
        | Work::HitBrowser
        | Work::PassSmallLogged => load.requests as f64,
    }
}
