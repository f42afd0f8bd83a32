//! What was found, as figures to print: medians and spreads of each proxy, and ours against theirs round by round.

use crate::figures::statistics::{self, Spread};
use crate::peers::Peer;
use crate::rounds::{Row, Sample};
use crate::works::{Goal, Rival};

/// All that a run has found.
#[derive(Default)]
pub(crate) struct ComparisonReport {
    /// The works, as measured.
    pub(crate) rows: Vec<Row>,
    /// KiB for an idle connection (work i), or why there is no figure.
    pub(crate) idle: Vec<(Peer, Result<f64, String>)>,
    /// Processor time of the backend for a request of 1 KiB without a proxy, in µs.
    pub(crate) backend_us: f64,
    /// How many idle connections were opened.
    pub(crate) idle_connections: usize,
    /// Proxies that were left out, and why.
    pub(crate) left_out: Vec<(Peer, String)>,
}

/// A goal and how far it is.
pub(crate) struct Standing {
    /// Compared with whom, at most what.
    pub(crate) goal: Goal,
    /// Ours to theirs over the rounds; `None` when no round has both.
    pub(crate) ratio: Option<Spread>,
}

impl Row {
    /// The proxies of this work that have figures.
    pub(crate) fn peers(&self) -> Vec<Peer> {
        self.proxies.iter().map(|(peer, _)| *peer).collect()
    }

    /// One figure's spread over the rounds that count.
    pub(crate) fn spread(&self, peer: Peer, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        statistics::spread(self.samples(peer).into_iter().flatten().map(|sample| figure(&sample)))
    }

    /// Our processor time to a rival's, round by round.
    pub(crate) fn ratio(&self, rival: Rival) -> Option<Spread> {
        let ours = self.cpu(Peer::Forebay);
        let theirs: Vec<Vec<Option<f64>>> = rival.peers().into_iter().map(|peer| self.cpu(peer)).collect();
        statistics::spread(statistics::ratios(&ours, &statistics::best_by_round(&theirs)))
    }

    /// The goals of this work.
    pub(crate) fn standings(&self) -> Vec<Standing> {
        self.work.goals().iter().map(|goal| Standing { goal: *goal, ratio: self.ratio(goal.rival) }).collect()
    }

    /// The reasons of void rounds, one a round.
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
