//! Every endpoint, in one table: method, path, what answers it, and whether it needs the token.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::error_handling::HandleErrorLayer;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::load_shed::LoadShedLayer;
use tower::timeout::TimeoutLayer;
use tower::{BoxError, ServiceBuilder};

use super::api::{self, Flushing, Outcome, Problem, Purged, Settled, Status, Touched};
use super::guard::{self, Guard, REQUEST_BYTES_MAX};
use super::{Done, Order, Part, Readiness, Refusal, Service, metrics};
use crate::telemetry::exposition;

mod rollout;

/// How long an answer may take, its request's body too.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// For how long an answer waits until all is swept: less than an answer may take.
const SWEPT_MAX: Duration = Duration::from_secs(8);
/// Requests answered at once; more get 503.
const REQUESTS_MAX: usize = 32;
/// How many writes are listed when the request does not say.
const PAGE: usize = 100;
/// The most writes listed at once.
const PAGE_MAX: usize = 1000;

/// What describes the API.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

type Shared = Arc<dyn Service>;
type Answer = Result<Response, Refusal>;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// Anybody who gets here: checks of health have no secrets.
    All,
    /// Who shows the token.
    Token,
}

struct Endpoint {
    method: &'static str,
    path: &'static str,
    audience: For,
    answer: MethodRouter<Shared>,
}

fn table() -> Vec<Endpoint> {
    let to_get = |path, audience, answer| Endpoint { method: "get", path, audience, answer };
    let to_post = |path, answer| Endpoint { method: "post", path, audience: For::Token, answer };
    vec![
        to_get("/live", For::All, get(live)),
        to_get("/ready", For::All, get(ready)),
        to_get("/metrics", For::Token, get(numbers)),
        to_get("/api/v1/openapi.json", For::Token, get(openapi)),
        to_post("/api/v1/purge", post(purge)),
        to_post("/api/v1/events", post(event)),
        to_get("/api/v1/journal", For::Token, get(journal)),
        to_post("/api/v1/journal/flush", post(flush)),
        to_get("/api/v1/journal/{seq}", For::Token, get(write)),
        to_post("/api/v1/journal/{seq}/retry", post(retry)),
        to_post("/api/v1/journal/{seq}/discard", post(discard)),
        to_get("/api/v1/split", For::Token, get(rollout::splits)),
        to_get("/api/v1/split/{route}", For::Token, get(rollout::split)),
        to_post("/api/v1/split/{route}", post(rollout::set_split)),
        to_post("/api/v1/split/{route}/reset", post(rollout::reset_split)),
        to_get("/api/v1/canary", For::Token, get(rollout::canaries)),
        to_get("/api/v1/canary/{route}", For::Token, get(rollout::canary)),
        to_post("/api/v1/canary/{route}/pause", rollout::directs(Order::Pause)),
        to_post("/api/v1/canary/{route}/resume", rollout::directs(Order::Resume)),
        to_post("/api/v1/canary/{route}/promote", rollout::directs(Order::Promote)),
        to_post("/api/v1/canary/{route}/abort", rollout::directs(Order::Abort)),
        to_post("/api/v1/canary/{route}/restart", rollout::directs(Order::Restart)),
        to_get("/api/v1/mirror", For::Token, get(rollout::mirrors)),
        to_get("/api/v1/mirror/{route}", For::Token, get(rollout::mirror)),
        to_post("/api/v1/mirror/{route}/reset", post(rollout::reset_mirror)),
    ]
}

/// Each endpoint's method, in lower case, and path, a variable part of it in braces.
#[must_use]
pub fn endpoints() -> Vec<(&'static str, &'static str)> {
    table().into_iter().map(|endpoint| (endpoint.method, endpoint.path)).collect()
}

/// The whole stack: outermost who may ask, innermost what is answered.
pub(super) fn router(guard: Guard, house: Shared) -> Router {
    let guard = Arc::new(guard);
    let (mut open, mut closed) = (Router::new(), Router::new());
    for endpoint in table() {
        match endpoint.audience {
            For::All => open = open.route(endpoint.path, endpoint.answer),
            For::Token => closed = closed.route(endpoint.path, endpoint.answer),
        }
    }
    let limits = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(busy_or_late))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_MAX))
        .layer(TimeoutLayer::new(ANSWER_MAX));
    let closed = closed.layer(limits).layer(from_fn_with_state(Arc::clone(&guard), guard::token));
    open.merge(closed)
        .fallback(|| async { Refusal::new(StatusCode::NOT_FOUND, "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this method means nothing here")
        })
        .layer(from_fn(guard::contain))
        .layer(from_fn_with_state(guard, guard::door))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(house)
}

