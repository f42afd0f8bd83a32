//! The things that grow, each in its sizes: configurations, requests, and the warm-up.

use std::path::Path;

use crate::Fallible;
use crate::backend::{MANY_PATHS, SMALL_HITS};
use crate::figures::many::{self, By};
use crate::figures::text::grouped;
use crate::load::Asking;
use crate::machine::Machine;
use crate::process::Place;
use crate::scale::fill::{self, Filled};
use crate::scale::rounds::{self, Answers, Variant};
use crate::scale::stage::{Crew, Stage, Subject};
use crate::scale::{Pace, ScaleReport};
use crate::tools::Toolbox;

/// Connections of the load generator, unless they are what grows.
const CONNECTIONS: usize = 64;
/// So many distinct requests that hardly any is repeated.
const ENDLESS: u64 = 1_000_000_000;
/// More responses than [`SMALL_CACHE`] can hold.
const OVERFULL: usize = 200_000;
/// With fewer responses, the growth of the process says nothing about a single one.
const FEW_STORED: usize = 100_000;
const SMALL_CACHE: &str = "64MiB";
const LARGE_CACHE: &str = "4GiB";
const PASSED: &str = "/pass/1k";
const HIT: &str = "/hit/1k";
/// Responses before all connections are open and warm.
const SETTLED_AFTER: u64 = 2_000;

/// The number of routes to compare with.
const FEW: usize = 10;
/// The number of routes, backends and connections; the maximum number of routes of a file.
pub(crate) const MANY: usize = 10_000;

/// The beginning of a configuration.
pub(crate) fn top(workers: usize, memory_max: &str) -> String {
    format!(
        "listen = [\"127.0.0.1:@PORT@\"]\nserver = {{ workers = {workers}, idle_timeout = \"10m\" }}\n\
         log = {{ access = \"off\", level = \"warn\" }}\ncache = {{ memory_max = \"{memory_max}\" }}\n\
         admin = {{ listen = \"127.0.0.1:@ADMIN_PORT@\" }}\n"
    )
}

/// A configuration that forwards, with one route that caches.
fn plain(stage: &Stage, workers: usize, memory_max: &str) -> String {
    format!(
        "{}[[upstream]]\nname = \"backend\"\nbackends = {}\n[[route]]\nupstream = \"backend\"\n\
         [[route]]\npath = \"/hit\"\nupstream = \"backend\"\ncache = {{}}\n\
         [[route]]\npath = \"/small\"\nupstream = \"backend\"\ncache = {{}}\n",
        top(workers, memory_max),
        stage.urls(1)
    )
}

fn variant(size: impl Into<String>, subject: Subject, path: &'static str) -> Variant {
    let answers = if path == HIT || path == SMALL_HITS { Answers::Cache } else { Answers::Backend };
    Variant {
        size: size.into(),
        subject,
        asking: Asking { script: None, path, connections: CONNECTIONS },
        answers,
        settled_after: SETTLED_AFTER,
    }
}

/// One worker, and one per core, not pinned.
pub(crate) fn workers(
    toolbox: &Toolbox,
    machine: &Machine,
    folder: &Path,
    pace: Pace,
    growth: &mut ScaleReport,
) -> Fallible<()> {
    let cores = machine.cores.len();
    if cores < 2 {
        growth.notes.push("there is one core only: nothing to be said of more workers".to_owned());
        return Ok(());
    }
    let crew = Crew { proxy: Place::Anywhere, beside: Place::Anywhere, threads: cores };
    let stage = Stage::open(toolbox, folder, crew, pace)?;
    for (path, what) in [(PASSED, "passed on"), (HIT, "from the cache")] {
        let sizes = [1, cores].into_iter().map(|workers| {
            let subject = stage.start(&plain(&stage, workers, LARGE_CACHE))?;
            Ok(variant(grouped(workers), subject, path))
        });
        let sizes = sizes.collect::<Fallible<Vec<_>>>()?;
        growth.rows.push(rounds::measure(&stage, format!("workers, nothing pinned; {what}"), &sizes)?);
    }
    Ok(())
}

/// Backends in one upstream.
pub(crate) fn backends(stage: &Stage, growth: &mut ScaleReport) -> Fallible<()> {
    let many = stage.backends(MANY);
    if many < MANY {
        growth.notes.push(format!(
            "{many} backends instead of {MANY}: each keeps a connection, and there is a limit of open files"
        ));
    }
    for balance in ["round-robin", "least-connections", "two-choices"] {
        let mut counts = vec![1, 100, many];
        counts.retain(|count| *count <= many);
        counts.dedup();
        let sizes = counts.into_iter().map(|count| {
            // With many backends each keeps one connection, so that all can be open.
            let pool_max = if count > CONNECTIONS { 1 } else { CONNECTIONS };
            let configuration = format!(
                "{}[[upstream]]\nname = \"backend\"\nbalance = \"{balance}\"\npool_max = {pool_max}\nbackends = {}\n\
                 [[route]]\nupstream = \"backend\"\n",
                top(1, LARGE_CACHE),
                stage.urls(count)
            );
            let one = variant(grouped(count), stage.start(&configuration)?, PASSED);
            // Until each has a connection.
            Ok(Variant { settled_after: SETTLED_AFTER.max(2 * count as u64), ..one })
        });
        let sizes = sizes.collect::<Fallible<Vec<_>>>()?;
        growth.rows.push(rounds::measure(stage, format!("backends of one upstream, {balance}"), &sizes)?);
    }
    Ok(())
}

