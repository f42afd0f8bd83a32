//! Active checks: asks backends how they are, on the control thread.
//!
//! With `[upstream.health]` every backend is checked all the time. Without it a backend is only checked after it took
//! no connection, until it takes one again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, header};
use http_body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use policy::health::active::Checks;

use super::backend::{Backend, Out};
use super::dial;
use super::group::Group;
use super::resolve;
use super::upload::Upload;
use crate::config::plan::{Address, Check, Health};
use crate::observe::{clock, dice};

/// How soon a backend that took no connection is asked again, at first; doubles up to [`RECHECK_MAX`].
const RECHECK_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between checks of a backend that took no connection.
const RECHECK_MAX: Duration = Duration::from_millis(500);
/// A check without `[upstream.health]` that takes longer has failed.
const RECHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of a body is searched for `body`, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The background work for one upstream; ends when dropped.
#[derive(Debug, Default)]
pub struct Watch {
    tasks: Vec<tokio::task::AbortHandle>,
}

impl Watch {
    /// Starts checking and resolving an upstream's backends. To be called on the control thread.
    #[must_use]
    pub fn start(group: &Arc<Group>) -> Self {
        let mut tasks = Vec::new();
        for (index, backend) in group.backends.iter().enumerate() {
            tasks.push(tokio::task::spawn_local(check(Arc::clone(group), index)).abort_handle());
            if let Address::Name { host, port } = &backend.address {
                let interval = group.plan.resolve_interval;
                let keep = resolve::keep(Arc::clone(backend), host.clone(), *port, interval);
                tasks.push(tokio::task::spawn_local(keep).abort_handle());
            }
        }
        Self { tasks }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Checks one backend for as long as the future is kept.
async fn check(group: Arc<Group>, index: usize) {
    let Some(backend) = group.backends.get(index).map(Arc::clone) else { return };
    let health = group.plan.health.as_ref();
    let (rise, fall) = health.map_or((1, 1), |health| (health.rise, health.fall));
    let mut checks = Checks::new(rise, fall);
    if backend.is_out(Out::Down) {
        checks.suspect();
    }
    // Spread over the interval, so that backends aren't all asked at once; but soon, so that a dead one is found.
    let mut pause = health.map(|health| health.interval.mul_f64(dice::fraction()).min(Duration::from_secs(1)));
    let mut passes = 0;
    let mut recheck = RECHECK_FIRST;
    loop {
        if backend.is_out(Out::Suspect) {
            pause = Some(health.map_or(recheck, |health| recheck.min(health.interval)));
            recheck = (recheck * 2).min(RECHECK_MAX);
        }
        if !wait(&backend, pause).await {
            // A connection has failed just now: count passes from here.
            (passes, recheck) = (0, RECHECK_FIRST);
            continue;
        }
        let passed = ask(&backend, health).await;
        let now = clock::now();
        passes = if passed { passes + 1 } else { 0 };
        if health.is_some()
            && let Some(verdict) = checks.observe(passed)
        {
            group.judged(index, verdict, now);
        }
        if passes >= rise && backend.is_out(Out::Suspect) {
            group.trust(index, now);
            recheck = RECHECK_FIRST;
        }
        pause = health.map(|health| health.interval.mul_f64(0.9 + 0.2 * dice::fraction()));
    }
}

/// Waits for the pause to end, or without one for ever. `false`: a connection to the backend has failed meanwhile.
async fn wait(backend: &Backend, pause: Option<Duration>) -> bool {
    let ended = async {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ended => true,
        () = backend.doubted.notified() => false,
    }
}

async fn ask(backend: &Backend, health: Option<&Health>) -> bool {
    let timeout = health.map_or(RECHECK_TIMEOUT, |health| health.timeout);
    let asked = async {
        match health.map(|health| &health.check) {
            Some(Check::Http { .. }) => ask_http(backend, health, timeout).await.unwrap_or(false),
            Some(Check::Tcp) | None => dial::open(backend, timeout).await.is_ok(),
        }
    };
    tokio::time::timeout(timeout, asked).await.unwrap_or(false)
}

async fn ask_http(backend: &Backend, health: Option<&Health>, timeout: Duration) -> io::Result<bool> {
    let Some(Health { check: Check::Http { method, path, host, status, body }, .. }) = health else { return Ok(false) };
    let socket = dial::open(backend, timeout).await?;
    let (mut sender, connection) =
        http1::handshake::<_, Upload>(TokioIo::new(socket)).await.map_err(io::Error::other)?;
    let host = host.clone().unwrap_or_else(|| backend.authority.clone());
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, HeaderValue::from_static("forebay-health"))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .body(Upload::Empty)
        .map_err(io::Error::other)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        if !status.holds(response.status()) {
            return Ok(false);
        }
        match body {
            Some(text) => holds(response.into_body(), text.as_bytes()).await,
            None => Ok(true),
        }
    };
    let mut answer = std::pin::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    let mut closed = false;
    loop {
        tokio::select! {
            biased;
            done = &mut answer => return done,
            _ended = &mut connection, if !closed => closed = true,
        }
    }
}

/// Whether the beginning of a body holds this text.
async fn holds(mut body: hyper::body::Incoming, text: &[u8]) -> io::Result<bool> {
    let mut read: Vec<u8> = Vec::new();
    while read.len() < BODY_BYTES_MAX {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
        let Some(frame) = frame else { break };
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            read.extend_from_slice(&data);
        }
        if read.windows(text.len().max(1)).any(|window| window == text) {
            return Ok(true);
        }
    }
    Ok(text.is_empty())
}
