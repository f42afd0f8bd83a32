//! Splits, canaries and mirrors: their views in the admin API, and the orders of operators.

use std::sync::Arc;

use http::StatusCode;
use policy::canary::evidence::Side as CanaryTraffic;

use super::AdminService;
use super::numbers::milliseconds;
use crate::admin::api::rollout as api;
use crate::admin::{ApiError, CanaryCommand};
use crate::config::plan::Sticky;
use crate::rollout::mirror::Mirror;
use crate::rollout::weights::{CANARY, SplitWeights};
use crate::telemetry::counters::Counter;

/// The author of an order without `by`.
const DEFAULT_AUTHOR: &str = "api";

impl AdminService {
    pub(super) fn view_splits(&self) -> Vec<api::Split> {
        self.rollout.each_split(|split| self.split_view(split))
    }

    pub(super) fn set_split_weights(&self, route: &str, order: &api::WeightsRequest) -> Result<api::Split, ApiError> {
        let by = order.by.as_deref().unwrap_or(DEFAULT_AUTHOR);
        let weights = order.weights.iter().map(|(name, percent)| (name.as_str(), *percent));
        let result =
            self.rollout.change_split(route, |split| split.set_weights(weights, by), |split| self.split_view(split));
        let refused = |why: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, why);
        result.ok_or_else(|| not_found("split", route))?.map_err(refused)
    }

    pub(super) fn reset_split_weights(&self, route: &str, by: Option<&str>) -> Result<api::Split, ApiError> {
        let reset = |split: &mut SplitWeights| {
            split.reset(by.unwrap_or(DEFAULT_AUTHOR));
            Ok(())
        };
        self.rollout
            .change_split(route, reset, |split| self.split_view(split))
            .unwrap_or_else(|| Err(not_found("split", route)))
    }

    pub(super) fn view_canaries(&self) -> Vec<api::Canary> {
        self.rollout.each_split(|split| self.canary_view(split)).into_iter().flatten().collect()
    }

    pub(super) fn apply_canary_command(
        &self,
        route: &str,
        command: CanaryCommand,
        by: Option<&str>,
    ) -> Result<api::Canary, ApiError> {
        let apply = |split: &mut SplitWeights| match split.command(command, by.unwrap_or(DEFAULT_AUTHOR)) {
            Some(applied) => applied.map_err(|not_now| ApiError::new(StatusCode::CONFLICT, not_now.to_string())),
            None => Err(not_found("canary", route)),
        };
        let result = self.rollout.change_split(route, apply, |split| self.canary_view(split));
        result.unwrap_or_else(|| Err(not_found("canary", route)))?.ok_or_else(|| not_found("canary", route))
    }

    pub(super) fn view_mirrors(&self) -> Vec<api::Mirror> {
        self.rollout.mirrors().iter().map(mirror_view).collect()
    }

    pub(super) fn reset_comparison(&self, route: &str) -> Result<api::Mirror, ApiError> {
        let mirrors = self.rollout.mirrors();
        let mirror = mirrors.iter().find(|mirror| *mirror.route == *route).ok_or_else(|| not_found("mirror", route))?;
        let report = mirror.report.as_ref().ok_or_else(|| {
            ApiError::new(StatusCode::NOT_FOUND, format!("the mirror of route {route} compares nothing"))
        })?;
        report.lock().reset();
        Ok(mirror_view(mirror))
    }

    fn split_view(&self, split: &SplitWeights) -> api::Split {
        let snapshot = self.snapshot.load();
        let plan = split.plan();
        let shares = split.live().shares();
        let side = |(index, side): (usize, &crate::config::plan::Side)| api::Side {
            upstream: side.name.to_string(),
            weight: shares.of(index).percent(),
            file_weight: plan.shares.of(index).percent(),
            usable: snapshot.groups.iter().any(|group| group.plan.name == side.name && group.is_usable()),
            traffic: traffic(&split.seen(index)),
        };
        let kept = self.rollout.is_persistent();
        let by_canary = || {
            let last = split.canary()?.progress().history.front()?;
            Some(api::Override { by: CANARY.to_owned(), at_ms: last.at_ms, kept })
        };
        let by_order = split.overridden().map(|set| api::Override { by: set.by.clone(), at_ms: set.at_ms, kept });
        api::Split {
            route: split.route().to_owned(),
            sides: plan.sides.iter().enumerate().map(side).collect(),
            sticky: sticky(&plan.sticky),
            overridden: by_order.or_else(by_canary),
        }
    }

    fn canary_view(&self, split: &SplitWeights) -> Option<api::Canary> {
        let canary = split.canary()?;
        let plan = split.plan();
        let side = plan.sides.get(plan.canary.as_ref()?.side)?;
        let (rules, progress) = (canary.rules(), canary.progress());
        let window = canary.window(&split.totals());
        let history = progress.history.iter().map(|change| api::Change {
            at_ms: change.at_ms,
            event: change.event.name().to_owned(),
            weight: change.share.percent(),
            reason: change.reason.clone(),
        });
        Some(api::Canary {
            route: split.route().to_owned(),
            upstream: side.name.to_string(),
            phase: progress.phase.name().to_owned(),
            step: progress.step + 1,
            steps: rules.steps.iter().map(|share| share.percent()).collect(),
            weight: split.live().shares().of(plan.canary.as_ref()?.side).percent(),
            held_ms: milliseconds(progress.held),
            hold_ms: milliseconds(rules.hold),
            reason: canary.reason(),
            canary: traffic(&window.canary),
            stable: traffic(&window.stable),
            requests_min: rules.requests_min,
            compared: window.compared,
            mismatched: window.mismatched,
            history: history.collect(),
            kept: self.rollout.is_persistent(),
        })
    }
}

