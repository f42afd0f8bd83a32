//! Active checks: asks endpoints how they are. Runs beside the requests, on the control thread.
//!
//! With `[upstream.health]` every endpoint is checked all the time. Without it an endpoint is only checked after it took
//! no connection, until it takes one again.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use message::{Fields, Known};

use super::client::{self, Deadlines, Error, InternalRequest, InternalResponse};
use super::endpoint::{Endpoint, Out};
use super::resolve;
use super::shared::SharedUpstream;
use crate::config::plan::{Check, Health};
use crate::exchange::error::ProxyError;
use crate::telemetry::{clock, random};

/// How soon an endpoint that took no connection is asked again, at first; doubles up to [`RECHECK_MAX`].
const RECHECK_FIRST: Duration = Duration::from_millis(100);
/// The longest pause between checks of an endpoint that took no connection.
const RECHECK_MAX: Duration = Duration::from_millis(500);
/// A check without `[upstream.health]` that takes longer has failed.
const RECHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of a body is searched for `body`, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The shortest pause between two changes of an upstream's endpoints: names that change together are taken up together.
const REGROUP_PAUSE: Duration = Duration::from_millis(10);
/// The pause is so many times what a change has taken, if that is longer: thousands of endpoints on a ring take a while.
const REGROUP_SHARE: u32 = 4;

/// The background work for one upstream; ends when dropped.
#[derive(Debug)]
pub(crate) struct Watch(tokio::task::AbortHandle);

impl Watch {
    /// Starts checking an upstream's endpoints and resolving the names of its backends. To be called on a thread whose
    /// runtime runs local tasks.
    #[must_use]
    pub(crate) fn start(group: &Arc<SharedUpstream>) -> Self {
        Self::over(watch(Arc::clone(group)))
    }

    fn over(work: impl Future<Output = ()> + 'static) -> Self {
        Self(tokio::task::spawn_local(work).abort_handle())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches an upstream for as long as the future is kept.
async fn watch(group: Arc<SharedUpstream>) {
    let keep = |(backend, host, port): (usize, &str, u16)| {
        Watch::over(resolve::keep(Arc::clone(&group), backend, host.to_owned(), port))
    };
    let _names: Vec<Watch> = group.names().map(keep).collect();
    let mut checks: HashMap<*const Endpoint, Watch> = HashMap::new();
    loop {
        // An endpoint's check holds the endpoint, so that no other has the same address in memory meanwhile.
        let mut before = std::mem::take(&mut checks);
        for seat in &group.endpoints().seats {
            let endpoint = &seat.endpoint;
            let known = before.remove(&Arc::as_ptr(endpoint));
            let watch = known.unwrap_or_else(|| Watch::over(check(Arc::clone(&group), Arc::clone(endpoint))));
            checks.insert(Arc::as_ptr(endpoint), watch);
        }
        drop(before);
        group.renamed().await;
        let began = clock::now();
        group.regroup(began);
        let took = clock::mono().saturating_sub(began.mono);
        tokio::time::sleep(REGROUP_PAUSE.max(took * REGROUP_SHARE)).await;
    }
}

/// Checks one endpoint for as long as the future is kept.
async fn check(group: Arc<SharedUpstream>, endpoint: Arc<Endpoint>) {
    let health = group.plan.health.as_ref();
    let (rise, fall) = health.map_or((1, 1), |health| (health.rise, health.fall));
    {
        let mut checks = endpoint.checks.lock();
        *checks = checks.carry(rise, fall);
    }
    // Spread over the interval, so that endpoints aren't all asked at once; but soon, so that a dead one is found.
    let mut pause = health.map(|health| health.interval.mul_f64(random::fraction()).min(Duration::from_secs(1)));
    let mut passes = 0;
    let mut recheck = RECHECK_FIRST;
    loop {
        if endpoint.is_out(Out::Suspect) {
            pause = Some(health.map_or(recheck, |health| recheck.min(health.interval)));
            recheck = (recheck * 2).min(RECHECK_MAX);
        }
        if !wait(&endpoint, pause).await {
            // A connection has failed just now: count passes from here.
            (passes, recheck) = (0, RECHECK_FIRST);
            continue;
        }
        let began = clock::mono();
        let finding = ask(&endpoint, &group).await;
        if finding.is_inconclusive() {
            // Nothing is known of the endpoint.
            pause = Some(health.map_or(recheck, |health| health.interval));
            continue;
        }
        let now = clock::now();
        let checked = Checked { finding: &finding, took: now.mono.saturating_sub(began), health };
        let passed = finding.passes();
        passes = if passed { passes + 1 } else { 0 };
        let verdict = health.and_then(|_| endpoint.checks.lock().observe(passed));
        if let Some(verdict) = verdict {
            group.standing.judged(&endpoint, verdict, now, &checked);
        }
        if passes >= rise && endpoint.is_out(Out::Suspect) {
            group.standing.trust(&endpoint, now, &checked);
            recheck = RECHECK_FIRST;
        }
        pause = health.map(|health| health.interval.mul_f64(0.9 + 0.2 * random::fraction()));
    }
}

/// Waits for the pause to end, or without one for ever. `false`: a connection to the endpoint has failed meanwhile.
async fn wait(endpoint: &Endpoint, pause: Option<Duration>) -> bool {
    let ended = async {
        match pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = ended => true,
        () = endpoint.doubted.notified() => false,
    }
}

/// What a check has found.
#[derive(Debug)]
enum Finding {
    /// A connection was opened; nothing else was asked for.
    Connected,
    /// It was answered as it is to be.
    Passed(StatusCode),
    /// It was answered with another status.
    Status(StatusCode),
    /// The answer's body does not hold the text.
    Body(StatusCode),
    /// No connection could be opened.
    Refused(ProxyError),
    /// The answer broke off, or is none.
    Broken(ProxyError),
    /// It took too long.
    Late(Duration),
}

impl Finding {
    /// Whether this machine had no descriptor, port or memory for the check.
    fn is_inconclusive(&self) -> bool {
        matches!(self, Self::Refused(ProxyError::Exhausted { .. }))
    }

    fn passes(&self) -> bool {
        matches!(self, Self::Connected | Self::Passed(_))
    }
}

/// A check, as the event log tells of it: `got 503 in 2 ms, wanted 200-399`.
struct Checked<'a> {
    finding: &'a Finding,
    took: Duration,
    health: Option<&'a Health>,
}

impl fmt::Display for Checked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.took.as_millis();
        let (statuses, text) = match self.health.map(|health| &health.check) {
            Some(Check::Http { status, body, .. }) => (Some(status), body.as_deref()),
            Some(Check::Tcp) | None => (None, None),
        };
        match self.finding {
            Finding::Connected => write!(f, "connected in {took} ms"),
            Finding::Passed(status) => write!(f, "got {} in {took} ms", status.as_u16()),
            Finding::Status(status) => {
                write!(f, "got {} in {took} ms", status.as_u16())?;
                statuses.map_or(Ok(()), |wanted| write!(f, ", wanted {wanted}"))
            }
            Finding::Body(status) => {
                write!(f, "got {} in {took} ms, but not {:?} in its body", status.as_u16(), text.unwrap_or_default())
            }
            Finding::Refused(fault) => write!(f, "got no connection in {took} ms: {}", fault.cause()),
            Finding::Broken(fault) => write!(f, "got no whole answer in {took} ms: {}", fault.cause()),
            Finding::Late(limit) => write!(f, "got no answer within {} ms", limit.as_millis()),
        }
    }
}

