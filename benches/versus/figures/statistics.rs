//! Medians, ranges and ratios of rounds.
//!
//! A void round is `None`: it is ignored, and does not shift the others.

/// The median and range of values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The median; for an even number of values the mean of the middle two.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) least: f64,
    /// The largest.
    pub(crate) most: f64,
    /// The number of values.
    pub(crate) count: usize,
}

/// The spread of the values; `None` without values.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let upper = *sorted.get(count / 2)?;
    let lower = *sorted.get((count - 1) / 2)?;
    Some(Spread { median: f64::midpoint(lower, upper), least, most, count })
}

/// The ratios of ours to theirs, round by round.
pub(crate) fn ratios(ours: &[Option<f64>], theirs: &[Option<f64>]) -> Vec<f64> {
    let pairs = ours.iter().zip(theirs).filter_map(|(ours, theirs)| Some(((*ours)?, (*theirs)?)));
    pairs.filter(|(_, theirs)| *theirs > 0.0).map(|(ours, theirs)| ours / theirs).collect()
}

/// The minimum of each round over several peers: the best peer of that round.
pub(crate) fn best_by_round(peers: &[Vec<Option<f64>>]) -> Vec<Option<f64>> {
    let rounds = peers.iter().map(Vec::len).max().unwrap_or(0);
    let of_round = |round: usize| peers.iter().filter_map(move |one| one.get(round).copied().flatten());
    (0..rounds).map(|round| of_round(round).min_by(f64::total_cmp)).collect()
}

/// `items` in the order of a round: each comes first equally often, and neighbours alternate.
pub(crate) fn order<T: Clone>(items: &[T], round: usize) -> Vec<T> {
    let mut turned = items.to_vec();
    if let Some(places) = round.checked_rem(items.len()) {
        turned.rotate_left(places);
        if (round / items.len()) % 2 == 1 {
            turned.reverse();
        }
    }
    turned
}
