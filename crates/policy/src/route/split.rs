//! Which side of a split a request goes to: by chance in exact proportion, or always the same for the same client.
//!
//! A [`Share`] is counted in thousandths of a percent, and the shares of a split add up to the whole, so nothing is
//! lost to rounding. What a client's key is made of is the caller's concern.

use crate::balance::dice::splitmix64;

/// How many parts the whole has.
const PARTS: u32 = 100_000;

/// A share of all requests, in thousandths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// All.
    pub const WHOLE: Self = Self(PARTS);

    /// A share from percent; `None`: below 0, above 100, finer than 0.001, or no number.
    #[must_use]
    pub fn from_percent(percent: f64) -> Option<Self> {
        let parts = percent * f64::from(PARTS) / 100.0;
        let whole = parts.round();
        let is_fine = (0.0..=f64::from(PARTS)).contains(&whole) && (parts - whole).abs() < 1e-6;
        // Within the bounds of a u32, as has just been seen.
        is_fine.then_some(Self(whole as u32))
    }

    /// The share in percent.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) * 100.0 / f64::from(PARTS)
    }

    /// Whether a draw falls within it. `dice`: any number, all equally likely.
    #[must_use]
    pub fn takes(self, dice: u64) -> bool {
        part(dice) < self.0
    }
}

impl std::fmt::Display for Share {
    /// In percent without a sign: `20`, `0.1`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.percent().fmt(f)
    }
}

/// Why numbers are no shares of a split.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum BadShares {
    /// There is no side.
    #[error("there is no side")]
    Empty,
    /// They are not the whole.
    #[error("they add up to {percent} percent, not to 100")]
    Sum {
        /// What they add up to.
        percent: f64,
    },
    /// A side is given more than there is.
    #[error("there is no such side")]
    NoSide,
}

/// How requests are shared out among the sides of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shares(Box<[Share]>);

impl Shares {
    /// One share for each side.
    ///
    /// # Errors
    /// When there are none, or they don't add up to the whole.
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

    /// The share of one side; nothing for a side that is none.
    #[must_use]
    pub fn of(&self, side: usize) -> Share {
        self.0.get(side).copied().unwrap_or_default()
    }

    /// The side that a draw falls on: of all draws each side gets its share, exact to one in 2⁴⁷.
    #[must_use]
    pub fn draw(&self, dice: u64) -> usize {
        self.at(part(dice))
    }

    /// The side that a client with this key is on, always the same for the same key and shares.
    ///
    /// With two sides each gets its exact share of all keys; when their shares change, only the keys that make the
    /// difference move. With more, a side that gains on every other loses no key, and what others lose to it is what
    /// they must; a gain of one side on only some of the others moves at most twice the keys that it must.
    ///
    /// More than two sides: weighted rendezvous hashing. Source: Schindelhauer, Schomaker, "Weighted distributed hash
    /// tables", 2005.
    #[must_use]
    pub fn keep(&self, key: u64) -> usize {
        if self.0.len() <= 2 {
            return self.at(part(splitmix64(key)));
        }
        let score = |side: usize, share: Share| {
            let drawn = splitmix64(splitmix64(key) ^ splitmix64(side as u64 + 1));
            // Within (0, 1): 53 bits are what a float holds, and the half keeps away from 0.
            let even = ((drawn >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            -even.ln() / f64::from(share.0)
        };
        let sides = self.0.iter().enumerate().filter(|(_, share)| share.0 > 0);
        let scored = sides.map(|(side, share)| (side, score(side, *share)));
        scored.min_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(side, _)| side)
    }

    /// The shares when these sides take nothing: the others keep their proportions. `None`: nothing is left.
    #[must_use]
    pub fn without(&self, is_out: impl Fn(usize) -> bool) -> Option<Self> {
        let kept = |(side, share): (usize, &Share)| if is_out(side) { Share::NONE } else { *share };
        Self::in_proportion(self.0.iter().enumerate().map(kept).collect(), Share::WHOLE)
    }

    /// The shares when one side has this one: the others have the rest, in proportion to what they had; in equal parts
    /// when they had nothing.
    ///
    /// # Errors
    /// When there is no such side, or the rest has nobody to go to.
    pub fn with(&self, side: usize, share: Share) -> Result<Self, BadShares> {
        if side >= self.0.len() {
            return Err(BadShares::NoSide);
        }
        let rest = Share(PARTS - share.0.min(PARTS));
        let others = self.0.iter().enumerate().map(|(index, had)| if index == side { Share::NONE } else { *had });
        let others: Vec<Share> = others.collect();
        let even = || (0..self.0.len()).map(|index| Share(u32::from(index != side))).collect();
        let mut shares = match Self::in_proportion(others, rest) {
            Some(shares) => shares,
            None if rest == Share::NONE => Self(vec![Share::NONE; self.0.len()].into_boxed_slice()),
            None => Self::in_proportion(even(), rest).ok_or(BadShares::Sum { percent: share.percent() })?,
        };
        for (index, mine) in shares.0.iter_mut().enumerate() {
            if index == side {
                *mine = share;
            }
        }
        Ok(shares)
    }

    fn at(&self, part: u32) -> usize {
        let mut end = 0;
        let within = |share: &Share| {
            end += share.0;
            part < end
        };
        self.0.iter().position(within).unwrap_or_default()
    }

    /// Scales shares to a total; what rounding leaves goes to those who lost most by it. `None`: all are nothing.
    fn in_proportion(shares: Vec<Share>, total: Share) -> Option<Self> {
        let sum: u64 = shares.iter().map(|share| u64::from(share.0)).sum();
        if sum == 0 {
            return None;
        }
        let scaled = |share: &Share| u64::from(share.0) * u64::from(total.0);
        let mut out: Vec<Share> = shares.iter().map(|share| Share((scaled(share) / sum) as u32)).collect();
        let mut left = total.0 - out.iter().map(|share| share.0).sum::<u32>();
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by_key(|side| std::cmp::Reverse(shares.get(*side).map_or(0, |share| scaled(share) % sum)));
        for side in order {
            if let Some(share) = out.get_mut(side).filter(|_| left > 0) {
                share.0 += 1;
                left -= 1;
            }
        }
        Some(Self(out.into_boxed_slice()))
    }
}

/// Which part of the whole a number falls on, all parts equally likely.
fn part(drawn: u64) -> u32 {
    ((u128::from(drawn) * u128::from(PARTS)) >> 64) as u32
}
