//! The endpoints of the API in one table: method, path, handler, and whether a request needs the token.

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
use super::{ApiError, CanaryCommand, Invalidated, JournalQuery, Readiness, Service, metrics, page};
use crate::telemetry::exposition;

mod rollout;
mod status;

/// The longest time for a request, its body included.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a response waits for the sweep; less than [`REQUEST_TIME_MAX`].
const SWEPT_MAX: Duration = Duration::from_secs(8);
/// The most requests at once; further ones get 503.
const REQUESTS_MAX: usize = 32;
/// The length of a list of writes, unless the request has `limit`.
const LIMIT_DEFAULT: usize = 100;
/// The highest `limit`.
const LIMIT_MAX: usize = 1000;

/// The OpenAPI description of the API.
const OPENAPI: &str = include_str!("../../docs/openapi.json");

type SharedService = Arc<dyn Service>;
type ApiResult = Result<Response, ApiError>;

/// Whether a request needs the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// No: health checks reveal no secrets.
    Open,
    /// Yes.
    Token,
}

struct Endpoint {
    method: &'static str,
    path: &'static str,
    access: Access,
    handler: MethodRouter<SharedService>,
}

fn table() -> Vec<Endpoint> {
    let to_get = |path, access, handler| Endpoint { method: "get", path, access, handler };
    let to_post = |path, handler| Endpoint { method: "post", path, access: Access::Token, handler };
    vec![
        to_get("/live", Access::Open, get(live)),
        to_get("/ready", Access::Open, get(ready)),
        to_get("/metrics", Access::Token, get(metrics_page)),
        to_get("/api/v1/openapi.json", Access::Token, get(openapi)),
        to_get("/api/v1/status", Access::Token, get(status::overview)),
        to_get("/api/v1/history", Access::Token, get(status::history)),
        to_get("/api/v1/certificates", Access::Token, get(status::certificates)),
        to_get("/api/v1/routes", Access::Token, get(status::routes)),
        to_get("/api/v1/upstreams", Access::Token, get(status::upstreams)),
        to_get("/api/v1/upstreams/{upstream}", Access::Token, get(status::upstream)),
        to_post("/api/v1/upstreams/{upstream}/drain", post(status::drain)),
        to_post("/api/v1/upstreams/{upstream}/ready", post(status::ready)),
        to_post("/api/v1/purge", post(purge)),
        to_post("/api/v1/events", post(event)),
        to_get("/api/v1/journal", Access::Token, get(journal)),
        to_post("/api/v1/journal/flush", post(flush)),
        to_get("/api/v1/journal/{seq}", Access::Token, get(write)),
        to_post("/api/v1/journal/{seq}/retry", post(retry)),
        to_post("/api/v1/journal/{seq}/discard", post(discard)),
        to_get("/api/v1/split", Access::Token, get(rollout::splits)),
        to_get("/api/v1/split/{route}", Access::Token, get(rollout::split)),
        to_post("/api/v1/split/{route}", post(rollout::set_split)),
        to_post("/api/v1/split/{route}/reset", post(rollout::reset_split)),
        to_get("/api/v1/canary", Access::Token, get(rollout::canaries)),
        to_get("/api/v1/canary/{route}", Access::Token, get(rollout::canary)),
        to_post("/api/v1/canary/{route}/pause", rollout::command_canary(CanaryCommand::Pause)),
        to_post("/api/v1/canary/{route}/resume", rollout::command_canary(CanaryCommand::Resume)),
        to_post("/api/v1/canary/{route}/promote", rollout::command_canary(CanaryCommand::Promote)),
        to_post("/api/v1/canary/{route}/abort", rollout::command_canary(CanaryCommand::Abort)),
        to_post("/api/v1/canary/{route}/restart", rollout::command_canary(CanaryCommand::Restart)),
        to_get("/api/v1/mirror", Access::Token, get(rollout::mirrors)),
        to_get("/api/v1/mirror/{route}", Access::Token, get(rollout::mirror)),
        to_post("/api/v1/mirror/{route}/reset", post(rollout::reset_mirror)),
    ]
}

/// The method in lower case and the path of each endpoint. Variable segments are in braces.
#[must_use]
pub fn endpoints() -> Vec<(&'static str, &'static str)> {
    table().into_iter().map(|endpoint| (endpoint.method, endpoint.path)).collect()
}

/// Builds the stack: access control outermost, then limits, then the handlers.
pub(super) fn router(guard: Guard, service: SharedService) -> Router {
    let guard = Arc::new(guard);
    let (mut open, mut guarded) = (page::router(), Router::new());
    for endpoint in table() {
        match endpoint.access {
            Access::Open => open = open.route(endpoint.path, endpoint.handler),
            Access::Token => guarded = guarded.route(endpoint.path, endpoint.handler),
        }
    }
    let limits = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(limit_exceeded))
        .layer(LoadShedLayer::new())
        .layer(GlobalConcurrencyLimitLayer::new(REQUESTS_MAX))
        .layer(TimeoutLayer::new(REQUEST_TIME_MAX));
    let guarded = guarded.layer(limits).layer(from_fn_with_state(Arc::clone(&guard), guard::require_token));
    open.merge(guarded)
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "no such endpoint") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this endpoint does not support the method")
        })
        .layer(from_fn(guard::catch_panics))
        .layer(from_fn_with_state(guard, guard::check_request))
        .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
        .with_state(service)
}

