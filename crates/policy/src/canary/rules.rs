//! The configured rules of a canary.

use std::time::Duration;

use crate::route::split::Share;

/// The rules of a canary.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The canary's share at each step, ascending; at least one.
    pub steps: Vec<Share>,
    /// The shortest duration of a step.
    pub hold: Duration,
    /// The requests that each side must have had in a step before a verdict.
    pub requests_min: u64,
    /// The most percentage points by which the canary's error rate may exceed the stable side's.
    pub error_rate_max_increase: f64,
    /// The confidence of a verdict against the canary, in percent.
    pub confidence: f64,
    /// The largest ratio of the canary's 95th percentile latency to the stable side's; `None`: latency is ignored.
    pub p95_max_ratio: Option<f64>,
    /// The most percent of compared responses that may differ; `None`: differences are ignored.
    pub mismatch_rate_max: Option<f64>,
    /// The ratio to the stable side's error rate at which the canary fails at once, before `requests_min`; `None`: no
    /// ceiling.
    pub error_ratio_ceiling: Option<f64>,
    /// What happens when the canary fails.
    pub on_failure: OnFailure,
    /// How the share is taken away.
    pub rollback: Rollback,
    /// The duration of each step down, with [`Rollback::Steps`].
    pub rollback_interval: Duration,
}

/// What happens when a canary fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Its share is taken away.
    Rollback,
    /// It keeps its share, and waits for an operator.
    Pause,
}

/// How a canary's share is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollback {
    /// All at once.
    Now,
    /// Down the configured steps.
    Steps,
}
