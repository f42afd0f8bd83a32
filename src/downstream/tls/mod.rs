//! TLS towards clients, by rustls: certificates and settings of a listener, handshakes within bounds (decision 0066).

mod certificates;
mod handshake;
mod shared_tickets;
mod staple;
mod tickets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::NamedGroup;
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::ALL_KX_GROUPS;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};

pub(crate) use self::certificates::CertificateFacts;
use self::certificates::Certificates;
pub(super) use self::handshake::{Handshakes, secure};
use self::shared_tickets::SharedTickets;
use crate::acme::{PROTOCOL, Prepared};
use crate::config::plan::{self, CertificateFiles, ClientAuth, Protocols, TlsVersion};
use crate::tls::{self as files, FileState, TlsError};

/// What a listener's handshakes go by: its settings, and what was in its files.
#[derive(Debug)]
pub(crate) struct Tls {
    plan: plan::Tls,
    protocols: Protocols,
    certificates: Arc<Certificates>,
    tickets: Arc<dyn ProducesTickets>,
    config: Arc<ServerConfig>,
    files: FileState,
}

impl Tls {
    /// Reads a listener's files; its clients are offered these protocols. `acme`: what renews itself. `before`: what its
    /// handshakes go by now.
    pub(crate) fn load(
        plan: &plan::Tls,
        protocols: Protocols,
        acme: &Prepared,
        (before, now): (Option<&Self>, Duration),
    ) -> Result<Self, TlsError> {
        // What changes while it is read is seen the next time.
        let files = FileState::of(paths(plan).iter().map(PathBuf::as_path));
        let provider = Arc::new(provider(plan));
        let old = (before.map(|before| &*before.certificates), now);
        let certificates = Arc::new(Certificates::load(plan, acme, &provider, old)?);
        let tickets = tickets(plan, before)?;
        let versions = match plan.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let verifier = verifier(plan, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = protocols.offered().iter().map(|protocol| protocol.to_vec()).collect();
        if plan.answers_challenges() {
            // Last, so that a client that offers another gets that.
            config.alpn_protocols.push(PROTOCOL.to_vec());
        }
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&tickets);
        Ok(Self { plan: plan.clone(), protocols, certificates, tickets, config: Arc::new(config), files })
    }

    /// The settings.
    pub(crate) const fn plan(&self) -> &plan::Tls {
        &self.plan
    }

    /// The protocols that clients are offered (ALPN, RFC 7301).
    pub(crate) const fn protocols(&self) -> Protocols {
        self.protocols
    }

    /// What the file system said of the files before they were read.
    pub(crate) const fn files(&self) -> &FileState {
        &self.files
    }

    /// What it says now.
    pub(crate) fn files_now(&self) -> FileState {
        FileState::of(paths(&self.plan).iter().map(PathBuf::as_path))
    }

    /// The path of each certificate, and when it ends (since 1970).
    pub(crate) fn expiries(&self) -> impl Iterator<Item = (String, Duration)> {
        self.certificates.expiries()
    }

    /// What an operator sees of the certificates.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = CertificateFacts> {
        self.certificates.facts()
    }

    /// What an operator should see to.
    pub(crate) fn warnings(&self, now: Duration) -> Vec<String> {
        self.certificates.warnings(now)
    }
}

fn paths(plan: &plan::Tls) -> Vec<PathBuf> {
    let of_pair = |files: &CertificateFiles| [files.cert.clone(), files.key.clone(), staple::path(&files.cert)];
    let of_clients = plan.client_ca.iter().chain(&plan.client_crl).cloned();
    plan.certificates.iter().flat_map(of_pair).chain(of_clients).collect()
}

/// The cipher suites and key exchanges that a listener accepts.
fn provider(plan: &plan::Tls) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !plan.cipher_suites.is_empty() {
        provider.cipher_suites.clone_from(&plan.cipher_suites);
    }
    if !plan.key_exchanges.is_empty() {
        let group = |name: &NamedGroup| ALL_KX_GROUPS.iter().find(|group| group.name() == *name).copied();
        provider.kx_groups = plan.key_exchanges.iter().filter_map(group).collect();
    }
    provider
}

/// A session that is resumed is not verified anew: where clients are, no ticket outlives what they were verified by.
fn tickets(plan: &plan::Tls, before: Option<&Tls>) -> Result<Arc<dyn ProducesTickets>, TlsError> {
    let is_kept = |before: &&Tls| {
        let is_open = |plan: &plan::Tls| plan.client_auth == ClientAuth::Off;
        is_open(plan)
            && is_open(&before.plan)
            && plan.ticket_rotation == before.plan.ticket_rotation
            && before.plan.ticket_secret.is_none()
    };
    if let Some(secret) = &plan.ticket_secret {
        let context = context(plan)?;
        return Ok(Arc::new(SharedTickets::new(secret, &context, plan.ticket_rotation)));
    }
    match before.filter(is_kept) {
        Some(before) => Ok(Arc::clone(&before.tickets)),
        None => Ok(tickets::rotating(plan.ticket_rotation)?),
    }
}

/// What sessions depend on that are resumed by a shared secret: how clients are verified, and by which files. A listener
/// that verifies clients otherwise, or not at all, makes no tickets for this one.
fn context(plan: &plan::Tls) -> Result<Vec<u8>, TlsError> {
    let mut context = vec![plan.client_auth as u8];
    if plan.client_auth == ClientAuth::Off {
        return Ok(context);
    }
    let mut add = |bytes: &[u8]| {
        context.extend_from_slice(&bytes.len().to_be_bytes());
        context.extend_from_slice(bytes);
    };
    for path in plan.client_ca.iter().chain(plan.certificates.iter().map(|files| &files.cert)) {
        files::certificates(path)?.iter().for_each(|certificate| add(certificate));
        add(&[]);
    }
    if let Some(path) = &plan.client_crl {
        files::revocations(path)?.iter().for_each(|list| add(list));
    }
    Ok(context)
}

/// Who verifies clients.
fn verifier(plan: &plan::Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(path) = plan.client_ca.as_ref().filter(|_| plan.client_auth != ClientAuth::Off) else {
        return Ok(Arc::new(NoClientAuth));
    };
    let mut roots = RootCertStore::empty();
    for certificate in files::certificates(path)? {
        roots.add(certificate).map_err(|source| TlsError::Refused { path: path.clone(), source })?;
    }
    let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let Some(path) = &plan.client_crl {
        verifier = verifier.with_crls(files::revocations(path)?);
    }
    if plan.client_auth == ClientAuth::Optional {
        verifier = verifier.allow_unauthenticated();
    }
    let failed = |error: rustls::server::VerifierBuilderError| TlsError::Authorities {
        path: path.clone(),
        reason: error.to_string(),
    };
    verifier.build().map_err(failed)
}