async fn limit_exceeded(error: BoxError) -> ApiError {
    let timed_out = error.is::<tower::timeout::error::Elapsed>();
    let message = if timed_out { "the request timed out" } else { "too many requests at once" };
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
}

impl ApiError {
    /// The body of a request is longer than [`REQUEST_BYTES_MAX`].
    pub(super) fn too_long() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has {REQUEST_BYTES_MAX} bytes at most"))
    }
}

impl IntoResponse for ApiError {
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
        // Can't happen: serialization fails only for maps whose keys are not strings, and no type of the API has one.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn live() -> Response {
    json(StatusCode::OK, &Status { status: "live".to_owned() })
}

async fn ready(State(service): State<SharedService>) -> Response {
    let (status, text) = match service.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready"),
        Readiness::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Readiness::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    json(status, &Status { status: text.to_owned() })
}

async fn metrics_page(State(service): State<SharedService>) -> Response {
    let rollout =
        metrics::Rollout { splits: service.splits(), canaries: service.canaries(), mirrors: service.mirrors() };
    let text = metrics::text(&service.metrics(), service.readiness(), &rollout);
    ([(CONTENT_TYPE, HeaderValue::from_static(exposition::CONTENT_TYPE))], text).into_response()
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI).into_response()
}

async fn purge(State(service): State<SharedService>, body: Result<Bytes, BytesRejection>) -> ApiResult {
    let bad = |message: String| ApiError::new(StatusCode::BAD_REQUEST, message);
    let order: api::PurgeRequest = serde_json::from_slice(&body_bytes(body)?)
        .map_err(|error| bad(format!("the body is not a valid purge: {error}")))?;
    let what = order.purge().map_err(bad)?;
    let done = run_blocking(move || service.purge(&what, order.soft)).await?;
    let (epoch, purged) = count_invalidated(done, order.wait).await;
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
    State(service): State<SharedService>,
    query: Result<Query<Delivery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> ApiResult {
    let Query(Delivery { wait }) = query.map_err(bad_query)?;
    let body = body_bytes(body)?;
    let done = run_blocking(move || service.event(&headers.into(), &body)).await?;
    let (epoch, touched) = count_invalidated(done, wait).await;
    Ok(json(StatusCode::OK, &Touched { epoch, touched }))
}

/// The epoch of the bans, and the number of responses that were invalidated: `None` while the sweep is not over.
/// `waits`: whether to wait for the sweep, [`SWEPT_MAX`] at most.
async fn count_invalidated(done: Invalidated, waits: bool) -> (Option<u64>, Option<u64>) {
    let Some(sweep) = done.sweep else { return (None, Some(done.counted)) };
    let swept = if waits { tokio::time::timeout(SWEPT_MAX, sweep.touched).await.ok() } else { None };
    (Some(sweep.epoch), swept.map(|touched| done.counted + touched))
}

fn bad_query(rejection: QueryRejection) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, rejection.body_text())
}

fn body_bytes(body: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_long(),
        status => ApiError::new(status, "the body could not be read"),
    })
}

/// Runs work that may take long on a blocking thread, so that the control thread goes on.
async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let failed = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
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

async fn journal(State(service): State<SharedService>, query: Result<Query<Listing>, QueryRejection>) -> ApiResult {
    let Query(Listing { state, limit, after }) = query.map_err(bad_query)?;
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("limit is a number from 1 to {LIMIT_MAX}")));
    }
    Ok(json(StatusCode::OK, &service.journal(JournalQuery { state, limit, after })?))
}

type WriteNumber = Result<Path<u64>, PathRejection>;

fn write_number(seq: WriteNumber) -> Result<u64, ApiError> {
    seq.map(|Path(seq)| seq).map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "a write is identified by its number"))
}

async fn write(State(service): State<SharedService>, seq: WriteNumber) -> ApiResult {
    Ok(json(StatusCode::OK, &service.write(write_number(seq)?)?))
}

async fn retry(State(service): State<SharedService>, seq: WriteNumber) -> ApiResult {
    let seq = write_number(seq)?;
    service.retry(seq).await?;
    Ok(json(StatusCode::OK, &Settled { seq, outcome: Outcome::Pending }))
}

async fn discard(State(service): State<SharedService>, seq: WriteNumber) -> ApiResult {
    let seq = write_number(seq)?;
    service.discard(seq).await?;
    Ok(json(StatusCode::OK, &Settled { seq, outcome: Outcome::Discarded }))
}

async fn flush(State(service): State<SharedService>) -> ApiResult {
    let pending = service.flush().await?;
    Ok(json(StatusCode::ACCEPTED, &Flushing { pending }))
}
