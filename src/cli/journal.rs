//! `forebay journal`: the pending writes and dead letters of a running proxy.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::admin_client::{AdminClient, AdminRequest, printable};
use crate::admin::api::{Details, Entry, Flushing, Outcome, Page, Settled, State};
use crate::telemetry::clock;

/// The arguments of `forebay journal`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Action {
    /// List writes, by number
    List {
        /// Only dead letters
        #[arg(long, conflicts_with = "pending")]
        dead: bool,
        /// Only pending writes
        #[arg(long)]
        pending: bool,
        /// The most writes to list
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1000))]
        limit: u64,
        /// Only writes with a higher number
        #[arg(long, value_name = "SEQ")]
        after: Option<u64>,
    },
    /// Show one write and its headers
    Show {
        /// Its number: `seq` of `Forebay-Write` in the 202 response
        seq: u64,
    },
    /// Send a dead letter again
    Retry {
        /// Its number
        seq: u64,
    },
    /// Delete a dead letter
    Discard {
        /// Its number
        seq: u64,
    },
    /// Send all pending writes now, without waiting for their flush interval
    Flush,
}

/// Sends the request to the admin API, and prints the response.
#[must_use]
pub(crate) fn run(config: &Path, admin_client: &AdminClient, journal: &Journal) -> ExitCode {
    let now = clock::now().wall;
    let request = request(&journal.action);
    match &journal.action {
        Action::List { .. } => admin_client.print(config, request, |page: &Page| list(page, now)),
        Action::Show { .. } => admin_client.print(config, request, |write: &Details| details(write, now)),
        Action::Retry { .. } | Action::Discard { .. } => admin_client.print(config, request, outcome),
        Action::Flush => {
            admin_client.print(config, request, |answer: &Flushing| format!("{} pending\n", answer.pending))
        }
    }
}

fn request(action: &Action) -> AdminRequest {
    match action {
        Action::List { dead, pending, limit, after } => {
            let mut target = format!("/api/v1/journal?limit={limit}");
            if *dead {
                target.push_str("&state=dead");
            }
            if *pending {
                target.push_str("&state=pending");
            }
            if let Some(after) = after {
                target.push_str(&format!("&after={after}"));
            }
            AdminRequest::get(target)
        }
        Action::Show { seq, .. } => AdminRequest::get(format!("/api/v1/journal/{seq}")),
        Action::Retry { seq, .. } => AdminRequest::post(format!("/api/v1/journal/{seq}/retry"), Vec::new()),
        Action::Discard { seq, .. } => AdminRequest::post(format!("/api/v1/journal/{seq}/discard"), Vec::new()),
        Action::Flush => AdminRequest::post("/api/v1/journal/flush", Vec::new()),
    }
}

fn outcome(answer: &Settled) -> String {
    match answer.outcome {
        Outcome::Pending => format!("{} is pending again\n", answer.seq),
        Outcome::Discarded => format!("{} is discarded\n", answer.seq),
    }
}

fn list(page: &Page, now: Duration) -> String {
    if page.entries.is_empty() {
        return "nothing\n".to_owned();
    }
    let mut text = format!("{:>10}  {:<7}  {:>8}  {:>5}  {:<7}  TARGET\n", "SEQ", "STATE", "AGE", "TRIES", "METHOD");
    for entry in &page.entries {
        let (state, age) = (state(entry.state), age(entry, now));
        let line = format!("{:>10}  {state:<7}  {age:>8}  {:>5}  {:<7}  ", entry.seq, entry.attempts, entry.method);
        text.push_str(&printable(&line));
        text.push_str(&printable(&entry.target));
        if let Some(failure) = failure(entry) {
            text.push_str(&printable(&format!("  ({failure})")));
        }
        text.push('\n');
    }
    if let Some(next) = page.next {
        text.push_str(&format!("more: --after {next}\n"));
    }
    text
}

