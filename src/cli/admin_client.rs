//! A client of the admin API: sends one request over HTTP/1.1 and prints the response.
//!
//! Results go to standard output, errors to standard error. Control characters in values that may come from clients are
//! replaced, so that they can't change the state of a terminal.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::{EXIT_FAILED, EXIT_USAGE, output};
use crate::admin::api::Problem;
use crate::admin::{Listen, Token};
use crate::config;
use crate::config::problem::Problems;

/// The environment variable with the token, for `--admin`.
const TOKEN_VARIABLE: &str = "FOREBAY_ADMIN_TOKEN";
/// The longest time for a request and its response.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The longest response body, in bytes.
const RESPONSE_BYTES_MAX: usize = 16 << 20;

/// Options of all commands that use the admin API: the address of the listener, and the output format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct AdminClient {
    /// The address of the admin listener, as 127.0.0.1:9900 or unix:/run/forebay/admin.sock; its token is $FOREBAY_ADMIN_TOKEN [default: as in the configuration]
    #[arg(long, value_name = "ADDRESS", global = true)]
    admin: Option<String>,
    /// Print the result as JSON, where the command has one
    #[arg(long, global = true)]
    json: bool,
}

/// A request to the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AdminRequest {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Its body, as JSON; empty: none.
    pub body: Vec<u8>,
}

impl AdminRequest {
    /// A GET request.
    #[must_use]
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self { method: Method::GET, target: target.into(), body: Vec::new() }
    }

    /// A POST request.
    #[must_use]
    pub(crate) fn post(target: impl Into<String>, body: Vec<u8>) -> Self {
        Self { method: Method::POST, target: target.into(), body }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(Problems),
    #[error("{} has no [admin]: give the address of the admin listener with --admin ADDRESS", .0.display())]
    NoListener(PathBuf),
    #[error("--admin {0:?} is neither HOST:PORT nor unix:PATH")]
    Address(String),
    #[error("the token has characters that a header field can't have")]
    Token,
    #[error("no admin listener answers at {0}: {1}")]
    Connect(String, #[source] io::Error),
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    #[error("no answer: {0}")]
    Broken(String),
    #[error("{message} ({status})")]
    Status { status: StatusCode, message: String },
}

impl AdminClient {
    /// Whether `--json` is given.
    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Sends a request to the listener of `--admin`, else of the configuration, and prints the response: unchanged with
    /// `--json`, else formatted by `show`. Returns the exit code.
    pub(crate) fn print<T: DeserializeOwned>(
        &self,
        config: &Path,
        request: AdminRequest,
        show: impl FnOnce(&T) -> String,
    ) -> ExitCode {
        print_result(self.send(config, request).and_then(|answer| {
            let shown = show(&read(&answer)?);
            Ok(if self.json { String::from_utf8_lossy(&answer).into_owned() } else { shown })
        }))
    }

    /// As [`Self::print`], for two requests. The response to the second may be 404; then `show` gets `None`.
    pub(crate) fn print_both<A: DeserializeOwned, B: DeserializeOwned>(
        &self,
        config: &Path,
        (first, second): (AdminRequest, AdminRequest),
        show: impl FnOnce(&A, Option<&B>) -> String,
    ) -> ExitCode {
        print_result(self.send(config, first).and_then(|first| {
            let second = match self.send(config, second) {
                Ok(answer) => Some(answer),
                Err(Failure::Status { status: StatusCode::NOT_FOUND, .. }) => None,
                Err(failure) => return Err(failure),
            };
            let shown = show(&read(&first)?, second.as_deref().map(read).transpose()?.as_ref());
            let raw =
                || [first, second.unwrap_or_default()].map(|answer| String::from_utf8_lossy(&answer).into_owned());
            Ok(if self.json { raw().concat() } else { shown })
        }))
    }

    fn send(&self, config: &Path, request: AdminRequest) -> Result<Bytes, Failure> {
        let (listen, token) = self.listener(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Broken(error.to_string()))?;
        runtime.block_on(async {
            let answer = exchange(&listen, token, request);
            tokio::time::timeout(TIMEOUT, answer).await.unwrap_or(Err(Failure::Timeout))
        })
    }

    /// The address of the listener, and its token.
    fn listener(&self, config: &Path) -> Result<(Listen, Option<Token>), Failure> {
        let Some(named) = &self.admin else {
            let admin = config::load(config).map_err(Failure::Config)?.admin;
            let admin = admin.ok_or_else(|| Failure::NoListener(config.to_owned()))?;
            return Ok((admin.listen, admin.token));
        };
        let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        Ok((address(named)?, token.as_deref().map(Token::new)))
    }
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| Failure::Broken(error.to_string()))
}

