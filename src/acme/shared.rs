//! What workers and the control thread share: the names that have certificates, and the answers to challenges.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use policy::certificate::challenge::Challenge;
use policy::certificate::renewal::Retry;
use rustls::crypto::aws_lc_rs;
use tokio::sync::Notify;

use super::challenges::Published;
use super::managed::Managed;
use super::session::Session;
use crate::config::plan::Plan;
use crate::telemetry::counters::Counter;
use crate::telemetry::random;
use crate::tls::TlsError;

/// Certificates that renew themselves.
#[derive(Debug)]
pub(crate) struct Acme {
    /// That of the process, which no other process uses.
    state_dir: Option<PathBuf>,
    /// Answers to challenges.
    pub(crate) published: Arc<Published>,
    /// Orders that have begun.
    pub(crate) orders: Counter,
    /// Orders that have failed.
    pub(crate) failures: Counter,
    work: ArcSwap<Work>,
    pub(super) changed: Notify,
}

/// What is to be kept up.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// With which authority; `None`: with none, or nothing could be kept.
    pub(super) session: Option<Arc<Session>>,
    /// The challenges that a listener can answer, the preferred one first.
    pub(super) challenges: Arc<[Challenge]>,
    pub(super) certificates: BTreeMap<Arc<str>, Arc<Managed>>,
}

/// What is made ready for a plan, and not taken up yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    work: Arc<Work>,
    /// Answers to challenges.
    pub(crate) published: Arc<Published>,
}

impl Acme {
    /// Nothing yet; what comes is kept in this directory.
    pub(crate) fn new(state_dir: Option<PathBuf>) -> Self {
        Self {
            state_dir,
            published: Arc::default(),
            orders: Counter::default(),
            failures: Counter::default(),
            work: ArcSwap::default(),
            changed: Notify::new(),
        }
    }

    /// Finds a certificate for each name of a plan. Nothing changes by it.
    ///
    /// # Errors
    /// When the authorities that the directory is verified by can't be read.
    pub(crate) fn prepare(&self, plan: &Plan, now: Duration) -> Result<Prepared, TlsError> {
        let before = self.work.load();
        let session = match &plan.acme {
            Some(acme) => match before.session.as_ref().filter(|session| session.is_of(acme)) {
                Some(session) => Some(Arc::clone(session)),
                None => Session::new(acme, self.state_dir.as_deref())?.map(Arc::new),
            },
            None => None,
        };
        let is_same = match (&session, &before.session) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let retry =
            plan.acme.as_ref().map_or(Retry { least: Duration::ZERO, most: Duration::ZERO }, |acme| acme.retry());
        let kept = (session.as_ref().map(|session| &session.files), retry);
        let provider = aws_lc_rs::default_provider();
        let mut certificates = BTreeMap::new();
        for name in plan.acme_names() {
            if certificates.contains_key(name) {
                continue;
            }
            let old = before.certificates.get(name);
            let managed = match old.filter(|_| is_same) {
                Some(old) => Arc::clone(old),
                None => {
                    let facts = (now, random::fraction(), &provider);
                    Arc::new(Managed::open(name, kept, old.map(|old| &**old), facts)?)
                }
            };
            certificates.insert(Arc::clone(name), managed);
        }
        Ok(self.prepared(Arc::new(Work { session, challenges: plan.challenges().into(), certificates })))
    }

    /// Keeps this up from now on.
    pub(crate) fn adopt(&self, prepared: Prepared) {
        let work = prepared.work;
        if work.session.is_none() && !work.certificates.is_empty() {
            tracing::warn!("no certificates are ordered before the next start: server.state_dir takes effect then");
        }
        self.work.store(work);
        self.changed.notify_one();
    }

    /// What is kept up now.
    pub(crate) fn present(&self) -> Prepared {
        self.prepared(self.work.load_full())
    }

    fn prepared(&self, work: Arc<Work>) -> Prepared {
        Prepared { work, published: Arc::clone(&self.published) }
    }

    pub(super) fn work(&self) -> Arc<Work> {
        self.work.load_full()
    }
}

impl Prepared {
    /// The certificate of a name.
    pub(crate) fn certificate(&self, name: &str) -> Option<&Arc<Managed>> {
        self.work.certificates.get(name)
    }
}
