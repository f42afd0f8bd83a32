//! What must hold of the lines that can't go on.

use policy::write::queue::{Lane, Queue};

/// Checks what the queue says of its stuck lines against its other numbers.
pub(crate) fn check(queue: &Queue<u8>, lanes: u32) {
    let counts = queue.counts();
    let stuck: usize = (0..lanes).map(|lane| queue.lane_counts(Lane(lane)).stuck).sum();
    assert!((counts.asleep..=counts.keys).contains(&stuck), "{stuck} are stuck of {}", counts.keys);
    assert!(counts.pending > 0 || stuck == 0, "{stuck} are stuck with nothing pending");
}
