//! Decides which protocols of an `Upgrade` are forwarded (RFC 9110 §7.8).
//!
//! The caller handles the 101, and ignores `Upgrade` in HTTP/1.0.

use http::HeaderValue;
use message::{Fields, Known};

use super::list::{elements, holds};

/// The `Upgrade` to forward: the requested protocols that are allowed, in the client's order; `None` if there are none.
///
/// Requires `Connection: upgrade`. `allowed` has names in lower case, with or without a version: `websocket` allows
/// `websocket/13`. `h2c` is never forwarded, because it would hide requests from this proxy.
#[must_use]
pub fn wanted(fields: &Fields, allowed: &[String]) -> Option<HeaderValue> {
    let mut lines = fields.values(Known::Upgrade);
    let first = lines.next()?;
    if allowed.is_empty() || !holds(fields.values(Known::Connection), "upgrade") {
        return None;
    }
    if is_allowed(first, allowed) && lines.next().is_none() {
        return HeaderValue::from_bytes(first).ok();
    }
    let kept: Vec<&[u8]> =
        elements(fields.values(Known::Upgrade)).filter(|protocol| is_allowed(protocol, allowed)).collect();
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept.join(&b", "[..])).ok() }
}

/// Whether the protocols of a 101 were requested (RFC 9110 §7.8).
///
/// `asked` is the forwarded `Upgrade`. A 101 without `Upgrade` is rejected, too, because its protocol is unknown.
#[must_use]
pub fn was_asked_for(response: &Fields, asked: &Option<HeaderValue>) -> bool {
    let Some(asked) = asked else { return false };
    let asked: Vec<&[u8]> = asked.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let mut chosen = elements(response.values(Known::Upgrade)).peekable();
    chosen.peek().is_some() && chosen.all(|one| asked.iter().any(|protocol| one.eq_ignore_ascii_case(protocol)))
}

fn is_allowed(protocol: &[u8], allowed: &[String]) -> bool {
    let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
    let matches =
        |one: &String| protocol.eq_ignore_ascii_case(one.as_bytes()) || name.eq_ignore_ascii_case(one.as_bytes());
    !name.eq_ignore_ascii_case(b"h2c") && !protocol.contains(&b',') && allowed.iter().any(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(connection: &str, upgrades: &[&str]) -> Option<String> {
        let mut fields = Fields::from_iter([("connection", connection)]);
        fields.extend(upgrades.iter().map(|upgrade| ("upgrade", upgrade)));
        let allowed = ["websocket".to_owned(), "h2c".to_owned(), "irc/6.9".to_owned()];
        wanted(&fields, &allowed).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn an_allowed_protocol_passes_as_written() {
        assert_eq!(asked("keep-alive, Upgrade", &["WebSocket"]).as_deref(), Some("WebSocket"));
        assert_eq!(asked("upgrade", &["websocket/13"]).as_deref(), Some("websocket/13"));
        assert_eq!(asked("upgrade", &["IRC/6.9"]).as_deref(), Some("IRC/6.9"));
    }

    #[test]
    fn only_allowed_protocols_of_a_list_pass() {
        assert_eq!(asked("upgrade", &["h2c, websocket", "foo, irc/6.9"]).as_deref(), Some("websocket, irc/6.9"));
        assert_eq!(asked("upgrade", &["irc/7"]), None);
    }

    #[test]
    fn h2c_is_never_passed_on() {
        assert_eq!(asked("upgrade, http2-settings", &["h2c"]), None);
        assert_eq!(asked("upgrade", &["H2C"]), None);
    }

    #[test]
    fn an_upgrade_without_connection_upgrade_is_dropped() {
        assert_eq!(asked("keep-alive", &["websocket"]), None);
        assert_eq!(asked("upgrade", &[]), None);
    }
}
