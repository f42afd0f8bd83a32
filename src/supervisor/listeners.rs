//! The client listeners: opened before a reload changes anything, handed to the workers, identified by address.
//!
//! Polls the files of certificates, and replaces changed ones without a reload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::error::StartError;
use crate::acme::{self, Acme};
use crate::admin::api::CertificateMetrics;
use crate::config::plan::{self, ListenAddress, Plan};
use crate::downstream::listener::{self, ListenSocket, Listener, Opened, Settings};
use crate::downstream::proxy_protocol::Rule;
use crate::downstream::tls::Tls;
use crate::socket_file::SocketFile;
use crate::telemetry::clock;
use crate::tls::FileState;
use crate::upstream::transport::tls::BackendTls;

/// How often the warnings about certificates, such as one that expires soon, are repeated.
const WARN_EVERY: Duration = Duration::from_secs(86_400);

/// A new listener whose sockets have not been handed to the workers yet.
pub(super) struct New {
    pub(super) listener: Arc<Listener>,
    pub(super) sockets: Vec<ListenSocket>,
}

/// An open listener, as shown to an operator.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The TCP address, with the port that the system chose for port 0; `None` for a Unix socket.
    pub address: Option<SocketAddr>,
    /// `https://10.0.0.1:443`, `unix:/run/forebay.sock`.
    pub url: String,
}

/// The open listeners.
pub(super) struct Listeners {
    open: Vec<Open>,
    acme: Arc<Acme>,
}

struct Open {
    listener: Arc<Listener>,
    local: Option<SocketAddr>,
    _file: Option<SocketFile>,
    /// The certificate files after a change, and whether they have been tried since. `None`: unchanged.
    changed: Option<(FileState, bool)>,
    /// When warnings about certificates were last logged (monotonic time).
    warned: Duration,
}

/// What [`Listeners::prepare`] has opened and read for a Plan that is not in force yet.
pub(super) struct Prepared {
    new: Vec<(Arc<Listener>, Opened)>,
    /// The new settings of listeners that are already open.
    settings: Vec<(Arc<Listener>, Settings)>,
    /// Certificates that renew themselves.
    acme: acme::Prepared,
}

impl Listeners {
    /// None yet; `acme` has the certificates that renew themselves.
    pub(super) fn new(acme: Arc<Acme>) -> Self {
        Self { open: Vec::new(), acme }
    }

    /// Opens the sockets of the new listeners, one for each worker, and reads all certificates. Changes nothing yet.
    ///
    /// # Errors
    /// When an address can't be listened on, or a file of TLS can't be used.
    pub(super) fn prepare(&self, plan: &Plan, workers: usize) -> Result<Prepared, StartError> {
        check_backend_tls(plan)?;
        let now = clock::now().wall;
        let acme = self.acme.prepare(plan, now).map_err(StartError::Acme)?;
        let (mut new, mut settings_of_open) = (Vec::new(), Vec::new());
        for planned in &plan.listeners {
            let open = self.open.iter().find(|open| *open.listener.address == planned.address);
            let before = open.and_then(|open| open.listener.tls.load_full());
            let load = |tls| {
                let loaded = Tls::load(tls, planned.protocols, &acme, (before.as_deref(), now));
                loaded.map_err(|source| StartError::Tls { address: planned.address.clone(), source })
            };
            let tls = planned.tls.as_ref().map(load).transpose()?;
            let settings = Settings { tls, proxy_headers: Rule::of(planned) };
            match open {
                Some(open) => settings_of_open.push((Arc::clone(&open.listener), settings)),
                None => {
                    let opened = listener::open(&planned.address, workers)?;
                    new.push((Arc::new(Listener::new(&planned.address, settings)), opened));
                }
            }
        }
        Ok(Prepared { new, settings: settings_of_open, acme })
    }

    /// Puts in force what [`Self::prepare`] has opened. Returns the new listeners, whose sockets the caller hands to the
    /// workers.
    pub(super) fn add(&mut self, prepared: Prepared) -> Vec<New> {
        self.acme.adopt(prepared.acme);
        for (listener, settings) in prepared.settings {
            listener.adopt(settings);
        }
        let mut new = Vec::new();
        for (listener, opened) in prepared.new {
            let Opened { sockets, local, file } = opened;
            self.open.push(Open {
                listener: Arc::clone(&listener),
                local,
                _file: file,
                changed: None,
                warned: Duration::ZERO,
            });
            new.push(New { listener, sockets });
        }
        for open in &mut self.open {
            open.changed = None;
            open.warn();
        }
        new
    }

