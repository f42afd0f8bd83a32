//! Declares `[listener.tls]`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use policy::certificate::challenge::{self, Unfit};
use rustls::{NamedGroup, SupportedCipherSuite};

use super::tls_algorithms;
use super::token::{Token, long_token};
use super::{HOUR, MILLISECOND, MINUTE, table, words};
use crate::config::document::Section;
use crate::config::grammar::is_host_name;

table! {
    /// TLS towards clients: versions 1.2 and 1.3. forebay reads certificates, keys, authorities and revocation lists at
    /// the start, at a reload, and when their files change; open connections keep what they have. If a file can't be
    /// used, or if a certificate has expired and the one in use has not, nothing changes, and the event log says why.
    /// The requests of such a listener have the scheme `https`. A request whose `Host` has another certificate than the
    /// server name of its connection (SNI) gets 421.
    pub struct Tls "[listener.tls]" => authorities;

    /// The certificates. The first is the default. A listener needs at least one, here, or by `acme` or `self_signed`.
    certificates: Vec<CertificateFiles>;
    /// Host names for which forebay gets certificates that renew themselves, as `[tls.acme]` says: one for each name.
    /// They follow `certificates`. Wildcards are not supported.
    acme: Vec<Arc<str>> as Texts = "" => acme_names;
    /// Host names and IP addresses for which forebay makes a certificate itself at each start: for development. Clients
    /// refuse it unless they are told not to verify. It follows the others.
    self_signed: Vec<String> as Texts = "" => host_names;
    /// The lowest version that forebay accepts.
    min_version: TlsVersion = "1.2";
    /// The cipher suites that forebay accepts, by their names at IANA: `"TLS_AES_128_GCM_SHA256"`. The client's order
    /// decides. Left out: all that are considered secure.
    cipher_suites: Vec<SupportedCipherSuite> as Texts => tls_algorithms::cipher_suites;
    /// The key exchanges that forebay accepts, by the names of their groups at IANA. Left out: `X25519MLKEM768`, which
    /// resists quantum computers, `X25519`, `secp256r1` and `secp384r1`.
    key_exchanges: Vec<NamedGroup> as Texts => tls_algorithms::key_exchanges;
    /// What happens when a client sends a server name that has no certificate, or no server name: `default` uses the
    /// first certificate, `reject` refuses the connection.
    unknown_sni: UnknownSni = "default";
    /// Whether forebay requests a certificate from clients. One of `client_ca` must have issued it. `optional` accepts
    /// a client without a certificate, `required` does not. Backends get the certificate in `X-Client-Cert-Subject`,
    /// `X-Client-Cert-San`, `X-Client-Cert-Fingerprint` (SHA-256) and `Client-Cert` (RFC 9440), which clients can't
    /// spoof; routes may have conditions on these fields.
    client_auth: ClientAuth = "off";
    /// A PEM file with the certificates of the authorities that issue clients' certificates.
    client_ca: Option<PathBuf> as Text => path;
    /// A PEM file with revocation lists, one of each authority in the chain of a client's certificate. Left out:
    /// forebay does not check revocation.
    client_crl: Option<PathBuf> as Text => path;
    /// `Strict-Transport-Security` (RFC 6797) in all responses over TLS: `"max-age=31536000; includeSubDomains"`. It
    /// replaces that of a backend. Left out: none is added.
    hsts: Option<HeaderValue> as Text => hsts;
    /// How often forebay replaces the key for session tickets. A ticket is valid for at most twice as long.
    ticket_rotation: Duration as Duration(MINUTE, TICKET_ROTATION_MAX) = "6h";
    /// A secret that several nodes share, so that a client can resume a session at another node: the keys for session
    /// tickets come from it and from the time. At least 32 characters. Left out: each process makes its own keys.
    ticket_secret: Option<Token> as Text => ticket_secret;
    /// How long a handshake may take.
    handshake_timeout: Duration as Duration(MILLISECOND, HOUR) = "10s";
    /// The most handshakes at once, all workers together. Beyond that, forebay closes the one that has taken longest.
    handshakes_max: usize as Count(1, 1_000_000) = "4096";
}

table! {
    /// A certificate and its key.
    pub struct CertificateFiles "certificates = [{ … }]";

    /// A PEM file: the certificate, followed by the intermediate ones. Its DNS names, including wildcards, say which
    /// clients get it.
    cert: PathBuf as Text = required("cert = \"/etc/forebay/cert.pem\"") => file;
    /// A PEM file: the private key, not encrypted. Only its owner should be able to read it.
    key: PathBuf as Text = required("key = \"/etc/forebay/key.pem\"") => file;
}

words! {
    /// A version of TLS.
    pub enum TlsVersion {
        /// TLS 1.2 (RFC 5246).
        Tls12 = "1.2",
        /// TLS 1.3 (RFC 8446).
        Tls13 = "1.3",
    }
}

words! {
    /// How a connection is handled whose server name has no certificate, or that has no server name.
    pub enum UnknownSni {
        /// It gets the first certificate.
        Default = "default",
        /// It is refused.
        Reject = "reject",
    }
}

