//! The position of balancers that take turns.

/// Where the next round begins, separate for first attempts and retries (see [`super::Draw::retry`]).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursors {
    first: usize,
    again: usize,
}

impl Cursors {
    /// First attempts begin at index `first`, retries at 0.
    pub(super) fn starting_at(first: usize) -> Self {
        Self { first, again: 0 }
    }

    /// The cursor of first attempts or of retries.
    pub(super) fn of(&mut self, retry: bool) -> &mut usize {
        if retry { &mut self.again } else { &mut self.first }
    }
}

/// Iterates over `endpoints` once: from the first that is at least `from` to the end, then from the start. `endpoints`
/// is in ascending order.
pub(super) fn around(endpoints: &[usize], from: usize) -> impl Iterator<Item = usize> {
    // If no index before it is missing, the index is its own position.
    let start =
        if endpoints.get(from) == Some(&from) { from } else { endpoints.partition_point(|&endpoint| endpoint < from) };
    let (before, after) = endpoints.split_at_checked(start).unwrap_or_default();
    after.iter().chain(before).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_meets_every_endpoint_once() {
        assert_eq!(around(&[0, 1, 2, 3, 4], 2).collect::<Vec<_>>(), [2, 3, 4, 0, 1]);
        assert_eq!(around(&[0, 1, 2, 3, 4], 5).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(around(&[0, 1], 9).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(around(&[1, 4, 6], 2).collect::<Vec<_>>(), [4, 6, 1]);
        assert_eq!(around(&[1, 4, 6], 4).collect::<Vec<_>>(), [4, 6, 1]);
        assert_eq!(around(&[0, 2, 3], 1).collect::<Vec<_>>(), [2, 3, 0]);
        assert_eq!(around(&[], 0).count(), 0);
    }
}
