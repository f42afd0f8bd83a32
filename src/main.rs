//! The `forebay` binary: sets the global allocator and runs the command line in `cli`.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::process::ExitCode;

fn main() -> ExitCode {
    forebay::cli::main()
}
