//! What comparing answers has shown: how many pairs differ, where, and the last of them.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use message::Known;
use policy::compare::redact;
use policy::compare::{Content, Difference, Noise, Response, Row, Skip, Tally, compare};

use super::copied_request::CopiedRequest;
use super::tee::Seen;
use crate::config::plan;

/// The most differences that a sample tells of.
const SAMPLE_MAX: usize = 16;

/// Why there is no second answer.
pub(crate) const UNANSWERED: &str = "unanswered";

/// What comparing answers has shown.
#[derive(Debug)]
pub(crate) struct ComparisonReport {
    plan: plan::Compare,
    /// What was compared, and what of it differed, before it began anew.
    before: (u64, u64),
    compared: u64,
    mismatched: u64,
    skipped: BTreeMap<&'static str, u64>,
    noise: Noise,
    tally: Tally,
    samples: VecDeque<Sample>,
}

/// A pair of answers that differed.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// The request's method.
    pub method: String,
    /// Its target, without the values of its query.
    pub target: String,
    /// Its id.
    pub id: String,
    /// The statuses: the client's, and the copy's.
    pub statuses: (u16, u16),
    /// Where they differ: kind, path, the client's, and the copy's.
    pub differences: Vec<(&'static str, String, String, String)>,
}

/// What both sides said to one request.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The request.
    pub request: CopiedRequest,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// What the client got.
    pub ours: Seen,
    /// What the copy got.
    pub theirs: Seen,
    /// What a second copy got from the client's side, if it was asked.
    pub again: Option<Seen>,
}

/// Where the two answers of a pair differ.
#[derive(Debug)]
pub(crate) struct Compared {
    pair: Pair,
    found: Result<Vec<Difference>, Skip>,
    between_ours: Vec<Difference>,
}

impl Pair {
    /// Compares. May take a while: bodies are read whole.
    #[must_use]
    pub(crate) fn compare(self, rules: &policy::compare::rules::Rules) -> Compared {
        let method = &self.request.method;
        let between = |one: &Seen, other: &Seen| {
            let bodies = (joined(one), joined(other));
            compare(rules, &answer(one, bodies.0.as_ref()), &answer(other, bodies.1.as_ref()), method)
        };
        let found = between(&self.ours, &self.theirs);
        // What can't be told apart can't be noise either.
        let again = self.again.as_ref().map(|again| between(&self.ours, again));
        let between_ours = again.and_then(Result::ok).unwrap_or_default();
        Compared { found, between_ours, pair: self }
    }
}

fn joined(seen: &Seen) -> Option<BytesMut> {
    let pieces = seen.body.as_ref()?;
    let mut all = BytesMut::with_capacity(pieces.iter().map(bytes::Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    Some(all)
}

fn answer<'a>(seen: &'a Seen, body: Option<&'a BytesMut>) -> Response<'a> {
    let body = body.map_or(Content::Unknown, |body| Content::Whole(body));
    Response { status: seen.status, headers: &seen.headers, body }
}

impl ComparisonReport {
    /// Nothing has been compared yet.
    #[must_use]
    pub(crate) fn new(plan: &plan::Compare) -> Self {
        Self {
            plan: plan.clone(),
            before: (0, 0),
            compared: 0,
            mismatched: 0,
            skipped: BTreeMap::new(),
            noise: Noise::default(),
            tally: Tally::default(),
            samples: VecDeque::new(),
        }
    }

    /// Begins anew. What [`ComparisonReport::totals`] tells goes on.
    pub(crate) fn reset(&mut self) {
        *self = Self { before: self.totals(), ..Self::new(&self.plan) };
    }

    /// A pair that could not be compared.
    pub(crate) fn skip(&mut self, why: &'static str) {
        *self.skipped.entry(why).or_default() += 1;
    }

    /// A pair that was compared.
    pub(crate) fn note(&mut self, compared: Compared) {
        let Compared { pair, found, between_ours } = compared;
        let found = match found {
            Ok(found) => found,
            Err(skip) => return self.skip(skip.as_str()),
        };
        self.compared += 1;
        self.tally.count_noise(&between_ours);
        self.noise.learn(&between_ours);
        let left = self.noise.subtract(found, &between_ours);
        if left.is_empty() {
            return;
        }
        self.mismatched += 1;
        self.tally.count(&left);
        self.keep(&pair, &left);
    }

    fn keep(&mut self, pair: &Pair, differences: &[Difference]) {
        let values = self.plan.sample_values;
        let shown = |difference: &Difference| {
            let (ours, theirs) = (difference.ours.text(values), difference.theirs.text(values));
            (difference.kind.as_str(), difference.path.clone(), ours, theirs)
        };
        let id = pair.request.headers.first(Known::XRequestId);
        let sample = Sample {
            at_ms: pair.at_ms,
            method: pair.request.method.to_string(),
            target: redact::target(&pair.request.target.to_string()),
            id: id.and_then(|id| std::str::from_utf8(id).ok()).unwrap_or_default().to_owned(),
            statuses: (pair.ours.status.as_u16(), pair.theirs.status.as_u16()),
            differences: differences.iter().take(SAMPLE_MAX).map(shown).collect(),
        };
        self.samples.push_front(sample);
        self.samples.truncate(self.plan.samples_max);
    }

    /// How many pairs were compared, and how many of them differed by more than noise.
    #[must_use]
    pub(crate) fn compared(&self) -> (u64, u64) {
        (self.compared, self.mismatched)
    }

    /// The same from the very beginning, however often it began anew: a canary goes by what is added.
    #[must_use]
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.before.0 + self.compared, self.before.1 + self.mismatched)
    }

    /// How many pairs could not be compared, by reason.
    #[must_use]
    pub(crate) fn skipped(&self) -> &BTreeMap<&'static str, u64> {
        &self.skipped
    }

    /// Where pairs differ, most frequent first.
    #[must_use]
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.tally.rows()
    }

    /// The last pairs that differed, newest first.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }
}
