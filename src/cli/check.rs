//! `forebay check`: checks a configuration without starting the proxy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::{EXIT_USAGE, output};
use crate::config::Source;
use crate::config::plan::Plan;
use crate::config::problem::{Problem, Problems, Severity};
use crate::supervisor::preflight;

/// The arguments of `forebay check`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Check {
    /// The file to check, or - for standard input [default: that of -c]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
    /// Also check this machine: do names resolve, are ports free and addresses here, is state_dir usable?
    #[arg(long)]
    machine: bool,
}

/// Checks a file. Without `--json`, problems go to standard error, and one line on standard output reports success.
#[must_use]
pub(crate) fn run(config: &Path, is_json: bool, check: &Check) -> ExitCode {
    let source = Source::named(check.file.as_deref().unwrap_or(config));
    let (plan, mut problems) = match source.check() {
        Ok(checked) => (Some(checked.plan), checked.warnings),
        Err(problems) => (None, problems),
    };
    if let Some(plan) = plan.as_ref().filter(|_| check.machine) {
        problems.list.extend(preflight::problems(plan));
    }
    let is_error = |problem: &Problem| problem.severity == Severity::Error || check.strict;
    let is_fine = plan.is_some() && !problems.list.iter().any(is_error);
    let printed = if is_json {
        output::print(&json(&source, plan.as_ref(), &problems, is_fine))
    } else {
        output::print_error(&problems.to_string());
        match plan.as_ref().filter(|_| is_fine) {
            Some(plan) => output::print(&format!("{source}: fine ({})\n", summary(plan))),
            None => ExitCode::SUCCESS,
        }
    };
    if is_fine { printed } else { ExitCode::from(EXIT_USAGE) }
}

/// The output of `check --json`.
#[derive(Debug, Serialize)]
struct Output<'a> {
    file: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    routes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstreams: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backends: Option<usize>,
    problems: Vec<JsonProblem<'a>>,
    /// How many problems are not in the list, because it is full.
    omitted: usize,
}

/// One problem as JSON. Line and column count from 1; a problem of the whole file has none.
#[derive(Debug, Serialize)]
struct JsonProblem<'a> {
    severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    cause: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

fn json(source: &Source, plan: Option<&Plan>, problems: &Problems, ok: bool) -> String {
    let list = problems.list.iter().map(|problem| JsonProblem {
        severity: match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        line: problem.place.as_ref().map(|place| place.line),
        column: problem.place.as_ref().map(|place| place.column),
        cause: &problem.cause,
        hint: problem.hint.as_deref(),
    });
    let output = Output {
        file: source.to_string(),
        ok,
        routes: plan.map(|plan| plan.routes.len()),
        upstreams: plan.map(|plan| plan.upstreams.len()),
        backends: plan.map(backends),
        problems: list.collect(),
        omitted: problems.omitted,
    };
    // Can't fail: serialization fails only for maps whose keys are not strings.
    serde_json::to_string(&output).unwrap_or_default() + "\n"
}

fn backends(plan: &Plan) -> usize {
    plan.upstreams.iter().map(|upstream| upstream.backends.len()).sum()
}

/// The numbers of routes, upstreams and backends, as text.
pub(super) fn summary(plan: &Plan) -> String {
    let [routes, upstreams, backends] =
        [(plan.routes.len(), "route"), (plan.upstreams.len(), "upstream"), (backends(plan), "backend")]
            .map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
    format!("{routes}, {upstreams}, {backends}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_summary_counts_routes_upstreams_and_backends() {
        let text = "listen = [\"127.0.0.1:0\"]\n[[route]]\nbackends = [\"http://a\", \"http://b\"]\n";
        assert_eq!(summary(&config::parse("f", text).unwrap()), "1 route, 1 upstream, 2 backends");
    }

    #[test]
    fn json_has_every_problem_with_its_place() {
        let source = Source::named(Path::new("-"));
        let problems = config::parse("f", "listen = []\nworker = 1\n").unwrap_err();
        let found: serde_json::Value = serde_json::from_str(&json(&source, None, &problems, false)).unwrap();
        assert_eq!((found["file"].as_str(), found["ok"].as_bool()), (Some("standard input"), Some(false)));
        assert_eq!(found["problems"][1]["line"], 2);
        assert_eq!(found["problems"][1]["severity"], "error");
        assert!(found["problems"][1]["cause"].as_str().unwrap().contains("worker"), "{found}");
        assert!(found.get("routes").is_none());
    }
}
