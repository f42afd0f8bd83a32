//! Whether a connection persists (RFC 9112 §9.3).

use message::{Known, View};

use crate::Version;

/// Whether the connection persists after a message, as far as its sender says: `close` ends it, HTTP/1.1 persists, and
/// HTTP/1.0 persists with `keep-alive`.
///
/// What framing says comes on top: a body that ends with its connection ends both.
#[must_use]
pub fn persists(version: Version, fields: View<'_>) -> bool {
    if !fields.has(Known::Connection) {
        return version == Version::Http11;
    }
    // As most messages that have it write it.
    if matches!(fields.only(Known::Connection), Some(b"keep-alive" | b"Keep-Alive")) {
        return true;
    }
    let says = |option: &[u8]| {
        let mut options = fields.tagged(Known::Connection).flat_map(|field| field.value.split(|byte| *byte == b','));
        options.any(|one| one.trim_ascii().eq_ignore_ascii_case(option))
    };
    match version {
        _ if says(b"close") => false,
        Version::Http11 => true,
        Version::Http10 => says(b"keep-alive"),
    }
}

#[cfg(test)]
mod tests {
    use message::Lines;

    use super::*;

    fn persist(version: Version, lines: &[&str]) -> bool {
        let mut fields = Lines::default();
        for line in lines {
            fields.append(b"Connection", line.as_bytes()).unwrap();
        }
        persists(version, fields.view(&[]))
    }

    #[test]
    fn http_1_1_persists_unless_closed() {
        assert!(persist(Version::Http11, &[]));
        assert!(persist(Version::Http11, &["upgrade, te"]));
        assert!(!persist(Version::Http11, &["Close"]));
        assert!(!persist(Version::Http11, &["te", "x, close"]));
        assert!(persist(Version::Http11, &["closed"]));
    }

    #[test]
    fn http_1_0_persists_only_if_kept_alive() {
        assert!(!persist(Version::Http10, &[]));
        assert!(persist(Version::Http10, &["x ,Keep-Alive"]));
        assert!(persist(Version::Http10, &["Keep-Alive"]));
        assert!(persist(Version::Http10, &["keep-alive"]) && persist(Version::Http11, &["keep-alive"]));
        assert!(!persist(Version::Http10, &["keep-alive, close"]));
        assert!(!persist(Version::Http10, &["keep-alive", "close"]));
    }
}
