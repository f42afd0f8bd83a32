//! The handlers of splits, canaries and mirrors.
//!
//! The name of the route is one percent-encoded segment of the path: `/api/v1/split/%2Fapi%2Fusers`.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use http::StatusCode;
use serde::de::DeserializeOwned;

use super::{ApiResult, SharedService, body_bytes, json};
use crate::admin::api::rollout::{
    AUTHOR_CHARS_MAX, Canaries, Canary, CommandRequest, Mirror, Mirrors, Split, Splits, WeightsRequest, is_author,
};
use crate::admin::{ApiError, CanaryCommand};

/// The most names that an error lists.
const NAMES_MAX: usize = 20;

type Route = Result<Path<String>, PathRejection>;
type Body = Result<Bytes, BytesRejection>;

pub(super) async fn splits(State(service): State<SharedService>) -> ApiResult {
    Ok(json(StatusCode::OK, &Splits { splits: service.splits() }))
}

pub(super) async fn split(State(service): State<SharedService>, route: Route) -> ApiResult {
    Ok(json(StatusCode::OK, &the_split(&service, &name(route)?)?))
}

pub(super) async fn set_split(State(service): State<SharedService>, route: Route, body: Body) -> ApiResult {
    let route = name(route)?;
    let request: WeightsRequest = read(&body_bytes(body)?)?;
    check_author(request.by.as_deref())?;
    the_split(&service, &route)?;
    Ok(json(StatusCode::OK, &service.set_split(&route, &request)?))
}

pub(super) async fn reset_split(State(service): State<SharedService>, route: Route, body: Body) -> ApiResult {
    let route = name(route)?;
    let by = command_body(body, false)?.by;
    the_split(&service, &route)?;
    Ok(json(StatusCode::OK, &service.reset_split(&route, by.as_deref())?))
}

pub(super) async fn canaries(State(service): State<SharedService>) -> ApiResult {
    Ok(json(StatusCode::OK, &Canaries { canaries: service.canaries() }))
}

pub(super) async fn canary(State(service): State<SharedService>, route: Route) -> ApiResult {
    Ok(json(StatusCode::OK, &the_canary(&service, &name(route)?)?))
}

/// The handler that gives a canary this command.
pub(super) fn command_canary(command: CanaryCommand) -> MethodRouter<SharedService> {
    post(move |State(service): State<SharedService>, route: Route, body: Body| async move {
        apply_command(&service, route, body, command)
    })
}

fn apply_command(
    service: &SharedService,
    route: Route,
    body: Body,
    command: CanaryCommand,
) -> Result<Response, ApiError> {
    let route = name(route)?;
    let command_body = command_body(body, command == CanaryCommand::Promote)?;
    the_canary(service, &route)?;
    let command = if command_body.full { CanaryCommand::PromoteFully } else { command };
    Ok(json(StatusCode::OK, &service.command_canary(&route, command, command_body.by.as_deref())?))
}

/// All mirrors, without their samples: one mirror's response has them.
pub(super) async fn mirrors(State(service): State<SharedService>) -> ApiResult {
    let mut mirrors = service.mirrors();
    for comparison in mirrors.iter_mut().filter_map(|mirror| mirror.comparison.as_mut()) {
        comparison.samples.clear();
    }
    Ok(json(StatusCode::OK, &Mirrors { mirrors }))
}

pub(super) async fn mirror(State(service): State<SharedService>, route: Route) -> ApiResult {
    Ok(json(StatusCode::OK, &the_mirror(&service, &name(route)?)?))
}

pub(super) async fn reset_mirror(State(service): State<SharedService>, route: Route, body: Body) -> ApiResult {
    let route = name(route)?;
    command_body(body, false)?;
    the_mirror(&service, &route)?;
    Ok(json(StatusCode::OK, &service.reset_mirror(&route)?))
}

fn the_split(service: &SharedService, route: &str) -> Result<Split, ApiError> {
    one("split", service.splits(), route, |split| &split.route)
}

fn the_canary(service: &SharedService, route: &str) -> Result<Canary, ApiError> {
    one("canary", service.canaries(), route, |canary| &canary.route)
}

fn the_mirror(service: &SharedService, route: &str) -> Result<Mirror, ApiError> {
    one("mirror", service.mirrors(), route, |mirror| &mirror.route)
}

/// The element of this route.
///
/// # Errors
/// When the route has none (404), with the names of the routes that have one.
fn one<T>(what: &str, mut all: Vec<T>, route: &str, route_of: impl Fn(&T) -> &str) -> Result<T, ApiError> {
    if let Some(at) = all.iter().position(|found| route_of(found) == route) {
        return Ok(all.swap_remove(at));
    }
    let names: Vec<&str> = all.iter().map(&route_of).take(NAMES_MAX).collect();
    let more = if all.len() > NAMES_MAX { " …" } else { "" };
    let known = match names.is_empty() {
        true => "no route has one".to_owned(),
        false => format!("routes that have one: {}{more}", names.join(", ")),
    };
    Err(ApiError::new(StatusCode::NOT_FOUND, format!("route {route:?} has no {what}; {known}")))
}

pub(super) fn name(route: Route) -> Result<String, ApiError> {
    route.map(|Path(route)| route).map_err(|_| bad("the name must be percent-encoded UTF-8".to_owned()))
}

/// Parses the body of a command; an empty body is valid.
fn command_body(body: Body, may_be_full: bool) -> Result<CommandRequest, ApiError> {
    let body = body_bytes(body)?;
    let command_body: CommandRequest =
        if body.trim_ascii().is_empty() { CommandRequest::default() } else { read(&body)? };
    check_author(command_body.by.as_deref())?;
    if command_body.full && !may_be_full {
        return Err(bad("full is only valid for promote".to_owned()));
    }
    Ok(command_body)
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| bad(format!("the body is not valid: {error}")))
}

pub(super) fn check_author(by: Option<&str>) -> Result<(), ApiError> {
    let is_fit = by.is_none_or(is_author);
    let message = || format!("by has 1 to {AUTHOR_CHARS_MAX} characters and no control characters");
    if is_fit { Ok(()) } else { Err(bad(message())) }
}

fn bad(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, message)
}
