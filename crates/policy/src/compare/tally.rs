//! Counts differences by kind and place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Difference, Kind};

/// The most rows.
const ROWS_MAX: usize = 1_000;

/// The most rows with noise alone, so that there is room for mismatches.
const NOISE_ROWS_MAX: usize = ROWS_MAX / 2;

/// The number of pairs that differ, by kind and place; at most 1,000 rows.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    rows: BTreeMap<(Kind, Box<str>), Counts>,
    beyond: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    mismatches: u64,
    noise: u64,
}

/// A kind of difference at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The kind of difference.
    pub kind: Kind,
    /// As [`Difference::place`].
    pub place: String,
    /// The number of compared pairs that differ.
    pub count: u64,
    /// The number of pairs of two responses of the same side that differ.
    pub noise: u64,
}

impl Tally {
    /// Counts the differences of a pair, without noise; each kind and place once.
    pub fn count(&mut self, differences: &[Difference]) {
        self.add(differences, ROWS_MAX, |counts| &mut counts.mismatches);
    }

    /// Counts the differences between two responses of the same side.
    pub fn count_noise(&mut self, between_ours: &[Difference]) {
        self.add(between_ours, NOISE_ROWS_MAX, |counts| &mut counts.noise);
    }

    /// All rows, the most frequent mismatch first.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let row = |((kind, place), counts): (&(Kind, Box<str>), &Counts)| Row {
            kind: *kind,
            place: place.to_string(),
            count: counts.mismatches,
            noise: counts.noise,
        };
        let mut rows: Vec<_> = self.rows.iter().map(row).collect();
        rows.sort_by_key(|row| Reverse((row.count, row.noise)));
        rows
    }

    /// The number of differences not counted because there were too many rows.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.beyond
    }

    fn add(&mut self, differences: &[Difference], rows_max: usize, which: fn(&mut Counts) -> &mut u64) {
        let places: BTreeSet<_> = differences.iter().map(|one| (one.kind, Box::<str>::from(one.place()))).collect();
        for place in places {
            if self.rows.len() >= rows_max && !self.rows.contains_key(&place) {
                self.beyond = self.beyond.saturating_add(1);
                continue;
            }
            let count = which(self.rows.entry(place).or_default());
            *count = count.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::redact::Shown;
    use super::*;

    fn found(kind: Kind, place: &str) -> Difference {
        Difference::at(kind, place, Shown::absent(), Shown::absent())
    }

    fn row(kind: Kind, place: &str, count: u64, noise: u64) -> Row {
        Row { kind, place: place.to_owned(), count, noise }
    }

    #[test]
    fn the_most_frequent_mismatch_comes_first() {
        let mut tally = Tally::default();
        tally.count(&[found(Kind::Value, "/a"), found(Kind::Status, "")]);
        tally.count(&[found(Kind::Value, "/a")]);
        tally.count_noise(&[found(Kind::Value, "/at")]);
        let rows = [row(Kind::Value, "/a", 2, 0), row(Kind::Status, "", 1, 0), row(Kind::Value, "/at", 0, 1)];
        assert_eq!(tally.rows(), rows);
    }

    #[test]
    fn a_pair_counts_once_at_each_place() {
        let mut tally = Tally::default();
        tally.count(&[found(Kind::Value, "/*"), found(Kind::Value, "/*"), found(Kind::Type, "/*")]);
        assert_eq!(tally.rows(), [row(Kind::Type, "/*", 1, 0), row(Kind::Value, "/*", 1, 0)]);
    }

    #[test]
    fn so_many_places_are_counted_and_noise_leaves_room() {
        let mut tally = Tally::default();
        for number in 0..2 * ROWS_MAX {
            tally.count_noise(&[found(Kind::Value, &format!("/noise/{number}"))]);
        }
        assert_eq!(tally.rows().len(), NOISE_ROWS_MAX);
        for number in 0..2 * ROWS_MAX {
            tally.count(&[found(Kind::Value, &format!("/{number}"))]);
        }
        assert_eq!(tally.rows().len(), ROWS_MAX);
        tally.count(&[found(Kind::Value, "/0")]);
        assert_eq!(tally.rows()[0], row(Kind::Value, "/0", 2, 0));
        assert_eq!(tally.beyond(), 3_000);
    }
}
