//! What one backend of the demo answers.
//!
//! | path | answer |
//! |---|---|
//! | `/`, `/hello` | which backend this is |
//! | `/healthz` | 200, whatever its mood |
//! | `/events` | server-sent events, one a second |
//! | `/echo` | the request's body |
//! | `/bytes/N` | N bytes, at most a GiB |
//! | `/tunnel` | with `Upgrade`: 101, then every byte comes back |
//! | `/control` | the mood of one that can be told to fail |
//! | `/users`, `/users/N` | on the old and the new service: people, in JSON |
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

use super::body::{self, Body, Unread};
use super::mood::{Mode, Mood};
use super::people::{self, Edition};
use super::store::{DOCUMENT_BYTES_MAX, Document, Full, Store, Stored};

/// How long the slow backend takes for each answer.
const SLOWNESS: Duration = Duration::from_millis(200);

/// How much longer one takes that was told to be slow.
const SLUGGISHNESS: Duration = Duration::from_millis(50);

/// How long a hanging answer hangs at most, so that nothing stays for ever.
const HANG_MAX: Duration = Duration::from_secs(120);

/// The most bytes that `/bytes/N` sends: a GiB.
const FILLER_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Echo tunnels open at once on one backend.
const TUNNELS_MAX: usize = 256;

const X_BACKEND: HeaderName = HeaderName::from_static("x-backend");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What kind of backend it is.
#[derive(Debug)]
pub(super) enum Character {
    /// Answers at once.
    Steady,
    /// Takes 200 ms for each answer.
    Slow,
    /// Can be told to fail.
    Moody(Mood),
    /// The old service: a monolith that knows people, too.
    Legacy,
    /// The new service, which is to take its place; can be told to fail.
    Successor(Mood),
}

/// One backend.
#[derive(Debug)]
pub(super) struct Site {
    label: HeaderValue,
    greeting: Bytes,
    character: Character,
    store: Arc<Mutex<Store>>,
    tunnels: Arc<Semaphore>,
}

/// An answer that is a TCP reset.
#[derive(Debug, thiserror::Error)]
#[error("reset, as asked")]
pub(super) struct Reset;

/// Whether a connection ended because an answer was to be a TCP reset.
pub(super) fn wants_reset(error: &hyper::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Reset>())
}

impl Site {
    /// The backend on this port.
    pub(super) fn new(port: u16, character: Character, store: Arc<Mutex<Store>>) -> Self {
        let kind = match character {
            Character::Steady => "a document store",
            Character::Slow => "slow: 200 ms an answer",
            Character::Moody(_) => "fails on request",
            Character::Legacy => "the old service",
            Character::Successor(_) => "the new service, fails on request",
        };
        Self {
            label: HeaderValue::from(port),
            greeting: Bytes::from(format!("hello from the backend on port {port} ({kind})\n")),
            character,
            store,
            tunnels: Arc::new(Semaphore::new(TUNNELS_MAX)),
        }
    }

    /// Which list of people it has.
    fn edition(&self) -> Option<Edition> {
        match &self.character {
            Character::Steady | Character::Slow | Character::Moody(_) => None,
            Character::Legacy => Some(Edition::Legacy),
            Character::Successor(mood) if mood.now() == Mode::Fixed => Some(Edition::Fixed),
            Character::Successor(_) => Some(Edition::New),
        }
    }
}

/// Answers one request; each answer says in `x-backend` who gave it.
///
/// # Errors
///
/// [`Reset`] when the backend was told to reset connections.
pub(super) async fn answer(site: Arc<Site>, request: Request<Incoming>) -> Result<Response<Body>, Reset> {
    let mut response = match &site.character {
        Character::Steady | Character::Legacy => serve(&site, request).await,
        Character::Slow => {
            tokio::time::sleep(SLOWNESS).await;
            serve(&site, request).await
        }
        Character::Moody(mood) | Character::Successor(mood) => moody(&site, mood, request).await?,
    };
    response.headers_mut().insert(X_BACKEND, site.label.clone());
    Ok(response)
}

async fn moody(site: &Site, mood: &Mood, request: Request<Incoming>) -> Result<Response<Body>, Reset> {
    match request.uri().path() {
        "/healthz" => return Ok(serve(site, request).await),
        "/control" => return Ok(control(mood, &request)),
        _ => {}
    }
    match mood.now() {
        Mode::Fail => Ok(text(StatusCode::INTERNAL_SERVER_ERROR, "failing, as asked\n")),
        Mode::Flaky if mood.is_unlucky() => Ok(text(StatusCode::INTERNAL_SERVER_ERROR, "unlucky, as asked\n")),
        Mode::Ok | Mode::Fixed | Mode::Flaky => Ok(serve(site, request).await),
        Mode::Slow => {
            tokio::time::sleep(SLUGGISHNESS).await;
            Ok(serve(site, request).await)
        }
        Mode::Hang => {
            tokio::time::sleep(HANG_MAX).await;
            Err(Reset)
        }
        Mode::Truncate => Ok(typed(StatusCode::OK, TEXT, Body::cut("this is not all of i"))),
        Mode::Reset => Err(Reset),
    }
}

