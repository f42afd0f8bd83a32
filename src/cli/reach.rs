//! How commands reach the admin listener of a running proxy: one request over HTTP/1.1, and what is printed of its
//! answer.
//!
//! Numbers go to standard output, refusals to standard error. What came from clients is printed without its control
//! characters, so that it can't play with a terminal.

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

/// The variable that holds the token when `--admin` names the listener.
const TOKEN_VARIABLE: &str = "FOREBAY_ADMIN_TOKEN";
/// How long a question and its answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Which admin listener to ask, and how to print the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Reach {
    /// Where the admin listener is, as 127.0.0.1:9900 or unix:/run/forebay/admin.sock, with $FOREBAY_ADMIN_TOKEN for its token [default: what the configuration says]
    #[arg(long, value_name = "ADDRESS", global = true)]
    admin: Option<String>,
    /// Print the answer as JSON, where the command has one
    #[arg(long, global = true)]
    json: bool,
}

/// A request to the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Its body, JSON; empty: none.
    pub body: Vec<u8>,
}

impl Question {
    /// A GET of this target.
    #[must_use]
    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self { method: Method::GET, target: target.into(), body: Vec::new() }
    }

    /// A POST to this target.
    #[must_use]
    pub(crate) fn post(target: impl Into<String>, body: Vec<u8>) -> Self {
        Self { method: Method::POST, target: target.into(), body }
    }
}

/// Why there is no answer that can be printed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(Problems),
    #[error("{} names no admin listener: say where it is with --admin ADDRESS", .0.display())]
    Nowhere(PathBuf),
    #[error("--admin {0:?} is neither HOST:PORT nor unix:PATH")]
    Address(String),
    #[error("the token is no text that a header can hold")]
    Token,
    #[error("no admin listener answers at {0}: {1}")]
    Connect(String, #[source] io::Error),
    #[error("no answer within {ANSWER_MAX:?}")]
    Late,
    #[error("no answer: {0}")]
    Broken(String),
    #[error("{message} ({status})")]
    Refused { status: StatusCode, message: String },
}

impl Reach {
    /// Whether the answer is printed as JSON.
    #[must_use]
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Asks the listener that `--admin` or else the configuration names, and prints what came: as it is with `--json`,
    /// else as `show` has it.
    pub(crate) fn tell<T: DeserializeOwned>(
        &self,
        config: &Path,
        question: Question,
        show: impl FnOnce(&T) -> String,
    ) -> ExitCode {
        print(self.ask(config, question).and_then(|answer| {
            let shown = show(&read(&answer)?);
            Ok(if self.json { String::from_utf8_lossy(&answer).into_owned() } else { shown })
        }))
    }

    /// Asks two questions, and prints what came: as it is with `--json`, one after the other, else as `show` has it.
    /// What the second asks for may be missing (404).
    pub(crate) fn tell_both<A: DeserializeOwned, B: DeserializeOwned>(
        &self,
        config: &Path,
        (first, second): (Question, Question),
        show: impl FnOnce(&A, Option<&B>) -> String,
    ) -> ExitCode {
        print(self.ask(config, first).and_then(|first| {
            let second = match self.ask(config, second) {
                Ok(answer) => Some(answer),
                Err(Failure::Refused { status: StatusCode::NOT_FOUND, .. }) => None,
                Err(failure) => return Err(failure),
            };
            let shown = show(&read(&first)?, second.as_deref().map(read).transpose()?.as_ref());
            let raw =
                || [first, second.unwrap_or_default()].map(|answer| String::from_utf8_lossy(&answer).into_owned());
            Ok(if self.json { raw().concat() } else { shown })
        }))
    }

    fn ask(&self, config: &Path, question: Question) -> Result<Bytes, Failure> {
        let (listen, token) = self.listener(config)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::Broken(error.to_string()))?;
        runtime.block_on(async {
            let answer = exchange(&listen, token, question);
            tokio::time::timeout(ANSWER_MAX, answer).await.unwrap_or(Err(Failure::Late))
        })
    }

    /// Where it is, and what to show there.
    fn listener(&self, config: &Path) -> Result<(Listen, Option<Token>), Failure> {
        let Some(named) = &self.admin else {
            let admin = config::load(config).map_err(Failure::Config)?.admin;
            let admin = admin.ok_or_else(|| Failure::Nowhere(config.to_owned()))?;
            return Ok((admin.listen, admin.token));
        };
        let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        Ok((address(named)?, token.as_deref().map(Token::new)))
    }
}

fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer).map_err(|error| Failure::Broken(error.to_string()))
}

fn print(answered: Result<String, Failure>) -> ExitCode {
    match answered {
        Ok(text) => output::answer(&text),
        Err(Failure::Config(problems)) => {
            output::complain(&problems.to_string());
            ExitCode::from(EXIT_USAGE)
        }
        Err(failure) => {
            output::complain(&format!("forebay: {}\n", printable(&failure.to_string())));
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

/// Where a listener is reached from its own machine: one that listens everywhere, on loopback.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

async fn exchange(listen: &Listen, token: Option<Token>, question: Question) -> Result<Bytes, Failure> {
    match listen {
        Listen::Ip(address) => {
            let address = near(*address);
            let stream = TcpStream::connect(address).await;
            let stream = stream.map_err(|error| Failure::Connect(address.to_string(), error))?;
            converse(stream, request(&address.to_string(), token, question)?).await
        }
        Listen::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            let stream = stream.map_err(|error| Failure::Connect(format!("unix:{}", path.display()), error))?;
            converse(stream, request("localhost", token, question)?).await
        }
    }
}

fn request(host: &str, token: Option<Token>, question: Question) -> Result<Request<Full<Bytes>>, Failure> {
    let mut request = Request::builder().method(question.method).uri(question.target).header(HOST, host);
    request = request.header(CONNECTION, "close");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
    }
    if !question.body.is_empty() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    // Host and target are ours: only the token can be unfit.
    request.body(Full::from(question.body)).map_err(|_| Failure::Token)
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Bytes, Failure> {
    let broken = |error: hyper::Error| Failure::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Its errors reach the sender, too.
    let _driven = tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Failure::Broken(error.to_string()))?.to_bytes();
    if head.status.is_success() {
        return Ok(body);
    }
    let told = serde_json::from_slice::<Problem>(&body).map(|problem| problem.error);
    let message = told.unwrap_or_else(|_| "the admin listener refuses".to_owned());
    Err(Failure::Refused { status: head.status, message })
}

/// A text as one segment of a path: all but letters, digits and `-._~` is percent-encoded (RFC 3986 §2.3).
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

/// A text of someone else's, fit for a terminal.
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
        assert_eq!(near("0.0.0.0:1".parse().unwrap()), "127.0.0.1:1".parse().unwrap());
        assert_eq!(near("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
        assert_eq!(near("10.0.0.1:1".parse().unwrap()), "10.0.0.1:1".parse().unwrap());
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
        let asked = |token: &str| request("a", Some(Token::new(token)), Question::get("/live"));
        assert!(asked("fine").is_ok());
        assert!(matches!(asked("a\nb"), Err(Failure::Token)));
    }
}