fn print_result(answered: Result<String, Failure>) -> ExitCode {
    match answered {
        Ok(text) => output::print(&text),
        Err(Failure::Config(problems)) => {
            output::print_error(&problems.to_string());
            ExitCode::from(EXIT_USAGE)
        }
        Err(failure) => {
            output::print_error(&format!("forebay: {}\n", printable(&failure.to_string())));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn address(text: &str) -> Result<Listen, Failure> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
        return Ok(Listen::Unix(Path::new(path).to_owned()));
    }
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let found = bare.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.map(Listen::Ip).ok_or_else(|| Failure::Address(text.to_owned()))
}

/// The address to connect to: loopback for a listener on all addresses.
fn loopback_if_unspecified(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn exchange(listen: &Listen, token: Option<Token>, request: AdminRequest) -> Result<Bytes, Failure> {
    match listen {
        Listen::Ip(address) => {
            let address = loopback_if_unspecified(*address);
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|error| Failure::Connect(address.to_string(), error))?;
            send_on(stream, http_request(&address.to_string(), token, request)?).await
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            let stream = stream.map_err(|error| Failure::Connect(format!("unix:{}", path.display()), error))?;
            send_on(stream, http_request("localhost", token, request)?).await
        }
    }
}

fn http_request(host: &str, token: Option<Token>, request: AdminRequest) -> Result<Request<Full<Bytes>>, Failure> {
    let mut http = Request::builder().method(request.method).uri(request.target).header(HOST, host);
    http = http.header(CONNECTION, "close");
    if let Some(token) = token {
        http = http.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
    }
    if !request.body.is_empty() {
        http = http.header(CONTENT_TYPE, "application/json");
    }
    // Host and target are always valid: only the token can have invalid characters.
    http.body(Full::from(request.body)).map_err(|_| Failure::Token)
}

async fn send_on(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Bytes, Failure> {
    let broken = |error: hyper::Error| Failure::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // The sender gets the errors of the connection, too.
    let _driven = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, RESPONSE_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Failure::Broken(error.to_string()))?.to_bytes();
    if head.status.is_success() {
        return Ok(body);
    }
    let error = serde_json::from_slice::<Problem>(&body).map(|problem| problem.error);
    let message = error.unwrap_or_else(|_| "the admin listener refused the request".to_owned());
    Err(Failure::Status { status: head.status, message })
}

/// Percent-encodes a text as one segment of a path: all bytes but letters, digits and `-._~` (RFC 3986 §2.3).
#[must_use]
pub(crate) fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => segment.push(char::from(byte)),
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

/// Replaces control characters, so that a text can be printed to a terminal.
#[must_use]
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood() {
        let tcp = |text: &str| Listen::Ip(text.parse().unwrap());
        for (text, expected) in [
            ("127.0.0.1:9900", tcp("127.0.0.1:9900")),
            ("http://127.0.0.1:9900/", tcp("127.0.0.1:9900")),
            ("[::1]:9900", tcp("[::1]:9900")),
            ("unix:/run/a.sock", Listen::Unix("/run/a.sock".into())),
        ] {
            assert_eq!(address(text).unwrap(), expected, "{text}");
        }
        for text in ["", "unix:", "9900", "127.0.0.1", "https://127.0.0.1:9900"] {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_reached_on_loopback() {
        assert_eq!(loopback_if_unspecified("0.0.0.0:1".parse().unwrap()), "127.0.0.1:1".parse().unwrap());
        assert_eq!(loopback_if_unspecified("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
        assert_eq!(loopback_if_unspecified("10.0.0.1:1".parse().unwrap()), "10.0.0.1:1".parse().unwrap());
    }

    #[test]
    fn nothing_that_is_printed_can_play_with_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{9b}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
    }

    #[test]
    fn a_name_becomes_one_segment_of_a_path() {
        assert_eq!(segment("users-v2_a.b~C9"), "users-v2_a.b~C9");
        assert_eq!(segment("/api/a b?%é#"), "%2Fapi%2Fa%20b%3F%25%C3%A9%23");
    }

    #[test]
    fn a_token_that_no_header_can_hold_is_refused() {
        let request = |token: &str| http_request("a", Some(Token::new(token)), AdminRequest::get("/live"));
        assert!(request("fine").is_ok());
        assert!(matches!(request("a\nb"), Err(Failure::Token)));
    }
}
