//! When an authority suggests to renew a certificate (ARI, RFC 9773).

use std::time::Duration;

use instant_acme::CertificateIdentifier;
use policy::certificate::calendar::rfc3339;
use policy::certificate::renewal::{Period, information_age_max};
use policy::certificate::x509;
use rustls::pki_types::Der;
use rustls::sign::CertifiedKey;
use serde::Deserialize;

use super::client::{Client, retry_after};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    renewal_info: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Information {
    suggested_window: Window,
}

#[derive(Deserialize)]
struct Window {
    start: String,
    end: String,
}

/// What an authority suggests, and for how long that is good.
pub(super) struct Suggested {
    pub(super) window: Option<Period>,
    pub(super) age_max: Duration,
}

/// Asks an authority. Without an answer, and where it suggests nothing, the certificate's lifetime alone counts.
pub(super) async fn ask(client: &Client, directory: &str, key: &CertifiedKey) -> Suggested {
    match try_ask(client, directory, key).await {
        Ok(suggested) => suggested,
        Err(error) => {
            tracing::debug!("acme: no renewal information: {error}");
            Suggested { window: None, age_max: information_age_max(None) }
        }
    }
}

async fn try_ask(
    client: &Client,
    directory: &str,
    key: &CertifiedKey,
) -> Result<Suggested, Box<dyn std::error::Error + Send + Sync>> {
    let (_, body) = client.get(directory).await?;
    let Directory { renewal_info } = serde_json::from_slice(&body)?;
    let (Some(resource), Some(identifier)) = (renewal_info, identifier(key)) else {
        return Ok(Suggested { window: None, age_max: information_age_max(Some(Duration::MAX)) });
    };
    let (fields, body) = client.get(&format!("{}/{identifier}", resource.trim_end_matches('/'))).await?;
    let Information { suggested_window: Window { start, end } } = serde_json::from_slice(&body)?;
    let (begins, ends) = rfc3339(&start).zip(rfc3339(&end)).ok_or("a window that is no time")?;
    Ok(Suggested { window: Some(Period { begins, ends }), age_max: information_age_max(retry_after(&fields)) })
}

/// How the authority knows a certificate; `None`: it does not say which key has signed it.
fn identifier(key: &CertifiedKey) -> Option<String> {
    let read = x509::read(key.cert.first()?)?;
    let (authority, serial) = (Der::from_slice(read.authority_key?), Der::from_slice(read.serial));
    Some(CertificateIdentifier::new(authority, serial).to_string())
}