async fn busy_or_late(error: BoxError) -> Refusal {
    let late = error.is::<tower::timeout::error::Elapsed>();
    let message = if late { "this took too long" } else { "too many requests at once" };
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)
}

impl Refusal {
    /// The request's body is longer than any may be.
    pub(super) fn too_long() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has {REQUEST_BYTES_MAX} bytes at most"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json(self.status, &Problem { error: self.message })
    }
}

fn json(status: StatusCode, answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(mut text) => {
            text.push(b'\n');
            (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
        }
        // Nothing of ours is so: no map has keys that are no text.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn live() -> Response {
    json(StatusCode::OK, &Status { status: "live".to_owned() })
}

async fn ready(State(house): State<Shared>) -> Response {
    let (status, text) = match house.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready"),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    json(status, &Status { status: text.to_owned() })
}

async fn numbers(State(house): State<Shared>) -> Response {
    let rollout = metrics::Rollout { splits: house.splits(), canaries: house.canaries(), mirrors: house.mirrors() };
    let text = metrics::text(&house.facts(), house.readiness(), &rollout);
    ([(CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE))], text).into_response()
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI).into_response()
}

async fn purge(State(house): State<Shared>, body: Result<Bytes, BytesRejection>) -> Answer {
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message);
    let order: api::PurgeOrder = serde_json::from_slice(&whole(body)?)
        .map_err(|error| bad(format!("the body is no order to purge: {error}")))?;
    let what = order.purge().map_err(bad)?;
    let done = aside(move || house.purge(&what, order.soft)).await?;
    let (epoch, purged) = counted(done, order.wait).await;
    Ok(json(StatusCode::OK, &Purged { epoch, purged }))
}

/// The query of `POST /api/v1/events`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivery {
    #[serde(default)]
    wait: bool,
}

async fn event(
    State(house): State<Shared>,
    query: Result<Query<Delivery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let Query(Delivery { wait }) = query.map_err(bad_query)?;
    let body = whole(body)?;
    let done = aside(move || house.event(&headers.into(), &body)).await?;
    let (epoch, touched) = counted(done, wait).await;
    Ok(json(StatusCode::OK, &Touched { epoch, touched }))
}

/// The epoch of what was banned, and how many responses were touched, as far as that is known, or is to be waited for.
async fn counted(done: Done, waits: bool) -> (Option<u64>, Option<u64>) {
    let Some(sweep) = done.sweep else { return (None, Some(done.counted)) };
    let swept = if waits { tokio::time::timeout(SWEPT_MAX, sweep.touched).await.ok() } else { None };
    (Some(sweep.epoch), swept.map(|touched| done.counted + touched))
}

fn bad_query(rejection: QueryRejection) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, rejection.body_text())
}

fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, Refusal> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::too_long(),
        status => Refusal::new(status, "the body could not be read"),
    })
}

/// Does what may take long on a thread where it keeps nobody waiting.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    let failed = |_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
    tokio::task::spawn_blocking(work).await.map_err(failed)?
}

/// The query of `GET /api/v1/journal`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    state: Option<api::State>,
    limit: Option<usize>,
    after: Option<u64>,
}

async fn journal(State(house): State<Shared>, query: Result<Query<Listing>, QueryRejection>) -> Answer {
    let Query(Listing { state, limit, after }) = query.map_err(bad_query)?;
    let limit = limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, format!("limit is a number from 1 to {PAGE_MAX}")));
    }
    Ok(json(StatusCode::OK, &house.journal(Part { state, limit, after })?))
}

type Number = Result<Path<u64>, PathRejection>;

fn number(seq: Number) -> Result<u64, Refusal> {
    seq.map(|Path(seq)| seq).map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "a write is named by its number"))
}

async fn write(State(house): State<Shared>, seq: Number) -> Answer {
    Ok(json(StatusCode::OK, &house.write(number(seq)?)?))
}

async fn retry(State(house): State<Shared>, seq: Number) -> Answer {
    let seq = number(seq)?;
    house.retry(seq).await?;
    Ok(json(StatusCode::OK, &Settled { seq, outcome: Outcome::Pending }))
}

async fn discard(State(house): State<Shared>, seq: Number) -> Answer {
    let seq = number(seq)?;
    house.discard(seq).await?;
    Ok(json(StatusCode::OK, &Settled { seq, outcome: Outcome::Discarded }))
}

async fn flush(State(house): State<Shared>) -> Answer {
    let pending = house.flush().await?;
    Ok(json(StatusCode::ACCEPTED, &Flushing { pending }))
}
