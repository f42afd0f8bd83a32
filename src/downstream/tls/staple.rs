//! The OCSP response beside a certificate, which clients get with it (RFC 6066 §8).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policy::certificate::ocsp;
use rustls::sign::CertifiedKey;

use crate::tls as files;

/// The longest response, in bytes: each handshake sends it.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

/// A certificate with its OCSP response.
#[derive(Debug)]
pub(super) struct Staple {
    pub(super) key: Arc<CertifiedKey>,
    /// Until when the response may be sent (since 1970).
    pub(super) ends: Duration,
}

/// Where the response of a certificate is: `CERT.ocsp`.
pub(super) fn path(certificate: &Path) -> PathBuf {
    let mut path = certificate.as_os_str().to_owned();
    path.push(".ocsp");
    PathBuf::from(path)
}

/// Reads the response of a certificate with this serial number. `None`: there is none.
///
/// # Errors
/// Why it can't be sent.
pub(super) fn load(path: &Path, key: &CertifiedKey, serial: &[u8]) -> Option<Result<Staple, String>> {
    if !path.exists() {
        return None;
    }
    Some(files::bytes(path).map_err(|error| error.to_string()).and_then(|response| staple(response, key, serial)))
}

fn staple(response: Vec<u8>, key: &CertifiedKey, serial: &[u8]) -> Result<Staple, String> {
    let status = ocsp::read(&response).filter(|_| response.len() <= RESPONSE_BYTES_MAX);
    let status = status.ok_or("it is no successful OCSP response in DER")?;
    if status.serial != serial {
        return Err("it is for another certificate".to_owned());
    }
    if !status.is_good {
        return Err("it says that the certificate is revoked, or not known".to_owned());
    }
    let ends = status.next_update.map_or(Duration::MAX, |end| Duration::from_secs(u64::try_from(end).unwrap_or(0)));
    Ok(Staple { key: Arc::new(CertifiedKey { ocsp: Some(response), ..key.clone() }), ends })
}
