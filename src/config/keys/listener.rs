//! Declares `[[listener]]`.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use policy::message::network::Network;

use super::tls::Tls;
use super::{backend, table, words};
use crate::config::document::Section;
use crate::config::grammar::networks;

table! {
    /// An address where clients connect, with its own settings. The address identifies the listener: a reload that
    /// keeps the address keeps the socket and the connections.
    pub struct Listener "[[listener]]" => check_combinations;

    /// `ip:port`; `unix:/path` for a socket in the file system, whose clients count as `127.0.0.1` and whose mode follows
    /// the process's umask; or `fd:NAME` for a socket of this name that a service manager has passed on (socket
    /// activation: `LISTEN_FDS`, `LISTEN_FDNAMES`).
    address: ListenAddress as Text = required("address = \"0.0.0.0:8080\"") => address;
    /// The protocols that are spoken: `"h2"` (HTTP/2) and `"http/1.1"`. Over TLS they are offered by ALPN, in this order;
    /// without TLS a client speaks HTTP/2 by beginning with it (prior knowledge; there is no upgrade to `h2c`). Left out:
    /// both over TLS, `["http/1.1"]` without.
    protocols: Protocols as Texts => protocols;
    /// Redirects (308) every request that did not come by `https` to the `https` URL with this port; the URL omits 443.
    /// Left out: no redirects.
    redirect_https: Option<NonZeroU16> as Count(1, 65_535);
    /// Networks in CIDR form, or single addresses, whose forwarding headers this listener trusts. Left out: those of
    /// `[server]`.
    trusted_proxies: Option<Vec<Network>> as Texts => own_networks;
    /// Whether connections begin with a PROXY protocol header (version 1 or 2), from which forebay takes the address of the
    /// client. `required` closes connections without one, `optional` accepts both, `off` accepts none. Only the peers in
    /// `proxy_protocol_from` may send one.
    proxy_protocol: ProxyProtocol = "off";
    /// Networks in CIDR form, or single addresses, of the load balancers that send the PROXY protocol. On a Unix socket:
    /// `["127.0.0.1"]`. Connections from other peers are closed if the header is `required`, and have none if it is
    /// `optional`.
    proxy_protocol_from: Vec<Network> as Texts => networks;
    /// TLS towards clients. Left out: plain HTTP.
    tls: Option<Tls>;
}

/// The address of a client listener, which identifies it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// A TCP address; for port 0 the system chooses a port.
    Ip(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
    /// A socket that the process was started with, by its name.
    Inherited(String),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
            Self::Inherited(name) => write!(out, "fd:{name}"),
        }
    }
}

impl ListenAddress {
    /// The placeholder for a malformed address, which was reported.
    pub(in crate::config) const fn placeholder() -> Self {
        Self::Unix(PathBuf::new())
    }
}

words! {
    /// Whether connections begin with a PROXY protocol header.
    pub enum ProxyProtocol {
        /// None does.
        Off = "off",
        /// Some of those from listed peers do.
        Optional = "optional",
        /// All do, and come from listed peers.
        Required = "required",
    }
}

/// The protocols of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1.1 and HTTP/1.0.
    Http1,
    /// HTTP/2.
    Http2,
    /// Both; HTTP/2 where the client has no preference.
    Both,
    /// Both; HTTP/1.1 where the client has no preference.
    BothHttp1First,
}

impl Protocols {
    /// Whether clients may use HTTP/1.1.
    #[must_use]
    pub const fn http1(self) -> bool {
        !matches!(self, Self::Http2)
    }

    /// Whether clients may use HTTP/2.
    #[must_use]
    pub const fn http2(self) -> bool {
        !matches!(self, Self::Http1)
    }

    /// The protocols in ALPN (RFC 7301), the preferred one first.
    #[must_use]
    pub const fn offered(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http2 => &[b"h2"],
            Self::Both => &[b"h2", b"http/1.1"],
            Self::BothHttp1First => &[b"http/1.1", b"h2"],
        }
    }
}

