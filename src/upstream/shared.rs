//! One upstream under one plan, as all workers share it: what its names resolve to, and so which endpoints it has.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use policy::endpoints::{ADDRESSES_MAX, Chosen, Family, choose};
use policy::time::Now;
use tokio::sync::Notify;

use super::endpoint::Peer;
use super::endpoints::{EndpointSlot, Endpoints};
use super::queue::Queue;
use super::resolver::Resolver;
use super::standing::Standing;
use super::transport::tls::BackendTls;
use crate::config::plan::{self, Address};
use crate::tls::FileState;

/// One upstream under one plan, as all workers share it.
#[derive(Debug)]
pub struct SharedUpstream {
    /// What the file says of it.
    pub plan: plan::Upstream,
    /// Which of the upstream's plans it is.
    pub number: u64,
    /// How its endpoints stand.
    pub standing: Arc<Standing>,
    /// What TLS towards its backends goes by; `None`: none of them speaks it.
    tls: Option<Result<BackendTls, Arc<str>>>,
    /// What the files for that looked like before they were read.
    tls_files: FileState,
    /// Looks the names of its backends up.
    pub resolver: Arc<dyn Resolver>,
    names: Mutex<Names>,
    /// Wakes the one that regroups: the addresses of a name have changed.
    renamed: Notify,
    current: ArcSwap<Endpoints>,
    /// That of the present endpoints.
    version: AtomicU64,
}

/// What the names of an upstream's backends resolve to.
#[derive(Debug)]
struct Names {
    /// One for each backend.
    list: Vec<Name>,
    /// Whether they differ from what the endpoints are made of.
    are_new: bool,
}

/// What the name of a backend resolves to.
#[derive(Clone, Debug, Default)]
struct Name {
    found: Vec<SocketAddr>,
    /// Whether it has been looked up, with whatever outcome.
    is_looked_up: bool,
    /// Whether the last look-up brought no address that can be used.
    is_failing: bool,
    /// Whether it has more addresses than are used.
    is_cut: bool,
}

impl SharedUpstream {
    /// The group for a plan; what is known of backends that the group before had too is kept.
    #[must_use]
    pub fn new(plan: plan::Upstream, before: Option<&Self>, resolver: Arc<dyn Resolver>, now: Now) -> Self {
        let list = names(&plan, before);
        let standing = before.map_or_else(|| Arc::new(Standing::new(&plan)), |before| Arc::clone(&before.standing));
        let endpoints = standing.adopt(&plan, &peers(&plan, &list), now);
        let number = standing.queue.replan();
        let tls_files = BackendTls::files(&plan.tls);
        // Now, and not when a connection needs it: the files have been tried a moment ago.
        let speaks_tls = plan.backends.iter().any(|backend| backend.server_name.is_some());
        let tls = speaks_tls.then(|| BackendTls::load(&plan.tls).map_err(|error| Arc::from(error.to_string())));
        Self {
            plan,
            number,
            standing,
            tls,
            tls_files,
            resolver,
            names: Mutex::new(Names { list, are_new: false }),
            renamed: Notify::new(),
            version: AtomicU64::new(endpoints.version),
            current: ArcSwap::new(endpoints),
        }
    }

    /// What TLS towards its backends goes by.
    ///
    /// # Errors
    /// What is wrong with its files. They were read before the plan was taken up, so they have changed since.
    pub fn tls(&self) -> io::Result<&BackendTls> {
        match &self.tls {
            Some(tls) => tls.as_ref().map_err(|reason| io::Error::other(reason.to_string())),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the files of its TLS have not changed since it was made.
    #[must_use]
    pub fn has_present_files(&self) -> bool {
        self.tls_files == BackendTls::files(&self.plan.tls)
    }

    /// Whether a connection that was opened under this plan is as good as one that is opened under the `other`.
    #[must_use]
    pub fn speaks_like(&self, other: &Self) -> bool {
        let is_like = self.plan.tls == other.plan.tls && self.plan.send_proxy == other.plan.send_proxy;
        is_like && self.tls_files == other.tls_files
    }

    /// The endpoints that it has now.
    #[must_use]
    pub fn endpoints(&self) -> Arc<Endpoints> {
        self.current.load_full()
    }

    /// That of the present endpoints: a copy with a lower one is out of date.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Who waits.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.standing.queue
    }

    /// Whether any of its endpoints is usable.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.current.load().seats.iter().any(|seat| seat.endpoint.is_usable())
    }

    /// Whether a request that comes now has somewhere to go: to an endpoint that is usable, or to an ejected one that is
    /// due for its trial. Without requests nothing would ever bring that one back.
    #[must_use]
    pub fn can_take(&self, now: Now) -> bool {
        let but_ejected = || self.current.load().seats.iter().any(|seat| seat.endpoint.is_but_ejected());
        self.is_usable() || (self.standing.is_trial_due(now) && but_ejected())
    }

