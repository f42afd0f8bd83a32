//! The certificates of all listeners, as the admin API shows them.

use std::sync::Arc;
use std::time::Duration;

use super::AdminService;
use super::numbers::milliseconds;
use crate::admin::api::certificates::{AcmeMetrics, Certificate, CertificateOrder};
use crate::downstream::listener::Listener;
use crate::downstream::tls::CertificateFacts;

impl AdminService {
    /// These are the listeners from now on.
    pub(crate) fn set_listeners(&self, listeners: Vec<Arc<Listener>>) {
        self.listeners.store(Arc::new(listeners));
    }

    pub(super) fn all_certificates(&self) -> Vec<Certificate> {
        let mut all: Vec<Certificate> = Vec::new();
        for listener in self.listeners.load().iter() {
            let Some(tls) = listener.tls.load_full() else { continue };
            for facts in tls.certificates() {
                let mut certificate = shown(facts);
                let known = all.iter_mut().find(|known| {
                    known.names == certificate.names
                        && known.source == certificate.source
                        && known.not_after_unix_ms == certificate.not_after_unix_ms
                });
                let address = listener.address.to_string();
                match known {
                    Some(known) => known.listeners.push(address),
                    None => {
                        certificate.listeners.push(address);
                        all.push(certificate);
                    }
                }
            }
        }
        all
    }

    pub(super) fn acme_metrics(&self) -> AcmeMetrics {
        AcmeMetrics {
            orders: self.acme.orders.get(),
            failures: self.acme.failures.get(),
            certificates: self.all_certificates(),
        }
    }
}

fn shown(facts: CertificateFacts) -> Certificate {
    let CertificateFacts { names, issuer, ends, source, order } = facts;
    let order = order.map(|standing| CertificateOrder {
        next_unix_ms: milliseconds(standing.due().max(Duration::from_millis(1))),
        failures: standing.failures,
        failure: standing.failure,
    });
    Certificate { names, issuer, not_after_unix_ms: milliseconds(ends), source, listeners: Vec::new(), order }
}
