//! Parsers of values that several keys have: names, hosts, networks, ranges of status codes.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use http::{HeaderName, Method, StatusCode};
use policy::message::network::Network;

use super::document::{Section, Text};

/// Fields that frame a message or belong to one connection (RFC 9110 §7.6.1, RFC 9112 §6). Only forebay sets them.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A set of status codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusRanges(pub Vec<std::ops::RangeInclusive<u16>>);

impl fmt::Display for StatusRanges {
    /// In the syntax of the file: `200-299, 304`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            match (range.start(), range.end()) {
                (first, last) if first == last => write!(f, "{comma}{first}")?,
                (first, last) => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl StatusRanges {
    /// Whether the set holds this status.
    #[must_use]
    pub fn holds(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

/// Reads networks in CIDR form, or single addresses.
pub(super) fn networks(section: &Section<'_>, name: &str) -> Vec<Network> {
    let network = |text: Text| {
        let network = text.value.parse().ok();
        if network.is_none() {
            let hint = "write a network as \"10.0.0.0/8\", or an address as \"10.0.0.1\"";
            section.report.add(text.span.clone(), format!("{text} is no network"), hint);
        }
        network.as_ref().inspect(|network| warn_of_open_network(section, name, &text, network));
        network
    };
    section.texts(name).into_iter().filter_map(network).collect()
}

/// Warns about a network that contains every address, because only some should be trusted.
fn warn_of_open_network(section: &Section<'_>, name: &str, text: &Text, network: &Network) {
    if !network.is_everything() {
        return;
    }
    let (cause, hint) = match name {
        "purge_from" => (format!("{text} lets every client purge"), "name the hosts that may: \"10.0.0.0/8\""),
        "proxy_protocol_from" => (
            format!("{text} believes the PROXY header of every client"),
            "name the load balancers in front: a client could claim any address",
        ),
        _ => (
            format!("{text} believes the forwarding headers of every client"),
            "name the proxies in front: a client could claim any address",
        ),
    };
    section.report.warn(text.span.clone(), cause, hint);
}

/// Reads status codes, written as `"200"` or `"200-299"`.
pub(super) fn status_ranges(section: &Section<'_>, name: &str) -> StatusRanges {
    let range = |text: Text| {
        let range = status_range(&text.value);
        if range.is_none() {
            let hint = "write \"200\" or \"200-299\", within 100 and 599";
            section.report.add(text.span.clone(), format!("{text} is no range of status codes"), hint);
        }
        range
    };
    StatusRanges(section.texts(name).into_iter().filter_map(range).collect())
}

fn status_range(text: &str) -> Option<RangeInclusive<u16>> {
    let status = |digits: &str| {
        let plain = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u16>().ok()).flatten().filter(|status| (100..=599).contains(status))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    (first <= last).then_some(first..=last)
}

/// Checks a name for logs, metrics and state: 1 to 200 bytes without control characters.
pub(super) fn name(section: &Section<'_>, text: &Text) -> Arc<str> {
    /// A limit, because every log line has the name.
    const NAME_BYTES_MAX: usize = 200;
    let odd = text.value.is_empty() || text.value.len() > NAME_BYTES_MAX || text.value.chars().any(char::is_control);
    if odd {
        let hint = "1 to 200 bytes without control characters";
        section.report.add(text.span.clone(), format!("{text} is no name"), hint);
    }
    Arc::from(text.value.as_str())
}

/// Whether a text is a host name in ASCII: labels of letters, digits and `-` (RFC 1123 §2.1), and `_`, which is common.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        plain && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether a text is an IPv6 address in brackets.
pub(super) fn is_bracketed(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Whether a text is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Parses the name of a header field. `None`: it is malformed, which is reported.
pub(super) fn field_name(section: &Section<'_>, name: &str, span: Range<usize>) -> Option<HeaderName> {
    let field = name.parse().ok();
    if field.is_none() {
        section.report.add(span, "this is no name of a header field", "letters, digits and - without blanks");
    }
    field
}

/// Reads names of header fields.
pub(super) fn field_names(section: &Section<'_>, key: &str) -> Vec<HeaderName> {
    let field = |text: &Text| field_name(section, &text.value, text.span.clone());
    section.texts(key).iter().filter_map(field).collect()
}

/// Whether a field frames a message or belongs to one connection.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    RESERVED.contains(&name.as_str())
}

/// Parses a method. Methods are case-sensitive: one with lower-case letters is reported.
pub(super) fn method(section: &Section<'_>, text: &Text) -> Option<Method> {
    let hint = match text.value.parse::<Method>() {
        Ok(method) if !text.value.bytes().any(|byte| byte.is_ascii_lowercase()) => return Some(method),
        Ok(_) => "methods are case-sensitive: write \"GET\"",
        Err(_) => "write methods = [\"GET\", \"HEAD\"]",
    };
    section.report.add(text.span.clone(), format!("{text} is no method"), hint);
    None
}
