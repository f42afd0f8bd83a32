//! The fuzz target: any bytes keep the invariants that the test of generated messages checks.
#![no_main]

#[path = "../tests/invariants/mod.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    invariants::check(data);
});