fn control(mood: &Mood, request: &Request<Incoming>) -> Response<Body> {
    if request.method() == Method::POST {
        let Some(mode) = Mode::asked(request.uri().query()) else {
            let words = Mode::WORDS.map(|(word, _)| word).join("|");
            return text(StatusCode::BAD_REQUEST, format!("POST /control?mode={words}\n"));
        };
        mood.turn(mode);
    }
    text(StatusCode::OK, format!("mode={}\n", mood.now().word()))
}

async fn serve(site: &Site, request: Request<Incoming>) -> Response<Body> {
    match request.uri().path() {
        "/" | "/hello" => reading(&request, || typed(StatusCode::OK, TEXT, Body::whole(site.greeting.clone()))),
        "/healthz" => reading(&request, || text(StatusCode::OK, "ok\n")),
        "/events" => reading(&request, events),
        "/echo" => echo(request),
        "/tunnel" => tunnel(site, request),
        path => match path.strip_prefix("/bytes/") {
            Some(count) => reading(&request, || filler(count)),
            None => match site.edition() {
                Some(edition) if path == "/users" || path.starts_with("/users/") => {
                    reading(&request, || people(edition, path))
                }
                Some(_) | None => document(site, request).await,
            },
        },
    }
}

/// The answer if the request only reads, 405 otherwise.
fn reading(request: &Request<Incoming>, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    match *request.method() {
        Method::GET | Method::HEAD => answer(),
        _ => not_allowed("GET, HEAD"),
    }
}

fn people(edition: Edition, path: &str) -> Response<Body> {
    match people::tell(edition, path) {
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

fn tunnel(site: &Site, request: Request<Incoming>) -> Response<Body> {
    let Some(protocol) = request.headers().get(UPGRADE).cloned() else {
        return text(StatusCode::UPGRADE_REQUIRED, "this path wants an Upgrade field; then it echoes every byte\n");
    };
    let Ok(seat) = Arc::clone(&site.tunnels).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many tunnels are open\n");
    };
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
            // However it ends, the tunnel is over.
            let _ = tokio::io::copy(&mut from, &mut to).await;
        }
        drop(seat);
    });
    let mut response = plain(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().insert(UPGRADE, protocol);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response
}

async fn document(site: &Site, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    match *request.method() {
        Method::GET | Method::HEAD => match site.store.lock().get(path) {
            Some(document) => show(document, request.headers()),
            None => text(StatusCode::NOT_FOUND, "there is no such document; PUT makes one\n"),
        },
        Method::PUT => {
            let path = path.to_owned();
            match take(request).await {
                Ok(document) => put(site, &path, document),
                Err(unread) => refuse(&unread),
            }
        }
        Method::POST => {
            let path = path.to_owned();
            match take(request).await {
                Ok(document) => add(site, &path, document),
                Err(unread) => refuse(&unread),
            }
        }
        Method::DELETE if site.store.lock().remove(path) => plain(StatusCode::NO_CONTENT),
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

async fn take(request: Request<Incoming>) -> Result<Document, Unread> {
    let content_type = request.headers().get(CONTENT_TYPE).cloned().unwrap_or(BINARY);
    let body = body::read(request.into_body(), DOCUMENT_BYTES_MAX).await?;
    let modified = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())).unwrap_or(TEXT);
    Ok(Document { content_type, body, modified, revision: 0 })
}

fn refuse(unread: &Unread) -> Response<Body> {
    match unread {
        Unread::TooLong => {
            text(StatusCode::PAYLOAD_TOO_LARGE, format!("a document holds at most {DOCUMENT_BYTES_MAX} bytes\n"))
        }
        Unread::Broken => text(StatusCode::BAD_REQUEST, "the body broke off\n"),
    }
}

fn put(site: &Site, path: &str, document: Document) -> Response<Body> {
    match site.store.lock().put(path, document) {
        Ok(Stored::Created) => text(StatusCode::CREATED, "created\n"),
        Ok(Stored::Replaced) => plain(StatusCode::NO_CONTENT),
        Err(Full) => full(),
    }
}

fn add(site: &Site, collection: &str, document: Document) -> Response<Body> {
    let added = site.store.lock().add(collection, document);
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
