//! Writes `scale.md`, the report on how costs grow.

use std::fmt::Write as _;

use crate::figures::statistics::Spread;
use crate::figures::text::{grouped, number};
use crate::report::{Circumstances, cell, heading, line, ratio_cell};
use crate::scale::ScaleReport;

/// The tables alone, for the terminal.
pub(crate) fn tables(growth: &ScaleReport) -> String {
    let mut text = String::new();
    requests(&mut text, growth);
    filled(&mut text, growth);
    checked(&mut text, growth);
    lives(&mut text, growth);
    for note in &growth.notes {
        line(&mut text, &format!("- {note}"));
    }
    for row in &growth.rows {
        for one in &row.lines {
            for (round, reason) in
                one.rounds.iter().enumerate().filter_map(|(round, one)| Some((round, one.as_ref().err()?)))
            {
                line(&mut text, &format!("- {}, {}, round {} is void: {reason}", row.thing, one.size, round + 1));
            }
        }
    }
    text
}

/// The whole report.
pub(crate) fn report(circumstances: &Circumstances, growth: &ScaleReport, files_max: Option<u64>) -> String {
    let Circumstances { date, machine, arguments, rounds, seconds, versions, .. } = circumstances;
    let mut text = format!("# How it grows, {date}\n\n");
    let _infallible = writeln!(
        text,
        "| | |\n|---|---|\n| machine | {}, {} MiB |\n| system | {}, Linux {} |\n| load averages at the start | {} |\n\
         | command | `cargo bench --bench versus -- {arguments}` |\n\
         | rounds | {rounds} windows of {seconds} s for each size, taken in turns |\n\
         | forebay | one worker on a core of its own, load generator and backend on another, unless it says otherwise |\n\
         | connections | 64, kept alive, over loopback, unless it says otherwise |\n\
         | open files | {} for each process |",
        machine.short(),
        machine.memory_mib,
        machine.system,
        machine.kernel,
        machine.load,
        files_max.map_or("no limit".to_owned(), |max| number(max as f64)),
    );
    for (name, version) in versions {
        line(&mut text, &format!("| {name} | {} |", version.replace('|', "\\|")));
    }
    text.push_str(
        "\nFigures are medians, with the least and the most of all rounds in brackets. The ratio is that of processor time\n\
         to the first size of the same thing, taken within each round. A window begins when all connections are open.\n\n",
    );
    text.push_str(&tables(growth));
    text
}

fn requests(text: &mut String, growth: &ScaleReport) {
    if growth.rows.is_empty() {
        return;
    }
    text.push_str("## A request\n\n");
    let names = ["size", "CPU, µs", "to the first size", "requests/s", "99 % within, ms", "resident, MiB"];
    heading(text, "what grows", &names.map(str::to_owned));
    for row in &growth.rows {
        for (place, one) in row.lines.iter().enumerate() {
            let cells = [
                one.size.clone(),
                cell(one.spread(|sample| sample.cpu_us)),
                if place == 0 { "1".to_owned() } else { ratio_cell(row.ratio(place)) },
                one.spread(|sample| sample.per_second).map_or("–".to_owned(), |spread| number(spread.median)),
                cell(one.spread(|sample| sample.p99_ms)),
                one.spread(|sample| sample.resident_mib).map_or("–".to_owned(), |spread| number(spread.most)),
            ];
            line(text, &format!("| {} | {} |", row.thing, cells.join(" | ")));
        }
    }
    text.push('\n');
}

fn filled(text: &mut String, growth: &ScaleReport) {
    if growth.filled.is_empty() {
        return;
    }
    text.push_str(
        "## Filling the cache\n\n64 connections ask for each answer once. Of 200,000, most were evicted again.\n\n",
    );
    let names = ["time, s", "a second", "CPU, µs for each", "resident bytes for each"];
    heading(text, "answers of 100 bytes", &names.map(str::to_owned));
    for one in &growth.filled {
        let seconds = one.time.as_secs_f64();
        let cells = [
            grouped(one.count),
            number(seconds),
            number(one.count as f64 / seconds),
            number(one.cpu_us),
            one.bytes_each.map_or("–".to_owned(), number),
        ];
        line(text, &format!("| {} |", cells.join(" | ")));
    }
    text.push('\n');
}

fn checked(text: &mut String, growth: &ScaleReport) {
    if growth.checked.is_empty() {
        return;
    }
    text.push_str("## Checks alone\n\nEvery 5 s, by HTTP, on a new connection each time; no requests.\n\n");
    let names = ["checks a second", "CPU, ms a second", "CPU, µs for each"];
    heading(text, "backends", &names.map(str::to_owned));
    for one in &growth.checked {
        let cells = [cell(one.per_second), cell(one.cpu_ms_a_second), cell(one.cpu_us)];
        line(text, &format!("| {} | {} |", grouped(one.backends), cells.join(" | ")));
    }
    text.push('\n');
}

fn lives(text: &mut String, growth: &ScaleReport) {
    if growth.lives.is_empty() {
        return;
    }
    text.push_str(
        "## Start and reload\n\nThe reload changes one backend or route. The longest wait is that of a client which asks one \
         request after the other\nmeanwhile.\n\n",
    );
    let names = ["start, ms", "reload, ms", "longest wait, ms", "resident, MiB"];
    heading(text, "configuration", &names.map(str::to_owned));
    for one in &growth.lives {
        let spreads: [Option<Spread>; 4] = [one.start_ms, one.reload_ms, one.stall_ms, one.resident_mib];
        line(text, &format!("| {} | {} |", one.size, spreads.map(cell).join(" | ")));
    }
    text.push('\n');
}
