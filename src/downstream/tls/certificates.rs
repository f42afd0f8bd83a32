//! A listener's certificates: loaded with their keys, and chosen by the name that a client asks for (SNI, RFC 6066 §3).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use policy::certificate::names::ServerNames;
use policy::certificate::x509::{self, Name};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::staple::{self, Staple};
use crate::config::plan::{self, CertificateFiles, UnknownSni};
use crate::telemetry::clock;
use crate::tls::{self as files, TlsError, issue};

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
    source: Source,
    key: Arc<CertifiedKey>,
    /// The same with its OCSP response, or why that can't be sent; `None`: there is none.
    staple: Option<Result<Staple, String>>,
    /// Until when it holds (since 1970).
    ends: Duration,
    has_names: bool,
}

/// Where a certificate comes from.
#[derive(Clone, Debug, PartialEq)]
enum Source {
    /// Files.
    Files(CertificateFiles),
    /// forebay itself, for these names.
    SelfSigned(Vec<String>),
}

impl Certificates {
    /// Loads all of them. A certificate that has expired does not replace one `before` that has not.
    pub(super) fn load(
        plan: &plan::Tls,
        provider: &CryptoProvider,
        (before, now): (Option<&Self>, Duration),
    ) -> Result<Self, TlsError> {
        let find = |source: &Source| before.and_then(|before| before.find(source));
        let mut all = Vec::new();
        for files in &plan.certificates {
            let source = Source::Files(files.clone());
            let certificate = Certificate::read(files, provider)?;
            if certificate.ends <= now && find(&source).is_some_and(|old| old.ends > now) {
                return Err(TlsError::Expired(files.cert.clone()));
            }
            all.push(certificate);
        }
        if !plan.self_signed.is_empty() {
            let source = Source::SelfSigned(plan.self_signed.clone());
            let kept = find(&source).filter(|old| old.ends > now + SOON).map(|old| Arc::clone(&old.key));
            let make = || issue::self_signed(&plan.self_signed, now, provider).map(Arc::new);
            let key = kept.map_or_else(make, Ok)?;
            all.extend(Certificate::new(source, key));
        }
        let mut names = ServerNames::new(plan.unknown_sni == UnknownSni::Default);
        for (index, certificate) in all.iter().enumerate() {
            certificate.each_name(|name| names.add(name, index));
        }
        Ok(Self { all, names: Arc::new(names) })
    }

    /// The one that comes from there. Of files the certificate's path says it: the key may be in another file now.
    fn find(&self, source: &Source) -> Option<&Certificate> {
        let is_same = |certificate: &&Certificate| match (&certificate.source, source) {
            (Source::Files(own), Source::Files(files)) => own.cert == files.cert,
            (Source::SelfSigned(_), _) | (_, Source::SelfSigned(_)) => certificate.source == *source,
        };
        self.all.iter().find(is_same)
    }

    /// The path of each certificate, and when it ends (since 1970). One that forebay has made has no path, but names.
    pub(super) fn expiries(&self) -> impl Iterator<Item = (String, Duration)> {
        let name = |source: &Source| match source {
            Source::Files(files) => files.cert.display().to_string(),
            Source::SelfSigned(names) => names.join(", "),
        };
        self.all.iter().map(move |certificate| (name(&certificate.source), certificate.ends))
    }

    /// What an operator should see to.
    pub(super) fn warnings(&self, now: Duration) -> Vec<String> {
        let mut warnings = Vec::new();
        for Certificate { source, staple, ends, has_names, .. } in &self.all {
            if *ends <= now {
                warnings.push(format!("{source} has expired"));
            } else if *ends <= now + SOON {
                let days = ends.saturating_sub(now).as_secs() / 86_400;
                warnings.push(format!("{source} expires in {days} days"));
            }
            let Source::Files(CertificateFiles { cert, key }) = source else { continue };
            let why = match staple {
                Some(Err(why)) => Some(why.as_str()),
                Some(Ok(staple)) if staple.ends <= now => Some("it has expired"),
                Some(Ok(_)) | None => None,
            };
            if let Some(why) = why {
                warnings.push(format!("the OCSP response {} is not sent: {why}", staple::path(cert).display()));
            }
            if !has_names {
                warnings.push(format!("{source} is for no host name (it has no DNS name among its names)"));
            }
            if files::is_open_to_others(key) {
                warnings.push(format!("others than its owner may read the key {}: chmod 600", key.display()));
            }
        }
        warnings
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => write!(out, "the certificate {}", files.cert.display()),
            Self::SelfSigned(names) => write!(out, "the self-signed certificate for {}", names.join(", ")),
        }
    }
}

impl Certificate {
    /// Reads a certificate and its key from files.
    fn read(files: &CertificateFiles, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let (path, key_path) = (files.cert.clone(), files.key.clone());
        let chain = files::certificates(&path)?;
        let key = provider
            .key_provider
            .load_private_key(files::key(&key_path)?)
            .map_err(|source| TlsError::Refused { path: key_path.clone(), source })?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(TlsError::NoPair { cert: path, key: key_path }),
            Err(source) => return Err(TlsError::Refused { path, source }),
        }
        let unreadable = TlsError::Lacking { path, what: "certificate that can be read" };
        Self::new(Source::Files(files.clone()), Arc::new(key)).ok_or(unreadable)
    }

    /// `None`: it can't be read.
    fn new(source: Source, key: Arc<CertifiedKey>) -> Option<Self> {
        let read = x509::read(key.cert.first()?)?;
        let ends = Duration::from_secs(u64::try_from(read.not_after).unwrap_or_default());
        let has_names = read.names.iter().any(|name| matches!(name, Name::Dns(_)));
        let staple = match &source {
            Source::Files(files) => staple::load(&staple::path(&files.cert), &key, read.serial),
            Source::SelfSigned(_) => None,
        };
        Some(Self { source, staple, ends, has_names, key: Arc::clone(&key) })
    }

    /// What clients get at this moment: with the OCSP response until that has expired.
    fn key_at(&self, now: Duration) -> &Arc<CertifiedKey> {
        match &self.staple {
            Some(Ok(staple)) if staple.ends > now => &staple.key,
            Some(Ok(_) | Err(_)) | None => &self.key,
        }
    }

    /// Its host names.
    fn each_name(&self, mut named: impl FnMut(&str)) {
        let read = self.key.cert.first().and_then(|first| x509::read(first));
        for name in read.iter().flat_map(|read| &read.names) {
            if let Name::Dns(name) = name {
                named(name);
            }
        }
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
        usable.next().map(|certificate| Arc::clone(certificate.key_at(clock::now().wall)))
    }
}
