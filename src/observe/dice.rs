//! The only reader of randomness.

/// One number, even over its whole range. Not for secrets.
#[must_use]
pub fn roll() -> u64 {
    fastrand::u64(..)
}

/// A fraction in `0.0..1.0`.
#[must_use]
pub fn fraction() -> f64 {
    fastrand::f64()
}

/// A number below `n`; 0 if `n` is 0.
#[must_use]
pub fn below(n: usize) -> usize {
    fastrand::usize(..n.max(1))
}