    /// Reloads certificates whose files have changed, and repeats the warnings about certificates once a day.
    pub(super) fn check_certificates(&mut self) {
        let present = self.acme.present();
        self.open.iter_mut().for_each(|open| open.check_certificates(&present));
    }

    /// Removes the listeners that a Plan does not have, and returns their addresses.
    pub(super) fn remove_others(&mut self, plan: &Plan) -> Vec<Arc<ListenAddress>> {
        let is_planned = |open: &Open| plan.listeners.iter().any(|planned| planned.address == *open.listener.address);
        let (planned, others) = std::mem::take(&mut self.open).into_iter().partition(is_planned);
        self.open = planned;
        others.into_iter().map(|open: Open| Arc::clone(&open.listener.address)).collect()
    }

    /// When the certificates of each listener expire.
    pub(super) fn certificates(&self) -> Vec<CertificateMetrics> {
        let mut certificates = Vec::new();
        for open in &self.open {
            let Some(tls) = open.listener.tls.load_full() else { continue };
            certificates.extend(tls.expiries().map(|(certificate, ends)| CertificateMetrics {
                listener: open.listener.address.to_string(),
                certificate,
                expires: ends.as_secs(),
            }));
        }
        certificates
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Listener>> {
        self.open.iter().map(|open| Arc::clone(&open.listener)).collect()
    }

    /// The open listeners, as an operator reads them.
    pub(super) fn listening(&self) -> Vec<Listening> {
        let listening = |open: &Open| Listening {
            address: open.local,
            url: match open.local {
                Some(address) if open.listener.tls.load().is_some() => format!("https://{address}"),
                Some(address) => format!("http://{address}"),
                None => open.listener.address.to_string(),
            },
        };
        self.open.iter().map(listening).collect()
    }
}

impl Open {
    /// Reloads the certificates if their files have changed and have stayed the same for one poll: a certificate and
    /// its key are two files, which can't be replaced atomically. Files that can't be used change nothing, and are
    /// logged once.
    fn check_certificates(&mut self, acme: &acme::Prepared) {
        let Some(before) = self.listener.tls.load_full() else { return };
        if clock::mono().saturating_sub(self.warned) >= WARN_EVERY {
            self.warn();
        }
        let now = before.files_now();
        if now == *before.files() {
            self.changed = None;
        } else if self.changed.as_ref().map(|(state, _)| state) != Some(&now) {
            self.changed = Some((now, false));
        } else if let Some((_, was_tried)) = self.changed.as_mut().filter(|(_, was_tried)| !was_tried) {
            *was_tried = true;
            let address = &self.listener.address;
            match Tls::load(before.plan(), before.protocols(), acme, (Some(&before), clock::now().wall)) {
                Ok(tls) => {
                    self.listener.tls.store(Some(Arc::new(tls)));
                    tracing::info!("listener {address}: certificates are reloaded, because their files have changed");
                    self.changed = None;
                    self.warn();
                }
                Err(error) => tracing::error!("listener {address}: certificates are not reloaded: {error}"),
            }
        }
    }

    /// Logs what an operator should mend: a certificate that expires soon, a key that others can read.
    fn warn(&mut self) {
        self.warned = clock::mono();
        let Some(tls) = self.listener.tls.load_full() else { return };
        for warning in tls.warnings(clock::now().wall) {
            tracing::warn!("listener {}: {warning}", self.listener.address);
        }
    }
}

/// Reads the files of `[upstream.tls]`, so that a reload with files that can't be used changes nothing.
fn check_backend_tls(plan: &Plan) -> Result<(), StartError> {
    let has_tls = |upstream: &&plan::Upstream| upstream.backends.iter().any(|backend| backend.server_name.is_some());
    for upstream in plan.upstreams.iter().filter(has_tls) {
        let failed = |source| StartError::UpstreamTls { upstream: Arc::clone(&upstream.name), source };
        BackendTls::load(&upstream.tls).map_err(failed)?;
    }
    Ok(())
}
