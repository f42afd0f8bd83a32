//! A listener's certificates: loaded with their keys, and chosen by the name that a client asks for (SNI, RFC 6066 §3).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policy::certificate::names::ServerNames;
use policy::certificate::x509::{self, Name};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::plan::{CertificateFiles, UnknownSni};
use crate::tls::{self as files, TlsError};

/// A certificate that ends sooner than this is warned about.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// A listener's certificates.
#[derive(Debug)]
pub(super) struct Certificates {
    all: Vec<Certificate>,
    pub(super) names: Arc<ServerNames>,
}

/// A certificate and its key.
#[derive(Debug)]
struct Certificate {
    path: PathBuf,
    key_path: PathBuf,
    key: Arc<CertifiedKey>,
    /// Until when it holds (since 1970).
    ends: Duration,
    has_names: bool,
}

impl Certificates {
    /// Loads all of them. A certificate that has expired does not replace one `before` that has not.
    pub(super) fn load(
        files: &[CertificateFiles],
        unknown: UnknownSni,
        provider: &CryptoProvider,
        (before, now): (Option<&Self>, Duration),
    ) -> Result<Self, TlsError> {
        let (mut all, mut names) = (Vec::new(), ServerNames::new(unknown == UnknownSni::Default));
        for (index, files) in files.iter().enumerate() {
            let certificate = Certificate::load(files, provider, |name| names.add(name, index))?;
            let holds_before = || before.and_then(|before| before.find(&files.cert)).is_some_and(|old| old.ends > now);
            if certificate.ends <= now && holds_before() {
                return Err(TlsError::Expired(files.cert.clone()));
            }
            all.push(certificate);
        }
        Ok(Self { all, names: Arc::new(names) })
    }

    fn find(&self, path: &Path) -> Option<&Certificate> {
        self.all.iter().find(|certificate| certificate.path == path)
    }

    /// What an operator should see to.
    pub(super) fn warnings(&self, now: Duration) -> Vec<String> {
        let mut warnings = Vec::new();
        for Certificate { path, key_path, ends, has_names, .. } in &self.all {
            let path = path.display();
            if *ends <= now {
                warnings.push(format!("the certificate {path} has expired"));
            } else if *ends <= now + SOON {
                let days = ends.saturating_sub(now).as_secs() / 86_400;
                warnings.push(format!("the certificate {path} expires in {days} days"));
            }
            if !has_names {
                warnings
                    .push(format!("the certificate {path} is for no host name (it has no DNS name among its names)"));
            }
            if files::is_open_to_others(key_path) {
                warnings.push(format!("others than its owner may read the key {}: chmod 600", key_path.display()));
            }
        }
        warnings
    }
}

impl Certificate {
    fn load(
        files: &CertificateFiles,
        provider: &CryptoProvider,
        mut named: impl FnMut(&str),
    ) -> Result<Self, TlsError> {
        let (path, key_path) = (files.cert.clone(), files.key.clone());
        let chain = files::certificates(&path)?;
        let key = provider
            .key_provider
            .load_private_key(files::key(&key_path)?)
            .map_err(|source| TlsError::Refused { path: key_path.clone(), source })?;
        let malformed = || TlsError::Lacking { path: path.clone(), what: "certificate that can be read" };
        let first = chain.first().ok_or_else(malformed)?.clone();
        let read = x509::read(&first).ok_or_else(malformed)?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(TlsError::NoPair { cert: path, key: key_path }),
            Err(source) => return Err(TlsError::Refused { path, source }),
        }
        let mut has_names = false;
        for name in &read.names {
            if let Name::Dns(name) = name {
                has_names = true;
                named(name);
            }
        }
        let ends = Duration::from_secs(u64::try_from(read.not_after).unwrap_or_default());
        Ok(Self { path, key_path, key: Arc::new(key), ends, has_names })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = match hello.server_name() {
            Some(name) => self.names.find(&name.to_ascii_lowercase()),
            None => self.names.fallback(),
        };
        let found = found.iter().filter_map(|index| self.all.get(*index));
        // Of several for one name, as with an RSA and an ECDSA key, the first that the client can verify.
        let mut usable = found.filter(|one| one.key.key.choose_scheme(hello.signature_schemes()).is_some());
        usable.next().map(|certificate| Arc::clone(&certificate.key))
    }
}
