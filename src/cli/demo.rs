//! `forebay demo`: the proxy in front of small backends of its own.

use std::path::Path;
use std::process::ExitCode;

use super::EXIT_FAILED;

/// Runs with this configuration file.
#[must_use]
pub fn run(_path: &Path) -> ExitCode {
    eprintln!("forebay: demo is not there yet");
    ExitCode::from(EXIT_FAILED)
}
