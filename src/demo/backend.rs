//! The responses of the demo's backends.
//!
//! | path | response |
//! |---|---|
//! | `/`, `/hello` | the port and kind of the backend |
//! | `/healthz` | 200, in every mode |
//! | `/events` | server-sent events, one a second |
//! | `/echo` | the request's body |
//! | `/bytes/N` | N bytes, at most a GiB |
//! | `/tunnel` | with `Upgrade`: 101, then an echo of every byte |
//! | `/control` | on a backend with faults: shows the mode, or sets it |
//! | `/users`, `/users/N` | on the old and the new service: people, as JSON |
//! | all others | a document: GET, HEAD, PUT, POST to a collection, DELETE |

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::body::{self, Body, ReadError};
use super::fault::{Fault, Mode};
use super::people::{self, Version};
use super::store::{DOCUMENT_BYTES_MAX, Document, Full, Store, Stored};

/// How long the slow backend takes for each response.
const SLOW_BACKEND_DELAY: Duration = Duration::from_millis(200);

/// How long mode `slow` delays each response.
const SLOW_MODE_DELAY: Duration = Duration::from_millis(50);

/// The longest time that a request hangs in mode `hang`.
const HANG_MAX: Duration = Duration::from_secs(120);

/// The most bytes that `/bytes/N` sends: a GiB.
const FILLER_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The most tunnels of one backend at once.
const TUNNELS_MAX: usize = 256;

const X_BACKEND: HeaderName = HeaderName::from_static("x-backend");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The kind of a backend.
#[derive(Debug)]
pub(super) enum Kind {
    /// Responds at once.
    Plain,
    /// Takes 200 ms for each response.
    Slow,
    /// Simulates faults on request.
    Faulty(Fault),
    /// The old service of the migration: it also serves people.
    Legacy,
    /// The new service of the migration, which simulates faults on request, too.
    Successor(Fault),
}

/// One backend.
#[derive(Debug)]
pub(super) struct Backend {
    label: HeaderValue,
    greeting: Bytes,
    kind: Kind,
    store: Arc<Mutex<Store>>,
    tunnels: Arc<Semaphore>,
}

/// The response is a TCP reset.
#[derive(Debug, thiserror::Error)]
#[error("reset, as asked")]
pub(super) struct Reset;

/// Whether a connection ended because its response is a TCP reset.
pub(super) fn wants_reset(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Reset>())
}

impl Backend {
    /// The backend on this port.
    pub(super) fn new(port: u16, kind: Kind, store: Arc<Mutex<Store>>) -> Self {
        let description = match kind {
            Kind::Plain => "a document store",
            Kind::Slow => "slow: 200 ms an answer",
            Kind::Faulty(_) => "fails on request",
            Kind::Legacy => "the old service",
            Kind::Successor(_) => "the new service, fails on request",
        };
        Self {
            label: HeaderValue::from(port),
            greeting: Bytes::from(format!("hello from the backend on port {port} ({description})\n")),
            kind,
            store,
            tunnels: Arc::new(Semaphore::new(TUNNELS_MAX)),
        }
    }

    /// Which version of the people it serves; `None`: it serves none.
    fn version(&self) -> Option<Version> {
        match &self.kind {
            Kind::Plain | Kind::Slow | Kind::Faulty(_) => None,
            Kind::Legacy => Some(Version::Legacy),
            Kind::Successor(fault) if fault.mode() == Mode::Fixed => Some(Version::Fixed),
            Kind::Successor(_) => Some(Version::New),
        }
    }
}

/// Handles one request. Each response has the port of the backend in `x-backend`.
///
/// # Errors
///
/// [`Reset`] in mode `reset`.
pub(super) async fn answer(backend: Arc<Backend>, request: Request<Incoming>) -> Result<Response<Body>, Reset> {
    let mut response = match &backend.kind {
        Kind::Plain | Kind::Legacy => serve(&backend, request).await,
        Kind::Slow => {
            tokio::time::sleep(SLOW_BACKEND_DELAY).await;
            serve(&backend, request).await
        }
        Kind::Faulty(fault) | Kind::Successor(fault) => with_faults(&backend, fault, request).await?,
    };
    response.headers_mut().insert(X_BACKEND, backend.label.clone());
    Ok(response)
}

