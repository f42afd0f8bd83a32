//! Answers to the challenges that are under way, for as long as they are.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::sign::CertifiedKey;

/// The protocol that an authority offers to be shown a certificate for a challenge (RFC 8737 §6.2).
pub(crate) const PROTOCOL: &[u8] = b"acme-tls/1";

/// What is published: texts by token for `http-01`, certificates by name for `tls-alpn-01`.
#[derive(Debug, Default)]
pub(crate) struct Published {
    texts: RwLock<HashMap<Box<str>, Box<str>>>,
    certificates: RwLock<HashMap<Box<str>, Arc<CertifiedKey>>>,
}

impl Published {
    /// The text for a token.
    pub(crate) fn text(&self, token: &str) -> Option<Box<str>> {
        self.texts.read().get(token).cloned()
    }

    /// The certificate for a name in lower case.
    pub(crate) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.certificates.read().get(name).cloned()
    }

    /// Answers requests for a token with this text, until what is returned is dropped.
    pub(super) fn publish_text(self: &Arc<Self>, token: &str, text: &str) -> Publication {
        self.texts.write().insert(token.into(), text.into());
        Publication { published: Arc::clone(self), what: What::Text(token.into()) }
    }

    /// Shows this certificate for a name, until what is returned is dropped.
    pub(super) fn publish_certificate(self: &Arc<Self>, name: &str, certificate: CertifiedKey) -> Publication {
        self.certificates.write().insert(name.into(), Arc::new(certificate));
        Publication { published: Arc::clone(self), what: What::Certificate(name.into()) }
    }
}

/// An answer that is published until this is dropped.
#[derive(Debug)]
pub(super) struct Publication {
    published: Arc<Published>,
    what: What,
}

#[derive(Debug)]
enum What {
    Text(Box<str>),
    Certificate(Box<str>),
}

impl Drop for Publication {
    fn drop(&mut self) {
        match &self.what {
            What::Text(token) => drop(self.published.texts.write().remove(token)),
            What::Certificate(name) => drop(self.published.certificates.write().remove(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_there_for_as_long_as_its_challenge() {
        let published = Arc::new(Published::default());
        let publication = published.publish_text("token", "token.thumbprint");
        assert_eq!(published.text("token").as_deref(), Some("token.thumbprint"));
        assert_eq!(published.text("other"), None);
        drop(publication);
        assert_eq!(published.text("token"), None);
    }
}
