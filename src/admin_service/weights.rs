//! Splits, canaries and mirrors as the admin listener shows and directs them.

use std::sync::Arc;

use http::StatusCode;
use policy::canary::evidence::Side as Seen;

use super::{AdminService, milliseconds};
use crate::admin::api::rollout as api;
use crate::admin::{Order, Refusal};
use crate::config::plan::Sticky;
use crate::rollout::mirror::Mirror;
use crate::rollout::weights::{CANARY, SplitWeights};
use crate::telemetry::counters::Counter;

/// Who gives an order that names nobody.
const UNNAMED: &str = "api";

impl AdminService {
    pub(super) fn view_splits(&self) -> Vec<api::Split> {
        self.rollout.each_steering(|steering| self.split(steering))
    }

    pub(super) fn weigh(&self, route: &str, order: &api::SplitOrder) -> Result<api::Split, Refusal> {
        let by = order.by.as_deref().unwrap_or(UNNAMED);
        let weights = order.weights.iter().map(|(name, percent)| (name.as_str(), *percent));
        let weighed =
            self.rollout.steer(route, |steering| steering.weigh(weights, by), |steering| self.split(steering));
        let refused = |why: String| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, why);
        weighed.ok_or_else(|| none("split", route))?.map_err(refused)
    }

    pub(super) fn unweigh(&self, route: &str, by: Option<&str>) -> Result<api::Split, Refusal> {
        let reset = |steering: &mut SplitWeights| {
            steering.reset(by.unwrap_or(UNNAMED));
            Ok(())
        };
        self.rollout.steer(route, reset, |steering| self.split(steering)).unwrap_or_else(|| Err(none("split", route)))
    }

    pub(super) fn view_canaries(&self) -> Vec<api::Canary> {
        self.rollout.each_steering(|steering| self.canary(steering)).into_iter().flatten().collect()
    }

    pub(super) fn direct_canary(&self, route: &str, order: Order, by: Option<&str>) -> Result<api::Canary, Refusal> {
        let direct = |steering: &mut SplitWeights| match steering.direct(order, by.unwrap_or(UNNAMED)) {
            Some(directed) => directed.map_err(|not_now| Refusal::new(StatusCode::CONFLICT, not_now.to_string())),
            None => Err(none("canary", route)),
        };
        let directed = self.rollout.steer(route, direct, |steering| self.canary(steering));
        directed.unwrap_or_else(|| Err(none("canary", route)))?.ok_or_else(|| none("canary", route))
    }

    pub(super) fn view_mirrors(&self) -> Vec<api::Mirror> {
        self.rollout.mirrors().iter().map(view_mirror).collect()
    }

    pub(super) fn forget_findings(&self, route: &str) -> Result<api::Mirror, Refusal> {
        let mirrors = self.rollout.mirrors();
        let mirror = mirrors.iter().find(|mirror| *mirror.route == *route).ok_or_else(|| none("mirror", route))?;
        let findings = mirror.findings.as_ref().ok_or_else(|| {
            Refusal::new(StatusCode::NOT_FOUND, format!("the mirror of route {route} compares nothing"))
        })?;
        findings.lock().reset();
        Ok(view_mirror(mirror))
    }

    fn split(&self, steering: &SplitWeights) -> api::Split {
        let generation = self.generation.load();
        let plan = steering.plan();
        let shares = steering.live().shares();
        let side = |(index, side): (usize, &crate::config::plan::Side)| api::Side {
            upstream: side.name.to_string(),
            weight: shares.of(index).percent(),
            file_weight: plan.shares.of(index).percent(),
            usable: generation.groups.iter().any(|group| group.plan.name == side.name && group.is_usable()),
            traffic: traffic(&steering.seen(index)),
        };
        let kept = self.rollout.is_kept();
        let by_canary = || {
            let last = steering.canary()?.progress().history.front()?;
            Some(api::Override { by: CANARY.to_owned(), at_ms: last.at_ms, kept })
        };
        let by_hand = steering.overridden().map(|set| api::Override { by: set.by.clone(), at_ms: set.at_ms, kept });
        api::Split {
            route: steering.route().to_owned(),
            sides: plan.sides.iter().enumerate().map(side).collect(),
            sticky: sticky(&plan.sticky),
            overridden: by_hand.or_else(by_canary),
        }
    }

    fn canary(&self, steering: &SplitWeights) -> Option<api::Canary> {
        let canary = steering.canary()?;
        let plan = steering.plan();
        let side = plan.sides.get(plan.canary.as_ref()?.side)?;
        let (rules, progress) = (canary.rules(), canary.progress());
        let window = canary.window(&steering.totals());
        let history = progress.history.iter().map(|change| api::Change {
            at_ms: change.at_ms,
            event: change.event.name().to_owned(),
            weight: change.share.percent(),
            reason: change.reason.clone(),
        });
        Some(api::Canary {
            route: steering.route().to_owned(),
            upstream: side.name.to_string(),
            phase: progress.phase.name().to_owned(),
            step: progress.step + 1,
            steps: rules.steps.iter().map(|share| share.percent()).collect(),
            weight: steering.live().shares().of(plan.canary.as_ref()?.side).percent(),
            held_ms: milliseconds(progress.held),
            hold_ms: milliseconds(rules.hold),
            reason: canary.reason(),
            canary: traffic(&window.canary),
            stable: traffic(&window.stable),
            requests_min: rules.requests_min,
            compared: window.compared,
            mismatched: window.mismatched,
            history: history.collect(),
            kept: self.rollout.is_kept(),
        })
    }
}

fn none(what: &str, route: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("route {route} has no {what}"))
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

fn traffic(seen: &Seen) -> api::Traffic {
    let p95 = seen.latency.quantile(0.95);
    // To the microsecond: more is not known.
    let p95_ms = p95.map(|p95| p95.as_micros() as f64 / 1000.0);
    api::Traffic { requests: seen.requests, errors: seen.errors, p95_ms }
}

fn view_mirror(mirror: &Arc<Mirror>) -> api::Mirror {
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
        comparison: mirror.findings.as_ref().map(|findings| comparison(&findings.lock())),
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
        differences: sample.differences.iter().map(found).collect(),
    };
    api::Comparison {
        compared,
        mismatched,
        skipped: findings.skipped().iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
        differences: findings.rows().into_iter().map(difference).collect(),
        samples: findings.samples().map(sample).collect(),
    }
}

fn found((kind, path, ours, theirs): &(&'static str, String, String, String)) -> api::Found {
    api::Found { kind: (*kind).to_owned(), path: path.clone(), ours: ours.clone(), theirs: theirs.clone() }
}