/// Routes, all requested equally often.
pub(crate) fn routes(stage: &Stage, growth: &mut ScaleReport) -> Fallible<()> {
    for (by, name) in [(By::Exact, "exact paths"), (By::Prefix, "prefixes"), (By::Host, "hosts")] {
        let sizes = [FEW, MANY].into_iter().map(|count| {
            let routes = many::routes(by, count, "backend");
            let configuration = format!(
                "{}[[upstream]]\nname = \"backend\"\nbackends = {}\n{routes}",
                top(1, LARGE_CACHE),
                stage.urls(1)
            );
            let (before, after) = match by {
                By::Exact => (format!("GET {MANY_PATHS}"), r" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
                By::Prefix => (format!("GET {MANY_PATHS}"), r"/1k HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
                By::Host => (format!(r"GET {PASSED} HTTP/1.1\r\nHost: h"), r".example\r\n\r\n"),
            };
            let script = stage.spread(count as u64, &before, after)?;
            let mut one = variant(grouped(count), stage.start(&configuration)?, MANY_PATHS);
            one.asking.script = Some(script);
            Ok(one)
        });
        let sizes = sizes.collect::<Fallible<Vec<_>>>()?;
        growth.rows.push(rounds::measure(stage, format!("routes, {name}"), &sizes)?);
    }
    Ok(())
}

/// Hits on stored responses, all equally often; then misses, with and without evictions.
pub(crate) fn cache(stage: &Stage, growth: &mut ScaleReport) -> Fallible<()> {
    let get = format!("GET {SMALL_HITS}");
    let end = r" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    let mut sizes = Vec::new();
    for count in [1_000, 1_000_000] {
        let subject = stage.start(&plain(stage, 1, LARGE_CACHE))?;
        let filled = filled(&subject, count, count > FEW_STORED)?;
        if filled.count < count {
            growth.notes.push(format!(
                "{} stored answers instead of {}: time was over",
                grouped(filled.count),
                grouped(count)
            ));
        }
        let count = filled.count;
        growth.filled.push(filled);
        let mut one = variant(grouped(count), subject, SMALL_HITS);
        one.asking.script = Some(stage.spread(count as u64, &get, end)?);
        sizes.push(one);
    }
    growth.rows.push(rounds::measure(stage, "answers stored, of 100 bytes; hits on all of them", &sizes)?);
    drop(sizes);

    let script = stage.spread(ENDLESS, &get, end)?;
    let mut sizes = Vec::new();
    for (memory_max, size) in [(LARGE_CACHE, "room is left"), (SMALL_CACHE, "full: each evicts one")] {
        let subject = stage.start(&plain(stage, 1, memory_max))?;
        if memory_max == SMALL_CACHE {
            growth.filled.push(filled(&subject, OVERFULL, false)?);
        }
        let mut one = variant(size, subject, SMALL_HITS);
        one.answers = Answers::Backend;
        one.asking.script = Some(script.clone());
        sizes.push(one);
    }
    growth.rows.push(rounds::measure(stage, "misses that are stored", &sizes)?);
    Ok(())
}

fn filled(subject: &Subject, count: usize, all_stay: bool) -> Fallible<Filled> {
    let process = &subject.proxy.process;
    // One-time costs of the first connections are not part of the cost of a response.
    fill::fill(subject.proxy.address, CONNECTIONS)?;
    let (kib_before, cpu_before) = (process.resident_kib(), process.cpu());
    let (count, time) = fill::fill(subject.proxy.address, count)?;
    let cpu = process.cpu().saturating_sub(cpu_before);
    let kib = process.resident_kib().saturating_sub(kib_before);
    Ok(Filled {
        count,
        time,
        cpu_us: cpu.as_secs_f64() * 1e6 / count as f64,
        bytes_each: all_stay.then(|| kib as f64 * 1024.0 / count as f64),
    })
}

/// Connections that always have a request in progress.
pub(crate) fn connections(stage: &Stage, growth: &mut ScaleReport) -> Fallible<()> {
    // A forwarded request also needs a backend connection.
    for (path, files_each, what) in [(PASSED, 2, "passed on"), (HIT, 1, "from the cache")] {
        let many = many::fitting(MANY, files_each, stage.pace.files_max);
        if many < MANY {
            growth
                .notes
                .push(format!("{} connections instead of {MANY}, {what}: a limit of open files", grouped(many)));
        }
        let sizes = [CONNECTIONS, 1_000, many].into_iter().map(|connections| {
            let mut one = variant(grouped(connections), stage.start(&plain(stage, 1, LARGE_CACHE))?, path);
            one.asking.connections = connections;
            // By then every connection has had a response.
            one.settled_after = SETTLED_AFTER.max(2 * connections as u64);
            Ok(one)
        });
        let sizes = sizes.collect::<Fallible<Vec<_>>>()?;
        growth.rows.push(rounds::measure(stage, format!("busy connections, {what}"), &sizes)?);
    }
    Ok(())
}
