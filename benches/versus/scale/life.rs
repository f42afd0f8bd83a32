//! Costs without requests: starting, reloading, and health checks of ten thousand backends.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::Fallible;
use crate::client;
use crate::figures::many::{self, By};
use crate::figures::statistics::{self, Spread};
use crate::figures::text::grouped;
use crate::interrupt;
use crate::scale::ScaleReport;
use crate::scale::parts::{MANY, top};
use crate::scale::stage::Stage;

/// The interval of health checks.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The path whose response identifies the active configuration.
const MARK: &str = "/mark";
/// The longest duration of a reload.
const RELOAD_MAX: Duration = Duration::from_secs(30);
/// The number of requests observed after a reload.
const AFTERWARDS: usize = 2_000;

/// The cost of health checks without other work.
pub(crate) struct Checked {
    /// The number of checked backends.
    pub(crate) backends: usize,
    /// Processor time, in ms per second.
    pub(crate) cpu_ms_a_second: Option<Spread>,
    /// Processor time of one check, in µs.
    pub(crate) cpu_us: Option<Spread>,
    /// Checks per second.
    pub(crate) per_second: Option<Spread>,
}

/// The durations of a start and a reload.
pub(crate) struct Life {
    /// The size of the configuration.
    pub(crate) size: String,
    /// From the start of the process to its first accepted connection, in ms.
    pub(crate) start_ms: Option<Spread>,
    /// From the signal to the first response with the new configuration, in ms.
    pub(crate) reload_ms: Option<Spread>,
    /// The longest wait of a client in this time, in ms.
    pub(crate) stall_ms: Option<Spread>,
    /// Resident memory after the start, in MiB.
    pub(crate) resident_mib: Option<Spread>,
}

/// Measures health checks alone, of ten thousand backends.
pub(crate) fn checks(stage: &Stage, growth: &mut ScaleReport) -> Fallible<()> {
    let backends = stage.backends(MANY);
    let interval = CHECK_INTERVAL.as_secs();
    let configuration = format!(
        "{}[[upstream]]\nname = \"backend\"\nbackends = {}\nhealth = {{ path = \"/check\", interval = \"{interval}s\" }}\n\
         [[route]]\nupstream = \"backend\"\n",
        top(1, "256MiB"),
        stage.urls(backends)
    );
    let subject = stage.start(&configuration)?;
    // All first checks occur within a second; then they are evenly spread.
    thread::sleep(CHECK_INTERVAL + Duration::from_secs(1));
    let (mut busy, mut each, mut rate) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..stage.pace.rounds {
        interrupt::go_on()?;
        let (at, asked, cpu) = (Instant::now(), stage.backend.count()?, subject.proxy.process.cpu());
        thread::sleep(CHECK_INTERVAL);
        let asked = stage.backend.count()?.saturating_sub(asked) as f64;
        let (cpu, time) = (subject.proxy.process.cpu().saturating_sub(cpu).as_secs_f64(), at.elapsed().as_secs_f64());
        busy.push(cpu * 1e3 / time);
        each.push(cpu * 1e6 / asked);
        rate.push(asked / time);
        eprint!(".");
    }
    growth.checked.push(Checked {
        backends,
        cpu_ms_a_second: statistics::spread(busy),
        cpu_us: statistics::spread(each),
        per_second: statistics::spread(rate),
    });
    Ok(())
}

/// Measures starts and reloads with configurations of several kinds.
pub(crate) fn starts(stage: &Stage, growth: &mut ScaleReport) -> Fallible<()> {
    let many = stage.backends(MANY);
    let shapes: [(String, &dyn Fn(usize) -> String); 4] = [
        ("10 routes, 1 backend".to_owned(), &|_| one_upstream(stage, 1, 10)),
        ("10,000 routes, 1 backend".to_owned(), &|_| one_upstream(stage, 1, MANY - 1)),
        (format!("1 route, an upstream of {} backends", grouped(many)), &|turn| one_upstream(stage, many - turn, 1)),
        ("10,000 routes, each with an upstream of its own".to_owned(), &|turn| own_upstreams(stage, turn)),
    ];
    for (size, shape) in shapes {
        let mut found: [Vec<f64>; 4] = Default::default();
        for _ in 0..stage.pace.rounds {
            let begun = Instant::now();
            let subject = stage.start(&marked(&shape(0), 0))?;
            let start = begun.elapsed();
            let resident = subject.proxy.process.resident_kib() as f64 / 1024.0;
            let mut stream = client::connect(subject.proxy.address)?;
            let begun = Instant::now();
            subject.reload(&marked(&shape(1), 1))?;
            let (reload, stall) = until_it_holds(&mut stream, "1", begun)?;
            for (values, value) in found.iter_mut().zip([millis(start), millis(reload), millis(stall), resident]) {
                values.push(value);
            }
            eprint!(".");
        }
        let [start_ms, reload_ms, stall_ms, resident_mib] = found.map(statistics::spread);
        growth.lives.push(Life { size, start_ms, reload_ms, stall_ms, resident_mib });
    }
    Ok(())
}

/// Sends requests until the new configuration answers. Returns the duration, and the longest wait for a response.
fn until_it_holds(stream: &mut TcpStream, expected: &str, begun: Instant) -> Fallible<(Duration, Duration)> {
    let mut longest = Duration::ZERO;
    let mut ask = || {
        let asked = Instant::now();
        let answer = client::ask_on(stream, MARK, &client::More::default())?;
        longest = longest.max(asked.elapsed());
        Fallible::Ok(answer.body == expected.as_bytes())
    };
    while !ask()? {
        interrupt::go_on()?;
        if begun.elapsed() > RELOAD_MAX {
            return Err("a reload did not happen".into());
        }
    }
    let reload = begun.elapsed();
    for _ in 0..AFTERWARDS {
        ask()?;
    }
    Ok((reload, longest))
}

/// Adds a route that identifies the configuration; with it the file has the maximum number of routes.
fn marked(configuration: &str, mark: usize) -> String {
    format!("{configuration}[[route]]\npath = \"={MARK}\"\nrespond = {{ body = \"{mark}\" }}\n")
}

/// Routes by path, to one upstream.
fn one_upstream(stage: &Stage, backends: usize, routes: usize) -> String {
    format!(
        "{}[[upstream]]\nname = \"backend\"\nbackends = {}\n{}",
        top(1, "256MiB"),
        stage.urls(backends.max(1)),
        many::routes(By::Exact, routes, "backend")
    )
}

/// Routes by path, each with its own backend; with `turn` one of them has another backend.
fn own_upstreams(stage: &Stage, turn: usize) -> String {
    let backend = stage.urls(1);
    let routes: String = (1..MANY - turn)
        .map(|number| format!("[[route]]\npath = \"=/many/{number}\"\nbackends = {backend}\n"))
        .collect();
    format!("{}{routes}", top(1, "256MiB"))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
