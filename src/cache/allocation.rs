//! What memory costs beside the bytes that were asked for.

/// What an allocator adds to an allocation.
pub(super) const ALLOCATION_BYTES: usize = 16;

/// What so many bytes in an allocation of their own cost: an allocator rounds up, mostly to an eighth of a power of two,
/// and of its pages one part in twelve is empty where entries come and go.
#[must_use]
pub(super) fn allocated(length: usize) -> u64 {
    let step = (length.checked_next_power_of_two().unwrap_or(length) / 16).max(ALLOCATION_BYTES);
    let rounded = length.checked_next_multiple_of(step).unwrap_or(length);
    rounded.saturating_add(rounded / 12) as u64
}
