//! Selects the side of a split for a request: randomly in exact proportion, or always the same for the same client.
//!
//! A [`Share`] is counted in thousandths of a percent, and the shares of a split add up to 100 %, so nothing is lost to
//! rounding. [`super::sticky`] computes a client's key.

use crate::balance::prng::splitmix64;

/// The number of parts of the whole.
const PARTS: u32 = 100_000;

/// A share of all requests, in thousandths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// No requests.
    pub const NONE: Self = Self(0);
    /// All requests.
    pub const WHOLE: Self = Self(PARTS);

    /// A share from percent; `None`: below 0, above 100, finer than 0.001, or not a number. Rounding errors below a
    /// billionth are ignored.
    #[must_use]
    pub fn from_percent(percent: f64) -> Option<Self> {
        let parts = percent * f64::from(PARTS) / 100.0;
        let whole = parts.round();
        let is_fine = (0.0..=f64::from(PARTS)).contains(&whole) && (parts - whole).abs() < 1e-6;
        // The checks above guarantee that it fits a u32.
        is_fine.then_some(Self(whole as u32))
    }

    /// The share in percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) * 100.0 / f64::from(PARTS)
    }

    /// Whether a random number falls within the share. `random`: a uniform number.
    ///
    /// The number may be the same as for other decisions about the request, such as [`Shares::draw`]: the results are
    /// independent. Otherwise a small share would only include requests of the first side.
    #[must_use]
    pub fn takes(self, random: u64) -> bool {
        part(splitmix64(splitmix64(!random))) < self.0
    }
}

impl std::fmt::Display for Share {
    /// In percent without a sign: `20`, `0.1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.percent().fmt(f)
    }
}

/// Why shares are invalid.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum BadShares {
    /// There is no side.
    #[error("there is no side")]
    Empty,
    /// They do not add up to 100 %.
    #[error("they add up to {percent} percent, not to 100")]
    Sum {
        /// Their sum.
        percent: f64,
    },
    /// There is no such side.
    #[error("there is no such side")]
    NoSide,
}

/// The sides of a split in the order of their names.
///
/// [`Shares::keep`] uses it, so that a client's side depends on the names of the sides and not on their order in the
/// file: two routes that split the same upstreams agree, and reordering a file moves no client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order(Box<[usize]>);

impl Order {
    /// From the sides' names, all different, in the order of their shares.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut sides: Vec<(&str, usize)> = names.into_iter().zip(0..).collect();
        sides.sort_unstable();
        Self(sides.into_iter().map(|(_, side)| side).collect())
    }
}

/// The shares of the sides of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares(Box<[Share]>);

impl Shares {
    /// One share for each side.
    ///
    /// # Errors
    /// If there are none, or they do not add up to 100 %.
    pub fn new(shares: Vec<Share>) -> Result<Self, BadShares> {
        if shares.is_empty() {
            return Err(BadShares::Empty);
        }
        let sum: u64 = shares.iter().map(|share| u64::from(share.0)).sum();
        if sum != u64::from(PARTS) {
            return Err(BadShares::Sum { percent: sum as f64 * 100.0 / f64::from(PARTS) });
        }
        Ok(Self(shares.into_boxed_slice()))
    }

    /// Each side's share, in order.
    #[must_use]
    pub fn all(&self) -> &[Share] {
        &self.0
    }

    /// The share of one side; none if there is no such side.
    #[must_use]
    pub fn of(&self, side: usize) -> Share {
        self.0.get(side).copied().unwrap_or_default()
    }

    /// The side for a random number: of uniform numbers each side gets its share, exact to one in 2⁴⁷.
    ///
    /// The number may be the same as for other decisions about the request. It is mixed first: slow start compares that
    /// number itself with a threshold ([`crate::health::slow_start::admits`]), so the first side, having all low
    /// numbers, would admit all requests.
    #[must_use]
    pub fn draw(&self, random: u64) -> usize {
        at(self.0.iter().copied().enumerate(), part(splitmix64(!random)))
    }

