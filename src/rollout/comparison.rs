//! The results of comparing responses: the number of pairs that differ, where they differ, and the latest samples.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;
use message::Known;
use policy::compare::redact;
use policy::compare::{Content, Difference, Noise, Response, Row, Skip, Tally, compare};

use super::copied_request::CopiedRequest;
use super::tee::RecordedResponse;
use crate::config::plan;

/// The most differences in a sample.
const SAMPLE_MAX: usize = 16;

/// The reason for a skipped pair whose second response is missing.
pub(crate) const UNANSWERED: &str = "unanswered";

/// The results of a mirror's comparisons.
#[derive(Debug)]
pub(crate) struct ComparisonReport {
    plan: plan::Compare,
    /// The number of compared pairs, and of those that differed, before the last reset.
    before: (u64, u64),
    compared: u64,
    mismatched: u64,
    skipped: BTreeMap<&'static str, u64>,
    noise: Noise,
    tally: Tally,
    samples: VecDeque<Sample>,
}

/// A pair of responses that differed.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The request's method.
    pub method: String,
    /// The request's target, without the values of its query.
    pub target: String,
    /// The request id.
    pub id: String,
    /// The statuses of the client's response and the mirror's.
    pub statuses: (u16, u16),
    /// The differences: kind, path, the client's value, and the mirror's.
    pub differences: Vec<(&'static str, String, String, String)>,
}

/// The responses to one request, to be compared.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The request.
    pub request: CopiedRequest,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The response that the client received.
    pub ours: RecordedResponse,
    /// The response of the mirror.
    pub theirs: RecordedResponse,
    /// The response of the client's upstream to a second copy, if one was sent, to detect noise.
    pub again: Option<RecordedResponse>,
}

/// The result of comparing a pair.
#[derive(Debug)]
pub(crate) struct Compared {
    pair: Pair,
    found: Result<Vec<Difference>, Skip>,
    between_ours: Vec<Difference>,
}

impl Pair {
    /// Compares the responses. May take a while, because it reads complete bodies.
    #[must_use]
    pub(crate) fn compare(self, rules: &policy::compare::rules::Rules) -> Compared {
        let method = &self.request.method;
        let between = |one: &RecordedResponse, other: &RecordedResponse| {
            let bodies = (joined(one), joined(other));
            compare(rules, &answer(one, bodies.0.as_ref()), &answer(other, bodies.1.as_ref()), method)
        };
        let found = between(&self.ours, &self.theirs);
        // If this comparison fails, it cannot show noise either.
        let again = self.again.as_ref().map(|again| between(&self.ours, again));
        let between_ours = again.and_then(Result::ok).unwrap_or_default();
        Compared { found, between_ours, pair: self }
    }
}

fn joined(seen: &RecordedResponse) -> Option<BytesMut> {
    let pieces = seen.body.as_ref()?;
    let mut all = BytesMut::with_capacity(pieces.iter().map(bytes::Bytes::len).sum());
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    Some(all)
}

fn answer<'a>(seen: &'a RecordedResponse, body: Option<&'a BytesMut>) -> Response<'a> {
    let body = body.map_or(Content::Unknown, |body| Content::Whole(body));
    Response { status: seen.status, headers: &seen.headers, body }
}

impl ComparisonReport {
    /// An empty report.
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

    /// Resets the report; [`ComparisonReport::totals`] continues.
    pub(crate) fn reset(&mut self) {
        *self = Self { before: self.totals(), ..Self::new(&self.plan) };
    }

    /// Counts a pair that could not be compared.
    pub(crate) fn skip(&mut self, why: &'static str) {
        *self.skipped.entry(why).or_default() += 1;
    }

    /// Adds a compared pair.
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

    /// The number of compared pairs, and of those that differed by more than noise.
    #[must_use]
    pub(crate) fn compared(&self) -> (u64, u64) {
        (self.compared, self.mismatched)
    }

    /// The same since the report was created, regardless of resets: a canary evaluates the increase.
    #[must_use]
    pub(crate) fn totals(&self) -> (u64, u64) {
        (self.before.0 + self.compared, self.before.1 + self.mismatched)
    }

    /// The number of pairs that could not be compared, by reason.
    #[must_use]
    pub(crate) fn skipped(&self) -> &BTreeMap<&'static str, u64> {
        &self.skipped
    }

    /// The places where pairs differ, most frequent first.
    #[must_use]
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.tally.rows()
    }

    /// The latest pairs that differed, newest first.
    pub(crate) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter()
    }
}