fn details(write: &Details, now: Duration) -> String {
    let entry = &write.entry;
    let mut lines = vec![
        format!("{} {}", entry.method, entry.target),
        format!("number    {}", entry.seq),
        format!("state     {}", state(entry.state)),
        format!("route     {}", entry.route),
        format!("upstream  {}", entry.upstream),
        format!("accepted  {} ago", age(entry, now)),
        format!("body      {} bytes", entry.body_bytes),
        format!("tries     {}", entry.attempts),
    ];
    lines.extend(failure(entry).map(|failure| format!("failed    {failure}")));
    lines.extend(write.headers.iter().map(|header| format!("header    {}: {}", header.name(), header.value())));
    lines.iter().flat_map(|line| [printable(line), "\n".to_owned()]).collect()
}

const fn state(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Dead => "dead",
    }
}

/// Why the last attempt failed; `None`: it has not been tried.
fn failure(entry: &Entry) -> Option<String> {
    match (entry.status, &entry.reason) {
        (None, None) => None,
        (Some(status), None) => Some(format!("status {status}")),
        (None, Some(reason)) => Some(reason.clone()),
        (Some(status), Some(reason)) => Some(format!("status {status}: {reason}")),
    }
}

/// The time since a write was acknowledged, in its largest unit.
fn age(entry: &Entry, now: Duration) -> String {
    let seconds = now.saturating_sub(Duration::from_millis(entry.accepted_unix_ms)).as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        journal: Journal,
    }

    fn asked(words: &str) -> Result<AdminRequest, clap::Error> {
        let line = Line::try_parse_from(std::iter::once("journal").chain(words.split(' ')))?;
        Ok(request(&line.journal.action))
    }

    fn entry() -> Entry {
        Entry {
            seq: 7,
            state: State::Dead,
            route: "cart".to_owned(),
            upstream: "shop".to_owned(),
            method: "PUT".to_owned(),
            target: "/cart/1".to_owned(),
            body_bytes: 10,
            accepted_unix_ms: 1_000_000,
            attempts: 8,
            status: Some(422),
            reason: Some("no\u{1b}such item".to_owned()),
            next_attempt_unix_ms: None,
        }
    }

    #[test]
    fn the_line_asks_what_it_says() {
        for (words, target) in [
            ("list", "/api/v1/journal?limit=100"),
            ("list --dead --limit 5", "/api/v1/journal?limit=5&state=dead"),
            ("list --pending --after 9", "/api/v1/journal?limit=100&state=pending&after=9"),
            ("show 7", "/api/v1/journal/7"),
        ] {
            assert_eq!(asked(words).unwrap(), AdminRequest::get(target), "{words}");
        }
        for (words, target) in [
            ("retry 7", "/api/v1/journal/7/retry"),
            ("discard 7", "/api/v1/journal/7/discard"),
            ("flush", "/api/v1/journal/flush"),
        ] {
            assert_eq!(asked(words).unwrap(), AdminRequest::post(target, Vec::new()), "{words}");
        }
        for words in ["", "list --dead --pending", "list --limit 0", "show", "retry x"] {
            assert!(asked(words).is_err(), "{words}");
        }
    }

    #[test]
    fn a_list_has_a_line_for_each_write() {
        let page = Page { entries: vec![entry()], next: Some(7) };
        let text = list(&page, Duration::from_secs(1_130));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.contains("7  dead        2 min      8  PUT      /cart/1  (status 422: no\u{fffd}such item)"),
            "{text}"
        );
        assert!(text.ends_with("more: --after 7\n"));
        assert_eq!(list(&Page::default(), Duration::ZERO), "nothing\n");
    }

    #[test]
    fn a_write_is_shown_with_its_headers() {
        let header = crate::admin::api::Header::shown(
            &http::header::AUTHORIZATION,
            policy::write::retained::ShownValue::Redacted,
        );
        let text = details(&Details { entry: entry(), headers: vec![header] }, Duration::from_secs(1_005));
        assert!(
            text.contains("accepted  5 s ago\n") && text.contains("header    authorization: [redacted]\n"),
            "{text}"
        );
    }
}
