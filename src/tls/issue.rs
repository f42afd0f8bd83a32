//! Certificates that forebay makes itself, and requests for others to sign: self-signed certificates, requests to an
//! authority and what comes of them, certificates for challenges.

use std::time::Duration;

use policy::certificate::encode;
use policy::certificate::x509::{self, Name};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
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

/// Makes a key, and a request for an authority to sign (RFC 2986, in DER) for this host name.
///
/// # Errors
/// As [`self_signed`].
pub(crate) fn request(name: &str) -> Result<(KeyPair, Vec<u8>), TlsError> {
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new([name.to_owned()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(failed)?;
    Ok((key, request.der().to_vec()))
}

/// A key as PEM.
pub(crate) fn key_pem(key: &KeyPair) -> String {
    encode::pem("PRIVATE KEY", key.serialized_der())
}

/// What an authority has issued for a host name: PEM with the key and the chain.
///
/// # Errors
/// When it can't be used: it is no PEM, key and certificate are no pair, or the certificate is for another name.
pub(crate) fn issued(pem: &[u8], name: &str, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let malformed = |error: pem::Error| TlsError::Made(error.to_string());
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let key = provider.key_provider.load_private_key(PrivateKeyDer::from_pem_slice(pem).map_err(malformed)?)?;
    let made = CertifiedKey::new(chain.map_err(malformed)?, key);
    made.keys_match()?;
    let read = made.cert.first().and_then(|first| x509::read(first));
    let is_for_it = |read: &x509::Certificate<'_>| {
        read.names.iter().any(|one| matches!(one, Name::Dns(dns) if dns.eq_ignore_ascii_case(name)))
    };
    match read.as_ref().is_some_and(is_for_it) {
        true => Ok(made),
        false => Err(TlsError::Made(format!("the certificate is not for {name}"))),
    }
}

/// The certificate by which an authority is shown that a name is ours (RFC 8737 §3), with the SHA-256 of what it asks for.
///
/// # Errors
/// As [`self_signed`].
pub(crate) fn challenge(name: &str, digest: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    const SHA256_BYTES: usize = 32;
    if digest.len() != SHA256_BYTES {
        return Err(TlsError::Made("a challenge of another length".to_owned()));
    }
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new([name.to_owned()]).map_err(failed)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
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
