//! The JSON of splits, canaries and mirrors.

use serde::{Deserialize, Serialize};

/// The phases of a canary: the values of [`Canary::phase`].
pub const PHASES: [&str; 6] = ["stepping", "paused", "rolling-back", "rolled-back", "aborted", "done"];

/// The longest `by`, the name of the person or program that gives an order, in characters.
pub const AUTHOR_CHARS_MAX: usize = 100;

/// Whether a text is a valid `by`: 1 to [`AUTHOR_CHARS_MAX`] characters, without control characters.
#[must_use]
pub fn is_author(text: &str) -> bool {
    let is_long = text.chars().nth(AUTHOR_CHARS_MAX).is_some();
    !text.is_empty() && !is_long && !text.contains(char::is_control)
}

/// The response of `GET /api/v1/split`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Splits {
    /// Every split, in file order.
    pub splits: Vec<Split>,
}

/// The response of `GET /api/v1/canary`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Canaries {
    /// Every canary, in file order.
    pub canaries: Vec<Canary>,
}

/// The response of `GET /api/v1/mirror`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mirrors {
    /// Every mirror, in file order, without its samples.
    pub mirrors: Vec<Mirror>,
}

/// A route's split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// The name of the route.
    pub route: String,
    /// Its sides, in file order.
    pub sides: Vec<Side>,
    /// What keeps a client on its side: `sticky` of the file, such as `none`, `cookie` or `client-ip`.
    pub sticky: String,
    /// Who or what has overridden the weights of the file; missing: they are in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Override>,
}

/// One side of a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The name of its upstream.
    pub upstream: String,
    /// Its share in force, in percent.
    pub weight: f64,
    /// Its share in the file, in percent.
    pub file_weight: f64,
    /// Whether one of its backends is usable.
    pub usable: bool,
    /// Its traffic since the process started.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// The traffic of a side, without responses from the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests.
    pub requests: u64,
    /// How many of them failed: status 5xx, no response, a broken one, or no usable backend.
    pub errors: u64,
    /// The 95th percentile of the time to the response's head, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
}

/// Who or what has overridden the weights of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// `by` of the order, `api` for an order without it, or `canary`.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Whether the override survives a restart, which needs `server.state_dir`.
    pub kept: bool,
}

/// The body of `POST /api/v1/split/{route}`: new weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsRequest {
    /// The new weights in percent, by upstream. Sides that are not named share the rest in proportion.
    pub weights: std::collections::BTreeMap<String, f64>,
    /// The name of the person or program that gives the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The body of all other orders. An empty body is valid, too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandRequest {
    /// The name of the person or program that gives the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Only for `promote`: goes to the last step at once.
    #[serde(default)]
    pub full: bool,
}

/// A route's canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// The name of the route.
    pub route: String,
    /// The upstream of the canary's side.
    pub upstream: String,
    /// `stepping`, `paused`, `rolling-back`, `rolled-back`, `aborted` or `done`.
    pub phase: String,
    /// The current step, counted from 1; 0: none.
    pub step: usize,
    /// The canary's share at each step, in percent.
    pub steps: Vec<f64>,
    /// The share in force, in percent.
    pub weight: f64,
    /// How long the step has lasted, in milliseconds.
    pub held_ms: u64,
    /// The shortest time of a step, in milliseconds.
    pub hold_ms: u64,
    /// What the canary waits for, or why it ended, as a text for people.
    pub reason: String,
    /// The canary's traffic in this step.
    pub canary: Traffic,
    /// The traffic of all other sides together in this step.
    pub stable: Traffic,
    /// How many requests the canary, and the other sides together, must have had before a verdict.
    pub requests_min: u64,
    /// How many pairs of responses the mirror has compared in this step.
    pub compared: u64,
    /// How many of these pairs differed.
    pub mismatched: u64,
    /// The last changes, newest first.
    pub history: Vec<Change>,
    /// Whether its progress survives a restart, which needs `server.state_dir`.
    pub kept: bool,
}

/// A change of a canary. A webhook gets the same, with the route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// `started`, `promoted`, `paused`, `resumed`, `failed`, `rolled-back`, `aborted`, `restarted` or `done`.
    pub event: String,
    /// The canary's share after the change, in percent.
    pub weight: f64,
    /// The cause, or who gave the order, as a text for people.
    pub reason: String,
}

/// A route's mirror.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mirror {
    /// The name of the route.
    pub route: String,
    /// The upstream that gets the copies.
    pub upstream: String,
    /// The share of requests that are copied, in percent.
    pub percent: f64,
    /// Copies in flight.
    pub in_flight: u64,
    /// Copies sent.
    pub sent: u64,
    /// How many of them got no response: the connection was refused, reset or broken off.
    pub failed: u64,
    /// How many of them took longer than `timeout`.
    pub timed_out: u64,
    /// Requests that were selected and not copied, by reason: `busy`, `body`, `late`.
    pub dropped: std::collections::BTreeMap<String, u64>,
    /// The result of the comparison; missing if the mirror does not compare.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// The result of comparing the mirror's responses with the clients'.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Pairs of responses compared.
    pub compared: u64,
    /// Pairs that differ by more than noise.
    pub mismatched: u64,
    /// Pairs that could not be compared, by reason: `unanswered`, `status`, `long`, `coding`, `broken`.
    pub skipped: std::collections::BTreeMap<String, u64>,
    /// The places that differ, most frequent first.
    pub differences: Vec<Difference>,
    /// The last pairs that differed, newest first.
    pub samples: Vec<Sample>,
}

/// A place where responses differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// `status`, `header`, `body`, or in JSON: `missing`, `added`, `type`, `value`, `length`.
    pub kind: String,
    /// The field's name, or a JSON pointer with `*` for the elements of arrays; empty for the whole.
    pub path: String,
    /// In how many pairs it differs.
    pub count: u64,
    /// In how many pairs of two responses of one side it differs: then its differences are noise, and not counted.
    pub noise: u64,
}

/// A pair of responses that differed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The request's method.
    pub method: String,
    /// The request's path and the names of its query parameters, without their values.
    pub target: String,
    /// The request's id in the access log.
    pub id: String,
    /// The status of the client's response.
    pub status: u16,
    /// The status of the mirror's response.
    pub mirror_status: u16,
    /// Places that differ, at most a few.
    pub differences: Vec<SampleDifference>,
}

/// A difference in a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleDifference {
    /// As in [`Difference`].
    pub kind: String,
    /// As in [`Difference`], with the indexes of elements.
    pub path: String,
    /// Type and length in the client's response, or with `sample_values` the value.
    pub ours: String,
    /// The same of the mirror's response.
    pub theirs: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bounded_and_plays_no_tricks() {
        let longest = "é".repeat(AUTHOR_CHARS_MAX);
        for fit in ["alice", "Alice Ä. <a@example.com>", &longest] {
            assert!(is_author(fit), "{fit}");
        }
        for unfit in ["", "a\nb", "\u{1b}[2J", "a\u{9b}", &format!("{longest}é")] {
            assert!(!is_author(unfit), "{unfit:?}");
        }
    }
}
