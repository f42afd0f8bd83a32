//! `[tls.acme]`: certificates from an ACME authority.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use policy::certificate::challenge::Challenge;
use policy::certificate::renewal::Retry;

use super::backend::{self, Backend};
use super::{DAY, MILLISECOND, table, tls};
use crate::config::document::Section;

/// The authority when the file names none.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The same authority's directory for trials: wide limits, and certificates that no client trusts.
const LETS_ENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

table! {
    /// What concerns the TLS of all listeners.
    pub(in crate::config) struct CommonTls "[tls]";

    /// Certificates that renew themselves, from an ACME authority such as Let's Encrypt. Left out: none.
    acme: Option<Acme>, now;
}

table! {
    /// Certificates that renew themselves, from an authority that speaks ACME (RFC 8555), such as Let's Encrypt. Each
    /// name of `acme = [\"…\"]` in `[listener.tls]` gets a certificate of its own. forebay orders it at the start, or when
    /// a reload brings the name, and again when a third of its lifetime is left, or earlier if the authority suggests so.
    /// Until it has one, clients get the last one, or a self-signed one. Account, keys and certificates are in
    /// `server.state_dir`, which this table needs.
    pub struct Acme "[tls.acme]" => agreed;

    /// The authority: `letsencrypt`, `letsencrypt-staging` for trials, or the `https://` URL of its directory. Each has an
    /// account and certificates of its own.
    directory: Arc<str> as Text = "letsencrypt" => directory, now;
    /// That you agree to the authority's terms of service: `true`. Without it there is no account.
    terms_agreed: bool = required("terms_agreed = true"), now;
    /// Addresses where the authority may write to you, as `ops@example.com`.
    contact: Vec<String> as Texts = "" => contact, now;
    /// A PEM file with the certificates of the authorities that the directory's own certificate is verified by: for a
    /// directory of your own. Left out: those of the system.
    ca: Option<PathBuf> as Text => tls::path, now;
    /// How forebay shows the authority that a name is yours, the preferred way first; after a failure it tries the other.
    /// `http-01`: the authority connects to port 80 of the name, and any listener without TLS can answer.
    /// `tls-alpn-01`: it connects to port 443, and the listener that has the name answers.
    challenges: Vec<Challenge> as Texts = "http-01 tls-alpn-01" => challenges, now;
    /// The URL of another forebay, which has the answers to challenges of `http-01` that this one does not know: requests
    /// for them are forwarded to it. Left out: they go to the routes.
    challenge_peer: Option<Backend> as Text => peer, now;
    /// How long forebay waits after an order has failed. Each further failure in a row makes it four times as long.
    retry_min: Duration as Duration(MILLISECOND, DAY) = "1m", now;
    /// The longest such wait.
    retry_max: Duration as Duration(MILLISECOND, DAY) = "1d", now;
}

impl Acme {
    /// How failed orders are tried again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        Retry { least: self.retry_min, most: self.retry_max }
    }
}

fn agreed(acme: &Acme, section: &Section<'_>) {
    if section.has("terms_agreed") && !acme.terms_agreed {
        let hint = "read the terms of the authority, then write terms_agreed = true";
        section.report.add(section.at("terms_agreed"), "there is no account without agreement to the terms", hint);
    }
    if acme.retry_min > acme.retry_max {
        let hint = "retry_max is the longest wait";
        section.report.add(section.at("retry_min"), "retry_min is longer than retry_max", hint);
    }
}

fn directory(section: &Section<'_>, key: &str) -> Arc<str> {
    let Some(text) = section.text(key) else { return Arc::from("") };
    match text.value.as_str() {
        "letsencrypt" => Arc::from(LETS_ENCRYPT),
        "letsencrypt-staging" => Arc::from(LETS_ENCRYPT_STAGING),
        url => {
            let is_url = url.parse::<http::Uri>().is_ok_and(|uri| {
                uri.scheme_str() == Some("https") && uri.authority().is_some_and(|host| !host.as_str().contains('@'))
            });
            if !is_url {
                let hint = "write letsencrypt, letsencrypt-staging, or the https:// URL of a directory";
                section.report.add(text.span.clone(), format!("{text} is no ACME directory"), hint);
            }
            Arc::from(url)
        }
    }
}

fn contact(section: &Section<'_>, key: &str) -> Vec<String> {
    let mut contacts = Vec::new();
    for text in section.texts(key) {
        let address = text.value.strip_prefix("mailto:").unwrap_or(&text.value);
        let is_address = address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
            && address.chars().all(|c| !c.is_whitespace() && !c.is_control() && !",?".contains(c));
        if !is_address {
            let hint = "write contact = [\"ops@example.com\"]";
            section.report.add(text.span.clone(), format!("{text} is no mail address"), hint);
        }
        contacts.push(format!("mailto:{address}"));
    }
    contacts
}

fn challenges(section: &Section<'_>, key: &str) -> Vec<Challenge> {
    const HINT: &str = "write challenges = [\"http-01\", \"tls-alpn-01\"], or one of them";
    if section.is_empty_list(key) {
        section.report.add(section.at(key), format!("{key} is empty"), HINT);
    }
    let mut challenges = Vec::new();
    for text in section.texts(key) {
        let known = [Challenge::Http01, Challenge::TlsAlpn01].into_iter().find(|one| one.as_str() == text.value);
        match known {
            Some(challenge) if challenges.contains(&challenge) => {}
            Some(challenge) => challenges.push(challenge),
            None if text.value == "dns-01" => {
                section.report.add(text.span.clone(), "dns-01 is not supported", HINT);
            }
            None => section.report.add(text.span.clone(), format!("{text} is no challenge"), HINT),
        }
    }
    challenges
}

fn peer(section: &Section<'_>, key: &str) -> Option<Backend> {
    let text = section.text(key)?;
    let peer = backend::of_url(text.value.trim_end_matches('/'));
    if let Err((cause, hint)) = peer {
        section.report.add(text.span.clone(), format!("{key} {text} {cause}"), hint);
    }
    peer.ok()
}
