//! The workloads: the proxy's configuration, the request, and the expected response.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policy::route::sticky::Signer;

use crate::Outcome;

/// The secret for the cookie of [`Kind::Split`], so that the client can send a valid one from the first request on.
const SECRET: &str = "not-a-secret-at-all";

/// The fields that a browser sends besides `Host`, as text lines.
const BROWSER: &str = include_str!("../browser.txt");

/// The body of responses and uploads: 1 KiB.
pub(crate) static BODY: [u8; 1024] = [b'.'; 1024];

/// The kind of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Forward a GET.
    Pass,
    /// The same with the access log.
    Logged,
    /// Answer a GET from the cache.
    Hit,
    /// Forward a GET to one side of a split, according to the client's cookie, and set the cookie.
    Split,
    /// Forward a POST of 1 KiB.
    Post,
}

/// A workload.
pub(crate) struct Work {
    /// Its name in the record.
    pub(crate) name: &'static str,
    kind: Kind,
    /// The request, which is sent repeatedly.
    pub(crate) request: Vec<u8>,
}

/// All workloads.
///
/// # Errors
/// If the clock is before 1970.
pub(crate) fn all() -> Outcome<Vec<Work>> {
    let number = Signer::new(SECRET.as_bytes()).issue(7, SystemTime::now().duration_since(UNIX_EPOCH)?);
    let cookie = format!("Cookie: theme=dark; forebay_side={number}\r\n");
    Ok(vec![
        Work { name: "pass", kind: Kind::Pass, request: request("GET", "", b"") },
        Work { name: "logged", kind: Kind::Logged, request: request("GET", "", b"") },
        Work { name: "hit", kind: Kind::Hit, request: request("GET", "", b"") },
        Work { name: "split", kind: Kind::Split, request: request("GET", &cookie, b"") },
        Work { name: "post", kind: Kind::Post, request: request("POST", "Content-Length: 1024\r\n", &BODY) },
        Work { name: "browser-pass", kind: Kind::Pass, request: browser_request() },
        Work { name: "browser-hit", kind: Kind::Hit, request: browser_request() },
    ])
}

impl Work {
    /// The proxy's configuration.
    pub(crate) fn config(&self, backend: SocketAddr) -> String {
        let log = if self.kind == Kind::Logged { "json" } else { "off" };
        let route = match self.kind {
            Kind::Pass | Kind::Logged | Kind::Post => format!("backends = [\"http://{backend}\"]\n"),
            Kind::Hit => format!("backends = [\"http://{backend}\"]\n[route.cache]\n"),
            Kind::Split => format!(
                "split = [{{ upstream = \"new\", weight = 20 }}, {{ upstream = \"old\", weight = 80 }}]\n\
                 sticky = \"cookie\"\nsticky_cookie = {{ secret = \"{SECRET}\" }}\nside_header = \"x-side\"\n\
                 [[upstream]]\nname = \"new\"\nbackends = [\"http://{backend}\"]\n\
                 [[upstream]]\nname = \"old\"\nbackends = [\"http://{backend}\"]\n"
            ),
        };
        format!(
            "listen = [\"127.0.0.1:0\"]\nserver = {{ workers = 1 }}\n\
             log = {{ access = \"{log}\" }}\n[[route]]\npath = \"/\"\n{route}"
        )
    }

    /// Whether the `nth` request of a run reaches the backend.
    pub(crate) fn asks_backend(&self, nth: u32) -> bool {
        match self.kind {
            Kind::Pass | Kind::Logged | Kind::Split | Kind::Post => true,
            Kind::Hit => nth == 0,
        }
    }

    /// Whether this is the expected response; the head in lower case.
    pub(crate) fn is_answered(&self, head: &str, body: &[u8]) -> bool {
        let sign = match self.kind {
            Kind::Pass | Kind::Logged | Kind::Post => "via: ",
            Kind::Hit => "cache-status: forebay; ",
            Kind::Split => "x-side: old; by=sticky\r\n",
        };
        head.starts_with("http/1.1 200 ") && head.contains(sign) && body == BODY
    }
}

/// A request with five common fields and these.
fn request(method: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} /things/17?size=small HTTP/1.1\r\nHost: shop.example.com\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, br\r\n{fields}\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// The same request with the thirteen fields of a browser.
fn browser_request() -> Vec<u8> {
    let fields: String = BROWSER.lines().map(|line| format!("{line}\r\n")).collect();
    format!("GET /things/17?size=small HTTP/1.1\r\nHost: shop.example.com\r\n{fields}\r\n").into_bytes()
}

/// The response of the backend, fresh for a day.
pub(crate) fn answer() -> Vec<u8> {
    let date = httpdate::fmt_http_date(SystemTime::now());
    let expires = httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(24));
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: things\r\nDate: {date}\r\nContent-Type: text/html; charset=utf-8\r\n\
         ETag: \"17-small\"\r\nCache-Control: public, max-age=86400\r\nExpires: {expires}\r\nContent-Length: {}\r\n\r\n",
        BODY.len()
    );
    [head.as_bytes(), &BODY].concat()
}