    /// The side of a client with this key, always the same for the same key, shares and names.
    ///
    /// With two sides each gets its exact share of all keys, and a change of shares moves as few keys as possible. With
    /// more, a side whose share grows relative to all others loses no key; if the others keep their proportions, only
    /// keys that it gains move; any other change moves less than twice the minimum.
    ///
    /// More than two sides: weighted rendezvous hashing. Source: Schindelhauer, Schomaker, "Weighted distributed hash
    /// tables", 2005.
    #[must_use]
    pub fn keep(&self, key: u64, order: &Order) -> usize {
        let ranked = order.0.iter().map(|side| (*side, self.of(*side)));
        if self.0.len() <= 2 {
            return at(ranked, part(splitmix64(key)));
        }
        let score = |rank: u64, share: Share| {
            let drawn = splitmix64(splitmix64(key) ^ splitmix64(rank + 1));
            // Strictly between 0 and 1: with 52 bits the half is still exact.
            let even = ((drawn >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
            -even.ln() / f64::from(share.0)
        };
        let sides = (0..).zip(ranked).filter(|(_, (_, share))| *share > Share::NONE);
        let scored = sides.map(|(rank, (side, share))| (side, score(rank, share)));
        scored.min_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(side, _)| side)
    }

    /// The shares if these sides get no requests: the others keep their proportions. `None`: no side is left.
    #[must_use]
    pub fn without(&self, is_out: impl Fn(usize) -> bool) -> Option<Self> {
        let kept = |(side, share): (usize, &Share)| if is_out(side) { Share::NONE } else { *share };
        let kept: Vec<Share> = self.0.iter().enumerate().map(kept).collect();
        in_proportion(&kept, Share::WHOLE).map(|shares| Self(shares.into_boxed_slice()))
    }

    /// The shares if one side gets this share; see [`Shares::with_given`].
    ///
    /// # Errors
    /// If there is no such side, or no side to take the rest.
    pub fn with(&self, side: usize, share: Share) -> Result<Self, BadShares> {
        if side >= self.0.len() {
            return Err(BadShares::NoSide);
        }
        self.with_given(|other| (other == side).then_some(share))
    }

    /// The shares if some sides are given theirs: the others share the rest in proportion to their shares, or equally
    /// if these are zero.
    ///
    /// Shares of zero lose the proportions of the sides, and each change rounds again; so a caller that moves a split
    /// in steps should always start from the original shares.
    ///
    /// # Errors
    /// If the given shares exceed 100 %, or are less and no side is left to take the rest.
    pub fn with_given(&self, given: impl Fn(usize) -> Option<Share>) -> Result<Self, BadShares> {
        let sides = 0..self.0.len();
        let taken: u64 = sides.clone().filter_map(&given).map(|share| u64::from(share.0)).sum();
        let rest = Share(u64::from(PARTS).saturating_sub(taken) as u32);
        let had: Vec<Share> =
            sides.clone().map(|side| given(side).map_or_else(|| self.of(side), |_| Share::NONE)).collect();
        let alike: Vec<Share> = sides.clone().map(|side| Share(u32::from(given(side).is_none()))).collect();
        let others = in_proportion(&had, rest).or_else(|| in_proportion(&alike, rest)).unwrap_or_default();
        let other = |side: usize| others.get(side).copied().unwrap_or_default();
        Self::new(sides.map(|side| given(side).unwrap_or_else(|| other(side))).collect())
    }
}

/// The side whose interval contains a part, with the sides' intervals laid end to end.
fn at(mut sides: impl Iterator<Item = (usize, Share)>, part: u32) -> usize {
    let mut end = 0;
    let holder = sides.find(|(_, share)| {
        end += share.0;
        part < end
    });
    holder.map_or(0, |(side, _)| side)
}

/// Scales shares to a total. What rounding leaves goes to the sides that lost most, never to one with no share. `None`:
/// all shares are zero.
fn in_proportion(shares: &[Share], total: Share) -> Option<Vec<Share>> {
    let sum: u64 = shares.iter().map(|share| u64::from(share.0)).sum();
    if sum == 0 {
        return None;
    }
    let scaled = |share: &Share| u64::from(share.0) * u64::from(total.0);
    let mut out: Vec<Share> = shares.iter().map(|share| Share((scaled(share) / sum) as u32)).collect();
    let left = total.0 - out.iter().map(|share| share.0).sum::<u32>();
    let mut lost: Vec<(u64, &mut Share)> = shares.iter().map(|share| scaled(share) % sum).zip(out.iter_mut()).collect();
    lost.sort_by_key(|(remainder, _)| std::cmp::Reverse(*remainder));
    for (_, share) in lost.into_iter().take(left as usize) {
        share.0 += 1;
    }
    Some(out)
}

/// The part for a number, uniformly distributed.
fn part(drawn: u64) -> u32 {
    ((u128::from(drawn) * u128::from(PARTS)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::balance::scripted::assert_binomial;
    use crate::health::slow_start;

    fn share(percent: f64) -> Share {
        Share::from_percent(percent).unwrap_or_else(|| panic!("{percent} is no share"))
    }

    fn shares(percents: &[f64]) -> Shares {
        Shares::new(percents.iter().map(|percent| share(*percent)).collect()).expect("the whole")
    }

    fn percents(shares: &Shares) -> Vec<f64> {
        shares.all().iter().map(|share| share.percent()).collect()
    }

    /// As many names as there are sides, in order.
    fn order(sides: usize) -> Order {
        Order::of(["a", "b", "c", "d", "e", "f"].into_iter().take(sides))
    }

    /// The lowest number for a part.
    fn drawn(part: u32) -> u64 {
        (u128::from(part) << 64).div_ceil(u128::from(PARTS)) as u64
    }

    /// The inverse of `splitmix64`, which is a bijection, so iterating over its results covers all keys.
    fn unmixed(mixed: u64) -> u64 {
        let unshifted = |value: u64, by: u32| (0..64 / by).fold(value, |found, _| value ^ (found >> by));
        let value = unshifted(mixed, 31).wrapping_mul(inverse(0x94d0_49bb_1331_11eb));
        let value = unshifted(value, 27).wrapping_mul(inverse(0xbf58_476d_1ce4_e5b9));
        unshifted(value, 30).wrapping_sub(0x9e37_79b9_7f4a_7c15)
    }

    /// The inverse of an odd number modulo 2⁶⁴, by Newton's method: each step doubles the correct bits.
    fn inverse(odd: u64) -> u64 {
        (0..6).fold(odd, |found, _| found.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(found))))
    }

    /// The number of parts that fall on each side, with one number for each part.
    fn swept(sides: usize, side: impl Fn(u32) -> usize) -> Vec<u32> {
        let mut counts = vec![0; sides];
        (0..PARTS).for_each(|part| counts[side(part)] += 1);
        counts
    }

    /// The number of keys of each side.
    fn counted(shares: &Shares, keys: u64) -> Vec<u64> {
        let order = order(shares.all().len());
        let mut counts = vec![0; shares.all().len()];
        (0..keys).for_each(|key| counts[shares.keep(key, &order)] += 1);
        counts
    }

    /// The tolerance for this expected count: wide enough for thousands of checks, also with small counts.
    fn slack(mean: f64) -> f64 {
        6.0 * mean.sqrt() + 5.0
    }

    fn any_shares(sides: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Shares> {
        let weights = prop::collection::vec(prop_oneof![Just(0), 1..10_u32, 1..PARTS], sides);
        weights.prop_filter_map("all have nothing", |weights| {
            let weights: Vec<Share> = weights.into_iter().map(Share).collect();
            Shares::new(in_proportion(&weights, Share::WHOLE)?).ok()
        })
    }

    #[test]
    fn percent_go_in_and_come_out_exact() {
        for part in 0..=PARTS {
            let percent: f64 = format!("{}.{:03}", part / 1000, part % 1000).parse().expect("a number");
            assert_eq!(Share::from_percent(percent), Some(Share(part)));
            assert_eq!(Share(part).percent().to_bits(), percent.to_bits());
        }
    }

    #[test]
    fn a_share_is_shown_without_a_tail() {
        for part in 0..=PARTS {
            let expected = format!("{}.{:03}", part / 1000, part % 1000);
            let expected = expected.trim_end_matches('0').trim_end_matches('.');
            assert_eq!(Share(part).to_string(), expected);
        }
        assert_eq!(share(0.1 + 0.2).to_string(), "0.3");
    }

    #[test]
    fn what_is_no_share_is_refused() {
        let nan = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let out = [-0.001, -1.0, -1e-6, 100.001, 100.000_1, 1e9, f64::MAX, f64::MIN];
        let fine = [0.0005, 0.0001, 12.3456, 99.9999, 0.000_01];
        for percent in nan.into_iter().chain(out).chain(fine) {
            assert_eq!(Share::from_percent(percent), None, "{percent}");
        }
        for (percent, part) in
            [(0.1, 100), (12.345, 12_345), (-0.0, 0), (0.001, 1), (100.0, PARTS), (100.0 - 99.9, 100)]
        {
            assert_eq!(Share::from_percent(percent), Some(Share(part)), "{percent}");
        }
    }

    #[test]
    fn shares_must_be_the_whole() {
        assert_eq!(Shares::new(vec![]), Err(BadShares::Empty));
        assert_eq!(Shares::new(vec![share(20.0), share(79.999)]), Err(BadShares::Sum { percent: 99.999 }));
        let message = Shares::new(vec![share(20.1), share(80.2)]).expect_err("too much").to_string();
        assert_eq!(message, "they add up to 100.3 percent, not to 100");
        assert_eq!(percents(&shares(&[0.1, 0.2, 99.7])), [0.1, 0.2, 99.7]);
        assert_eq!(shares(&[100.0]).of(1), Share::NONE);
    }

    const SPLITS: [&[f64]; 9] = [
        &[20.0, 80.0],
        &[0.1, 99.9],
        &[0.001, 99.999],
        &[99.999, 0.001],
        &[0.0, 100.0],
        &[100.0, 0.0],
        &[100.0],
        &[33.333, 33.333, 33.334],
        &[0.001, 0.0, 49.999, 0.0, 50.0],
    ];

    #[test]
    fn over_all_draws_each_side_has_its_exact_share() {
        for percents in SPLITS {
            let shares = shares(percents);
            let expected: Vec<u32> = shares.all().iter().map(|share| share.0).collect();
            assert_eq!(swept(percents.len(), |part| shares.draw(!unmixed(drawn(part)))), expected);
            // The highest number of each part falls on the same side.
            assert_eq!(swept(percents.len(), |part| shares.draw(!unmixed(drawn(part + 1).wrapping_sub(1)))), expected);
        }
    }

    #[test]
    fn an_even_sweep_gives_each_side_its_share_within_one() {
        for percents in SPLITS {
            let shares = shares(percents);
            let draws = 300_007_u64;
            let mut counts = vec![0_u64; percents.len()];
            (0..draws).for_each(|draw| counts[shares.draw(!unmixed(draw * (u64::MAX / draws)))] += 1);
            for (count, share) in counts.into_iter().zip(shares.all()) {
                let expected = draws as f64 * share.percent() / 100.0;
                assert!((count as f64 - expected).abs() <= 1.0 + 1e-6, "{count}, expected {expected}");
            }
        }
    }

    #[test]
    fn random_draws_keep_within_what_chance_allows() {
        let mut random = fastrand::Rng::with_seed(5);
        for percents in SPLITS {
            let shares = shares(percents);
            let mut counts = vec![0; percents.len()];
            (0..100_000).for_each(|_| counts[shares.draw(random.u64(..))] += 1);
            for (count, share) in counts.into_iter().zip(shares.all()) {
                assert_binomial(count, 100_000, share.percent() / 100.0);
            }
        }
    }

    #[test]
    fn a_share_takes_exactly_its_part_of_all_draws() {
        for percent in [0.0, 0.001, 0.1, 12.345, 50.0, 99.999, 100.0] {
            let taken = (0..PARTS).filter(|part| share(percent).takes(!unmixed(unmixed(drawn(*part))))).count();
            assert_eq!(taken, share(percent).0 as usize);
        }
    }

    #[test]
    fn what_a_share_takes_says_nothing_of_the_side_that_is_drawn() {
        let (split, mirrored) = (shares(&[20.0, 80.0]), share(10.0));
        let mut random = fastrand::Rng::with_seed(6);
        let taken: Vec<u64> = (0..100_000).map(|_| random.u64(..)).filter(|dice| mirrored.takes(*dice)).collect();
        assert_binomial(taken.len() as u64, 100_000, 0.1);
        let of_first = taken.iter().filter(|dice| split.draw(**dice) == 0).count();
        assert_binomial(of_first as u64, taken.len() as u64, 0.2);
    }

    #[test]
    fn a_backend_that_starts_slowly_is_spared_on_every_side_alike() {
        let split = shares(&[20.0, 80.0]);
        let mut random = fastrand::Rng::with_seed(8);
        let (mut drawn, mut admitted) = ([0, 0], [0, 0]);
        for dice in (0..100_000).map(|_| random.u64(..)) {
            let side = split.draw(dice);
            drawn[side] += 1;
            admitted[side] += u64::from(slow_start::admits(Duration::from_secs(3), Duration::from_secs(10), dice));
        }
        assert_binomial(admitted[0], drawn[0], 0.3);
        assert_binomial(admitted[1], drawn[1], 0.3);
    }

    #[test]
    fn every_key_is_reached_by_unmixing() {
        let mut random = fastrand::Rng::with_seed(7);
        for mixed in (0..1_000).map(|_| random.u64(..)).chain([0, 1, u64::MAX]) {
            assert_eq!(splitmix64(unmixed(mixed)), mixed);
        }
    }

    #[test]
    fn over_all_keys_each_of_two_sides_has_its_exact_share() {
        for percents in SPLITS.into_iter().filter(|percents| percents.len() <= 2) {
            let (shares, order) = (shares(percents), order(percents.len()));
            let expected: Vec<u32> = shares.all().iter().map(|share| share.0).collect();
            assert_eq!(swept(percents.len(), |part| shares.keep(unmixed(drawn(part)), &order)), expected);
        }
    }

    #[test]
    fn of_real_keys_each_side_has_its_share_as_chance_allows() {
        for percents in SPLITS.into_iter().chain([&[5.0, 15.0, 80.0][..], &[1.0, 1.0, 1.0, 97.0]]) {
            let shares = shares(percents);
            for (count, share) in counted(&shares, 100_000).into_iter().zip(shares.all()) {
                assert_binomial(count, 100_000, share.percent() / 100.0);
            }
        }
    }

    #[test]
    fn from_20_to_35_exactly_15_percent_move_and_none_back() {
        let (before, after, order) = (shares(&[20.0, 80.0]), shares(&[35.0, 65.0]), order(2));
        let mut moved = 0;
        for key in (0..PARTS).map(|part| unmixed(drawn(part))) {
            match (before.keep(key, &order), after.keep(key, &order)) {
                (1, 0) => moved += 1,
                (from, to) => assert_eq!(from, to),
            }
        }
        assert_eq!(moved, 15_000);
    }

    #[test]
    fn a_client_is_on_the_side_of_the_same_name_in_whichever_order_the_sides_stand() {
        let orders: [([usize; 3], [f64; 3]); 3] =
            [([0, 1, 2], [20.0, 30.0, 50.0]), ([2, 0, 1], [50.0, 20.0, 30.0]), ([1, 2, 0], [30.0, 50.0, 20.0])];
        for sides in [2, 3] {
            let names = ["legacy", "users-v2", "users-v3"];
            let seen = orders.map(|(named, percents)| {
                let kept: Vec<usize> = (0..3).filter(|place| named[*place] < sides).collect();
                let percents: Vec<Share> = kept.iter().map(|place| share(percents[*place])).collect();
                let split = Shares::new(in_proportion(&percents, Share::WHOLE).expect("some")).expect("the whole");
                let order = Order::of(kept.iter().map(|place| names[named[*place]]));
                (0..1_000).map(|key| names[named[kept[split.keep(key, &order)]]]).collect::<Vec<_>>()
            });
            assert!(seen.iter().all(|one| *one == seen[0]));
            assert!(seen[0].contains(&"legacy") && seen[0].contains(&"users-v2"));
        }
    }

    #[test]
    fn a_side_that_grows_alone_takes_from_all_and_nobody_else_moves() {
        let (before, after) = (shares(&[20.0, 40.0, 40.0]), shares(&[60.0, 20.0, 20.0]));
        let (order, keys) = (order(3), 50_000);
        let mut moved = 0;
        for key in 0..keys {
            let (from, to) = (before.keep(key, &order), after.keep(key, &order));
            assert!(from == to || to == 0, "{key} went from {from} to {to}");
            moved += u64::from(from != to);
        }
        assert_binomial(moved, keys, 0.4);
    }

    #[test]
    fn when_a_side_is_out_only_its_clients_move_and_spread_by_weight() {
        let before = shares(&[20.0, 20.0, 60.0]);
        let (after, order) = (before.without(|side| side == 0).expect("two are left"), order(3));
        let mut went = [0, 0, 0];
        for key in 0..50_000 {
            match (before.keep(key, &order), after.keep(key, &order)) {
                (0, to) => went[to] += 1,
                (from, to) => assert_eq!(from, to),
            }
        }
        assert_eq!(went[0], 0);
        assert_binomial(went[1], went[1] + went[2], 0.25);
    }

    #[test]
    fn without_a_side_the_others_keep_their_proportions() {
        let split = shares(&[10.0, 30.0, 60.0]);
        assert_eq!(split.without(|side| side == 0).map(|left| percents(&left)), Some(vec![0.0, 33.333, 66.667]));
        assert_eq!(split.without(|side| side != 1).map(|left| percents(&left)), Some(vec![0.0, 100.0, 0.0]));
        assert_eq!(split.without(|_| false), Some(split.clone()));
        assert_eq!(split.without(|_| true), None);
        assert_eq!(shares(&[100.0, 0.0]).without(|side| side == 0), None);
    }

    #[test]
    fn with_one_share_the_others_have_the_rest_in_proportion() {
        let split = shares(&[10.0, 30.0, 60.0]);
        let with = |side, percent| split.with(side, share(percent)).map(|split| percents(&split));
        assert_eq!(with(0, 10.0), Ok(vec![10.0, 30.0, 60.0]));
        assert_eq!(with(0, 70.0), Ok(vec![70.0, 10.0, 20.0]));
        assert_eq!(with(0, 0.0), Ok(vec![0.0, 33.333, 66.667]));
        assert_eq!(with(1, 100.0), Ok(vec![0.0, 100.0, 0.0]));
        assert_eq!(with(3, 10.0), Err(BadShares::NoSide));
    }

    #[test]
    fn others_that_had_nothing_have_equal_parts() {
        let split = shares(&[100.0, 0.0, 0.0, 0.0]);
        let with = |percent| split.with(0, share(percent)).map(|split| percents(&split));
        assert_eq!(with(40.0), Ok(vec![40.0, 20.0, 20.0, 20.0]));
        assert_eq!(with(0.0), Ok(vec![0.0, 33.334, 33.333, 33.333]));
        assert_eq!(with(100.0), Ok(vec![100.0, 0.0, 0.0, 0.0]));
    }

    #[test]
    fn a_side_alone_has_all() {
        let split = shares(&[100.0]);
        assert_eq!(split.with(0, Share::WHOLE), Ok(split.clone()));
        assert_eq!(split.with(0, share(99.0)), Err(BadShares::Sum { percent: 99.0 }));
    }

    #[test]
    fn of_several_given_shares_the_sum_is_held_to() {
        let split = shares(&[10.0, 30.0, 60.0]);
        let with =
            |given: [Option<f64>; 3]| split.with_given(|side| given[side].map(share)).map(|split| percents(&split));
        assert_eq!(with([Some(20.0), Some(30.0), None]), Ok(vec![20.0, 30.0, 50.0]));
        assert_eq!(with([Some(20.0), Some(80.0), None]), Ok(vec![20.0, 80.0, 0.0]));
        assert_eq!(with([Some(20.0), Some(30.0), Some(50.0)]), Ok(vec![20.0, 30.0, 50.0]));
        assert_eq!(with([Some(20.0), Some(30.0), Some(40.0)]), Err(BadShares::Sum { percent: 90.0 }));
        assert_eq!(with([Some(60.0), Some(60.0), None]), Err(BadShares::Sum { percent: 120.0 }));
        assert_eq!(with([None, None, None]), Ok(vec![10.0, 30.0, 60.0]));
    }

    proptest! {
        #[test]
        fn between_two_sides_only_the_difference_moves(from in 0..=PARTS, to in 0..=PARTS, key: u64) {
            let split = |first| Shares::new(vec![Share(first), Share(PARTS - first)]).expect("the whole");
            let (before, after, order) = (split(from), split(to), order(2));
            // The parts at the bounds suffice: below the lower both select the first side, above the higher both the
            // second.
            let (low, high) = (from.min(to), from.max(to));
            let sides = |part: u32| {
                let key = unmixed(drawn(part));
                (before.keep(key, &order), after.keep(key, &order))
            };
            for part in [0, low / 2, low.saturating_sub(1)].into_iter().filter(|part| *part < low) {
                prop_assert_eq!(sides(part), (0, 0));
            }
            for part in [low, low.midpoint(high), high.saturating_sub(1)].into_iter().filter(|_| low < high) {
                prop_assert_eq!(sides(part), if from < to { (1, 0) } else { (0, 1) });
            }
            for part in [high, high.midpoint(PARTS), PARTS - 1].into_iter().filter(|part| (high..PARTS).contains(part)) {
                prop_assert_eq!(sides(part), (1, 1));
            }
            let (old, new) = (before.keep(key, &order), after.keep(key, &order));
            prop_assert!(old == new || (new == 0) == (to > from));
        }

        #[test]
        fn a_draw_never_falls_on_a_side_without_a_share(split in any_shares(1..=6), dice: u64) {
            prop_assert!(split.of(split.draw(dice)) > Share::NONE);
            prop_assert!(split.of(split.keep(dice, &order(split.all().len()))) > Share::NONE);
        }

        #[test]
        fn with_a_side_changed_the_sum_stays_whole(split in any_shares(2..=6), side in 0..6_usize, part in 0..=PARTS) {
            let side = side % split.all().len();
            let changed = split.with(side, Share(part)).expect("others can have the rest");
            prop_assert_eq!(changed.all().iter().map(|share| share.0).sum::<u32>(), PARTS);
            prop_assert_eq!(changed.of(side), Share(part));
            let others = f64::from(PARTS - split.of(side).0);
            for index in (0..split.all().len()).filter(|index| *index != side && others > 0.0) {
                let exact = f64::from(split.of(index).0) * f64::from(PARTS - part) / others;
                prop_assert!((f64::from(changed.of(index).0) - exact).abs() < 1.0);
            }
        }

        #[test]
        fn without_some_the_sum_stays_whole(split in any_shares(2..=6), out in 0..64_u32) {
            let is_out = |side: usize| out >> side & 1 == 1;
            if let Some(left) = split.without(is_out) {
                prop_assert_eq!(left.all().iter().map(|share| share.0).sum::<u32>(), PARTS);
                for (side, share) in left.all().iter().enumerate() {
                    prop_assert!(*share == Share::NONE || (!is_out(side) && split.of(side) > Share::NONE));
                }
            }
        }

        #[test]
        fn given_shares_are_kept_or_refused(split in any_shares(1..=4), given: [Option<u16>; 4]) {
            let given = given.map(|parts| parts.map(|parts| Share(u32::from(parts))));
            if let Ok(changed) = split.with_given(|side| given[side]) {
                prop_assert_eq!(changed.all().iter().map(|share| share.0).sum::<u32>(), PARTS);
                prop_assert!(changed.all().iter().zip(given).all(|(has, given)| given.is_none_or(|given| given == *has)));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_side_that_grows_loses_no_key(split in any_shares(3..=6), side in 0..6_usize, part in 0..=PARTS) {
            let side = side % split.all().len();
            let (low, high) = (split.of(side).0.min(part), split.of(side).0.max(part));
            // Both from the same shares, like the steps of a canary.
            let before = split.with(side, Share(low)).expect("others can have the rest");
            let after = split.with(side, Share(high)).expect("others can have the rest");
            let (order, mut moved, mut aside) = (order(split.all().len()), 0, 0);
            for key in 0..5_000 {
                let (from, to) = (before.keep(key, &order), after.keep(key, &order));
                prop_assert!(from != side || to == side, "{key} left side {side}, which grew");
                moved += u64::from(from != to && to == side);
                aside += u64::from(from != to && to != side);
            }
            let mean = 5_000.0 * f64::from(high - low) / f64::from(PARTS);
            prop_assert!((moved as f64 - mean).abs() <= slack(mean), "{moved} moved, expected {mean:.1}");
            // The effect of rounding to thousandths on the others.
            prop_assert!(aside as f64 <= slack(0.25), "{aside} moved between sides that only shrank");
        }

        #[test]
        fn any_change_moves_less_than_twice_what_it_must(before in any_shares(4..=4), after in any_shares(4..=4)) {
            let gains = before.all().iter().zip(after.all()).map(|(old, new)| new.0.saturating_sub(old.0));
            let least = f64::from(gains.sum::<u32>()) / f64::from(PARTS);
            let order = order(4);
            let moved = (0..5_000).filter(|key| before.keep(*key, &order) != after.keep(*key, &order)).count();
            let bound = 5_000.0 * 2.0 * least / (1.0 + least);
            prop_assert!(moved as f64 <= bound + slack(bound), "{moved} moved, {bound:.1} at most expected");
        }
    }
}
