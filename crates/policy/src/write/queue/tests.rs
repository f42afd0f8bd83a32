//! The queue, rule by rule; its behaviour under crashes is in `tests/write_simulation.rs`.
