//! One endpoint, as all workers share it: how busy it is, and whether it may be used.
//!
//! A backend that is given by address is one endpoint. One that is given by name has an endpoint for each address that
//! the name resolves to.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderValue;
use parking_lot::Mutex;
use policy::health::active::Checks;
use rustls::pki_types::ServerName;
use tokio::sync::Notify;

use super::health_history::HealthHistory;
use crate::config::plan::{self, Address};
use crate::telemetry::endpoint_stats::EndpointTraffic;

/// Why an endpoint is not used. Several can hold at once; none: it is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Out {
    /// Its active checks fail.
    Down = 1,
    /// It took no connection a moment ago, and no check has passed since.
    Suspect = 2,
    /// It failed too many requests.
    Ejected = 4,
    /// A person has taken it out of use.
    Drained = 8,
}

/// What a connection to an endpoint is opened to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// One endpoint, as all workers share it. Survives a reload and a change of its name's addresses as long as the
/// backend's name and this address stay.
#[derive(Debug)]
pub struct Endpoint {
    /// The name of its backend: the URL in normal form.
    pub backend: Arc<str>,
    /// Where it is.
    pub peer: Peer,
    /// Its address as text; `None`: the backend's name says it.
    pub address: Option<Arc<str>>,
    /// How logs name it: `http://app.example:80 at 10.0.0.1:80`.
    pub label: Arc<str>,
    /// Its backend's authority.
    pub authority: HeaderValue,
    /// The name that it is asked for over TLS, unless its upstream says another; `None`: it speaks without TLS.
    pub server_name: Option<ServerName<'static>>,
    /// Wakes the prober: a connection has failed.
    pub doubted: Notify,
    /// What its active checks add up to.
    pub checks: Mutex<Checks>,
    /// What its requests came to.
    pub(crate) traffic: EndpointTraffic,
    /// When it went out of use and came back, and why.
    pub(crate) history: HealthHistory,
    /// Where it stands in the newest set of endpoints; meaningless once it has left.
    place: AtomicUsize,
    state: State,
}

/// What balancers read of an endpoint and each request writes: on a cache line of its own, so that workers don't take
/// the rest of the endpoint from each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct State {
    in_flight: AtomicU32,
    out: AtomicU8,
    /// Whether failures are on record, so that a success must be reported too.
    failing: AtomicBool,
    /// When it came back, in milliseconds of monotonic time, plus one; 0: it was never out.
    back_at: AtomicU64,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl Endpoint {
    /// An endpoint that nothing is known of yet: usable.
    #[must_use]
    pub fn new(plan: &plan::Backend, peer: Peer) -> Self {
        let address: Option<Arc<str>> = match (&plan.address, &peer) {
            (Address::Name { .. }, Peer::Tcp(address)) => Some(Arc::from(address.to_string())),
            (Address::Name { .. } | Address::Ip(_) | Address::Unix(_), Peer::Tcp(_) | Peer::Unix(_)) => None,
        };
        let label = address
            .as_ref()
            .map_or_else(|| Arc::clone(&plan.name), |address| Arc::from(format!("{} at {address}", plan.name)));
        Self {
            backend: Arc::clone(&plan.name),
            peer,
            address,
            label,
            authority: plan.authority.clone(),
            server_name: plan.server_name.clone(),
            doubted: Notify::new(),
            checks: Mutex::new(Checks::new(1, 1)),
            traffic: EndpointTraffic::default(),
            history: HealthHistory::default(),
            place: AtomicUsize::new(0),
            state: State::default(),
        }
    }

    /// What balancers that hash know it by: its address, so that a name's change moves the keys of that address alone.
    #[must_use]
    pub fn key(&self) -> String {
        self.address.as_ref().map_or_else(|| self.backend.to_string(), |address| format!("http://{address}"))
    }

    /// Where it stands in the newest set of endpoints, unless it has left.
    #[must_use]
    pub fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed)
    }

    /// Notes where it stands in the newest set.
    pub fn set_place(&self, place: usize) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// It joins others that are in use already: its share grows as that of one that has come back.
    pub fn join(&self, now: Duration) {
        self.state.back_at.store(millis(now) + 1, Ordering::Relaxed);
    }

    /// Requests in flight, all workers together.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.state.in_flight.load(Ordering::Relaxed)
    }

    /// Counts one more request in flight, unless `max` are already.
    #[must_use]
    pub fn begin(&self, max: Option<u32>) -> bool {
        let Some(max) = max else {
            self.state.in_flight.fetch_add(1, Ordering::Relaxed);
            return true;
        };
        // Never more than `max`, not even for a moment: another worker would take the place for lost.
        let one_more = |now: u32| (now < max).then(|| now + 1);
        self.state.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Counts one less request in flight. A request that gets in line after this sees it.
    pub fn end(&self) {
        self.state.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether nothing speaks against it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.state.out.load(Ordering::Relaxed) == 0
    }

    /// Whether nothing speaks against it but that a connection failed a moment ago.
    #[must_use]
    pub fn is_worth_a_try(&self) -> bool {
        self.state.out.load(Ordering::Relaxed) & !(Out::Suspect as u8) == 0
    }

    /// Whether nothing speaks against it but that it failed requests.
    #[must_use]
    pub fn is_but_ejected(&self) -> bool {
        self.state.out.load(Ordering::Relaxed) & !(Out::Ejected as u8) == 0
    }

    /// Whether this speaks against it.
    #[must_use]
    pub fn is_out(&self, reason: Out) -> bool {
        self.state.out.load(Ordering::Relaxed) & reason as u8 != 0
    }

    /// Notes that this speaks against it. Says whether that is new.
    pub fn take_out(&self, reason: Out) -> bool {
        self.state.out.fetch_or(reason as u8, Ordering::Relaxed) & reason as u8 == 0
    }

    /// Notes that this does not speak against it any more. Says whether it did.
    pub fn bring_back(&self, reason: Out, now: Duration) -> bool {
        let before = self.state.out.fetch_and(!(reason as u8), Ordering::Relaxed);
        let held = before & reason as u8 != 0;
        let usable = before & !(reason as u8) == 0;
        if held && usable {
            self.state.back_at.store(millis(now) + 1, Ordering::Relaxed);
        }
        held
    }

    /// Since when it is back, or has joined others; `None`: neither.
    #[must_use]
    pub fn back_at(&self) -> Option<Duration> {
        self.state.back_at.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_millis)
    }

    /// Whether failures are on record.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.state.failing.load(Ordering::Relaxed)
    }

    /// Notes whether failures are on record.
    pub fn set_failing(&self, failing: bool) {
        self.state.failing.store(failing, Ordering::Relaxed);
    }
}

fn millis(at: Duration) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(u64::MAX - 1)
}