    /// Whether a usable endpoint has a place left.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.current.load().seats.iter().any(EndpointSlot::has_room)
    }

    /// The backends that are given by name: place in the file, host and port.
    pub fn names(&self) -> impl Iterator<Item = (usize, &str, u16)> {
        self.plan.backends.iter().enumerate().filter_map(|(index, backend)| match &backend.address {
            Address::Name { host, port } => Some((index, host.as_str(), *port)),
            Address::Ip(_) | Address::Unix(_) => None,
        })
    }

    /// Whether the last look-up of this backend's name brought an address that can be used.
    #[must_use]
    pub fn is_resolved(&self, backend: usize) -> bool {
        self.names.lock().list.get(backend).is_some_and(|name| name.is_looked_up && !name.is_failing)
    }

    /// Whether all names have been looked up, with whatever outcome, and the endpoints are made of that.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let names = self.names.lock();
        !names.are_new && names.list.iter().all(|name| name.is_looked_up)
    }

    /// The name of this backend has been looked up. Without an address that can be used the addresses known before stay.
    /// Says whether there was one.
    pub fn found(&self, backend: usize, found: io::Result<Vec<SocketAddr>>) -> bool {
        let Some(plan) = self.plan.backends.get(backend) else { return false };
        let family = self.plan.address_family;
        let mut names = self.names.lock();
        let Some(name) = names.list.get_mut(backend) else { return false };
        name.is_looked_up = true;
        let failure = match found {
            Ok(found) => {
                let Chosen { addresses, left_out } = choose(&found, family);
                if !addresses.is_empty() {
                    let has_changed = choose(&name.found, family).addresses != addresses;
                    name.note(&self.plan.name, &plan.name, has_changed.then_some(&*addresses), left_out);
                    name.found = found;
                    names.are_new |= has_changed;
                    drop(names);
                    if has_changed {
                        self.renamed.notify_one();
                    }
                    return true;
                }
                let wanted = match family {
                    Family::Auto | Family::Both => "no",
                    Family::V4 => "no IPv4",
                    Family::V6 => "no IPv6",
                };
                format!("{wanted} address")
            }
            Err(error) => error.to_string(),
        };
        if !std::mem::replace(&mut name.is_failing, true) {
            let last = if name.found.is_empty() { "" } else { "; its last addresses stay in use" };
            tracing::warn!(upstream = %self.plan.name, backend = %plan.name,
                "the name of backend {} can't be resolved: {failure}{last}", plan.name);
        }
        false
    }

    /// Waits until the addresses of a name have changed since the last [`SharedUpstream::regroup`].
    pub async fn renamed(&self) {
        self.renamed.notified().await;
    }

    /// Takes up the addresses that names have now: an address that has left gets no more requests, a new one does.
    pub fn regroup(&self, now: Now) {
        let peers = {
            let mut names = self.names.lock();
            names.are_new = false;
            peers(&self.plan, &names.list)
        };
        let endpoints = self.standing.adopt(&self.plan, &peers, now);
        let version = endpoints.version;
        self.current.store(endpoints);
        self.version.store(version, Ordering::Release);
        self.queue().wake_all();
    }
}

impl Name {
    /// Tells of what a look-up has changed.
    fn note(&mut self, upstream: &str, backend: &str, changed_to: Option<&[SocketAddr]>, left_out: usize) {
        if std::mem::replace(&mut self.is_failing, false) {
            tracing::info!(%upstream, %backend, "the name of backend {backend} is resolved again");
        }
        if !std::mem::replace(&mut self.is_cut, left_out > 0) && self.is_cut {
            tracing::warn!(%upstream, %backend,
                "the name of backend {backend} has {} addresses; the first {ADDRESSES_MAX} are used",
                ADDRESSES_MAX + left_out);
        }
        if let Some(addresses) = changed_to.filter(|_| !self.found.is_empty()) {
            let ips: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            tracing::info!(%upstream, %backend, "backend {backend} is now at {}", ips.join(", "));
        }
    }
}

/// What is known of the names in a plan.
fn names(plan: &plan::Upstream, before: Option<&SharedUpstream>) -> Vec<Name> {
    let old = before.map(|group| group.names.lock().list.clone()).unwrap_or_default();
    let old_plan = before.map(|group| &*group.plan.backends).unwrap_or_default();
    let old: HashMap<&str, Name> = old_plan.iter().map(|backend| &*backend.name).zip(old).collect();
    let known = |backend: &plan::Backend| match &backend.address {
        Address::Name { .. } => old.get(&*backend.name).cloned().unwrap_or_default(),
        Address::Ip(_) | Address::Unix(_) => Name { is_looked_up: true, ..Name::default() },
    };
    plan.backends.iter().map(known).collect()
}

/// Where each backend can be reached.
fn peers(plan: &plan::Upstream, names: &[Name]) -> Vec<Vec<Peer>> {
    let of = |(backend, name): (&plan::Backend, &Name)| match &backend.address {
        Address::Ip(address) => vec![Peer::Tcp(*address)],
        Address::Unix(path) => vec![Peer::Unix(path.clone())],
        Address::Name { .. } => choose(&name.found, plan.address_family).addresses.into_iter().map(Peer::Tcp).collect(),
    };
    plan.backends.iter().zip(names).map(of).collect()
}
