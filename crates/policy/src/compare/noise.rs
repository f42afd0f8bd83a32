//! Learns which differences occur between two responses of the same side: timestamps, ids, unordered sets.

use std::collections::{BTreeMap, BTreeSet};

use super::{Difference, Kind};

/// The most places that are learnt.
const PLACES_MAX: usize = 1_000;

/// The places where responses differ without meaning. A place that has differed once between two responses of the same
/// side counts as noise from then on.
///
/// A place in JSON covers everything below it, and any kind of difference: where the length of an array changes, its
/// elements change, too.
#[derive(Clone, Debug, Default)]
pub struct Noise {
    places: BTreeMap<Realm, BTreeSet<Box<str>>>,
    unlearnt: u64,
}

/// A part of the response. Noise in one part does not affect the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Realm {
    Status,
    Header,
    Body,
    Json,
}

impl Noise {
    /// Learns from the differences between two responses of the same side; at most 1,000 places in all.
    pub fn learn(&mut self, between_ours: &[Difference]) {
        for difference in between_ours {
            if self.covers(difference) {
                continue;
            }
            if self.len() < PLACES_MAX {
                self.places.entry(realm(difference.kind)).or_default().insert(difference.place().into());
            } else {
                self.unlearnt = self.unlearnt.saturating_add(1);
            }
        }
    }

    /// The differences in `found` that are neither known noise nor among `between_ours`, the differences between two
    /// responses of the same side to this request.
    #[must_use]
    pub fn subtract(&self, mut found: Vec<Difference>, between_ours: &[Difference]) -> Vec<Difference> {
        let mut now = Self::default();
        now.learn(between_ours);
        found.retain(|difference| !self.covers(difference) && !now.covers(difference));
        found
    }

    /// The number of known places.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.values().map(BTreeSet::len).sum()
    }

    /// Whether no place is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of places not learnt because there were too many.
    #[must_use]
    pub fn unlearnt(&self) -> u64 {
        self.unlearnt
    }

    fn covers(&self, difference: &Difference) -> bool {
        let realm = realm(difference.kind);
        let Some(places) = self.places.get(&realm) else { return false };
        let place = difference.place();
        let mut above = place.match_indices('/').filter_map(|(end, _)| place.get(..end));
        places.contains(place) || (realm == Realm::Json && above.any(|place| places.contains(place)))
    }
}

fn realm(kind: Kind) -> Realm {
    match kind {
        Kind::Status => Realm::Status,
        Kind::Header => Realm::Header,
        Kind::Body => Realm::Body,
        Kind::Missing | Kind::Added | Kind::Type | Kind::Value | Kind::Length => Realm::Json,
    }
}

#[cfg(test)]
mod tests {
    use super::super::redact::Shown;
    use super::*;

    fn found(kind: Kind, place: &str) -> Difference {
        Difference::at(kind, place, Shown::absent(), Shown::absent())
    }

    fn is_noise(noise: &Noise, kind: Kind, place: &str) -> bool {
        noise.subtract(vec![found(kind, place)], &[]).is_empty()
    }

    fn learnt(differences: &[Difference]) -> Noise {
        let mut noise = Noise::default();
        noise.learn(differences);
        noise
    }

    #[test]
    fn a_place_that_differed_once_is_noise_whatever_differs_there() {
        let noise = learnt(&[found(Kind::Value, "/at")]);
        assert!(is_noise(&noise, Kind::Value, "/at"));
        assert!(is_noise(&noise, Kind::Missing, "/at"));
        assert!(!is_noise(&noise, Kind::Value, "/at2"));
        assert!(!is_noise(&noise, Kind::Value, ""));
    }

    #[test]
    fn what_lies_under_noise_is_noise() {
        let noise = learnt(&[found(Kind::Length, "/items")]);
        assert!(is_noise(&noise, Kind::Value, "/items/*/id"));
        assert!(!is_noise(&noise, Kind::Value, "/itemset"));
        assert!(is_noise(&learnt(&[found(Kind::Length, "")]), Kind::Value, "/*/id"));
    }

    #[test]
    fn noise_in_a_status_a_field_or_a_body_tells_nothing_of_the_others() {
        let noise = learnt(&[found(Kind::Body, ""), found(Kind::Status, ""), found(Kind::Header, "etag")]);
        assert!(is_noise(&noise, Kind::Body, "") && is_noise(&noise, Kind::Status, ""));
        assert!(is_noise(&noise, Kind::Header, "etag") && !is_noise(&noise, Kind::Header, "vary"));
        assert!(!is_noise(&noise, Kind::Value, "/a"));
    }

    #[test]
    fn what_differs_between_ours_right_now_is_subtracted_too() {
        let left = Noise::default()
            .subtract(vec![found(Kind::Value, "/at"), found(Kind::Value, "/name")], &[found(Kind::Value, "/at")]);
        assert_eq!(left, [found(Kind::Value, "/name")]);
    }

    #[test]
    fn so_many_places_are_learnt_and_no_more() {
        let mut noise = Noise::default();
        for number in 0..=PLACES_MAX {
            noise.learn(&[found(Kind::Value, &format!("/{number}"))]);
        }
        assert_eq!((noise.len(), noise.unlearnt()), (PLACES_MAX, 1));
        noise.learn(&[found(Kind::Value, "/0"), found(Kind::Value, "/0/under")]);
        assert_eq!(noise.unlearnt(), 1, "what is known needs no room");
    }
}
