//! Drawing among the usable seats in proportion to their weight.

use super::Seats;

/// The weights of the usable seats added up one after the other, as of one epoch.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    epoch: Option<u64>,
    /// For each usable seat the weights up to and with its own.
    sums: Vec<u64>,
}

impl Shares {
    /// Makes them those of the seats that are usable now.
    pub(super) fn follow(&mut self, seats: &impl Seats, weights: &[u32]) {
        let epoch = seats.epoch();
        if self.epoch == Some(epoch) {
            return;
        }
        self.sums.clear();
        let weights = seats.usable().iter().map(|&seat| weights.get(seat).copied().unwrap_or(1).max(1));
        self.sums.extend(weights.scan(0, |sum, weight| {
            *sum += u64::from(weight);
            Some(*sum)
        }));
        self.epoch = Some(epoch);
    }

    /// All weights together; 0: nothing is usable.
    pub(super) fn total(&self) -> u64 {
        self.sums.last().copied().unwrap_or(0)
    }

    /// The usable seat whose share a number below the total falls into: its place among them.
    pub(super) fn place(&self, drawn: u64) -> usize {
        if self.total() == self.sums.len() as u64 {
            // All weigh 1.
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
    fn each_usable_seat_has_as_many_numbers_as_it_weighs() {
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
