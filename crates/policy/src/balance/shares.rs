//! Draws among the usable endpoints in proportion to weight.

use super::EndpointView;

/// The cumulative weights of the usable endpoints, as of one epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    epoch: Option<u64>,
    /// For each usable endpoint, the sum of the weights up to and including its own.
    sums: Vec<u64>,
}

impl Shares {
    /// Recomputes the sums if the set of usable endpoints has changed.
    pub(super) fn follow(&mut self, endpoints: &impl EndpointView, weights: &[u32]) {
        let epoch = endpoints.epoch();
        if self.epoch == Some(epoch) {
            return;
        }
        self.sums.clear();
        let weights = endpoints.usable().iter().map(|&endpoint| weights.get(endpoint).copied().unwrap_or(1).max(1));
        self.sums.extend(weights.scan(0, |sum, weight| {
            *sum += u64::from(weight);
            Some(*sum)
        }));
        self.epoch = Some(epoch);
    }

    /// The sum of all weights; 0: no endpoint is usable.
    pub(super) fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// The usable endpoint that owns `drawn`, a number below the total: its position in the list of usable ones.
    pub(super) fn place(&self, drawn: u64) -> usize {
        if self.total() == self.sums.len() as u64 {
            // All weights are 1.
            return drawn as usize;
        }
        self.sums.partition_point(|sum| *sum <= drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripted::Scripted;
    use super::*;

    fn shares(scripted: &Scripted, weights: &[u32]) -> Vec<usize> {
        let mut shares = Shares::default();
        shares.follow(scripted, weights);
        (0..shares.total()).map(|drawn| scripted.usable()[shares.place(drawn)]).collect()
    }

    #[test]
    fn each_usable_endpoint_has_as_many_numbers_as_it_weighs() {
        let mut scripted = Scripted::of(4);
        assert_eq!(shares(&scripted, &[2, 1, 0, 3]), [0, 0, 1, 2, 3, 3, 3]);
        assert_eq!(shares(&scripted, &[1; 4]), [0, 1, 2, 3]);
        scripted.set_usable(1, false);
        assert_eq!(shares(&scripted, &[2, 1, 0, 3]), [0, 0, 2, 3, 3, 3]);
    }

    #[test]
    fn they_follow_the_epoch() {
        let mut scripted = Scripted::of(3);
        let mut shares = Shares::default();
        shares.follow(&scripted, &[5, 1, 1]);
        assert_eq!(shares.total(), 7);
        scripted.set_usable(0, false);
        shares.follow(&scripted, &[5, 1, 1]);
        assert_eq!(shares.total(), 2);
        scripted.set_usable(1, false);
        scripted.set_usable(2, false);
        shares.follow(&scripted, &[5, 1, 1]);
        assert_eq!(shares.total(), 0);
    }
}
