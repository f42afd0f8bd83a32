//! Canaries under thousands of random histories: those that are as good as the others are promoted, bad ones go before
//! many have seen them, and with too few requests nobody guesses.
//!
//! Each setting is lived through with some seeds in every run; `CANARY_SEEDS` says how many. The tables are in
//! docs/canary-simulation.md (`cargo test -p policy --test canary_simulation -- --nocapture`). All times are simulated.

#[cfg(test)]
mod lives;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod traffic;
