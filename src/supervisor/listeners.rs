//! What clients connect to: opened before anything else changes, handed to the workers, known by their addresses.
//!
//! Files of certificates are watched: what changes in them is taken up without a reload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use crate::config::plan::{self, ListenAddress, Plan};
use crate::downstream::listener::{self, ListenSocket, Listener, Opened};
use crate::downstream::tls::Tls;
use crate::socket_file::SocketFile;
use crate::telemetry::clock;
use crate::tls::FileState;
use crate::upstream::transport::tls::BackendTls;

/// How often certificates that are to be seen to are warned about.
const WARN_EVERY: Duration = Duration::from_secs(86_400);

/// A listener whose sockets no worker has yet.
pub(super) struct New {
    pub(super) listener: Arc<Listener>,
    pub(super) sockets: Vec<ListenSocket>,
}

/// Where clients connect.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The TCP address, if it is one; for port 0 with the port that the system chose.
    pub address: Option<SocketAddr>,
    /// How an operator reads it: `https://10.0.0.1:443`, `unix:/run/forebay.sock`.
    pub url: String,
}

/// The listeners that are open.
#[derive(Default)]
pub(super) struct Listeners(Vec<Open>);

struct Open {
    listener: Arc<Listener>,
    local: Option<SocketAddr>,
    _file: Option<SocketFile>,
    /// What the files of its certificates look like since they have changed, and whether that was tried.
    seen: Option<(FileState, bool)>,
    /// When certificates that are to be seen to were last warned about (monotonic time).
    warned: Duration,
}

/// What is made ready for a plan, and not taken up yet.
pub(super) struct Prepared {
    new: Vec<(Arc<Listener>, Opened)>,
    /// What handshakes on listeners that are open already will go by.
    tls: Vec<(Arc<Listener>, Option<Tls>)>,
}

impl Listeners {
    /// Opens what a plan has and is not open yet, for so many workers, and reads all certificates. Nothing changes by it.
    pub(super) fn prepare(&self, plan: &Plan, workers: usize) -> Result<Prepared, StartError> {
        backends(plan)?;
        let mut prepared = Prepared { new: Vec::new(), tls: Vec::new() };
        let now = clock::now().wall;
        for planned in &plan.listeners {
            let open = self.0.iter().find(|open| *open.listener.address == planned.address);
            let before = open.and_then(|open| open.listener.tls.load_full());
            let load = |tls| {
                let loaded = Tls::load(tls, planned.protocols, before.as_deref(), now);
                loaded.map_err(|source| StartError::Tls { address: planned.address.clone(), source })
            };
            let tls = planned.tls.as_ref().map(load).transpose()?;
            match open {
                Some(open) => prepared.tls.push((Arc::clone(&open.listener), tls)),
                None => {
                    let opened = listener::open(&planned.address, workers)?;
                    prepared.new.push((Arc::new(Listener::new(&planned.address, tls)), opened));
                }
            }
        }
        Ok(prepared)
    }

    /// Takes up what was made ready; the sockets are the workers'.
    pub(super) fn add(&mut self, prepared: Prepared) -> Vec<New> {
        for (listener, tls) in prepared.tls {
            listener.tls.store(tls.map(Arc::new));
        }
        let mut new = Vec::new();
        for (listener, opened) in prepared.new {
            let Opened { sockets, local, file } = opened;
            self.0.push(Open {
                listener: Arc::clone(&listener),
                local,
                _file: file,
                seen: None,
                warned: Duration::ZERO,
            });
            new.push(New { listener, sockets });
        }
        for open in &mut self.0 {
            open.seen = None;
            open.warn();
        }
        new
    }

    /// Takes up certificates whose files have changed, and warns of those that are to be seen to once a day.
    pub(super) fn look(&mut self) {
        self.0.iter_mut().for_each(Open::look);
    }

    /// Gives up what a plan does not have, and returns it.
    pub(super) fn remove_others(&mut self, plan: &Plan) -> Vec<Arc<ListenAddress>> {
        let is_kept = |open: &Open| plan.listeners.iter().any(|planned| planned.address == *open.listener.address);
        let (kept, gone) = std::mem::take(&mut self.0).into_iter().partition(is_kept);
        self.0 = kept;
        gone.into_iter().map(|open: Open| Arc::clone(&open.listener.address)).collect()
    }

    /// What they listen on.
    pub(super) fn listening(&self) -> Vec<Listening> {
        let listening = |open: &Open| Listening {
            address: open.local,
            url: match open.local {
                Some(address) if open.listener.tls.load().is_some() => format!("https://{address}"),
                Some(address) => format!("http://{address}"),
                None => open.listener.address.to_string(),
            },
        };
        self.0.iter().map(listening).collect()
    }
}

impl Open {
    /// Takes up certificates whose files have changed, once they have rested between two looks: a certificate and its key
    /// are two files, and are not replaced at one moment. What can't be used changes nothing, and is logged once.
    fn look(&mut self) {
        let Some(before) = self.listener.tls.load_full() else { return };
        if clock::mono().saturating_sub(self.warned) >= WARN_EVERY {
            self.warn();
        }
        let now = before.files_now();
        if now == *before.files() {
            self.seen = None;
        } else if self.seen.as_ref().map(|(state, _)| state) != Some(&now) {
            self.seen = Some((now, false));
        } else if let Some((_, has_told)) = self.seen.as_mut().filter(|(_, has_told)| !has_told) {
            *has_told = true;
            let address = &self.listener.address;
            match Tls::load(before.plan(), before.protocols(), Some(&before), clock::now().wall) {
                Ok(tls) => {
                    self.listener.tls.store(Some(Arc::new(tls)));
                    tracing::info!("listener {address}: certificates are reloaded, because their files have changed");
                    self.seen = None;
                    self.warn();
                }
                Err(error) => tracing::error!("listener {address}: certificates are not reloaded: {error}"),
            }
        }
    }

    fn warn(&mut self) {
        self.warned = clock::mono();
        let Some(tls) = self.listener.tls.load_full() else { return };
        for warning in tls.warnings(clock::now().wall) {
            tracing::warn!("listener {}: {warning}", self.listener.address);
        }
    }
}

/// Tries what TLS towards backends stands on.
fn backends(plan: &Plan) -> Result<(), StartError> {
    let speak_tls = |upstream: &&plan::Upstream| upstream.backends.iter().any(|backend| backend.server_name.is_some());
    for upstream in plan.upstreams.iter().filter(speak_tls) {
        let failed = |source| StartError::UpstreamTls { upstream: Arc::clone(&upstream.name), source };
        BackendTls::load(&upstream.tls).map_err(failed)?;
    }
    Ok(())
}
