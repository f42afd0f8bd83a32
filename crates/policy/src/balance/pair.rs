//! Two distinct open seats by chance, for the balancers that compare two.

use super::Seats;
use super::dice::Dice;

/// Draws before all usable seats are looked at.
const DRAWS_MAX: usize = 8;

/// Every open seat is drawn with equal chance. The second is missing when only one is open.
pub(super) fn draw(seats: &impl Seats, seed: u64) -> Option<(usize, Option<usize>)> {
    let usable = seats.usable();
    let mut dice = Dice::new(seed);
    let first = open_one(seats, usable.len(), &mut dice, |drawn| drawn)?;
    // The second comes from the others: what lies behind the first moves up.
    let second = open_one(seats, usable.len() - 1, &mut dice, |drawn| drawn + usize::from(drawn >= first));
    let seat = |place: usize| usable.get(place).copied();
    Some((seat(first)?, second.and_then(seat)))
}

/// The place among the usable of one that is open, by chance; `place` gives that of each of `count`.
fn open_one(seats: &impl Seats, count: usize, dice: &mut Dice, place: impl Fn(usize) -> usize) -> Option<usize> {
    let is_open = |place: &usize| seats.usable().get(*place).is_some_and(|&seat| seats.open(seat));
    if count == 0 {
        return None;
    }
    for _ in 0..DRAWS_MAX {
        let drawn = place(dice.position(count));
        if is_open(&drawn) {
            return Some(drawn);
        }
    }
    // The n-th that is open replaces the choice so far with a chance of 1/n, so all have the same in the end.
    let mut found = 0;
    let mut chosen = None;
    for place in (0..count).map(place).filter(is_open) {
        found += 1;
        if dice.below(found) == 0 {
            chosen = Some(place);
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
