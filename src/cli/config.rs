//! `forebay config`: what a configuration file may hold.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::output;
use crate::config::schema::schema;

/// What to print.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum What {
    /// Print the JSON Schema of the configuration file, for editors and validators
    Schema,
}

/// Prints it.
#[must_use]
pub(crate) fn run(config: &Config) -> ExitCode {
    match config.what {
        What::Schema => output::answer(&schema()),
    }
}
