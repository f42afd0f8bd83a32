//! What a canary goes by, as the file says it.

use std::time::Duration;

use crate::route::split::Share;

/// What a canary goes by.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The canary's share at each step, ascending; at least one.
    pub steps: Vec<Share>,
    /// How long each step lasts at least.
    pub hold: Duration,
    /// How many requests each side must have had in a step before it is judged.
    pub requests_min: u64,
    /// How many percentage points more of the canary's requests may fail than of the others'.
    pub error_rate_max_increase: f64,
    /// How sure a verdict against the canary must be, in percent.
    pub confidence: f64,
    /// How many times as long as the others' the canary's 95th percentile may be; `None`: it is not looked at.
    pub p95_max_ratio: Option<f64>,
    /// How many percent of the compared answers may differ; `None`: they are not looked at.
    pub mismatch_rate_max: Option<f64>,
    /// So many times the others' error rate ends it at once, before there are `requests_min`; `None`: nothing does.
    pub error_ratio_ceiling: Option<f64>,
    /// What happens when it fails.
    pub on_failure: OnFailure,
    /// How it goes back.
    pub rollback: Rollback,
    /// How long each step back lasts, with [`Rollback::Steps`].
    pub rollback_interval: Duration,
}

/// What happens to a canary that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It loses its share.
    Rollback,
    /// It keeps its share, and waits for a person.
    Pause,
}

/// How a canary goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollback {
    /// To nothing at once.
    Now,
    /// Down the steps it came up.
    Steps,
}