async fn with_faults(backend: &Backend, fault: &Fault, request: Request<Incoming>) -> Result<Response<Body>, Reset> {
    match request.uri().path() {
        "/healthz" => return Ok(serve(backend, request).await),
        "/control" => return Ok(control(fault, &request)),
        _ => {}
    }
    match fault.mode() {
        Mode::Fail => Ok(text(StatusCode::INTERNAL_SERVER_ERROR, "failing, as asked\n")),
        Mode::Flaky if fault.next_fails() => Ok(text(StatusCode::INTERNAL_SERVER_ERROR, "unlucky, as asked\n")),
        Mode::Ok | Mode::Fixed | Mode::Flaky => Ok(serve(backend, request).await),
        Mode::Slow => {
            tokio::time::sleep(SLOW_MODE_DELAY).await;
            Ok(serve(backend, request).await)
        }
        Mode::Hang => {
            tokio::time::sleep(HANG_MAX).await;
            Err(Reset)
        }
        Mode::Truncate => Ok(typed(StatusCode::OK, TEXT, Body::truncated("this is not all of i"))),
        Mode::Reset => Err(Reset),
    }
}

fn control(fault: &Fault, request: &Request<Incoming>) -> Response<Body> {
    if request.method() == Method::POST {
        let Some(mode) = Mode::parse(request.uri().query()) else {
            let words = Mode::WORDS.map(|(word, _)| word).join("|");
            return text(StatusCode::BAD_REQUEST, format!("POST /control?mode={words}\n"));
        };
        fault.set(mode);
    }
    text(StatusCode::OK, format!("mode={}\n", fault.mode().word()))
}

async fn serve(backend: &Backend, request: Request<Incoming>) -> Response<Body> {
    match request.uri().path() {
        "/" | "/hello" => get_only(&request, || typed(StatusCode::OK, TEXT, Body::whole(backend.greeting.clone()))),
        "/healthz" => get_only(&request, || text(StatusCode::OK, "ok\n")),
        "/events" => get_only(&request, events),
        "/echo" => echo(request),
        "/tunnel" => tunnel(backend, request),
        path => match path.strip_prefix("/bytes/") {
            Some(count) => get_only(&request, || filler(count)),
            None => match backend.version() {
                Some(version) if path == "/users" || path.starts_with("/users/") => {
                    get_only(&request, || people(version, path))
                }
                Some(_) | None => document(backend, request).await,
            },
        },
    }
}

/// The response for GET and HEAD, 405 for other methods.
fn get_only(request: &Request<Incoming>, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    match *request.method() {
        Method::GET | Method::HEAD => answer(),
        _ => not_allowed("GET, HEAD"),
    }
}

fn people(version: Version, path: &str) -> Response<Body> {
    match people::response(version, path) {
        Some(json) => typed(StatusCode::OK, JSON, Body::whole(json)),
        None => text(StatusCode::NOT_FOUND, "no user has this number\n"),
    }
}

