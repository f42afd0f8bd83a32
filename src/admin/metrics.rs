//! `/metrics`: the facts as text (Prometheus exposition format 0.0.4).
//!
//! All names and labels are our own and need no escaping. What is counted is the business of those who count.

use std::fmt::{self, Write as _};

use super::Readiness;
use super::api::{CacheFacts, EventFacts, Facts, JournalFacts};

/// The format's media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It only grows.
    Counter,
    /// It comes and goes.
    Gauge,
}

/// The facts as text.
pub(super) fn text(facts: &Facts, readiness: Readiness) -> String {
    let mut page = Page(String::with_capacity(8 << 10));
    // Writing to a text can't fail.
    let _complete = page.all(facts, readiness);
    page.0
}

struct Page(String);

impl Page {
    fn all(&mut self, facts: &Facts, readiness: Readiness) -> fmt::Result {
        use Kind::{Counter, Gauge};
        let ready = u64::from(readiness == Readiness::Ready);
        self.one(Gauge, "ready", "Whether it takes requests: not while it starts or drains.", ready)?;
        self.one(Counter, "requests_total", "Requests finished.", facts.requests)?;
        self.by(("responses_total", "class"), "Answers, by class of status.", &facts.responses)?;
        self.one(Counter, "requests_abandoned_total", "Requests given up as the client left.", facts.abandoned)?;
        self.one(Counter, "requests_unreadable_total", "Requests that could not be read.", facts.unreadable)?;
        self.one(Counter, "retries_total", "Requests sent again to another backend.", facts.retries)?;
        self.one(Gauge, "connections", "Client connections open.", facts.connections)?;
        self.one(Gauge, "requests_in_flight", "Requests under way.", facts.in_flight)?;
        self.one(Gauge, "requests_queued", "Requests that wait for a backend.", facts.queued)?;
        self.one(Gauge, "backend_connections", "Connections to backends open.", facts.backend_connections)?;
        self.one(Counter, "accept_failures_total", "Client connections not accepted.", facts.accept_failures)?;
        self.one(Counter, "log_lines_dropped_total", "Access log lines dropped.", facts.log_lines_dropped)?;
        self.cache(&facts.cache)?;
        self.events(facts.events)?;
        facts.journal.map_or(Ok(()), |journal| self.journal(journal))
    }

    fn cache(&mut self, cache: &CacheFacts) -> fmt::Result {
        self.one(Kind::Gauge, "cache_keys", "Keys under which something is stored.", cache.keys)?;
        self.one(Kind::Gauge, "cache_bytes", "What is stored.", cache.bytes)?;
        self.one(Kind::Gauge, "cache_max_bytes", "What the cache may grow to.", cache.bytes_max)?;
        let help = "Requests on caching routes, by what the cache did for them.";
        self.by(("cache_results_total", "result"), help, &cache.results)
    }

    fn events(&mut self, events: EventFacts) -> fmt::Result {
        let by = [("known", events.known), ("unknown", events.unknown), ("refused", events.refused)];
        self.by(("events_total", "type"), "Invalidating events, by whether a rule knows their type.", &by)
    }

    fn journal(&mut self, journal: JournalFacts) -> fmt::Result {
        use Kind::{Counter, Gauge};
        self.one(Gauge, "journal_pending", "Writes acknowledged and not yet sent.", journal.pending)?;
        self.one(Gauge, "journal_pending_bytes", "What they take.", journal.pending_bytes)?;
        self.head(Gauge, "journal_oldest_seconds", "How long the oldest of them has been pending.")?;
        let (seconds, rest) = (journal.oldest_ms / 1000, journal.oldest_ms % 1000);
        writeln!(self.0, "forebay_journal_oldest_seconds {seconds}.{rest:03}")?;
        self.one(Gauge, "journal_dead", "Writes given up, waiting for a person.", journal.dead)?;
        self.one(Counter, "journal_accepted_total", "Writes acknowledged.", journal.accepted)?;
        self.one(Counter, "journal_settled_total", "Writes done or made needless by later ones.", journal.settled)?;
        self.one(Counter, "journal_failures_total", "Attempts to send a write that failed.", journal.failures)?;
        self.one(Counter, "journal_through_total", "Writes sent at once, past the journal.", journal.through)?;
        self.one(Counter, "journal_refused_total", "Writes refused for the journal's sake.", journal.refused)
    }

    fn one(&mut self, kind: Kind, name: &str, help: &str, value: u64) -> fmt::Result {
        self.head(kind, name, help)?;
        writeln!(self.0, "forebay_{name} {value}")
    }

    /// A counter for each value of a label.
    fn by(&mut self, (name, label): (&str, &str), help: &str, values: &[(&str, u64)]) -> fmt::Result {
        if values.is_empty() {
            return Ok(());
        }
        self.head(Kind::Counter, name, help)?;
        values.iter().try_for_each(|(which, value)| writeln!(self.0, "forebay_{name}{{{label}=\"{which}\"}} {value}"))
    }

    fn head(&mut self, kind: Kind, name: &str, help: &str) -> fmt::Result {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        writeln!(self.0, "# HELP forebay_{name} {help}\n# TYPE forebay_{name} {kind}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_help_and_its_type() {
        let facts = Facts {
            requests: 7,
            responses: vec![("2xx", 6), ("5xx", 1)],
            journal: Some(JournalFacts { oldest_ms: 1_050, ..JournalFacts::default() }),
            ..Facts::default()
        };
        let text = text(&facts, Readiness::Ready);
        let mut known = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(!known.contains(&name), "{name} stands twice");
                known.push(name);
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(known.last(), Some(&name), "{line}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            }
        }
        for line in [
            "forebay_requests_total 7",
            "forebay_responses_total{class=\"5xx\"} 1",
            "forebay_journal_oldest_seconds 1.050",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn without_a_journal_nothing_is_told_of_it() {
        assert!(!text(&Facts::default(), Readiness::Draining).contains("journal"));
    }
}
