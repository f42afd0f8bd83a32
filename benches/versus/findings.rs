//! The results as figures: medians and ranges of each proxy, and ratios of ours to theirs round by round.

use crate::figures::statistics::{self, Spread};
use crate::peers::Peer;
use crate::rounds::{Row, Sample};
use crate::works::{Goal, Rival};

/// All results of a run.
#[derive(Default)]
pub(crate) struct ComparisonReport {
    /// The measured workloads.
    pub(crate) rows: Vec<Row>,
    /// KiB per idle connection (workload i), or why there is no figure.
    pub(crate) idle: Vec<(Peer, Result<f64, String>)>,
    /// Processor time of the backend for a request of 1 KiB without a proxy, in µs.
    pub(crate) backend_us: f64,
    /// The number of idle connections.
    pub(crate) idle_connections: usize,
    /// Excluded proxies, with the reason.
    pub(crate) left_out: Vec<(Peer, String)>,
}

/// A goal and the current result.
pub(crate) struct Standing {
    /// The goal.
    pub(crate) goal: Goal,
    /// The ratio of ours to theirs over the rounds; `None` if no round has both.
    pub(crate) ratio: Option<Spread>,
}

impl Row {
    /// The proxies with figures for this workload.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.proxies.iter().map(|(peer, _)| *peer).collect()
    }

    /// The spread of one figure over the valid rounds.
    pub(crate) fn spread(&self, peer: Peer, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        statistics::spread(self.samples(peer).into_iter().flatten().map(|sample| figure(&sample)))
    }

    /// The ratio of our processor time to a rival's, round by round.
    pub(crate) fn ratio(&self, rival: Rival) -> Option<Spread> {
        let ours = self.cpu(Peer::Forebay);
        let theirs: Vec<Vec<Option<f64>>> = rival.peers().into_iter().map(|peer| self.cpu(peer)).collect();
        statistics::spread(statistics::ratios(&ours, &statistics::best_by_round(&theirs)))
    }

    /// The goals of this workload.
    pub(crate) fn standings(&self) -> Vec<Standing> {
        self.work.goals().iter().map(|goal| Standing { goal: *goal, ratio: self.ratio(goal.rival) }).collect()
    }

    /// The reasons of void rounds, one per round.
    pub(crate) fn voids(&self) -> Vec<(Peer, usize, &str)> {
        let mut found = Vec::new();
        for (peer, rounds) in &self.proxies {
            let void = rounds.iter().enumerate().filter_map(|(round, sample)| Some((round, sample.as_ref().err()?)));
            found.extend(void.map(|(round, reason)| (*peer, round + 1, reason.as_str())));
        }
        found
    }

    fn samples(&self, peer: Peer) -> Vec<Option<Sample>> {
        let rounds = self.proxies.iter().filter(|(one, _)| *one == peer).flat_map(|(_, rounds)| rounds);
        rounds.map(|sample| sample.as_ref().ok().copied()).collect()
    }

    fn cpu(&self, peer: Peer) -> Vec<Option<f64>> {
        self.samples(peer).into_iter().map(|sample| sample.map(|sample| sample.cpu_us)).collect()
    }
}