async fn ask(endpoint: &Arc<Endpoint>, group: &Arc<SharedUpstream>) -> Finding {
    let health = group.plan.health.as_ref();
    let timeout = health.map_or(RECHECK_TIMEOUT, |health| health.timeout);
    let deadlines = Deadlines::within(timeout);
    let asked = match health.map(|health| &health.check) {
        Some(check @ Check::Http { .. }) => ask_http(endpoint, group, check, deadlines).await,
        Some(Check::Tcp) | None => client::open(endpoint, group, deadlines.head).await.map(|_| Finding::Connected),
    };
    asked.unwrap_or_else(|error| match error {
        Error::Late => Finding::Late(timeout),
        Error::Failed(fault @ (ProxyError::Connect { .. } | ProxyError::Exhausted { .. })) => Finding::Refused(fault),
        Error::Failed(fault) => Finding::Broken(fault),
    })
}

async fn ask_http(
    endpoint: &Arc<Endpoint>,
    group: &Arc<SharedUpstream>,
    check: &Check,
    deadlines: Deadlines,
) -> Result<Finding, Error> {
    let Check::Http { method, path, host, status, body } = check else { return Ok(Finding::Connected) };
    let target = path.parse().map_err(|_| ProxyError::BadRequest("the path of the check is no target"))?;
    let mut fields = Fields::new();
    fields.set(Known::Host, host.as_ref().unwrap_or(&endpoint.authority));
    fields.set("user-agent", "forebay-health");
    fields.set(Known::Connection, "close");
    let request = InternalRequest { method: method.clone(), target, fields, body: None, deadlines };
    let response = request.send_to(endpoint, group).await?;
    let got = response.status;
    if !status.holds(got) {
        return Ok(Finding::Status(got));
    }
    let is_there = match body {
        Some(text) => holds(response, text.as_bytes()).await?,
        None => true,
    };
    Ok(if is_there { Finding::Passed(got) } else { Finding::Body(got) })
}

/// Whether the beginning of a body holds this text.
async fn holds(mut response: InternalResponse, text: &[u8]) -> Result<bool, Error> {
    let mut read: Vec<u8> = Vec::new();
    while read.len() < BODY_BYTES_MAX {
        let Some(frame) = response.frame().await? else { break };
        if let Ok(data) = frame.into_data() {
            read.extend_from_slice(&data);
        }
        if read.windows(text.len().max(1)).any(|window| window == text) {
            return Ok(true);
        }
    }
    Ok(text.is_empty())
}
