//! What a client's TLS handshake has shown, for all requests of its connection.

use std::sync::Arc;

use http::HeaderValue;
use message::Fields;
use policy::certificate::names::ServerNames;

/// What a client's TLS handshake has shown.
#[derive(Debug)]
pub struct ClientTls {
    /// The name that the client asked for (SNI), in lower case.
    pub server_name: Option<Box<str>>,
    /// `Strict-Transport-Security` in its responses.
    pub hsts: Option<HeaderValue>,
    /// The version of TLS that was agreed on.
    pub version: Option<&'static str>,
    /// The names that the listener has certificates for.
    pub names: Arc<ServerNames>,
    /// Whether clients are asked for a certificate.
    pub asks_for_certificate: bool,
    /// The fields that tell backends of the client's certificate; `None`: it has shown none.
    pub certificate: Option<Fields>,
}

impl ClientTls {
    /// Whether a host is not served on this connection, since it has another certificate (RFC 9110 §15.5.20).
    #[must_use]
    pub fn misdirects(&self, host: &str) -> bool {
        self.names.is_misdirected(host, self.server_name.as_deref())
    }
}
