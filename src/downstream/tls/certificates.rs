//! A listener's certificates: loaded with their keys, and chosen by the name that a client asks for (SNI, RFC 6066 §3).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use policy::certificate::names::ServerNames;
use policy::certificate::subject;
use policy::certificate::x509::{self, Name};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::staple::{self, Staple};
use crate::acme::{Managed, PROTOCOL, Prepared, Published, Standing};
use crate::config::plan::{self, CertificateFiles, UnknownSni};
use crate::telemetry::clock;
use crate::tls::{self as files, TlsError, issue};

/// A certificate that ends sooner than this is warned about.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// A listener's certificates.
#[derive(Debug)]
pub(super) struct Certificates {
    all: Vec<Certificate>,
    /// Answers to the challenges of authorities, if its names are ordered from one.
    published: Option<Arc<Published>>,
    pub(super) names: Arc<ServerNames>,
}

/// A certificate and its key.
#[derive(Debug)]
enum Certificate {
    /// One that stays as long as the listener's settings and files do.
    Fixed {
        source: Source,
        key: Arc<CertifiedKey>,
        /// The same with its OCSP response, or why that can't be sent; `None`: there is none.
        staple: Option<Result<Staple, String>>,
        /// Until when it holds (since 1970).
        ends: Duration,
        has_names: bool,
    },
    /// One that renews itself. It has no OCSP response.
    Managed(Arc<Managed>),
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
        acme: &Prepared,
        provider: &CryptoProvider,
        (before, now): (Option<&Self>, Duration),
    ) -> Result<Self, TlsError> {
        let find = |source: &Source| before.and_then(|before| before.find(source)).filter(|(_, ends)| *ends > now);
        let mut all = Vec::new();
        for files in &plan.certificates {
            let certificate = Certificate::read(files, provider)?;
            if certificate.has_expired(now) && find(&Source::Files(files.clone())).is_some() {
                return Err(TlsError::Expired(files.cert.clone()));
            }
            all.push(certificate);
        }
        all.extend(
            plan.acme.iter().filter_map(|name| acme.certificate(name)).map(Arc::clone).map(Certificate::Managed),
        );
        if !plan.self_signed.is_empty() {
            let source = Source::SelfSigned(plan.self_signed.clone());
            let kept = find(&source).filter(|(_, ends)| *ends > now + SOON).map(|(key, _)| key);
            let make = || issue::self_signed(&plan.self_signed, now, provider).map(Arc::new);
            let key = kept.map_or_else(make, Ok)?;
            all.extend(Certificate::new(source, key));
        }
        let mut names = ServerNames::new(plan.unknown_sni == UnknownSni::Default);
        for (index, certificate) in all.iter().enumerate() {
            certificate.each_name(|name| names.add(name, index));
        }
        let published = plan.answers_challenges().then(|| Arc::clone(&acme.published));
        Ok(Self { all, published, names: Arc::new(names) })
    }

    /// The one that comes from there, and until when it holds. Of files the certificate's path says it: the key may be in
    /// another file now.
    fn find(&self, wanted: &Source) -> Option<(Arc<CertifiedKey>, Duration)> {
        self.all.iter().find_map(|certificate| match certificate {
            Certificate::Fixed { source, key, ends, .. } => {
                let is_it = match (source, wanted) {
                    (Source::Files(own), Source::Files(files)) => own.cert == files.cert,
                    (Source::SelfSigned(_), _) | (_, Source::SelfSigned(_)) => source == wanted,
                };
                is_it.then(|| (Arc::clone(key), *ends))
            }
            Certificate::Managed(_) => None,
        })
    }

    /// The path of each certificate, and when it ends (since 1970). One that forebay has made or ordered has no path, but
    /// names.
    pub(super) fn expiries(&self) -> impl Iterator<Item = (String, Duration)> {
        self.all.iter().filter_map(|certificate| {
            let facts = certificate.facts()?;
            let name = match certificate {
                Certificate::Fixed { source: Source::Files(files), .. } => files.cert.display().to_string(),
                Certificate::Fixed { source: Source::SelfSigned(_), .. } | Certificate::Managed(_) => {
                    facts.names.join(", ")
                }
            };
            Some((name, facts.ends))
        })
    }

    /// What an operator should see to. Those that renew themselves say it when an order fails.
    pub(super) fn warnings(&self, now: Duration) -> Vec<String> {
        let mut warnings = Vec::new();
        for certificate in &self.all {
            let Certificate::Fixed { source, staple, ends, has_names, .. } = certificate else { continue };
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

    /// What an operator sees of each.
    pub(super) fn facts(&self) -> impl Iterator<Item = CertificateFacts> {
        self.all.iter().filter_map(Certificate::facts)
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
        Some(Self::Fixed { source, staple, ends, has_names, key: Arc::clone(&key) })
    }

    fn has_expired(&self, now: Duration) -> bool {
        match self {
            Self::Fixed { ends, .. } => *ends <= now,
            Self::Managed(_) => false,
        }
    }

    /// What clients get at this moment: with the OCSP response until that has expired.
    fn key_at(&self, now: Duration) -> Arc<CertifiedKey> {
        match self {
            Self::Fixed { staple: Some(Ok(staple)), .. } if staple.ends > now => Arc::clone(&staple.key),
            Self::Fixed { key, .. } => Arc::clone(key),
            Self::Managed(managed) => managed.key(),
        }
    }

    /// The host names that it is for.
    fn each_name(&self, mut named: impl FnMut(&str)) {
        let key = match self {
            Self::Managed(managed) => return named(&managed.name),
            Self::Fixed { key, .. } => key,
        };
        let read = key.cert.first().and_then(|first| x509::read(first));
        for name in read.iter().flat_map(|read| &read.names) {
            if let Name::Dns(name) = name {
                named(name);
            }
        }
    }

    fn facts(&self) -> Option<CertificateFacts> {
        let key = self.key_at(Duration::MAX);
        let read = x509::read(key.cert.first()?)?;
        let (source, order) = match self {
            Self::Fixed { source: Source::Files(files), .. } => (files.cert.display().to_string(), None),
            Self::Fixed { source: Source::SelfSigned(_), .. } => ("self-signed".to_owned(), None),
            Self::Managed(managed) => {
                let standing = managed.standing();
                let source = if standing.is_self_signed { "self-signed, until acme has one" } else { "acme" };
                (source.to_owned(), Some(standing))
            }
        };
        let names = match self {
            Self::Managed(managed) => vec![managed.name.to_string()],
            Self::Fixed { .. } => read.names.iter().filter_map(host).collect(),
        };
        Some(CertificateFacts {
            names,
            issuer: subject::text(read.issuer),
            ends: Duration::from_secs(u64::try_from(read.not_after).unwrap_or_default()),
            source,
            order,
        })
    }
}

/// A name that a host can have.
fn host(name: &Name<'_>) -> Option<String> {
    match name {
        Name::Dns(name) => Some((*name).to_owned()),
        Name::Ip(address) => Some(address.to_string()),
        Name::Email(_) | Name::Uri(_) => None,
    }
}

/// What an operator sees of a certificate.
pub(crate) struct CertificateFacts {
    /// The names that it is for.
    pub(crate) names: Vec<String>,
    /// Who has signed it.
    pub(crate) issuer: String,
    /// Until when it holds (since 1970).
    pub(crate) ends: Duration,
    /// Where it comes from.
    pub(crate) source: String,
    /// How it stands, if it renews itself.
    pub(crate) order: Option<Standing>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let is_challenge = || hello.alpn().is_some_and(|mut offered| offered.all(|protocol| protocol == PROTOCOL));
        if let Some(published) = self.published.as_ref().filter(|_| is_challenge()) {
            return published.certificate(&name?);
        }
        let now = clock::now().wall;
        let found = name.as_ref().map_or(self.names.fallback(), |name| self.names.find(name));
        let found = found.iter().filter_map(|index| self.all.get(*index)).map(|certificate| certificate.key_at(now));
        // Of several for one name, as with an RSA and an ECDSA key, the first that the client can verify.
        let mut usable = found.filter(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        usable.next()
    }
}
