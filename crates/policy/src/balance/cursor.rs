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

/// All of these seats once, from the first that is not before `from` to the end, and then from the start. They are in
/// ascending order.
pub(super) fn around(seats: &[usize], from: usize) -> impl Iterator<Item = usize> {
    // When none before is missing, it lies at its own number.
    let start = if seats.get(from) == Some(&from) { from } else { seats.partition_point(|&seat| seat < from) };
    let (before, after) = seats.split_at_checked(start).unwrap_or_default();
    after.iter().chain(before).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_meets_every_seat_once() {
        assert_eq!(around(&[0, 1, 2, 3, 4], 2).collect::<Vec<_>>(), [2, 3, 4, 0, 1]);
        assert_eq!(around(&[0, 1, 2, 3, 4], 5).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(around(&[0, 1], 9).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(around(&[1, 4, 6], 2).collect::<Vec<_>>(), [4, 6, 1]);
        assert_eq!(around(&[1, 4, 6], 4).collect::<Vec<_>>(), [4, 6, 1]);
        assert_eq!(around(&[0, 2, 3], 1).collect::<Vec<_>>(), [2, 3, 0]);
        assert_eq!(around(&[], 0).count(), 0);
    }
}
