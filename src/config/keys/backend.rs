//! Declares `backends`, and parses their URLs.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use http::HeaderValue;
use policy::message::scheme::Scheme;
use rustls::pki_types::ServerName;

use super::table;
use super::upstream_http2::Protocol;
use crate::config::document::{Entry, Section, Text};
use crate::config::grammar::is_host_name;
use crate::config::value::Table as _;

/// The longest path of a Unix socket, in bytes (`sun_path` has 108, with the final zero).
const UNIX_PATH_BYTES_MAX: usize = 107;

table! {
    /// One backend; instead of the table you can write the URL alone.
    pub(super) struct BackendKeys "backends = [{ … }]";

    /// `http://host`, `http://host:port`, `http://[v6]:port` or `unix:/path`, without path, query or user. With
    /// `https://` forebay connects over TLS, as `[upstream.tls]` says.
    url as Text = required("write { url = \"http://10.0.0.1:8080\" }");
    /// Its share, for the balancers that use it: `weighted`, `least-connections`, `random` and `hash`. With other
    /// balancers it is an error. Each address of a name has this share. Left out: 1.
    weight: Option<u32> as Count(1, 1_000);
    /// The most requests in flight, all workers together, for each address. Left out: no limit.
    max_in_flight: Option<u32> as Count(1, 1_000_000);
    /// Used only for requests that no other backend can take: all are unusable, full, or were tried for this request.
    backup: bool = "false";
    /// The version of HTTP that it gets, as `protocol` of `[[upstream]]`. Left out: as that says.
    protocol: Option<Protocol>;
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its URL in normal form, which identifies it in logs and state. Unique within the upstream.
    pub name: Arc<str>,
    /// Its address.
    pub address: Address,
    /// Its authority: the `Host` of checks, and of requests with `host = "backend"`.
    pub authority: HeaderValue,
    /// The weight of each of its addresses.
    pub weight: u32,
    /// The most requests in flight, for each of its addresses, all workers together; `None`: no limit.
    pub max_in_flight: Option<u32>,
    /// Used only for requests that no other backend can take.
    pub backup: bool,
    /// The server name (SNI) for TLS, unless `[upstream.tls]` has another; `None`: it is used without TLS.
    pub server_name: Option<ServerName<'static>>,
    /// The version of HTTP that it gets.
    pub protocol: Protocol,
}

/// Those of a backend of which only the URL is written.
impl Default for BackendKeys {
    fn default() -> Self {
        Self { weight: None, max_in_flight: None, backup: false, protocol: None }
    }
}

