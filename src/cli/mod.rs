//! The command line: parses the arguments, finds the configuration file, and runs the command.
//!
//! Exit codes: 0 success, 1 wrong configuration or usage, 2 failed at run time. Each command has its own file.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Source;

pub(crate) mod admin_client;
pub(crate) mod backend;
pub(crate) mod canary;
pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod journal;
mod layout;
mod output;
pub(crate) mod purge;
pub(crate) mod run;
pub(crate) mod status;

/// The exit code for a wrong configuration or command line.
pub const EXIT_USAGE: u8 = 1;
/// The exit code for a failure at run time.
pub const EXIT_FAILED: u8 = 2;

/// The environment variable with the path of the configuration file; `-c` overrides it.
const CONFIG_VARIABLE: &str = "FOREBAY_CONFIG";

/// The path of the configuration file by default.
const CONFIG_FILE: &str = "config.toml";

/// The end of every help text.
const EXIT_CODES: &str = "Exit codes: 0 success, 1 wrong configuration or usage, 2 failed at run time";

/// A layer-7 load balancer and caching reverse proxy: one binary, one TOML file.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, after_help = EXIT_CODES)]
struct Arguments {
    /// The configuration file, or - for standard input [default: $FOREBAY_CONFIG, else config.toml]
    #[arg(short = 'c', long = "config", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    admin_client: admin_client::AdminClient,
    /// Check the configuration and exit, like `check`
    #[arg(short = 't')]
    test: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Command {
    /// Run the proxy (also when no command is given)
    Run,
    /// Check the configuration and show every problem
    Check(check::Check),
    /// Show which keys a configuration may have
    Config(config::Config),
    /// Run the proxy in front of small demo backends
    Demo,
    /// Show the routes and upstreams of a running proxy
    Status(status::Status),
    /// Show the backends of a running proxy, and drain or re-enable one
    Backend(backend::Backend),
    /// Purge responses from the cache of a running proxy
    Purge(purge::Purge),
    /// List the queued writes of a running proxy, send them, and retry or discard dead letters
    Journal(journal::Journal),
    /// Show and control the splits, canaries and mirrors of a running proxy
    Canary(canary::Rollout),
    /// See the certificates of a running proxy
    Cert(cert::Cert),
    /// Show the version
    Version,
}

/// Runs the command of the process's arguments, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let usage = error.use_stderr();
            // If the error can't be printed, there is no other place to report it.
            let _ = error.print();
            return if usage { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let given = given_file(arguments.config.as_ref(), std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from));
    let config = given.clone().unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
    let admin_client = &arguments.admin_client;
    match command(&arguments) {
        Command::Run => run::run(Source::named(&config)),
        Command::Check(check) => check::run(&config, admin_client.is_json(), &check),
        Command::Config(config) => config::run(&config),
        Command::Demo => demo::run(given.as_deref()),
        Command::Status(status) => status::run(&config, admin_client, &status),
        Command::Backend(backend) => backend::run(&config, admin_client, &backend),
        Command::Purge(purge) => purge::run(&config, admin_client, &purge),
        Command::Journal(journal) => journal::run(&config, admin_client, &journal),
        Command::Canary(rollout) => canary::run(&config, admin_client, &rollout),
        Command::Cert(cert) => cert::run(&config, admin_client, &cert),
        Command::Version => output::print(&format!("forebay {}\n", env!("CARGO_PKG_VERSION"))),
    }
}

fn command(arguments: &Arguments) -> Command {
    if arguments.test {
        Command::Check(check::Check::default())
    } else {
        arguments.command.clone().unwrap_or(Command::Run)
    }
}

/// The path from `-c`, else from the environment; an empty variable counts as unset.
fn given_file(given: Option<&PathBuf>, variable: Option<PathBuf>) -> Option<PathBuf> {
    given.cloned().or_else(|| variable.filter(|path| !path.as_os_str().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Result<(Command, Option<PathBuf>), clap::Error> {
        let arguments = Arguments::try_parse_from(std::iter::once(&"forebay").chain(words))?;
        Ok((command(&arguments), arguments.config))
    }

    #[test]
    fn the_command_line_itself_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
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
            assert_eq!(arguments(&words).unwrap(), expected, "{words:?}");
        }
        assert!(matches!(arguments(&["purge", "--all"]).unwrap().0, Command::Purge(_)));
        assert!(matches!(arguments(&["journal", "flush", "-c", "a.toml"]).unwrap().0, Command::Journal(_)));
        assert!(matches!(arguments(&["config", "schema"]).unwrap().0, Command::Config(_)));
        assert!(matches!(arguments(&["canary", "set", "users", "users-v2=35"]).unwrap().0, Command::Canary(_)));
        for words in
            [["-c", "a.toml", "canary", "list"], ["canary", "-c", "a.toml", "list"], ["canary", "list", "-c", "a.toml"]]
        {
            assert_eq!(arguments(&words).unwrap().1, Some(PathBuf::from("a.toml")), "{words:?}");
        }
        for words in [
            ["--admin", "a:1", "canary", "list"],
            ["canary", "--admin", "a:1", "list"],
            ["canary", "list", "--admin", "a:1"],
        ] {
            assert!(arguments(&words).is_ok(), "{words:?}");
        }
        for words in [["--json", "check"], ["check", "--json"]] {
            assert_eq!(arguments(&words).unwrap(), arguments(&["check"]).unwrap(), "{words:?}");
        }
        assert!(arguments(&["rnu"]).is_err());
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
