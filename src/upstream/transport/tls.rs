//! TLS towards the backends of one upstream: whom we believe, and what we show.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::socket::{HTTP_2, Socket};
use crate::config::plan::{Protocol, TlsVersion, UpstreamTls};
use crate::tls::{self, FileState, TlsError};

/// HTTP/1.1 as ALPN names it.
const HTTP_1: &[u8] = b"http/1.1";

/// What connections to the backends of one upstream go by. Sessions are kept in it, and resumed.
pub struct BackendTls {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

impl BackendTls {
    /// Reads the files that the settings name.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn load(plan: &UpstreamTls) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = verifier(plan, &provider)?;
        let versions = match plan.min_version {
            TlsVersion::Tls12 => &[&TLS13, &TLS12][..],
            TlsVersion::Tls13 => &[&TLS13],
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let config = match (&plan.cert, &plan.key) {
            (Some(cert), Some(key)) => config
                .with_client_auth_cert(tls::certificates(cert)?, tls::key(key)?)
                .map_err(|source| TlsError::Refused { path: cert.clone(), source })?,
            (Some(_) | None, _) => config.with_no_client_auth(),
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server_name: plan.server_name.clone() })
    }

    /// What the file system says of the files that the settings name.
    #[must_use]
    pub fn files(plan: &UpstreamTls) -> FileState {
        let named = [&plan.ca, &plan.cert, &plan.key];
        FileState::of(named.into_iter().flatten().map(PathBuf::as_path))
    }

    /// Makes a TLS connection of a stream to a backend of this name. The backend chooses among the versions of HTTP that
    /// `protocol` allows (ALPN).
    ///
    /// # Errors
    /// When the handshake fails, the backend is not who it should be, or does not choose HTTP/2 where nothing else is
    /// allowed.
    pub async fn secure(&self, socket: Socket, name: &ServerName<'static>, protocol: Protocol) -> io::Result<Socket> {
        let name = self.server_name.as_ref().unwrap_or(name).clone();
        let offered = match protocol {
            Protocol::Http1 => vec![HTTP_1.to_vec()],
            Protocol::Http2 => vec![HTTP_2.to_vec()],
            Protocol::Auto => vec![HTTP_2.to_vec(), HTTP_1.to_vec()],
        };
        let stream = self.connector.with_alpn(offered).connect(name, socket).await?;
        let chosen = stream.get_ref().1.alpn_protocol();
        if protocol == Protocol::Http2 && chosen != Some(HTTP_2) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "it does not choose HTTP/2 (ALPN)"));
        }
        Ok(Socket::Tls(Box::new(stream)))
    }
}

impl std::fmt::Debug for BackendTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackendTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn verifier(plan: &UpstreamTls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    if !plan.verify {
        return Ok(Arc::new(Anybody(Arc::clone(provider))));
    }
    let (roots, path) = tls::authorities(plan.ca.as_deref(), "upstream.tls.ca")?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    match verifier {
        Ok(verifier) => Ok(verifier),
        Err(error) => Err(TlsError::Authorities { path, reason: error.to_string() }),
    }
}

/// Believes every certificate whose key the backend has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
