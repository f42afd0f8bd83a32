//! The JSON of splits, canaries and mirrors.

use serde::{Deserialize, Serialize};

/// The phases of a canary, as [`Canary::phase`] has them.
pub const PHASES: [&str; 6] = ["stepping", "paused", "rolling-back", "rolled-back", "aborted", "done"];

/// How long the name of who gives an order may be.
pub const SIGNATURE_CHARS_MAX: usize = 100;

/// Whether a text may be the name of who gives an order: 1 to [`SIGNATURE_CHARS_MAX`] characters, none of them a control
/// character.
#[must_use]
pub fn is_signature(text: &str) -> bool {
    let is_long = text.chars().nth(SIGNATURE_CHARS_MAX).is_some();
    !text.is_empty() && !is_long && !text.contains(char::is_control)
}

/// The answer of `GET /api/v1/split`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Splits {
    /// Every split, in file order.
    pub splits: Vec<Split>,
}

/// The answer of `GET /api/v1/canary`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Canaries {
    /// Every canary, in file order.
    pub canaries: Vec<Canary>,
}

/// The answer of `GET /api/v1/mirror`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mirrors {
    /// Every mirror, in file order, without its samples.
    pub mirrors: Vec<Mirror>,
}

/// A route's split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// The route.
    pub route: String,
    /// Its sides, in file order.
    pub sides: Vec<Side>,
    /// By what a client stays on its side, as the file says it: `none`, `cookie`, `client-ip` …
    pub sticky: String,
    /// Set when the weights are not those of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<Override>,
}

/// One side of a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Its upstream.
    pub upstream: String,
    /// Its share now, in percent.
    pub weight: f64,
    /// Its share as the file says it, in percent.
    pub file_weight: f64,
    /// Whether a backend of it can take a request.
    pub usable: bool,
    /// What it has answered since the start.
    #[serde(flatten)]
    pub traffic: Traffic,
}

/// What a side has answered. What came from the cache is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests.
    pub requests: u64,
    /// Of them, those that failed: a 5xx, no answer, a broken one, or no backend to ask.
    pub errors: u64,
    /// 95 % of the response heads were in after so long, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ms: Option<f64>,
}

/// Who has set something by hand, or what has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// The name that was given with the order, `api` when there was none, or `canary`.
    pub by: String,
    /// When.
    pub at_ms: u64,
    /// Whether it survives a restart: not without `server.state_dir`.
    pub kept: bool,
}

/// The body of `POST /api/v1/split/{route}`: new weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitOrder {
    /// Percent for some sides or all, by upstream. Sides that are not named share the rest, in proportion.
    pub weights: std::collections::BTreeMap<String, f64>,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The body of the other orders; it may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// With `promote`: to the last step at once.
    #[serde(default)]
    pub full: bool,
}

/// A route's canary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// The route.
    pub route: String,
    /// The side that is tried.
    pub upstream: String,
    /// `stepping`, `paused`, `rolling-back`, `rolled-back`, `aborted` or `done`.
    pub phase: String,
    /// Which step it is at, counted from 1; 0: none.
    pub step: usize,
    /// The canary's share at each step, in percent.
    pub steps: Vec<f64>,
    /// Its share now, in percent.
    pub weight: f64,
    /// How long the step has lasted, in milliseconds, and
    pub held_ms: u64,
    /// how long it lasts at least.
    pub hold_ms: u64,
    /// What it waits for, or why it ended, for people.
    pub reason: String,
    /// What the canary has answered in this step, and
    pub canary: Traffic,
    /// what all other sides together.
    pub stable: Traffic,
    /// How many requests each must have had before there is a verdict.
    pub requests_min: u64,
    /// How many answers the mirror has compared in this step, and
    pub compared: u64,
    /// how many of them differed.
    pub mismatched: u64,
    /// The last changes, newest first.
    pub history: Vec<Change>,
    /// Whether its progress survives a restart: not without `server.state_dir`.
    pub kept: bool,
}

/// A change of a canary. Also what a webhook is told, with the route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at_ms: u64,
    /// What it was: `started`, `promoted`, `paused`, `resumed`, `failed`, `rolled-back`, `aborted`, `restarted`, `done`.
    pub event: String,
    /// The canary's share from then on, in percent.
    pub weight: f64,
    /// Why, or who, for people.
    pub reason: String,
}

/// A route's mirror.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mirror {
    /// The route.
    pub route: String,
    /// Where the copies go.
    pub upstream: String,
    /// How many requests are copied, in percent.
    pub percent: f64,
    /// Copies under way.
    pub in_flight: u64,
    /// Copies sent.
    pub sent: u64,
    /// Of them, those that were not answered: refused, reset, broken off.
    pub failed: u64,
    /// Of them, those that took longer than they may.
    pub timed_out: u64,
    /// Requests that were to be copied and were not, by reason: `busy`, `body`, `late`.
    pub dropped: std::collections::BTreeMap<String, u64>,
    /// Set when answers are compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// What comparing answers has shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Pairs of answers compared.
    pub compared: u64,
    /// Pairs that differ by more than noise.
    pub mismatched: u64,
    /// Pairs that could not be compared, by reason: `unanswered`, `status`, `long`, `coding`, `broken`.
    pub skipped: std::collections::BTreeMap<String, u64>,
    /// Where they differ, most frequent first.
    pub differences: Vec<Difference>,
    /// The last pairs that differed, newest first.
    pub samples: Vec<Sample>,
}

/// A place where answers differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// `status`, `header`, `body`, or of JSON: `missing`, `added`, `type`, `value`, `length`.
    pub kind: String,
    /// The field's name, or a JSON pointer with `*` for the elements of arrays; empty for the whole.
    pub path: String,
    /// In how many pairs.
    pub count: u64,
    /// In how many pairs of two answers of the same side: such a place counts no more.
    pub noise: u64,
}

/// A pair of answers that differed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When.
    pub at_ms: u64,
    /// The request's method.
    pub method: String,
    /// Its path; of its query only the names.
    pub target: String,
    /// Its id, as the access log has it.
    pub id: String,
    /// The status that the client got, and
    pub status: u16,
    /// the one of the copy.
    pub mirror_status: u16,
    /// Where they differ, at most a few.
    pub differences: Vec<Found>,
}

/// A difference in a sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// As in [`Difference`].
    pub kind: String,
    /// As in [`Difference`], with the elements' numbers.
    pub path: String,
    /// What the client got there: its type and length, or its value where the file says so.
    pub ours: String,
    /// What the copy got.
    pub theirs: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_bounded_and_plays_no_tricks() {
        let longest = "é".repeat(SIGNATURE_CHARS_MAX);
        for fit in ["alice", "Alice Ä. <a@example.com>", &longest] {
            assert!(is_signature(fit), "{fit}");
        }
        for unfit in ["", "a\nb", "\u{1b}[2J", "a\u{9b}", &format!("{longest}é")] {
            assert!(!is_signature(unfit), "{unfit:?}");
        }
    }
}
