//! Declares `[upstream.tls]`.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::table;
use super::tls::{TlsVersion, path};
use crate::config::document::Section;

table! {
    /// TLS to the backends of this upstream whose URLs begin with `https://`. forebay reads the files at the start and
    /// at a reload.
    pub struct UpstreamTls "[upstream.tls]" => check_tls;

    /// A PEM file with the certificates of the trusted authorities. Left out: those of the system.
    ca: Option<PathBuf> as Text => path;
    /// The name that forebay sends to backends (SNI), and that their certificates must have: a host name or an IP
    /// address. Left out: the host of the backend's URL.
    server_name: Option<ServerName<'static>> as Text => server_name;
    /// A PEM file with the certificate for backends that request one, followed by the intermediate ones.
    cert: Option<PathBuf> as Text => path;
    /// A PEM file with its private key.
    key: Option<PathBuf> as Text => path;
    /// Whether forebay verifies the certificates of backends. With `false`, anyone on the network path can read and
    /// change everything.
    verify: bool = "true";
    /// The lowest version that forebay accepts.
    min_version: TlsVersion = "1.2";
}

fn check_tls(tls: &UpstreamTls, section: &Section<'_>) {
    for (key, other, is_alone) in [
        ("cert", "key", tls.cert.is_some() && tls.key.is_none()),
        ("key", "cert", tls.key.is_some() && tls.cert.is_none()),
    ] {
        if is_alone {
            section.report.add(
                section.at(key),
                format!("{key} needs {other}"),
                "a certificate and its key go together",
            );
        }
    }
    if !tls.verify {
        let hint = "name the authority: ca = \"/etc/forebay/backends.pem\"";
        section.report.warn(section.at("verify"), "the certificates of backends are not verified", hint);
    }
}

fn server_name(section: &Section<'_>, key: &str) -> Option<ServerName<'static>> {
    let text = section.text(key)?;
    let name = ServerName::try_from(text.value.clone());
    if name.is_err() {
        let hint = "write a host name or an IP address: \"app.internal\"";
        section.report.add(text.span.clone(), format!("{text} is no server name"), hint);
    }
    name.ok()
}
