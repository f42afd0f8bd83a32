//! A consistent hash ring: the backend that a key belongs to, and the order of its alternatives.
//!
//! The points of a backend depend only on its name and number, so adding or removing a backend moves only its own keys.
//! The caller decides which backends may be picked.

use std::sync::Arc;

/// Points of a backend of weight 1. Shares are even within about 1/√160, 8 percent.
pub(super) const POINTS_EACH: u64 = 160;

/// The most points of one ring: 17 MiB. Beyond that, every backend gets fewer, in proportion, and at least one.
const POINTS_MAX: u64 = 1 << 20;

/// The mean number of points in one arc: 64 bytes, so that finding a key's point takes two memory accesses.
const POINTS_AN_ARC: usize = 4;

/// Immutable; clones share the points.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    /// Position on the ring and index of the backend, in order.
    points: Arc<[(u64, u32)]>,
    /// For each arc of equal length, the first point that does not lie before it. The number of arcs is a power of two.
    arcs: Arc<[u32]>,
    /// The right shift from a position to its arc: 64 less the number of bits of an arc's index.
    shift: u32,
}

impl Ring {
    /// Adds `POINTS_EACH` × weight points for each name.
    pub(super) fn new<'a>(backends: impl Iterator<Item = (&'a str, u32)> + Clone) -> Self {
        let wanted: u64 = backends.clone().map(|(_, weight)| POINTS_EACH * u64::from(weight.max(1))).sum();
        let mut points = Vec::new();
        for (index, (name, weight)) in backends.enumerate() {
            let own = POINTS_EACH * u64::from(weight.max(1));
            let scaled = u128::from(own) * u128::from(POINTS_MAX) / u128::from(wanted.max(POINTS_MAX));
            let count = u64::try_from(scaled).unwrap_or(POINTS_MAX).max(1);
            let index = index as u32;
            points.extend((0..count).map(|nth| (place(format!("{name}-{nth}").as_bytes()), index)));
        }
        points.sort_unstable();
        let bits = (points.len() / POINTS_AN_ARC).max(2).next_power_of_two().ilog2();
        let shift = u64::BITS - bits;
        let first = |arc: u64| points.partition_point(|(place, _)| *place < arc << shift) as u32;
        let arcs = (0..1 << bits).map(first).collect();
        Self { points: points.into(), arcs, shift }
    }

    /// The backends in the order in which they serve the key, one item for each point, once around.
    pub(super) fn walk(&self, key: u64) -> impl Iterator<Item = usize> {
        let arc = self.arcs.get((key >> self.shift) as usize).copied().unwrap_or(0) as usize;
        let (_, of_arc) = self.points.split_at_checked(arc).unwrap_or_default();
        let mut start = arc;
        // Compares eight points at a time without branches, because the processor cannot predict where to stop.
        for eight in of_arc.chunks(8) {
            let before = eight.iter().filter(|(place, _)| *place < key).count();
            start += before;
            if before < 8 {
                break;
            }
        }
        let (before, after) = self.points.split_at_checked(start).unwrap_or_default();
        after.iter().chain(before).map(|(_, index)| *index as usize)
    }
}

/// The position of a point: the first half of the MD5 of its name, which spreads short, similar texts well.
fn place(bytes: &[u8]) -> u64 {
    (u128::from_be_bytes(md5::compute(bytes).0) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("http://10.0.0.{index}:8080")).collect()
    }

    fn ring(names: &[String], weight: u32) -> Ring {
        Ring::new(names.iter().map(|name| (name.as_str(), weight)))
    }

    #[test]
    fn a_place_is_the_first_half_of_the_md5() {
        assert_eq!(place(b""), 0xd41d_8cd9_8f00_b204);
    }

    #[test]
    fn keys_spread_evenly() {
        for count in [2, 3, 10, 50] {
            let ring = ring(&names(count), 1);
            let mut counts = vec![0; count];
            for key in 0..20_000_u64 {
                counts[ring.walk(place(&key.to_be_bytes())).next().expect("not empty")] += 1;
            }
            let mean = 20_000 / count;
            assert!(counts.iter().all(|share| (mean * 6 / 10..=mean * 15 / 10).contains(share)), "{counts:?}");
        }
    }

    #[test]
    fn a_new_name_takes_keys_and_moves_no_other() {
        let names = names(11);
        let (before, after) = (ring(&names[..10], 1), ring(&names, 1));
        let mut moved = 0;
        for key in 0..5_000_u64 {
            let place = place(&key.to_be_bytes());
            let (old, new) = (before.walk(place).next(), after.walk(place).next());
            if old != new {
                assert_eq!(new, Some(10));
                moved += 1;
            }
        }
        assert!((200..=900).contains(&moved), "{moved} of 5000 moved to one of eleven");
    }

    #[test]
    fn a_walk_begins_at_the_first_point_that_does_not_lie_before_the_key() {
        for count in [1, 2, 3, 50] {
            let ring = ring(&names(count), 1);
            let places = ring.points.iter().map(|(place, _)| *place);
            let near = places.flat_map(|place| [place.wrapping_sub(1), place, place.wrapping_add(1)]);
            for key in near.chain([0, 1, u64::MAX, 1 << 63]) {
                let start = ring.points.partition_point(|(place, _)| *place < key);
                let expected = ring.points.iter().cycle().skip(start).take(5).map(|(_, index)| *index as usize);
                assert!(ring.walk(key).take(5).eq(expected), "{count} backends, key {key:#x}");
            }
        }
    }

    #[test]
    fn a_walk_goes_once_around() {
        assert_eq!(ring(&names(3), 2).walk(u64::MAX).count(), 3 * 2 * 160);
        assert_eq!(ring(&[], 1).walk(7).count(), 0);
    }

    #[test]
    fn huge_weights_do_not_grow_the_ring_beyond_its_limit() {
        let ring = Ring::new([("a", u32::MAX), ("b", u32::MAX / 2), ("c", 1)].into_iter());
        assert!(ring.points.len() as u64 <= POINTS_MAX + 3);
        assert_eq!(ring.points.iter().filter(|(_, index)| *index == 2).count(), 1);
        let of_a = ring.points.iter().filter(|(_, index)| *index == 0).count() as f64;
        assert!((of_a / POINTS_MAX as f64 - 2.0 / 3.0).abs() < 0.001);
    }
}
