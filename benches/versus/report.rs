//! The report: a Markdown text with everything needed to interpret and repeat the figures.

use std::fmt::Write as _;

use crate::figures::statistics::Spread;
use crate::figures::text::number;
use crate::findings::ComparisonReport;
use crate::machine::Machine;
use crate::peers::Peer;
use crate::rounds::Row;
use crate::works::{IDLE_KIB_MAX, Rival};

/// The conditions of the measurement.
pub(crate) struct Circumstances {
    /// `2026-11-21`.
    pub(crate) date: String,
    /// The machine.
    pub(crate) machine: Machine,
    /// The arguments that repeat the run.
    pub(crate) arguments: String,
    /// Names and versions of all programs.
    pub(crate) versions: Vec<(String, String)>,
    /// Rounds of each work.
    pub(crate) rounds: usize,
    /// Seconds of each round, for each proxy.
    pub(crate) seconds: u64,
    /// Workers of each proxy.
    pub(crate) workers: usize,
    /// Whether proxies have their own core.
    pub(crate) pinned: bool,
}

/// The tables alone, for the terminal.
pub(crate) fn tables(findings: &ComparisonReport) -> String {
    let mut text = String::new();
    cost_table(&mut text, findings);
    same_fields_table(&mut text, findings);
    goal_table(&mut text, findings);
    if !findings.rows.is_empty() {
        ratio_table(&mut text, findings);
    }
    reservations(&mut text, findings);
    text
}

/// The whole report.
pub(crate) fn report(
    circumstances: &Circumstances,
    findings: &ComparisonReport,
    configurations: &[(String, String)],
) -> String {
    let mut text = format!("# Side by side, {}\n\n", circumstances.date);
    text.push_str(&opening(circumstances, findings.backend_us));
    text.push_str("\n![Processor time for a request](chart.svg)\n\n");
    text.push_str(&tables(findings));
    every_figure(&mut text, findings);
    text.push_str("## Versions\n\n| program | says of itself |\n|---|---|\n");
    for (name, version) in &circumstances.versions {
        line(&mut text, &format!("| {name} | {} |", version.replace('|', "\\|")));
    }
    text.push_str("\n## Configurations\n\nAs they ran; also as files in this folder.\n");
    for (name, configuration) in configurations {
        let language = name.rsplit('.').next().unwrap_or_default();
        line(&mut text, &format!("\n### {name}\n\n```{language}\n{}\n```", configuration.trim_end()));
    }
    text
}

fn opening(circumstances: &Circumstances, backend_us: f64) -> String {
    let machine = &circumstances.machine;
    let pinned = match (circumstances.pinned, machine.cores.len()) {
        (true, _) => "each proxy pinned to one core; load generator and backend on another",
        (false, 1) => "nothing pinned, since there is only one core: proxy, load generator and backend share it",
        (false, _) => "nothing pinned: proxy, load generator and backend share all cores",
    };
    let Circumstances { arguments, rounds, seconds, workers, .. } = circumstances;
    let arguments = if arguments.is_empty() { String::new() } else { format!(" -- {arguments}") };
    format!(
        "| | |\n|---|---|\n| machine | {}, {} MiB |\n| system | {}, Linux {} |\n| load averages at the start | {} |\n\
         | command | `cargo bench --bench versus{arguments}` |\n\
         | rounds | {rounds} of {seconds} s for each proxy and work, taken in turns; before them a warm-up of 1 s |\n\
         | proxies | {workers} worker{} each, {pinned} |\n\
         | connections | 64, kept alive (4 for the body of 10 MiB), over loopback |\n\
         | backend | one thread, answers that lie ready; asked without a proxy it spends {} µs on 1 KiB |\n\n\
         Processor time is that of all processes of a proxy, user and system, for one request; it is the figure that\n\
         compares, since requests a second of a full core depend on what else the machine does. Figures are medians, with\n\
         the least and the most of all rounds in brackets. Ratios are taken within each round, and then their median.\n",
        machine.short(),
        machine.memory_mib,
        machine.system,
        machine.kernel,
        machine.load,
        if *workers == 1 { "" } else { "s" },
        number(backend_us),
    )
}

