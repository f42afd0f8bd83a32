//! TLS for tests: a certificate authority, and clients with configurable TLS.
//!
//! Clients trust one authority. A failed handshake is an error, not a panic.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::wire::Stream;
use crate::{Client, DEADLINE};

/// A certificate authority.
pub struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate as PEM.
    pub certificate: String,
    /// The key as PEM.
    pub key: String,
    /// The certificate as DER.
    pub der: Vec<u8>,
    /// Its serial number.
    pub serial: u64,
}

impl Authority {
    /// A new authority with this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate: certificate.der().clone(), pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// Its certificate as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for these names; the first one is also its common name.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_until(names, 2099)
    }

    /// The same with a validity until the beginning of a year.
    #[must_use]
    pub fn issue_until(&self, names: &[&str], year: i32) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).expect("names of hosts");
        if let Some(name) = names.first() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let serial = u64::from(std::process::id()) << 32 | u64::from(key.public_key_raw()[9]) << 8 | 1;
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem(), der: certificate.der().to_vec(), serial }
    }

    /// A revocation list with these certificates, as PEM.
    #[must_use]
    pub fn revoke(&self, revoked: &[&Pair]) -> String {
        let revoke = |pair: &&Pair| RevokedCertParams {
            serial_number: SerialNumber::from(pair.serial),
            revocation_time: date_time_ymd(2002, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2002, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(revoke).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }

    /// A client that believes it, and asks for this name.
    #[must_use]
    pub fn client(&self, server_name: &str) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an authority");
        TlsClient {
            roots,
            server_name: server_name.to_owned(),
            versions: vec![&TLS13, &TLS12],
            pair: None,
            has_sni: true,
            before: Vec::new(),
        }
    }
}

impl Pair {
    /// Writes both into a folder, as `NAME.pem` and `NAME.key`, and returns where.
    ///
    /// # Panics
    ///
    /// When they can't be written.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let paths = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        for (path, text) in [(&paths.0, &self.certificate), (&paths.1, &self.key)] {
            let fresh = path.with_extension("fresh");
            std::fs::write(&fresh, text).expect("a file");
            std::fs::rename(&fresh, path).expect("a file");
        }
        paths
    }
}

/// How a client speaks TLS.
#[derive(Clone)]
pub struct TlsClient {
    roots: RootCertStore,
    server_name: String,
    versions: Vec<&'static rustls::SupportedProtocolVersion>,
    pair: Option<Pair>,
    has_sni: bool,
    before: Vec<u8>,
}

impl TlsClient {
    /// TLS 1.2 at most.
    #[must_use]
    pub fn only_1_2(self) -> Self {
        Self { versions: vec![&TLS12], ..self }
    }

    /// Shows this certificate when it is asked for one.
    #[must_use]
    pub fn with(self, pair: &Pair) -> Self {
        Self { pair: Some(pair.clone()), ..self }
    }

    /// Does not say which name it asks for.
    #[must_use]
    pub fn without_sni(self) -> Self {
        Self { has_sni: false, ..self }
    }

    /// Sends these bytes before TLS, in one piece with its beginning.
    #[must_use]
    pub fn behind(self, before: impl AsRef<[u8]>) -> Self {
        Self { before: before.as_ref().to_vec(), ..self }
    }

    /// What it connects with; sessions are kept in it.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.pair {
            Some(pair) => {
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
                config.with_client_auth_cert(vec![CertificateDer::from(pair.der.clone())], key).expect("a pair")
            }
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.enable_sni = self.has_sni;
        config.resumption = Resumption::in_memory_sessions(16);
        Arc::new(config)
    }

    /// Connects.
    ///
    /// # Errors
    ///
    /// When the handshake fails. With TLS 1.3 a client learns only by reading that its certificate was refused.
    pub fn connect(&self, address: SocketAddr) -> io::Result<Client> {
        self.connect_with(&self.config(), address)
    }

    /// Connects, by a session of this configuration if it has one.
    ///
    /// # Errors
    ///
    /// When the handshake fails.
    pub fn connect_with(&self, config: &Arc<ClientConfig>, address: SocketAddr) -> io::Result<Client> {
        let mut socket = TcpStream::connect_timeout(&address, DEADLINE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let name = ServerName::try_from(self.server_name.clone()).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let mut first = self.before.clone();
        connection.write_tls(&mut first)?;
        socket.write_all(&first)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Client::speaking(Stream::Tls(Box::new(StreamOwned::new(connection, socket)))))
    }
}
