//! Measures the sizes of a thing in turns, within a window of a load generator's run that begins when its connections
//! are open, so that opening them is not part of the figures.

use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::figures::statistics::{self, Spread};
use crate::interrupt;
use crate::load::Asking;
use crate::scale::stage::{Stage, Subject};

/// The longest wait until all connections are open.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// The interval of checks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// The source of the responses, whose counter is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// The backend, for each request.
    Backend,
    /// forebay's cache; a request that reaches the backend makes the round void.
    Cache,
}

/// A running proxy with one size of a thing.
pub(crate) struct Variant {
    /// The size, for the table.
    pub(crate) size: String,
    /// The proxy.
    pub(crate) subject: Subject,
    /// The request.
    pub(crate) asking: Asking,
    /// The source of the responses.
    pub(crate) answers: Answers,
    /// The number of responses before the measurement, until connections to the proxy and to backends are open.
    pub(crate) settled_after: u64,
}

/// The figures of one round and size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Processor time for a request, user and system, in µs.
    pub(crate) cpu_us: f64,
    /// Requests per second.
    pub(crate) per_second: f64,
    /// The 99th percentile of the latency in ms, including the beginning of the run.
    pub(crate) p99_ms: f64,
    /// Resident memory at the end of the window, in MiB.
    pub(crate) resident_mib: f64,
}

/// One size with its rounds; a void one with its reason.
pub(crate) struct Line {
    /// The size.
    pub(crate) size: String,
    /// In order.
    pub(crate) rounds: Vec<Result<Sample, String>>,
}

/// One thing in all sizes; the first is the reference for the others.
pub(crate) struct Row {
    /// The thing that grows.
    pub(crate) thing: String,
    /// By size.
    pub(crate) lines: Vec<Line>,
}

impl Line {
    /// The spread of one figure over the valid rounds.
    pub(crate) fn spread(&self, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        statistics::spread(self.rounds.iter().flatten().map(figure))
    }

    fn cpu(&self) -> Vec<Option<f64>> {
        self.rounds.iter().map(|sample| sample.as_ref().ok().map(|sample| sample.cpu_us)).collect()
    }
}

impl Row {
    /// The ratio of the processor time of one size to that of the first, round by round; `None` for the first.
    pub(crate) fn ratio(&self, place: usize) -> Option<Spread> {
        let (first, other) = (self.lines.first()?, self.lines.get(place).filter(|_| place > 0)?);
        statistics::spread(statistics::ratios(&other.cpu(), &first.cpu()))
    }
}

/// Measures all rounds of one thing.
pub(crate) fn measure(stage: &Stage, thing: impl Into<String>, variants: &[Variant]) -> Fallible<Row> {
    let places: Vec<usize> = (0..variants.len()).collect();
    let mut lines: Vec<Line> =
        variants.iter().map(|variant| Line { size: variant.size.clone(), rounds: Vec::new() }).collect();
    for round in 0..stage.pace.rounds {
        for place in statistics::order(&places, round) {
            interrupt::go_on()?;
            let (Some(variant), Some(line)) = (variants.get(place), lines.get_mut(place)) else { continue };
            line.rounds.push(sample(stage, variant).map_err(|error| error.to_string()));
        }
        eprint!(".");
    }
    Ok(Row { thing: thing.into(), lines })
}

/// The counters at both ends of a window.
struct Reading {
    at: Instant,
    answered: u64,
    asked: u64,
    cpu: Duration,
}

fn read(stage: &Stage, variant: &Variant) -> Fallible<Reading> {
    let asked = stage.backend.count()?;
    let answered = match variant.answers {
        Answers::Backend => asked,
        Answers::Cache => variant.subject.answered()?,
    };
    Ok(Reading { at: Instant::now(), answered, asked, cpu: variant.subject.proxy.process.cpu() })
}

/// Reads both ends of a window, after all connections are open.
fn window(stage: &Stage, variant: &Variant) -> Fallible<(Reading, Reading)> {
    let begun = read(stage, variant)?;
    while read(stage, variant)?.answered < begun.answered + variant.settled_after {
        interrupt::go_on()?;
        if begun.at.elapsed() > SETTLE_MAX {
            return Err(format!("not {} answers in {SETTLE_MAX:?}", variant.settled_after).into());
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    let before = read(stage, variant)?;
    thread::sleep(stage.pace.time);
    Ok((before, read(stage, variant)?))
}

fn sample(stage: &Stage, variant: &Variant) -> Fallible<Sample> {
    let run = stage.load.begin(&variant.asking, variant.subject.proxy.address)?;
    let window = window(stage, variant);
    let resident = variant.subject.proxy.process.resident_kib();
    let load = run.end()?;
    let (before, after) = window?;
    let answered = after.answered.saturating_sub(before.answered);
    if load.errors > 0 {
        return Err(format!("{} errors among {} requests", load.errors, load.requests).into());
    }
    if answered == 0 || load.requests == 0 {
        return Err("no answer".into());
    }
    if variant.answers == Answers::Cache && after.asked > before.asked {
        return Err(format!("the backend was asked {} times for what is stored", after.asked - before.asked).into());
    }
    let answered = answered as f64;
    Ok(Sample {
        cpu_us: after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / answered,
        per_second: answered / after.at.duration_since(before.at).as_secs_f64(),
        p99_ms: load.p99.as_secs_f64() * 1e3,
        resident_mib: resident as f64 / 1024.0,
    })
}
