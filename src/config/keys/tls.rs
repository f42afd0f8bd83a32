//! Declares `[listener.tls]`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

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

    /// The certificates. The first is the default. A listener needs at least one, here or by `self_signed`.
    certificates: Vec<CertificateFiles>;
    /// Host names and IP addresses for which forebay makes a certificate itself at each start: for development. Clients
    /// refuse it unless they are told not to verify. It follows `certificates`.
    self_signed: Vec<String> as Texts = "" => host_names;
    /// The lowest version that forebay accepts.
    min_version: TlsVersion = "1.2";
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
    /// How often forebay replaces the key for session tickets. A ticket is valid for at most twice as long.
    ticket_rotation: Duration as Duration(MINUTE, TICKET_ROTATION_MAX) = "6h";
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

fn authorities(tls: &Tls, section: &Section<'_>) {
    let is_left_out = |key| !section.has(key) || section.is_empty_list(key);
    if ["certificates", "self_signed"].into_iter().all(is_left_out) {
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
