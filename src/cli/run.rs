//! `forebay run`: the proxy, until a signal ends it.

use std::path::Path;
use std::process::ExitCode;

use super::EXIT_FAILED;

/// Runs with this configuration file.
#[must_use]
pub fn run(_path: &Path) -> ExitCode {
    eprintln!("forebay: run is not there yet");
    ExitCode::from(EXIT_FAILED)
}
