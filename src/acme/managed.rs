//! The certificate of one name: what clients are shown now, and when it is ordered next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use policy::certificate::renewal::{self, Period, Retry};
use policy::certificate::x509;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;

use super::files::{Files, KeptFailures};
use crate::tls::{TlsError, issue};

/// The certificate of one name.
#[derive(Debug)]
pub(crate) struct Managed {
    pub(crate) name: Arc<str>,
    key: ArcSwap<CertifiedKey>,
    standing: Mutex<Standing>,
    is_busy: AtomicBool,
}

/// How it stands.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    /// Whether the present authority has issued it; else it is self-signed, or another authority's.
    pub(crate) is_issued: bool,
    /// Whether forebay has signed it itself.
    pub(crate) is_self_signed: bool,
    pub(crate) valid: Period,
    /// How many orders have failed in a row.
    pub(crate) failures: u32,
    /// No order begins before this.
    pub(super) next_try: Duration,
    /// Why the last order has failed.
    pub(crate) failure: Option<String>,
    /// When the authority suggests to renew it.
    pub(super) window: Option<Period>,
    /// When the authority is asked for that again.
    pub(super) ask_at: Duration,
    /// Where within its bounds this certificate is renewed.
    chance: f64,
}

impl Standing {
    /// When it is ordered next.
    pub(crate) fn due(&self) -> Duration {
        let renewal = if self.is_issued { renewal::due(self.valid, self.window, self.chance) } else { Duration::ZERO };
        renewal.max(self.next_try)
    }
}

impl Managed {
    /// The certificate that is kept in the files; else the one of this name that clients have been shown so far, be it
    /// another authority's; else a self-signed one.
    pub(super) fn open(
        name: &Arc<str>,
        (files, retry): (Option<&Files>, Retry),
        before: Option<&Self>,
        (now, chance, provider): (Duration, f64, &CryptoProvider),
    ) -> Result<Self, TlsError> {
        let kept = files.and_then(|files| files.certificate(name, provider)).map(Arc::new);
        let failures = files.map(|files| files.failures(name)).unwrap_or_default();
        let is_issued = kept.is_some();
        let is_old = before.map(|before| before.standing().is_self_signed);
        let key = match kept.or_else(|| before.map(Self::key)) {
            Some(key) => key,
            None => Arc::new(issue::self_signed(&[name.to_string()], now, provider)?),
        };
        let standing = Standing {
            is_issued,
            is_self_signed: !is_issued && is_old.unwrap_or(true),
            valid: valid(&key),
            failures: failures.count,
            next_try: retry.plausible(Duration::from_millis(failures.next_try_unix_ms), now),
            failure: failures.reason,
            window: None,
            ask_at: Duration::ZERO,
            chance,
        };
        Ok(Self {
            name: Arc::clone(name),
            key: ArcSwap::new(key),
            standing: Mutex::new(standing),
            is_busy: AtomicBool::new(false),
        })
    }

    /// What clients are shown.
    pub(crate) fn key(&self) -> Arc<CertifiedKey> {
        self.key.load_full()
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    /// Clients are shown this from now on, which the authority has just issued.
    pub(super) fn issued(&self, key: CertifiedKey, chance: f64) {
        let valid = valid(&key);
        self.key.store(Arc::new(key));
        *self.standing.lock() = Standing {
            is_issued: true,
            is_self_signed: false,
            valid,
            failures: 0,
            next_try: Duration::ZERO,
            failure: None,
            window: None,
            ask_at: Duration::ZERO,
            chance,
        };
    }

    /// An order begins, or has failed.
    pub(super) fn failed(&self, failures: &KeptFailures) {
        let mut standing = self.standing.lock();
        standing.failures = failures.count;
        standing.next_try = Duration::from_millis(failures.next_try_unix_ms);
        standing.failure.clone_from(&failures.reason);
    }

    /// The authority suggests this, and is asked again then.
    pub(super) fn informed(&self, window: Option<Period>, ask_at: Duration) {
        let mut standing = self.standing.lock();
        standing.window = window.or(standing.window);
        standing.ask_at = ask_at;
    }

    /// Claims the right to order this certificate until the guard is dropped; `None`: an order is in progress.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Busy> {
        let was_busy = self.is_busy.swap(true, Ordering::Relaxed);
        (!was_busy).then(|| Busy(Arc::clone(self)))
    }

    /// Whether it is ordered or asked about now.
    pub(super) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }
}

/// A certificate that is ordered or asked about.
#[derive(Debug)]
pub(super) struct Busy(pub(super) Arc<Managed>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Relaxed);
    }
}

/// From when until when a certificate is valid.
fn valid(key: &CertifiedKey) -> Period {
    let read = key.cert.first().and_then(|first| x509::read(first));
    let moment = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    // A certificate says its last second, which is part of its time.
    read.map_or(Period { begins: Duration::ZERO, ends: Duration::ZERO }, |read| Period {
        begins: moment(read.not_before),
        ends: moment(read.not_after.saturating_add(1)),
    })
}
