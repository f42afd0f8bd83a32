//! `forebay check`: is the configuration fine? Nothing is started.

use std::path::Path;
use std::process::ExitCode;

use super::EXIT_USAGE;
use crate::config;
use crate::config::plan::Plan;

/// Checks a file: one line on standard output when it is fine, every problem on standard error when it is not.
#[must_use]
pub fn run(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(plan) => {
            println!("{}: fine ({})", path.display(), summary(&plan));
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprint!("{problems}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// How much a plan holds, in words.
pub(super) fn summary(plan: &Plan) -> String {
    let backends = plan.upstreams.iter().map(|upstream| upstream.backends.len()).sum();
    let [routes, upstreams, backends] =
        [(plan.routes.len(), "route"), (plan.upstreams.len(), "upstream"), (backends, "backend")]
            .map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
    format!("{routes}, {upstreams}, {backends}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_routes_upstreams_and_backends() {
        let text = "listen = [\"127.0.0.1:0\"]\n[[route]]\nbackends = [\"http://a\", \"http://b\"]\n";
        assert_eq!(summary(&config::parse("f", text).unwrap()), "1 route, 1 upstream, 2 backends");
    }
}
