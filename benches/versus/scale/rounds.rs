//! Measuring sizes of a thing in turns: within a run of the load generator a window that begins when its connections
//! are open, so that what opening them costs is not in the figure.

use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::figures::statistics::{self, Spread};
use crate::interrupt;
use crate::load::Asking;
use crate::scale::stage::{Stage, Subject};

/// How long it may take until all connections are open.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// How often that is looked at.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Who answers, and so who counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answers {
    /// The backend, each request.
    Backend,
    /// Forebay from its cache; a request that the backend sees makes the round void.
    Cache,
}

/// One size of a thing, running.
pub(crate) struct Variant {
    /// The size, for the table.
    pub(crate) size: String,
    /// The proxy.
    pub(crate) subject: Subject,
    /// What it is asked for.
    pub(crate) asking: Asking,
    /// By whom that is answered.
    pub(crate) answers: Answers,
    /// So many answers come before anything is measured: until then connections are opened, here and at backends.
    pub(crate) settled_after: u64,
}

/// One round of one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Processor time for a request, user and system, in µs.
    pub(crate) cpu_us: f64,
    /// Requests in a second.
    pub(crate) per_second: f64,
    /// 99 % of the answers were faster, in ms; of the whole run, its beginning too.
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

/// One thing in all its sizes; the first is what the others are compared with.
pub(crate) struct Row {
    /// What grows.
    pub(crate) thing: String,
    /// By size.
    pub(crate) lines: Vec<Line>,
}

impl Line {
    /// One figure's spread over the rounds that count.
    pub(crate) fn spread(&self, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        statistics::spread(self.rounds.iter().flatten().map(figure))
    }

    fn cpu(&self) -> Vec<Option<f64>> {
        self.rounds.iter().map(|sample| sample.as_ref().ok().map(|sample| sample.cpu_us)).collect()
    }
}

impl Row {
    /// Processor time of one size to that of the first, round by round; `None` for the first.
    pub(crate) fn ratio(&self, place: usize) -> Option<Spread> {
        let (first, other) = (self.lines.first()?, self.lines.get(place).filter(|_| place > 0)?);
        statistics::spread(statistics::ratios(&other.cpu(), &first.cpu()))
    }
}

/// All rounds of one thing.
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

/// What is read at both ends of a window.
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

/// Both ends of a window, once all connections are open.
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
