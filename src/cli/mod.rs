//! The command line: what is asked for, and which file it is asked of.
//!
//! Exit codes: 0 fine, 1 a bad configuration or usage, 2 failed at run time. Each command has a file of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Source;

pub(crate) mod backend;
pub(crate) mod canary;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod journal;
mod layout;
mod output;
pub(crate) mod purge;
pub(crate) mod reach;
pub(crate) mod run;
pub(crate) mod status;

/// A configuration or a command line is wrong.
pub const EXIT_USAGE: u8 = 1;
/// Something failed at run time.
pub const EXIT_FAILED: u8 = 2;

/// The variable that names the configuration file when `-c` does not.
const CONFIG_VARIABLE: &str = "FOREBAY_CONFIG";

/// The configuration file when nothing names one.
const CONFIG_FILE: &str = "config.toml";

/// The end of every help text.
const EXIT_CODES: &str = "Exit codes: 0 success, 1 wrong configuration or usage, 2 failed at run time";

/// A layer-7 load balancer and caching reverse proxy: one binary, one TOML file.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, after_help = EXIT_CODES)]
struct Line {
    /// The configuration file, or - for standard input [default: $FOREBAY_CONFIG, else config.toml]
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    reach: reach::Reach,
    /// Check the configuration and exit, like `check`
    #[arg(short = 't')]
    test: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Command {
    /// Run the proxy (also when no command is given)
    Run,
    /// Check the configuration and show every problem
    Check(check::Check),
    /// See what a configuration may hold
    Config(config::Config),
    /// Run the proxy in front of small backends of its own
    Demo,
    /// See what a running proxy does
    Status(status::Status),
    /// See a running proxy's backends, and take one out of use
    Backend(backend::Backend),
    /// Have a running proxy forget what it has stored
    Purge(purge::Purge),
    /// See and settle the writes that a running proxy has acknowledged and not yet sent
    Journal(journal::Journal),
    /// See and move a running proxy's splits, canaries and mirrors
    Canary(canary::Rollout),
    /// Show the version
    Version,
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(error) => {
            let usage = error.use_stderr();
            // Nowhere is left to tell of a failure to print.
            let _ = error.print();
            return if usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let given = given_file(line.config.as_ref(), std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from));
    let config = given.clone().unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
    let reach = &line.reach;
    match command(&line) {
        Command::Run => run::run(Source::named(&config)),
        Command::Check(check) => check::run(&config, reach.is_json(), &check),
        Command::Config(config) => config::run(&config),
        Command::Demo => demo::run(given.as_deref()),
        Command::Status(status) => status::run(&config, reach, &status),
        Command::Backend(backend) => backend::run(&config, reach, &backend),
        Command::Purge(purge) => purge::run(&config, reach, &purge),
        Command::Journal(journal) => journal::run(&config, reach, &journal),
        Command::Canary(rollout) => canary::run(&config, reach, &rollout),
        Command::Version => output::answer(&format!("forebay {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

fn command(line: &Line) -> Command {
    if line.test { Command::Check(check::Check::default()) } else { line.command.clone().unwrap_or(Command::Run) }
}

/// The file that `-c` names, or else the environment.
fn given_file(given: Option<&PathBuf>, variable: Option<PathBuf>) -> Option<PathBuf> {
    given.cloned().or_else(|| variable.filter(|path| !path.as_os_str().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> Result<(Command, Option<PathBuf>), clap::Error> {
        let line = Line::try_parse_from(std::iter::once(&"forebay").chain(words))?;
        Ok((command(&line), line.config))
    }

    #[test]
    fn the_command_line_itself_is_sound() {
        <Line as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn commands_and_flags_are_understood() {
        let file = Some(PathBuf::from("a.toml"));
        let checked = || Command::Check(check::Check::default());
        for (words, expected) in [
            (vec![], (Command::Run, None)),
            (vec!["run"], (Command::Run, None)),
            (vec!["check"], (checked(), None)),
            (vec!["-t"], (checked(), None)),
            (vec!["-t", "run"], (checked(), None)),
            (vec!["-t", "-c", "a.toml"], (checked(), file.clone())),
            (vec!["-c", "a.toml", "demo"], (Command::Demo, file.clone())),
            (vec!["check", "-c", "a.toml"], (checked(), file)),
            (vec!["version"], (Command::Version, None)),
        ] {
            assert_eq!(line(&words).unwrap(), expected, "{words:?}");
        }
        assert!(matches!(line(&["purge", "--all"]).unwrap().0, Command::Purge(_)));
        assert!(matches!(line(&["journal", "flush", "-c", "a.toml"]).unwrap().0, Command::Journal(_)));
        assert!(matches!(line(&["config", "schema"]).unwrap().0, Command::Config(_)));
        assert!(matches!(line(&["canary", "set", "users", "users-v2=35"]).unwrap().0, Command::Canary(_)));
        for words in
            [["-c", "a.toml", "canary", "list"], ["canary", "-c", "a.toml", "list"], ["canary", "list", "-c", "a.toml"]]
        {
            assert_eq!(line(&words).unwrap().1, Some(PathBuf::from("a.toml")), "{words:?}");
        }
        for words in [
            ["--admin", "a:1", "canary", "list"],
            ["canary", "--admin", "a:1", "list"],
            ["canary", "list", "--admin", "a:1"],
        ] {
            assert!(line(&words).is_ok(), "{words:?}");
        }
        for words in [["--json", "check"], ["check", "--json"]] {
            assert_eq!(line(&words).unwrap(), line(&["check"]).unwrap(), "{words:?}");
        }
        assert!(line(&["rnu"]).is_err());
    }

    #[test]
    fn the_flag_names_the_file_before_the_environment() {
        let path = |name: &str| Some(PathBuf::from(name));
        assert_eq!(given_file(path("a").as_ref(), path("b")), path("a"));
        assert_eq!(given_file(None, path("b")), path("b"));
        assert_eq!(given_file(None, path("")), None);
        assert_eq!(given_file(None, None), None);
    }
}
