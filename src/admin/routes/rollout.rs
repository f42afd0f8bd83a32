//! The endpoints of splits, canaries and mirrors: what they read of a request, and whom they ask.
//!
//! A route is named by one segment of the path, percent-encoded: `/api/v1/split/%2Fapi%2Fusers`.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use http::StatusCode;
use serde::de::DeserializeOwned;

use super::{Answer, Shared, json, whole};
use crate::admin::api::rollout::{
    Canaries, Canary, Mirror, Mirrors, SIGNATURE_CHARS_MAX, Signed, Split, SplitOrder, Splits, is_signature,
};
use crate::admin::{Order, Refusal};

/// How many names a refusal lists.
const NAMES_MAX: usize = 20;

type Route = Result<Path<String>, PathRejection>;
type Body = Result<Bytes, BytesRejection>;

pub(super) async fn splits(State(house): State<Shared>) -> Answer {
    Ok(json(StatusCode::OK, &Splits { splits: house.splits() }))
}

pub(super) async fn split(State(house): State<Shared>, route: Route) -> Answer {
    Ok(json(StatusCode::OK, &the_split(&house, &name(route)?)?))
}

pub(super) async fn set_split(State(house): State<Shared>, route: Route, body: Body) -> Answer {
    let route = name(route)?;
    let order: SplitOrder = read(&whole(body)?)?;
    signature(order.by.as_deref())?;
    the_split(&house, &route)?;
    Ok(json(StatusCode::OK, &house.set_split(&route, &order)?))
}

pub(super) async fn reset_split(State(house): State<Shared>, route: Route, body: Body) -> Answer {
    let route = name(route)?;
    let by = signed(body, false)?.by;
    the_split(&house, &route)?;
    Ok(json(StatusCode::OK, &house.reset_split(&route, by.as_deref())?))
}

pub(super) async fn canaries(State(house): State<Shared>) -> Answer {
    Ok(json(StatusCode::OK, &Canaries { canaries: house.canaries() }))
}

pub(super) async fn canary(State(house): State<Shared>, route: Route) -> Answer {
    Ok(json(StatusCode::OK, &the_canary(&house, &name(route)?)?))
}

/// What gives a canary this order.
pub(super) fn directs(order: Order) -> MethodRouter<Shared> {
    post(move |State(house): State<Shared>, route: Route, body: Body| async move { direct(&house, route, body, order) })
}

fn direct(house: &Shared, route: Route, body: Body, order: Order) -> Result<Response, Refusal> {
    let route = name(route)?;
    let signed = signed(body, order == Order::Promote)?;
    the_canary(house, &route)?;
    let order = if signed.full { Order::PromoteFully } else { order };
    Ok(json(StatusCode::OK, &house.direct(&route, order, signed.by.as_deref())?))
}

/// All mirrors, without their samples.
pub(super) async fn mirrors(State(house): State<Shared>) -> Answer {
    let mut mirrors = house.mirrors();
    for comparison in mirrors.iter_mut().filter_map(|mirror| mirror.comparison.as_mut()) {
        comparison.samples.clear();
    }
    Ok(json(StatusCode::OK, &Mirrors { mirrors }))
}

pub(super) async fn mirror(State(house): State<Shared>, route: Route) -> Answer {
    Ok(json(StatusCode::OK, &the_mirror(&house, &name(route)?)?))
}

pub(super) async fn reset_mirror(State(house): State<Shared>, route: Route, body: Body) -> Answer {
    let route = name(route)?;
    signed(body, false)?;
    the_mirror(&house, &route)?;
    Ok(json(StatusCode::OK, &house.reset_mirror(&route)?))
}

fn the_split(house: &Shared, route: &str) -> Result<Split, Refusal> {
    one("split", house.splits(), route, |split| &split.route)
}

fn the_canary(house: &Shared, route: &str) -> Result<Canary, Refusal> {
    one("canary", house.canaries(), route, |canary| &canary.route)
}

fn the_mirror(house: &Shared, route: &str) -> Result<Mirror, Refusal> {
    one("mirror", house.mirrors(), route, |mirror| &mirror.route)
}

/// The one of this route; refused with the names of those that there are.
fn one<T>(what: &str, mut all: Vec<T>, route: &str, route_of: impl Fn(&T) -> &str) -> Result<T, Refusal> {
    if let Some(at) = all.iter().position(|found| route_of(found) == route) {
        return Ok(all.swap_remove(at));
    }
    let names: Vec<&str> = all.iter().map(&route_of).take(NAMES_MAX).collect();
    let more = if all.len() > NAMES_MAX { " …" } else { "" };
    let known = match names.is_empty() {
        true => "no route has one".to_owned(),
        false => format!("routes that have one: {}{more}", names.join(", ")),
    };
    Err(Refusal::new(StatusCode::NOT_FOUND, format!("route {route:?} has no {what}; {known}")))
}

fn name(route: Route) -> Result<String, Refusal> {
    route.map(|Path(route)| route).map_err(|_| bad("a route is named by its name, percent-encoded".to_owned()))
}

/// Who gives an order that needs no more; nothing at all is fine.
fn signed(body: Body, may_be_full: bool) -> Result<Signed, Refusal> {
    let body = whole(body)?;
    let signed: Signed = if body.trim_ascii().is_empty() { Signed::default() } else { read(&body)? };
    signature(signed.by.as_deref())?;
    if signed.full && !may_be_full {
        return Err(bad("full is for promote alone".to_owned()));
    }
    Ok(signed)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| bad(format!("the body is no such order: {error}")))
}

fn signature(by: Option<&str>) -> Result<(), Refusal> {
    let is_fit = by.is_none_or(is_signature);
    let message = || format!("by has 1 to {SIGNATURE_CHARS_MAX} characters and no control characters");
    if is_fit { Ok(()) } else { Err(bad(message())) }
}

fn bad(message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, message)
}