/// The address of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A host name that is resolved, and a port.
    Name {
        /// The host name, in lower case.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// A parsed URL.
struct Location {
    name: String,
    address: Address,
    authority: String,
    server_name: Option<ServerName<'static>>,
}

impl Location {
    /// The backend at this URL, with defaults; `None`: its authority can't be a header field.
    fn backend(self) -> Option<Backend> {
        let authority = HeaderValue::from_str(&self.authority).ok()?;
        let (name, address, server_name) = (Arc::from(self.name), self.address, self.server_name);
        let protocol = Protocol::Http1;
        Some(Backend { name, address, authority, weight: 1, max_in_flight: None, backup: false, server_name, protocol })
    }
}

/// Why a URL is invalid: the cause, and a hint.
pub(in crate::config) type Refusal = (&'static str, &'static str);

/// Reads the backends of an upstream, or of a route with `backends`.
///
/// `weights_count`: whether the balancer uses weights. If it does not, a weight is reported. `protocol`: that of backends
/// without one of their own.
pub(in crate::config) fn all(
    section: &Section<'_>,
    key: &str,
    weights_count: bool,
    protocol: Protocol,
) -> Vec<Backend> {
    if section.is_empty_list(key) {
        let hint = "name at least one: backends = [\"http://10.0.0.1:8080\"]";
        section.report.add(section.at(key), "backends is empty", hint);
    }
    let mut names = HashSet::new();
    let mut backends = Vec::new();
    for entry in section.entries(key) {
        let (url, keys) = match entry {
            Entry::Text(url) => (Some(url), BackendKeys::default()),
            Entry::Section(table) => {
                check_weight(&table, weights_count);
                (table.text("url"), BackendKeys::of(&table))
            }
        };
        let Some((url, location)) = url.and_then(|url| located(section, &url).map(|location| (url, location))) else {
            continue;
        };
        if !names.insert(location.name.clone()) {
            let hint = "leave one out; a weight gives a backend a larger share";
            section.report.add(url.span.clone(), format!("backend {url} is named twice"), hint);
        }
        let BackendKeys { weight, max_in_flight, backup, protocol: own } = keys;
        let (weight, protocol) = (weight.unwrap_or(1), own.unwrap_or(protocol));
        let plain = location.backend();
        backends.extend(plain.map(|plain| Backend { weight, max_in_flight, backup, protocol, ..plain }));
    }
    if !backends.is_empty() && backends.iter().all(|backend| backend.backup) {
        let hint = "leave backup = true off at least one";
        section.report.add(section.at(key), "every backend is a backup", hint);
    }
    backends
}

/// Parses the URL of a backend.
///
/// # Errors
/// When the URL is malformed, or has more than scheme, host and port.
pub(in crate::config) fn of_url(url: &str) -> Result<Backend, Refusal> {
    location(url)?.backend().ok_or(("has no valid host", "write a host name, 10.0.0.1 or [2001:db8::1]"))
}

fn check_weight(table: &Section<'_>, weights_count: bool) {
    if table.has("weight") && !weights_count {
        let hint = "weights count with balance = \"weighted\", \"least-connections\", \"random\" or \"hash\"";
        table.report.add(table.at("weight"), "the balance of this upstream ignores weight", hint);
    }
}

fn located(section: &Section<'_>, url: &Text) -> Option<Location> {
    let location = location(&url.value);
    if let Err((cause, hint)) = location {
        section.report.add(url.span.clone(), format!("backend {url} {cause}"), hint);
    }
    location.ok()
}

/// Parses `http://host[:port]`, `http://[v6][:port]`, the same with `https`, or `unix:/path`.
fn location(url: &str) -> Result<Location, Refusal> {
    if let Some(path) = url.strip_prefix("unix:") {
        return unix(path);
    }
    let (scheme, rest) = url.split_once("://").ok_or(("has no scheme", "write http://host:port or unix:/path"))?;
    let scheme = Scheme::parse(scheme).ok_or(("has an unknown scheme", "write http://host:port or unix:/path"))?;
    if rest.contains('@') {
        return Err(("holds a user", "leave user and password out; set_request_headers can set authorization"));
    }
    if rest.contains(['?', '#']) {
        return Err(("holds a query or fragment", "write scheme, host and port only"));
    }
    if rest.contains('/') {
        return Err(("holds a path", "write scheme, host and port only; add_prefix on the route puts a path in front"));
    }
    let (host, port) = split_port(rest)?;
    authority(scheme, host, port.unwrap_or(scheme.default_port()))
}

/// Splits `host:port`, `[v6]:port` or either without a port.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), Refusal> {
    const BAD_PORT: Refusal = ("has a bad port", "ports are 1 to 65535");
    let colon = authority.rfind(':').filter(|colon| authority.rfind(']').is_none_or(|end| end < *colon));
    let Some((host, port)) = colon.and_then(|colon| authority.split_at_checked(colon)) else {
        return Ok((authority, None));
    };
    let digits = port.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let port = digits.and_then(|digits| digits.parse().ok()).filter(|port| *port > 0).ok_or(BAD_PORT)?;
    Ok((host, Some(port)))
}

fn authority(scheme: Scheme, host: &str, port: u16) -> Result<Location, Refusal> {
    const BAD_HOST: Refusal = ("has no valid host", "write a host name, 10.0.0.1 or [2001:db8::1]");
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let host = host.to_ascii_lowercase();
    let (host, address) = if let Some(inner) = bracketed {
        let ip: Ipv6Addr = inner.parse().map_err(|_| BAD_HOST)?;
        (format!("[{ip}]"), Address::Ip(SocketAddr::new(IpAddr::V6(ip), port)))
    } else if numeric {
        let ip: Ipv4Addr = host.parse().map_err(|_| BAD_HOST)?;
        (ip.to_string(), Address::Ip(SocketAddr::new(IpAddr::V4(ip), port)))
    } else if is_host_name(&host) {
        (host.clone(), Address::Name { host, port })
    } else {
        return Err(BAD_HOST);
    };
    let name = format!("{}://{host}:{port}", scheme.as_str());
    let authority = if port == scheme.default_port() { host } else { format!("{host}:{port}") };
    let server_name = match scheme {
        Scheme::Http => None,
        Scheme::Https => Some(server_name(&address)?),
    };
    Ok(Location { name, address, authority, server_name })
}

