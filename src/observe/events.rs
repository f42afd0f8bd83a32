//! The event log: what changed and what needs a look, on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::LevelFilter;

/// Starts writing events of this level and above to stderr. Later calls change nothing.
pub fn start(level: LevelFilter) {
    let _already_started = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        // That stderr is closed can't be told on stderr: the attempt would panic.
        .log_internal_errors(false)
        .try_init();
}
