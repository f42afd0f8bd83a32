//! `forebay demo`: runs the demo's backends and the proxy in front of them, and prints commands to try.
//!
//! The configuration is the given file, else `config.toml` of the working directory, else the repository's
//! `config.toml`, which is compiled in.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output;
use crate::config::plan::Plan;
use crate::supervisor::Listening;
use crate::telemetry::events;
use crate::{config, demo, supervisor};

/// The text of the repository's `config.toml`.
const BUILT_IN: &str = include_str!("../../config.toml");

/// The file to read when none is given.
const FILE: &str = "config.toml";

/// An event for which the built-in configuration has an `[[invalidate]]` rule.
const EVENT: &str = r#"{"type": "NoteChanged", "aggregate_id": "1"}"#;

/// Why the demo could not run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The configuration has problems.
    #[error("{0}")]
    Config(config::problem::Problems),
    /// A demo backend could not start: most likely its port is in use.
    #[error("{}", with_reasons(.0))]
    Backends(#[source] demo::StartError),
    /// The proxy could not start.
    #[error("{}", with_reasons(.0))]
    Proxy(#[source] supervisor::StartError),
    /// The event log could not start.
    #[error("the event log can't be started: {0}")]
    Events(#[source] io::Error),
    /// Signals can't be received.
    #[error("signals can't be waited for: {0}")]
    Signal(#[source] io::Error),
}

/// An error and the chain of its sources, in one line.
fn with_reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let _ = write!(text, ": {source}");
        next = source.source();
    }
    text
}

/// Runs the demo until a signal ends it. `file`: the configuration file from the command line or the environment.
///
/// The exit code is 1 for a configuration with problems, 2 for a failure at run time.
#[must_use]
pub(crate) fn run(file: Option<&Path>) -> ExitCode {
    match until_interrupted(file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::print_error(&format!("{failure}\n"));
            match failure {
                Failure::Config(_) => ExitCode::from(1),
                Failure::Backends(_) | Failure::Proxy(_) | Failure::Events(_) | Failure::Signal(_) => ExitCode::from(2),
            }
        }
    }
}

fn until_interrupted(file: Option<&Path>) -> Result<(), Failure> {
    // Before the start, so that a signal during the start does not kill the process.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Signal)?;
    let mut end_signals = {
        let _entered = runtime.enter();
        EndSignals::listen().map_err(Failure::Signal)?
    };
    let (plan, origin) = plan(file).map_err(Failure::Config)?;
    let _backends = demo::start(demo::Ports::STANDARD).map_err(Failure::Backends)?;
    // So that the user sees how backends are ejected and come back.
    let _events = events::start(super::run::level(plan.log.level), &plan.log.events_to).map_err(Failure::Events)?;
    let proxy = supervisor::start(plan).map_err(Failure::Proxy)?;
    // The demo goes on when standard output is closed.
    let _unread = output::print(&text(&proxy.listening(), &origin, &program()));
    runtime.block_on(end_signals.next());
    // Dropping the proxy and then the backends stops both at once, without waiting for open event streams.
    Ok(())
}

/// The signals that end the demo.
struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
}

impl EndSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// Waits for one of the signals.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// The Plan, and the name of its source for the printed text.
fn plan(file: Option<&Path>) -> Result<(Plan, String), config::problem::Problems> {
    let here = Path::new(FILE);
    match file.or_else(|| here.exists().then_some(here)) {
        Some(path) => Ok((config::load(path)?, path.display().to_string())),
        None => Ok((config::parse(FILE, BUILT_IN)?, "the built-in config.toml".to_owned())),
    }
}

/// The path by which this program was called, for the printed commands: it may not be in `PATH`.
fn program() -> String {
    let called = std::env::args_os().next();
    called.map_or_else(|| "forebay".to_owned(), |called| called.to_string_lossy().into_owned())
}

/// The printed text. `listening`: the proxy's listeners; `origin`: the source of its configuration; `program`: the path
/// of this program.
#[must_use]
pub(crate) fn text(listening: &[Listening], origin: &str, program: &str) -> String {
    let mut text = format!("forebay runs {origin}, in front of seven demo backends (127.0.0.1:9001 to 9007).\n");
    text.push_str("The dashboard is at http://127.0.0.1:9900/\n");
    let by = |scheme: &str| listening.iter().map(|one| &one.url).find(|url| url.starts_with(scheme));
    let Some(url) = by("http://") else { return text };
    let topics = balancing(url).into_iter().chain(caching(url)).chain(writing(url, program));
    let topics = topics.chain(splitting(url, program)).chain(migrating(url, program));
    let topics = topics.chain(by("https://").map(|url| encrypting(url))).chain(others(url, program));
    for (topic, commands) in topics {
        // Writing to a String can't fail.
        let _ = writeln!(text, "\n# {topic}");
        for command in commands {
            let _ = writeln!(text, "{command}");
        }
    }
    text.push_str("\nCtrl-C ends all of it.\n");
    text
}

