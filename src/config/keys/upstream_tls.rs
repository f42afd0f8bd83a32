//! `[upstream.tls]`: TLS towards backends.

use std::path::PathBuf;

use rustls::pki_types::ServerName;

use super::table;
use super::tls::{TlsVersion, path};
use crate::config::document::Section;

table! {
    /// TLS towards the backends of this upstream whose URLs begin with `https://`. The files are read at the start and at a
    /// reload.
    pub struct UpstreamTls "[upstream.tls]" => fits_together;

    /// A PEM file with the certificates of the authorities that are believed. Left out: those of the system.
    ca: Option<PathBuf> as Text => path;
    /// The name that backends are asked for (SNI), and that their certificates must be for: a host name or an IP address.
    /// Left out: the host of the backend's URL.
    server_name: Option<ServerName<'static>> as Text => server_name;
    /// A PEM file with a certificate that is shown to backends that ask for one, and with the intermediate ones behind it.
    cert: Option<PathBuf> as Text => path;
    /// A PEM file with its private key.
    key: Option<PathBuf> as Text => path;
    /// Whether certificates of backends are verified. `false` lets anybody in between read and change everything.
    verify: bool = "true";
    /// The lowest version that is spoken.
    min_version: TlsVersion = "1.2";
}

fn fits_together(tls: &UpstreamTls, section: &Section<'_>) {
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