impl Listener {
    /// A listener for plain HTTP/1.1 with the default of every key.
    #[must_use]
    pub const fn plain(address: ListenAddress) -> Self {
        Self {
            address,
            protocols: Protocols::Http1,
            redirect_https: None,
            trusted_proxies: None,
            proxy_protocol: ProxyProtocol::Off,
            proxy_protocol_from: Vec::new(),
            tls: None,
        }
    }
}

/// Reports keys of a listener that contradict each other.
fn check_combinations(listener: &Listener, section: &Section<'_>) {
    if listener.tls.is_some() && listener.redirect_https.is_some() {
        let hint = "put it on the listener without TLS";
        section.report.add(section.at("redirect_https"), "a listener with TLS has nothing to redirect", hint);
    }
    let (is_off, is_missing) = (listener.proxy_protocol == ProxyProtocol::Off, !section.has("proxy_protocol_from"));
    if !is_off && (is_missing || section.is_empty_list("proxy_protocol_from")) {
        let hint = match listener.address {
            ListenAddress::Ip(_) | ListenAddress::Inherited(_) => {
                "name the load balancers: proxy_protocol_from = [\"10.0.0.0/8\"]"
            }
            ListenAddress::Unix(_) => "proxy_protocol_from = [\"127.0.0.1\"]: clients on a Unix socket count as this",
        };
        section.report.add(section.at("proxy_protocol"), "proxy_protocol needs proxy_protocol_from", hint);
    }
    if !section.has("proxy_protocol") && !is_missing {
        let hint = "add proxy_protocol = \"required\", or leave it out";
        let cause = "proxy_protocol_from is of no use without proxy_protocol";
        section.report.warn(section.at("proxy_protocol_from"), cause, hint);
    }
}

fn protocols(section: &Section<'_>, key: &str) -> Protocols {
    const HINT: &str = "write protocols = [\"h2\", \"http/1.1\"], or one of them";
    if section.is_empty_list(key) {
        section.report.add(section.at(key), format!("{key} is empty"), HINT);
    }
    let texts = section.texts(key);
    for text in &texts {
        if !matches!(text.value.as_str(), "h2" | "http/1.1") {
            section.report.add(text.span.clone(), format!("{text} is no protocol"), HINT);
        }
    }
    let place = |protocol: &str| texts.iter().position(|text| text.value == protocol);
    match (place("h2"), place("http/1.1")) {
        (None, None) if section.has("tls") => Protocols::Both,
        (None, _) => Protocols::Http1,
        (Some(_), None) => Protocols::Http2,
        (Some(http2), Some(http1)) if http2 < http1 => Protocols::Both,
        (Some(_), Some(_)) => Protocols::BothHttp1First,
    }
}

fn own_networks(section: &Section<'_>, key: &str) -> Option<Vec<Network>> {
    section.has(key).then(|| networks(section, key))
}

fn address(section: &Section<'_>, key: &str) -> ListenAddress {
    let Some(text) = section.text(key) else { return ListenAddress::placeholder() };
    let address = match text.value.split_once(':') {
        Some(("unix", path)) => backend::unix_path(path).map(ListenAddress::Unix),
        Some(("fd", name)) if is_socket_name(name) => Ok(ListenAddress::Inherited(name.to_owned())),
        Some(("fd", _)) => Err(("has no name of a socket", "write fd:NAME, with the FileDescriptorName of the socket")),
        Some(_) | None => {
            text.value.parse().map(ListenAddress::Ip).map_err(|_| {
                ("is no address to listen on", "write ip:port, as \"0.0.0.0:8080\", unix:/path or fd:NAME")
            })
        }
    };
    address.unwrap_or_else(|(cause, hint)| {
        section.report.add(text.span.clone(), format!("{text} {cause}"), hint);
        ListenAddress::placeholder()
    })
}

/// Whether a service manager can name a socket so: no more than 255 visible characters without a colon.
fn is_socket_name(name: &str) -> bool {
    const LENGTH_MAX: usize = 255;
    let is_plain = name.bytes().all(|byte| (byte.is_ascii_graphic() || byte == b' ') && byte != b':');
    (1..=LENGTH_MAX).contains(&name.len()) && is_plain
}