fn not_found(what: &str, route: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("route {route} has no {what}"))
}

fn sticky(sticky: &Sticky) -> String {
    match sticky {
        Sticky::None => "none".to_owned(),
        Sticky::Cookie(_) => "cookie".to_owned(),
        Sticky::ClientIp => "client-ip".to_owned(),
        Sticky::Header(name) => format!("header:{name}"),
        Sticky::TheirCookie(name) => format!("cookie:{name}"),
    }
}

fn traffic(seen: &CanaryTraffic) -> api::Traffic {
    let p95 = seen.latency.quantile(0.95);
    // The histogram is not more precise than a microsecond.
    let p95_ms = p95.map(|p95| p95.as_micros() as f64 / 1000.0);
    api::Traffic { requests: seen.requests, errors: seen.errors, p95_ms }
}

fn mirror_view(mirror: &Arc<Mirror>) -> api::Mirror {
    let counts = &mirror.counts;
    let dropped = [("busy", &counts.busy), ("body", &counts.body), ("late", &counts.late)];
    let count = |(why, counter): (&str, &Counter)| (why.to_owned(), counter.get());
    api::Mirror {
        route: mirror.route.to_string(),
        upstream: mirror.target.plan.name.to_string(),
        percent: mirror.plan.share.percent(),
        in_flight: mirror.in_flight() as u64,
        sent: counts.sent.get(),
        failed: counts.failed.get(),
        timed_out: counts.timed_out.get(),
        dropped: dropped.into_iter().map(count).collect(),
        comparison: mirror.report.as_ref().map(|report| comparison(&report.lock())),
    }
}

fn comparison(findings: &crate::rollout::comparison::ComparisonReport) -> api::Comparison {
    let (compared, mismatched) = findings.compared();
    let difference = |row: policy::compare::Row| api::Difference {
        kind: row.kind.as_str().to_owned(),
        path: row.place,
        count: row.count,
        noise: row.noise,
    };
    let sample = |sample: &crate::rollout::comparison::Sample| api::Sample {
        at_ms: sample.at_ms,
        method: sample.method.clone(),
        target: sample.target.clone(),
        id: sample.id.clone(),
        status: sample.statuses.0,
        mirror_status: sample.statuses.1,
        differences: sample.differences.iter().map(sample_difference).collect(),
    };
    api::Comparison {
        compared,
        mismatched,
        skipped: findings.skipped().iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
        differences: findings.rows().into_iter().map(difference).collect(),
        samples: findings.samples().map(sample).collect(),
    }
}

fn sample_difference((kind, path, ours, theirs): &(&'static str, String, String, String)) -> api::SampleDifference {
    api::SampleDifference { kind: (*kind).to_owned(), path: path.clone(), ours: ours.clone(), theirs: theirs.clone() }
}