/// The peers with their usual fields, and the floor.
fn cost_table(text: &mut String, findings: &ComparisonReport) {
    let (_, peers): (Vec<Peer>, Vec<Peer>) = columns(findings).into_iter().partition(|peer| peer.sends_same_fields());
    text.push_str("## Processor time for a request, µs\n\nPeers as users run them; the floor is a bare loop of ours without features.\n\n");
    cost_rows(text, &findings.rows.iter().collect::<Vec<_>>(), &peers);
    if !findings.idle.is_empty() {
        let cells = peers.iter().map(|peer| {
            let found = findings.idle.iter().find(|(one, _)| one == peer);
            found.and_then(|(_, kib)| kib.as_ref().ok()).map_or("–".to_owned(), |kib| number(*kib))
        });
        let cells = cells.collect::<Vec<_>>().join(" | ");
        line(
            text,
            &format!("| i. KiB of memory for each of {} idle connections | {cells} |", findings.idle_connections),
        );
    }
    text.push('\n');
}

/// forebay and the peers with the same fields.
fn same_fields_table(text: &mut String, findings: &ComparisonReport) {
    let same = columns(findings).into_iter().filter(|peer| peer.sends_same_fields());
    let peers: Vec<Peer> = std::iter::once(Peer::Forebay).chain(same).collect();
    let rows: Vec<&Row> =
        findings.rows.iter().filter(|row| row.peers().iter().any(|peer| peer.sends_same_fields())).collect();
    if rows.is_empty() {
        return;
    }
    text.push_str("## The same, with peers set to send the fields that forebay sends\n\n");
    cost_rows(text, &rows, &peers);
    text.push('\n');
}

fn cost_rows(text: &mut String, rows: &[&Row], peers: &[Peer]) {
    heading(text, "work", &peers.iter().map(|peer| peer.name().to_owned()).collect::<Vec<_>>());
    for row in rows {
        let cells = peers.iter().map(|peer| cell(row.spread(*peer, |sample| sample.cpu_us)));
        line(text, &format!("| {} | {} |", work_name(row), cells.collect::<Vec<_>>().join(" | ")));
    }
}

fn goal_table(text: &mut String, findings: &ComparisonReport) {
    text.push_str("## Goals: forebay's processor time to that of others\n\n");
    heading(text, "work", &["compared with", "goal", "ratio, median (range)", "rounds", ""].map(str::to_owned));
    for row in &findings.rows {
        for standing in row.standings() {
            let goal = standing.goal;
            let reached = match standing.ratio {
                Some(ratio) if ratio.median <= goal.at_most => "reached",
                Some(_) => "**not reached**",
                None => "not measured",
            };
            let rounds = standing.ratio.map_or(0, |ratio| ratio.count);
            line(
                text,
                &format!(
                    "| {} | {} | ≤ {:.2} | {} | {rounds} | {reached} |",
                    work_name(row),
                    rival_name(row, goal.rival),
                    goal.at_most,
                    ratio_cell(standing.ratio)
                ),
            );
        }
    }
    if let Some((_, Ok(kib))) = findings.idle.iter().find(|(peer, _)| *peer == Peer::Forebay) {
        let reached = if *kib <= IDLE_KIB_MAX { "reached" } else { "**not reached**" };
        line(
            text,
            &format!("| i. an idle connection | – | ≤ {IDLE_KIB_MAX} KiB | {} KiB | 1 | {reached} |", number(*kib)),
        );
    }
    text.push_str("\n\"The best\" is looked for in each round anew, which favours the peers.\n\n");
}

fn ratio_table(text: &mut String, findings: &ComparisonReport) {
    let peers: Vec<Peer> = columns(findings).into_iter().filter(|peer| *peer != Peer::Forebay).collect();
    text.push_str("## forebay's processor time to each other's, round by round\n\n");
    heading(text, "work", &peers.iter().map(|peer| peer.name().to_owned()).collect::<Vec<_>>());
    for row in &findings.rows {
        let cells = peers.iter().map(|peer| ratio_cell(row.ratio(Rival::One(*peer))));
        line(text, &format!("| {} | {} |", work_name(row), cells.collect::<Vec<_>>().join(" | ")));
    }
    text.push('\n');
}

