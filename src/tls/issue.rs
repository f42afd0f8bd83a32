//! Certificates that forebay makes itself: self-signed ones.

use std::time::Duration;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;

use super::TlsError;

/// How long a self-signed certificate is valid: as long as browsers accept at most.
pub(crate) const SELF_SIGNED_LIFETIME: Duration = Duration::from_secs(398 * 86_400);
/// How far a clock of a client may be behind.
const CLOCK_SKEW: Duration = Duration::from_secs(3_600);

/// Makes a key, and a certificate for these host names and addresses that is signed by it, valid from `now` (since 1970).
///
/// # Errors
/// When a name can't be in a certificate, or the system has no randomness.
pub(crate) fn self_signed(
    names: &[String],
    now: Duration,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, "forebay self-signed");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_SKEW);
    params.not_after = epoch + now.saturating_add(SELF_SIGNED_LIFETIME);
    let certificate = params.self_signed(&key).map_err(failed)?;
    certified(vec![certificate.der().clone()], &key, provider)
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(CertifiedKey::new(chain, provider.key_provider.load_private_key(key)?))
}

fn failed(error: rcgen::Error) -> TlsError {
    TlsError::Made(error.to_string())
}

#[cfg(test)]
mod tests {
    use policy::certificate::x509::{self, Name};
    use rustls::crypto::aws_lc_rs;

    use super::*;

    #[test]
    fn a_self_signed_certificate_has_its_names_and_its_time() {
        let now = Duration::from_secs(1_800_000_000);
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = self_signed(&names, now, &aws_lc_rs::default_provider()).unwrap();
        made.keys_match().unwrap();
        let read = x509::read(&made.cert[0]).unwrap();
        assert_eq!(read.names, [Name::Dns("localhost"), Name::Ip([127, 0, 0, 1].into())]);
        assert_eq!((read.not_before, read.not_after), (1_799_996_400, 1_834_387_200));
    }
}
