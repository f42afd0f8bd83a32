//! Two distinct open seats by chance, for the balancers that compare two.

use super::Seats;
use super::dice::Dice;

/// Draws before all seats are looked at.
const DRAWS_MAX: usize = 8;

/// Every open seat is drawn with equal chance. The second is missing when only one is open.
pub(super) fn draw(seats: &impl Seats, seed: u64) -> Option<(usize, Option<usize>)> {
    let mut dice = Dice::new(seed);
    let first = another(seats, None, &mut dice)?;
    Some((first, another(seats, Some(first), &mut dice)))
}

fn another(seats: &impl Seats, but: Option<usize>, dice: &mut Dice) -> Option<usize> {
    let fits = |index: usize| Some(index) != but && seats.open(index);
    if seats.is_empty() {
        return None;
    }
    for _ in 0..DRAWS_MAX {
        let drawn = dice.position(seats.len());
        if fits(drawn) {
            return Some(drawn);
        }
    }
    // The n-th that fits replaces the choice so far with a chance of 1/n, so all have the same in the end.
    let mut found = 0;
    let mut chosen = None;
    for index in (0..seats.len()).filter(|&index| fits(index)) {
        found += 1;
        if dice.below(found) == 0 {
            chosen = Some(index);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::super::scripted::{Scripted, assert_binomial};
    use super::*;

    fn check_shares(scripted: &Scripted, seed: u64) {
        let open = (0..scripted.len()).filter(|index| scripted.open(*index)).count();
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut counts = vec![0_u64; scripted.len()];
        for _ in 0..20_000 {
            let (first, second) = draw(scripted, rng.u64(..)).expect("some are open");
            assert_ne!(Some(first), second);
            counts[first] += 1;
            counts[second.expect("two are open")] += 1;
        }
        for (index, count) in counts.into_iter().enumerate() {
            let share = if scripted.open(index) { 2.0 / open as f64 } else { 0.0 };
            assert_binomial(count, 20_000, share);
        }
    }

    #[test]
    fn all_open_seats_are_drawn_alike() {
        for count in [2, 3, 7, 200] {
            check_shares(&Scripted::of(count), count as u64);
        }
    }

    #[test]
    fn the_last_open_seats_among_many_closed_are_drawn_alike() {
        let mut scripted = Scripted::of(100);
        scripted.free.fill(false);
        for index in [3, 50, 99] {
            scripted.free[index] = true;
        }
        check_shares(&scripted, 5);
    }

    #[test]
    fn one_open_seat_has_no_rival_and_none_gives_none() {
        let mut scripted = Scripted::of(3);
        scripted.free = vec![false, true, false];
        assert_eq!(draw(&scripted, 1), Some((1, None)));
        scripted.free.fill(false);
        assert_eq!(draw(&scripted, 1), None);
    }

    #[test]
    fn ten_thousand_open_seats_cost_hardly_more_than_two_looks() {
        let scripted = Scripted::of(10_000);
        for seed in 0..1_000 {
            assert!(draw(&scripted, seed).is_some());
        }
        assert!(scripted.asked() < 2_010);
    }
}