fn events() -> Response<Body> {
    let mut response = typed(StatusCode::OK, HeaderValue::from_static("text/event-stream"), Body::ticks());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn echo(request: Request<Incoming>) -> Response<Body> {
    let content_type = request.headers().get(CONTENT_TYPE).cloned().unwrap_or(BINARY);
    typed(StatusCode::OK, content_type, Body::Echo(request.into_body()))
}

fn filler(count: &str) -> Response<Body> {
    match count.parse() {
        Ok(count) if count <= FILLER_BYTES_MAX => typed(StatusCode::OK, BINARY, Body::Filler(count)),
        Ok(_) | Err(_) => text(StatusCode::BAD_REQUEST, format!("/bytes/N: N is a number up to {FILLER_BYTES_MAX}\n")),
    }
}

fn tunnel(backend: &Backend, request: Request<Incoming>) -> Response<Body> {
    let Some(protocol) = request.headers().get(UPGRADE).cloned() else {
        return text(StatusCode::UPGRADE_REQUIRED, "this path wants an Upgrade field; then it echoes every byte\n");
    };
    let Ok(permit) = Arc::clone(&backend.tunnels).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many tunnels are open\n");
    };
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
            // An error ends the tunnel like the end of the stream.
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
        drop(permit);
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().insert(UPGRADE, protocol);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

async fn document(backend: &Backend, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    match *request.method() {
        Method::GET | Method::HEAD => match backend.store.lock().get(path) {
            Some(document) => show(document, request.headers()),
            None => text(StatusCode::NOT_FOUND, "there is no such document; PUT makes one\n"),
        },
        Method::PUT => {
            let path = path.to_owned();
            match read_document(request).await {
                Ok(document) => put(backend, &path, document),
                Err(error) => refuse(&error),
            }
        }
        Method::POST => {
            let path = path.to_owned();
            match read_document(request).await {
                Ok(document) => add(backend, &path, document),
                Err(error) => refuse(&error),
            }
        }
        Method::DELETE if backend.store.lock().remove(path) => plain(StatusCode::NO_CONTENT),
        Method::DELETE => text(StatusCode::NOT_FOUND, "there is no such document\n"),
        _ => not_allowed("GET, HEAD, PUT, POST, DELETE"),
    }
}

fn show(document: &Document, asked: &HeaderMap) -> Response<Body> {
    let etag = etag(document.revision);
    let known = asked.get(IF_NONE_MATCH).is_some_and(|held| etag.as_ref() == Some(held));
    let mut response = if known {
        plain(StatusCode::NOT_MODIFIED)
    } else {
        typed(StatusCode::OK, document.content_type.clone(), Body::whole(document.body.clone()))
    };
    if let Some(etag) = etag {
        response.headers_mut().insert(ETAG, etag);
    }
    response.headers_mut().insert(LAST_MODIFIED, document.modified.clone());
    response
}

fn etag(revision: u64) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{revision}\"")).ok()
}

async fn read_document(request: Request<Incoming>) -> Result<Document, ReadError> {
    let content_type = request.headers().get(CONTENT_TYPE).cloned().unwrap_or(BINARY);
    let body = body::read(request.into_body(), DOCUMENT_BYTES_MAX).await?;
    let modified = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())).unwrap_or(TEXT);
    Ok(Document { content_type, body, modified, revision: 0 })
}

fn refuse(error: &ReadError) -> Response<Body> {
    match error {
        ReadError::TooLong => {
            text(StatusCode::PAYLOAD_TOO_LARGE, format!("a document holds at most {DOCUMENT_BYTES_MAX} bytes\n"))
        }
        ReadError::Broken => text(StatusCode::BAD_REQUEST, "the body broke off\n"),
    }
}

fn put(backend: &Backend, path: &str, document: Document) -> Response<Body> {
    match backend.store.lock().put(path, document) {
        Ok(Stored::Created) => text(StatusCode::CREATED, "created\n"),
        Ok(Stored::Replaced) => plain(StatusCode::NO_CONTENT),
        Err(Full) => full(),
    }
}

fn add(backend: &Backend, collection: &str, document: Document) -> Response<Body> {
    let added = backend.store.lock().add(collection, document);
    match added {
        Ok(path) => {
            let mut response = text(StatusCode::CREATED, format!("{path}\n"));
            if let Ok(location) = HeaderValue::try_from(path) {
                response.headers_mut().insert(LOCATION, location);
            }
            response
        }
        Err(Full) => full(),
    }
}

fn full() -> Response<Body> {
    text(StatusCode::INSUFFICIENT_STORAGE, "the store is full; DELETE something\n")
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("allowed here: {methods}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

fn text(status: StatusCode, words: impl Into<Bytes>) -> Response<Body> {
    typed(status, TEXT, Body::whole(words))
}

fn typed(status: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Whole(None));
    *response.status_mut() = status;
    response
}
