//! Whose turn it is, for balancers that go round.

/// Where the next round begins, for first tries and retries apart (see [`super::Draw::retry`]).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursors {
    first: usize,
    again: usize,
}

impl Cursors {
    /// First tries begin at seat `first`, retries at the start.
    pub(super) fn starting_at(first: usize) -> Self {
        Self { first, again: 0 }
    }

    /// The cursor for this kind of try.
    pub(super) fn of(&mut self, retry: bool) -> &mut usize {
        if retry { &mut self.again } else { &mut self.first }
    }
}

/// All seats once, from `from` to the end and then from the start. A `from` beyond the end is the start.
pub(super) fn around(from: usize, count: usize) -> impl Iterator<Item = usize> {
    (from..count).chain(0..from.min(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_meets_every_seat_once() {
        assert_eq!(around(2, 5).collect::<Vec<_>>(), [2, 3, 4, 0, 1]);
        assert_eq!(around(5, 5).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(around(9, 2).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(around(0, 0).count(), 0);
    }
}