/// Parses the path of a Unix socket. The backend's `Host` is `localhost`, because a path can't be one.
fn unix(path: &str) -> Result<Location, Refusal> {
    let address = Address::Unix(unix_path(path)?);
    Ok(Location { name: format!("unix:{path}"), address, authority: "localhost".to_owned(), server_name: None })
}

/// The server name (SNI) of an address.
fn server_name(address: &Address) -> Result<ServerName<'static>, Refusal> {
    const BAD_NAME: Refusal = ("has a host that no certificate can be for", "write a DNS name or an address");
    match address {
        Address::Ip(address) => Ok(ServerName::from(address.ip())),
        Address::Name { host, .. } => ServerName::try_from(host.clone()).map_err(|_| BAD_NAME),
        Address::Unix(_) => Err(BAD_NAME),
    }
}

/// Checks the path of a Unix socket: absolute, at most 107 bytes, without control characters.
pub(in crate::config) fn unix_path(path: &str) -> Result<PathBuf, Refusal> {
    if !path.starts_with('/') {
        return Err(("has no absolute path", "write unix:/run/service.sock"));
    }
    if path.len() > UNIX_PATH_BYTES_MAX || path.chars().any(char::is_control) {
        return Err(("has an unusable path", "at most 107 bytes, without control characters"));
    }
    Ok(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_one_normal_form() {
        for (url, name, authority) in [
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080", "10.0.0.1:8080"),
            ("HTTP://Users.Internal", "http://users.internal:80", "users.internal"),
            ("http://users_1:9001", "http://users_1:9001", "users_1:9001"),
            ("http://[::1]", "http://[::1]:80", "[::1]"),
            ("https://Users.internal", "https://users.internal:443", "users.internal"),
            ("https://10.0.0.1:80", "https://10.0.0.1:80", "10.0.0.1:80"),
            ("http://[2001:DB8:0::1]:8080", "http://[2001:db8::1]:8080", "[2001:db8::1]:8080"),
            ("unix:/run/a.sock", "unix:/run/a.sock", "localhost"),
        ] {
            let location = location(url).unwrap_or_else(|(cause, _)| panic!("{url} {cause}"));
            assert_eq!((location.name.as_str(), location.authority.as_str()), (name, authority), "{url}");
        }
    }

    #[test]
    fn an_address_is_known_from_a_name() {
        assert_eq!(location("http://[::1]:81").ok().unwrap().address, Address::Ip("[::1]:81".parse().unwrap()));
        let name = Address::Name { host: "a.example".to_owned(), port: 80 };
        assert_eq!(location("http://A.example").ok().unwrap().address, name);
    }

    #[test]
    fn what_is_no_plain_http_origin_is_refused() {
        for (url, cause) in [
            ("10.0.0.1:8080", "has no scheme"),
            ("ftp://a", "has an unknown scheme"),
            ("http://user:pass@a", "holds a user"),
            ("http://a?x=1", "holds a query or fragment"),
            ("http://a#x", "holds a query or fragment"),
            ("http://a/", "holds a path"),
            ("http://a/path", "holds a path"),
            ("http://", "has no valid host"),
            ("http://:80", "has no valid host"),
            ("http://a:0", "has a bad port"),
            ("http://a:", "has a bad port"),
            ("http://a:+80", "has a bad port"),
            ("http://a:65536", "has a bad port"),
            ("http://1.2.3", "has no valid host"),
            ("http://::1", "has no valid host"),
            ("http://[::1", "has no valid host"),
            ("http://[zz]:80", "has no valid host"),
            ("http://bad host", "has no valid host"),
            ("http://-a", "has no valid host"),
            ("http://ä", "has no valid host"),
            ("https://app.1", "has a host that no certificate can be for"),
            ("https://app.0x1f", "has a host that no certificate can be for"),
            ("unix:run/a.sock", "has no absolute path"),
        ] {
            assert_eq!(location(url).err().map(|refusal| refusal.0), Some(cause), "{url}");
        }
        assert!(location(&format!("unix:/{}", "x".repeat(107))).is_err());
    }
}