words! {
    /// Whether forebay requests a certificate from clients.
    pub enum ClientAuth {
        /// No.
        Off = "off",
        /// Yes; a client without a certificate is accepted.
        Optional = "optional",
        /// Yes; a client without a certificate is refused.
        Required = "required",
    }
}

/// The longest `ticket_rotation`.
const TICKET_ROTATION_MAX: Duration = Duration::from_secs(6 * 3_600);

impl Tls {
    /// Whether an authority that connects without a certificate of its own is answered (RFC 8737).
    #[must_use]
    pub fn answers_challenges(&self) -> bool {
        !self.acme.is_empty() && self.client_auth != ClientAuth::Required
    }
}

fn authorities(tls: &Tls, section: &Section<'_>) {
    check_versions(tls, section);
    let is_left_out = |key| !section.has(key) || section.is_empty_list(key);
    if ["certificates", "acme", "self_signed"].into_iter().all(is_left_out) {
        let hint = "certificates = [{ cert = \"/etc/forebay/cert.pem\", key = \"/etc/forebay/key.pem\" }]";
        let what = if section.is_empty_list("certificates") { "empty" } else { "missing" };
        section.report.add(section.at("certificates"), format!("certificates is {what}"), hint);
    }
    if tls.client_auth != ClientAuth::Off && tls.client_ca.is_none() {
        let hint = "client_ca = \"/etc/forebay/clients.pem\"";
        section.report.add(section.at("client_auth"), "client_auth needs client_ca", hint);
    }
    for (key, value) in [("client_ca", &tls.client_ca), ("client_crl", &tls.client_crl)] {
        if value.is_some() && tls.client_auth == ClientAuth::Off {
            let hint = "add client_auth = \"required\", or leave it out";
            section.report.warn(section.at(key), format!("{key} is of no use without client_auth"), hint);
        }
    }
}

/// The names that a listener gets certificates for, in lower case.
fn acme_names(section: &Section<'_>, key: &str) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for text in section.texts(key) {
        let (cause, hint) = match challenge::name(&text.value) {
            Ok(name) if names.iter().any(|known| **known == *name) => ("stands twice", "leave one out"),
            Ok(name) => {
                names.push(Arc::from(name));
                continue;
            }
            Err(Unfit::Wildcard) => (
                "has a wildcard, which only the challenge dns-01 can show to be yours, and that is not supported",
                "list the host names, or name a certificate in certificates",
            ),
            Err(Unfit::Address) => ("is an IP address", "write a host name"),
            Err(Unfit::NoName) => ("is no host name", "write it as \"www.example.com\", in ASCII (xn--…)"),
        };
        section.report.add(text.span.clone(), format!("{text} {cause}"), hint);
    }
    names
}

/// Names that a certificate is made for.
fn host_names(section: &Section<'_>, key: &str) -> Vec<String> {
    let mut names = Vec::new();
    for text in section.texts(key) {
        if !is_host_name(&text.value) && text.value.parse::<IpAddr>().is_err() {
            let hint = "write names as \"localhost\" or \"127.0.0.1\"";
            section.report.add(text.span.clone(), format!("{text} is neither a host name nor an IP address"), hint);
        }
        names.push(text.value);
    }
    names
}

/// Reports cipher suites that no accepted version of TLS has.
fn check_versions(tls: &Tls, section: &Section<'_>) {
    let is_for_1_3 = |suite: &SupportedCipherSuite| suite.tls13().is_some();
    let is_useless = !tls.cipher_suites.is_empty() && !tls.cipher_suites.iter().any(is_for_1_3);
    if is_useless && tls.min_version == TlsVersion::Tls13 {
        let hint = "add TLS_AES_128_GCM_SHA256, or lower min_version";
        section.report.add(section.at("cipher_suites"), "cipher_suites has none of TLS 1.3", hint);
    }
}

/// How long a secret must be that keys are made of, in bytes.
const TICKET_SECRET_BYTES_MIN: usize = 32;

fn ticket_secret(section: &Section<'_>, key: &str) -> Option<Token> {
    long_token(section, key, TICKET_SECRET_BYTES_MIN)
}

/// A value of `Strict-Transport-Security` (RFC 6797 §6.1).
fn hsts(section: &Section<'_>, key: &str) -> Option<HeaderValue> {
    let text = section.text(key)?;
    let max_age = |directive: &str| {
        let (name, value) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| value.trim().trim_matches('"').parse::<u64>().is_ok())
    };
    let is_valid = text.value.split(';').filter_map(max_age).eq([true]);
    let value = HeaderValue::from_str(&text.value).ok().filter(|_| is_valid);
    if value.is_none() {
        let hint = "write hsts = \"max-age=31536000\", in seconds";
        section.report.add(text.span.clone(), format!("{text} has no max-age"), hint);
    }
    value
}

pub(super) fn path(section: &Section<'_>, key: &str) -> Option<PathBuf> {
    section.has(key).then(|| file(section, key))
}

fn file(section: &Section<'_>, key: &str) -> PathBuf {
    let Some(text) = section.text(key) else { return PathBuf::new() };
    if text.value.is_empty() {
        section.report.add(text.span.clone(), format!("{key} is empty"), "name a file");
    }
    PathBuf::from(text.value)
}
