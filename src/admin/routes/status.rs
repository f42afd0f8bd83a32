//! The handlers of the proxy's state: overview, certificates, routes, upstreams, and draining of endpoints.
//!
//! The name of the upstream is one percent-encoded segment of the path.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use http::StatusCode;

use super::rollout::{check_author, name, read};
use super::{ApiResult, SharedService, body_bytes, json};
use crate::admin::ApiError;
use crate::admin::api::certificates::Certificates;
use crate::admin::api::status::{EndpointOrder, Routes, Upstreams};

type Upstream = Result<Path<String>, PathRejection>;
type Body = Result<Bytes, BytesRejection>;

pub(super) async fn overview(State(service): State<SharedService>) -> ApiResult {
    Ok(json(StatusCode::OK, &service.overview()))
}

pub(super) async fn history(State(service): State<SharedService>) -> ApiResult {
    Ok(json(StatusCode::OK, &service.history()))
}

pub(super) async fn certificates(State(service): State<SharedService>) -> ApiResult {
    Ok(json(StatusCode::OK, &Certificates { certificates: service.certificates() }))
}

pub(super) async fn routes(State(service): State<SharedService>) -> ApiResult {
    Ok(json(StatusCode::OK, &Routes { routes: service.routes() }))
}

pub(super) async fn upstreams(State(service): State<SharedService>) -> ApiResult {
    Ok(json(StatusCode::OK, &Upstreams { upstreams: service.upstreams() }))
}

pub(super) async fn upstream(State(service): State<SharedService>, upstream: Upstream) -> ApiResult {
    let name = name(upstream)?;
    let found = service.upstreams().into_iter().find(|upstream| upstream.name == name);
    let found = found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, format!("there is no upstream {name}")))?;
    Ok(json(StatusCode::OK, &found))
}

pub(super) async fn drain(State(service): State<SharedService>, upstream: Upstream, body: Body) -> ApiResult {
    set_drained(&service, upstream, body, true)
}

pub(super) async fn ready(State(service): State<SharedService>, upstream: Upstream, body: Body) -> ApiResult {
    set_drained(&service, upstream, body, false)
}

fn set_drained(service: &SharedService, upstream: Upstream, body: Body, drains: bool) -> ApiResult {
    let upstream = name(upstream)?;
    let order: EndpointOrder = read(&body_bytes(body)?)?;
    check_author(order.by.as_deref())?;
    Ok(json(StatusCode::OK, &service.set_drained(&upstream, &order, drains)?))
}
