//! `forebay config`: prints the schema of the configuration file.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output;
use crate::config::schema::schema;

/// The arguments of `forebay config`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Subject {
    /// Print the JSON Schema of the configuration file, for editors and validators
    Schema,
}

/// Runs the command.
#[must_use]
pub(crate) fn run(config: &Config) -> ExitCode {
    match config.subject {
        Subject::Schema => output::print(&schema()),
    }
}