/// A heading, and the commands under it.
type Topic = (&'static str, Vec<String>);

/// Load balancing.
fn balancing(url: &str) -> [Topic; 3] {
    let faulty = "http://127.0.0.1:9005/control?mode";
    let fifteen = format!("curl -s -o /dev/null -w '%{{http_code}} ' '{url}/flaky/?[1-15]'");
    [
        (
            "Shares: three backends in turn (six URLs, because a hit reaches no backend); then by weight 3, 2, 1, not cached",
            vec![format!("curl -s '{url}/?[1-6]'"), format!("curl -s '{url}/weighted/?[1-6]'")],
        ),
        (
            "Slow: one of two backends takes 200 ms, and gets few of many requests at once",
            vec![format!("curl -sZ --parallel-max 4 '{url}/slow/?[1-60]' 2>/dev/null | sort | uniq -c")],
        ),
        (
            "Flaky: you make one backend fail (fail, hang, truncate, reset, ok); its health check still passes",
            vec![
                format!("curl -s -X POST '{faulty}=fail'"),
                fifteen.clone(),
                "sleep 5".to_owned(),
                format!("curl -s -X POST '{faulty}=reset'"),
                fifteen,
                format!("curl -s -X POST '{faulty}=ok'"),
            ],
        ),
    ]
}

/// Caching, coalesced fetches and invalidation.
fn caching(url: &str) -> [Topic; 3] {
    let words = "-o /dev/null -w '%header{cache-status}\\n'";
    [
        (
            "Documents, cached for 10 s. Cache-Status says: a miss, a hit, validated by the backend, invalidated by a write",
            vec![
                format!("curl -i -X PUT -H 'content-type: text/plain' -d hello {url}/notes/1"),
                format!("curl -i {url}/notes/1"),
                format!("curl -i {url}/notes/1"),
                format!("curl -i -H 'cache-control: no-cache' {url}/notes/1"),
                format!("curl -i -X PUT -H 'content-type: text/plain' -d 'hello again' {url}/notes/1"),
                format!("curl -i {url}/notes/1"),
                format!("curl -i -X POST -d 'one more' {url}/notes"),
                format!("curl -i -X DELETE {url}/notes/1"),
            ],
        ),
        (
            "A thousand requests, 300 at a time, for a response that takes 200 ms: the backend gets one",
            vec![format!(
                "curl -sZ --parallel-immediate --parallel-max 300 {words} '{url}/report#[1-1000]' 2>/dev/null | sort | uniq -c"
            )],
        ),
        (
            "Invalidation: by an event; by a purge of a URL; of everything",
            vec![
                format!("curl -i {url}/notes/1"),
                format!("curl --json '{EVENT}' http://127.0.0.1:9900/api/v1/events"),
                format!("curl -i -X PURGE {url}/report"),
                format!("curl -i -X PURGE -H 'forebay-purge: all' {url}/"),
            ],
        ),
    ]
}

/// Queued writes and dead letters.
fn writing(url: &str, program: &str) -> [Topic; 3] {
    let (faulty, backend) = ("http://127.0.0.1:9005/control?mode", "http://127.0.0.1:9001");
    [
        (
            "Writes while their backend fails: acknowledged, readable at once, listed; the backend has nothing yet",
            vec![
                format!("curl -s -X POST '{faulty}=fail'"),
                format!("curl -i -X PUT -d '2 apples' {url}/carts/7"),
                format!("curl -i -X PUT -d '3 apples' {url}/carts/7"),
                format!("curl -i {url}/carts/7"),
                format!("{program} journal list --admin 127.0.0.1:9900"),
                format!("curl -i {backend}/carts/7"),
            ],
        ),
        (
            "Bring it up, and it gets the last write; the stores share one memory, so each of them shows it",
            vec![
                format!("curl -s -X POST '{faulty}=ok'"),
                "sleep 3".to_owned(),
                format!("curl -i {backend}/carts/7"),
                format!("curl -i {url}/carts/7"),
            ],
        ),
        (
            "A dead letter: the store refuses the write as too large (413), so a person must handle it",
            vec![
                format!("head -c 2000000 /dev/zero | curl -i -T - -H 'expect:' {url}/carts/8"),
                format!("{program} journal list --dead --admin 127.0.0.1:9900"),
            ],
        ),
    ]
}

/// Splits, mirrors and weights.
fn splitting(url: &str, program: &str) -> [Topic; 3] {
    let canary = canary(program);
    let side = "-o /dev/null -w '%header{x-forebay-side}\\n'";
    [
        (
            "A split: 20 % of /users go to the new service. The cookie keeps a client on its side; a header names a side",
            vec![
                format!("curl -s {side} '{url}/users/[1-10]?n=[1-10]' | sort | uniq -c"),
                format!("curl -s -b '' {side} '{url}/users/[1-5]'"),
                format!("curl -i -H 'x-forebay-upstream: users-v2' {url}/users/7"),
            ],
        ),
        (
            "A mirror: the new service got a copy of each request for the old one; see what differs",
            vec![format!("{canary} mirror users")],
        ),
        (
            "Other weights, from the next request on; a canary that runs pauses",
            vec![
                format!("{canary} set users users-v2=35"),
                format!("curl -s {side} '{url}/users/[1-10]?n=[1-10]' | sort | uniq -c"),
                format!("{canary} list"),
            ],
        ),
    ]
}

/// A canary that is promoted, and one that is rolled back.
fn migrating(url: &str, program: &str) -> [Topic; 2] {
    let (canary, successor) = (canary(program), "http://127.0.0.1:9007/control?mode");
    [
        (
            "A canary: under load, in another terminal, the new service goes from 20 to 50 to 100 %",
            vec![
                format!("while sleep 0.1; do curl -s -o /dev/null '{url}/users/[1-10]?n=[1-50]'; done"),
                format!("{canary} restart users"),
                format!("watch -n1 {canary} show users"),
            ],
        ),
        (
            "Again, and one of ten requests fails: it is rolled back (with fail at once, with slow at the end of the step)",
            vec![
                format!("{canary} restart users; sleep 7"),
                format!("curl -s -X POST '{successor}=flaky'; sleep 2"),
                format!("{canary} show users"),
                format!("curl -s -X POST '{successor}=ok'"),
                format!("{canary} restart users"),
            ],
        ),
    ]
}

fn canary(program: &str) -> String {
    format!("{program} canary --admin 127.0.0.1:9900")
}

/// TLS, HTTP/2 and HTTP/1.1.
fn encrypting(url: &str) -> Topic {
    let versions = "-o /dev/null -w '%{http_version}\\n'";
    (
        "TLS: HTTP/2, then HTTP/1.1; -k accepts the certificate, which forebay has made itself",
        vec![
            format!("curl -i --http2 -k {url}/notes/1"),
            format!("curl -sk --http2 {versions} {url}/hello"),
            format!("curl -sk --http1.1 {versions} {url}/hello"),
        ],
    )
}

/// Fixed responses, streams, load, and the state of all this.
fn others(url: &str, program: &str) -> [Topic; 4] {
    [
        (
            "Responses of forebay itself: a text, a redirect",
            vec![format!("curl -i {url}/hello"), format!("curl -i {url}/old")],
        ),
        ("A stream: one event a second", vec![format!("curl -N {url}/events")]),
        (
            "Load: cache hits; then a request to a backend for each request",
            vec![format!("wrk -t2 -c64 -d10s {url}/"), format!("wrk -t2 -c64 -d10s {url}/weighted/")],
        ),
        (
            "What came of it: requests, failures and latency; the endpoints; one that gets no requests, and gets them again",
            vec![
                format!("{program} status --admin 127.0.0.1:9900"),
                format!("{program} backend --admin 127.0.0.1:9900"),
                format!("{program} backend drain documents http://127.0.0.1:9001 --admin 127.0.0.1:9900"),
                format!("{program} backend ready documents http://127.0.0.1:9001 --admin 127.0.0.1:9900"),
            ],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_the_address_that_listens() {
        let listening = ["http://127.0.0.1:8080", "https://127.0.0.1:8443"]
            .map(|url| Listening { address: None, url: url.to_owned() });
        let text = text(&listening, "config.toml", "bin/forebay");
        assert!(text.contains("\ncurl -i --http2 -k https://127.0.0.1:8443/notes/1\n"), "{text}");
        assert!(text.contains("\nwrk -t2 -c64 -d10s http://127.0.0.1:8080/\n"), "{text}");
        assert!(text.contains("curl -N http://127.0.0.1:8080/events"), "{text}");
        assert!(text.contains("%{http_code} ") && text.contains("%header{cache-status}\\n'"), "{text}");
        assert!(text.contains("\ncurl -i -X PURGE http://127.0.0.1:8080/report\n"), "{text}");
        assert!(text.contains("\nbin/forebay canary --admin 127.0.0.1:9900 restart users\n"), "{text}");
        assert!(text.contains("-w '%header{x-forebay-side}\\n' 'http://127.0.0.1:8080/users/[1-10]?n"), "{text}");
        assert!(text.contains("\nbin/forebay journal list --dead --admin 127.0.0.1:9900\n"), "{text}");
    }

    #[test]
    fn ctrl_c_and_the_signals_of_terminals_and_supervisors_end_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for name in ["INT", "TERM", "HUP", "QUIT"] {
            let mut end_signals = {
                let _entered = runtime.enter();
                EndSignals::listen().unwrap()
            };
            let process = std::process::id().to_string();
            assert!(std::process::Command::new("kill").args([format!("-{name}"), process]).status().unwrap().success());
            runtime.block_on(end_signals.next());
        }
    }

    #[test]
    fn a_failure_tells_its_reasons_in_one_line() {
        let source = std::io::Error::other("address in use");
        let failure = Failure::Backends(demo::StartError::Port { port: 9001, source });
        let expected = "port 9001 of 127.0.0.1 can't be used for a demo backend: address in use";
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn the_built_in_configuration_is_fine() {
        let plan = config::parse(FILE, BUILT_IN).unwrap();
        assert!(!plan.routes.is_empty());
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem_and_not_replaced() {
        assert!(super::plan(Some(Path::new("no/such/file.toml"))).is_err());
    }
}
