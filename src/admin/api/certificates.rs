//! The JSON body of the API's response about certificates.

use serde::{Deserialize, Serialize};

/// The response to `GET /api/v1/certificates`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    /// Those of all listeners, each once.
    pub certificates: Vec<Certificate>,
}

/// A certificate that clients are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The host names and IP addresses that it is for.
    pub names: Vec<String>,
    /// Who has signed it, as RFC 4514 writes names.
    pub issuer: String,
    /// The end of its validity.
    pub not_after_unix_ms: u64,
    /// Where it comes from: a file, `acme`, or `self-signed`.
    pub source: String,
    /// The listeners that show it.
    pub listeners: Vec<String>,
    /// Its orders, if forebay orders it from an ACME authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<CertificateOrder>,
}

/// How the orders of a certificate stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateOrder {
    /// When it is ordered next.
    pub next_unix_ms: u64,
    /// How many orders in a row have failed, or have begun and not ended.
    pub failures: u32,
    /// Why the last one has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The metrics of orders of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcmeMetrics {
    /// Orders that have begun.
    pub orders: u64,
    /// Orders that have failed.
    pub failures: u64,
    /// Those of all listeners.
    pub certificates: Vec<Certificate>,
}
