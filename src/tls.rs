//! What TLS stands on, towards clients and backends: files, read within a bound, and watched by what the file system says
//! of them; certificates that forebay makes itself.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

pub(crate) mod issue;

/// The longest file, in bytes: a list of revoked certificates may be long.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why certificates, keys or authorities can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is too long to be what it is for.
    #[error("{}: longer than 16 MiB", .0.display())]
    TooLong(PathBuf),
    /// A file is no PEM.
    #[error("{}: not PEM: {source}", path.display())]
    Pem {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// A file lacks what it is read for.
    #[error("{}: no {what} in it", path.display())]
    Lacking {
        /// Its path.
        path: PathBuf,
        /// What it lacks.
        what: &'static str,
    },
    /// The TLS library refuses what a file holds.
    #[error("{}: {source}", path.display())]
    Refused {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// A key and a certificate that are no pair.
    #[error("the key {} does not belong to the certificate {}", key.display(), cert.display())]
    NoPair {
        /// The certificate's path.
        cert: PathBuf,
        /// The key's path.
        key: PathBuf,
    },
    /// A certificate that has expired would replace one that has not.
    #[error("{}: the certificate has expired, the one in use has not", .0.display())]
    Expired(PathBuf),
    /// Authorities, or their lists of revoked certificates, are of no use.
    #[error("{}: {reason}", path.display())]
    Authorities {
        /// The path of the authorities.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A certificate can't be made here.
    #[error("a certificate can't be made: {0}")]
    Made(String),
    /// The TLS library refuses the settings.
    #[error("TLS can't be set up: {0}")]
    Settings(#[from] rustls::Error),
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(TlsError::TooLong(path.to_owned()));
    }
    Ok(bytes)
}

/// A file as it is.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    read(path)
}

/// All objects of one kind, called `what`; at least one.
fn objects<T: PemObject>(path: &Path, what: &'static str) -> Result<Vec<T>, TlsError> {
    let bytes = read(path)?;
    let found: Result<Vec<T>, pem::Error> = T::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    match found.is_empty() {
        true => Err(TlsError::Lacking { path: path.to_owned(), what }),
        false => Ok(found),
    }
}

/// The certificates of a file; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    objects(path, "certificate")
}

/// The lists of revoked certificates of a file; at least one.
pub(crate) fn revocations(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    objects(path, "list of revoked certificates (X509 CRL)")
}

/// Where systems keep the certificates of the authorities that they trust: Debian, Red Hat, SUSE, Alpine and BSD.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities of a file, else those of the system, and the file's path; `key` is the key of the configuration that
/// names the file.
pub(crate) fn authorities(file: Option<&Path>, key: &'static str) -> Result<(RootCertStore, PathBuf), TlsError> {
    let system = || SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
    let path = file.or_else(system).ok_or_else(|| TlsError::Authorities {
        path: PathBuf::from(key),
        reason: "left out, and the system has no authorities".to_owned(),
    })?;
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(certificates(path)?);
    if added == 0 || (file.is_some() && ignored > 0) {
        return Err(TlsError::Lacking { path: path.to_owned(), what: "authority that can be read" });
    }
    Ok((roots, path.to_owned()))
}

/// The first private key of a file.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|source| {
        let path = path.to_owned();
        if matches!(source, pem::Error::NoItemsFound) {
            TlsError::Lacking { path, what: "private key that is not encrypted" }
        } else {
            TlsError::Pem { path, source }
        }
    })
}

/// Whether others than the file's owner may read it.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}

/// What the file system says of some files: when it says the same, they have not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileState(Vec<Option<Entry>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    identity: (u64, u64),
    written: (i64, i64),
    /// When anything of it was changed, as who may read it.
    changed: (i64, i64),
    length: u64,
}

impl FileState {
    pub(crate) fn of<'p>(paths: impl Iterator<Item = &'p Path>) -> Self {
        let entry = |path| {
            let metadata = fs::metadata(path).ok()?;
            Some(Entry {
                identity: (metadata.dev(), metadata.ino()),
                written: (metadata.mtime(), metadata.mtime_nsec()),
                changed: (metadata.ctime(), metadata.ctime_nsec()),
                length: metadata.len(),
            })
        };
        Self(paths.map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_becomes_readable_has_changed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let state = || FileState::of(std::iter::once(file.path()));
        let before = state();
        assert_eq!(before, state());
        // The system keeps times in steps of its own.
        while before == state() {
            for mode in [0o600, 0o640] {
                fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    }
}