/// The limits of the figures: missing peers and void rounds.
fn reservations(text: &mut String, findings: &ComparisonReport) {
    for (peer, reason) in &findings.left_out {
        line(text, &format!("- {} was left out: {reason}", peer.name()));
    }
    for (peer, reason) in findings.idle.iter().filter_map(|(peer, kib)| Some((peer, kib.as_ref().err()?))) {
        line(text, &format!("- {}, idle connections: {reason}", peer.name()));
    }
    for row in &findings.rows {
        for (peer, round, reason) in row.voids() {
            line(text, &format!("- {}, work {}, round {round} is void: {reason}", peer.name(), row.work.letter()));
        }
    }
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
}

fn every_figure(text: &mut String, findings: &ComparisonReport) {
    text.push_str("## Every figure\n\nStolen is what the machine's host gave to others meanwhile: above a few percent all figures are doubtful.\n\n");
    let names =
        ["proxy", "CPU, µs a request", "requests/s", "p50, ms", "p99, ms", "peak memory, MiB", "stolen, %", "rounds"];
    heading(text, "work", &names.map(str::to_owned));
    for row in &findings.rows {
        for peer in row.peers() {
            let cpu = row.spread(peer, |sample| sample.cpu_us);
            let rest = [
                cell(cpu),
                cell(row.spread(peer, |sample| sample.per_second)),
                cell(row.spread(peer, |sample| sample.p50_ms)),
                cell(row.spread(peer, |sample| sample.p99_ms)),
                row.spread(peer, |sample| sample.peak_mib).map_or("–".to_owned(), |peak| number(peak.most)),
                cell(row.spread(peer, |sample| sample.stolen)),
                cpu.map_or(0, |cpu| cpu.count).to_string(),
            ];
            line(text, &format!("| {} | {} | {} |", row.work.letter(), peer.name(), rest.join(" | ")));
        }
    }
    text.push('\n');
}

/// A rival, with those of its members that could not be compared.
fn rival_name(row: &Row, rival: Rival) -> String {
    let measured = row.peers();
    let absent: Vec<&str> =
        rival.peers().into_iter().filter(|peer| !measured.contains(peer)).map(|peer| peer.name()).collect();
    let without = if absent.is_empty() { String::new() } else { format!(" (without {})", absent.join(", ")) };
    format!("{}{without}", rival.name())
}

/// The proxies with any figure, forebay first.
pub(crate) fn columns(findings: &ComparisonReport) -> Vec<Peer> {
    let mut peers: Vec<Peer> = findings.rows.iter().flat_map(Row::peers).collect();
    peers.extend(findings.idle.iter().map(|(peer, _)| *peer));
    peers.sort_unstable();
    peers.dedup();
    peers
}

fn work_name(row: &Row) -> String {
    format!("{}. {}", row.work.letter(), row.work.title())
}

/// A median, with the minimum and maximum if there are several rounds.
pub(crate) fn cell(spread: Option<Spread>) -> String {
    match spread {
        None => "–".to_owned(),
        Some(one) if one.count == 1 => number(one.median),
        Some(s) => format!("{} ({}–{})", number(s.median), number(s.least), number(s.most)),
    }
}

/// The same for a ratio.
pub(crate) fn ratio_cell(spread: Option<Spread>) -> String {
    match spread {
        None => "–".to_owned(),
        Some(one) if one.count == 1 => format!("{:.2}", one.median),
        Some(s) => format!("{:.2} ({:.2}–{:.2})", s.median, s.least, s.most),
    }
}

/// Writes the head of a table.
pub(crate) fn heading(text: &mut String, first: &str, rest: &[String]) {
    line(text, &format!("| {first} | {} |", rest.join(" | ")));
    line(text, &format!("|---|{}", "---|".repeat(rest.len())));
}

/// Writes a line.
pub(crate) fn line(text: &mut String, content: &str) {
    let _infallible = writeln!(text, "{content}");
}
