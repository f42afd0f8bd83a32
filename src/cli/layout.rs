//! Formats tables, lists of names and values, dates and durations for a terminal.
//!
//! Control characters in values are replaced, because values may come from clients.

use super::admin_client::printable;

/// The text of a table without rows.
const NOTHING: &str = "nothing\n";

/// A column of a table: its heading, and whether it holds numbers, which are aligned to the right.
pub(super) struct Column(pub(super) &'static str, pub(super) bool);

/// A duration in its two largest units.
pub(super) fn span(ms: u64) -> String {
    let seconds = ms / 1_000;
    let (large, small, names) = match seconds {
        0..60 => return format!("{seconds} s"),
        60..3_600 => (seconds / 60, seconds % 60, ("min", "s")),
        3_600..86_400 => (seconds / 3_600, seconds % 3_600 / 60, ("h", "min")),
        _ => (seconds / 86_400, seconds % 86_400 / 3_600, ("d", "h")),
    };
    let rest = if small == 0 { String::new() } else { format!(" {small} {}", names.1) };
    format!("{large} {}{rest}", names.0)
}

/// A time in milliseconds since the Unix epoch, as `2026-11-21 19:30:00 UTC`.
///
/// The Gregorian calendar repeats every 400 years. Within them, years are counted from March, so that a leap day is the
/// last day of its year.
pub(super) fn moment(ms: u64) -> String {
    let seconds = ms / 1_000;
    // Days since 1 March of the year 0.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC", era * 400 + year)
}

/// One line for each name and value, with the values aligned.
pub(super) fn named(lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| format!("{name:width$}  {}\n", printable(value));
    lines.iter().map(line).collect()
}

/// A table with one line for each row. Each column is as width as its widest cell.
pub(super) fn table<const COLUMNS: usize>(columns: &[Column; COLUMNS], rows: Vec<[String; COLUMNS]>) -> String {
    if rows.is_empty() {
        return NOTHING.to_owned();
    }
    let head = columns.each_ref().map(|Column(head, _)| (*head).to_owned());
    let rows: Vec<[String; COLUMNS]> =
        std::iter::once(head).chain(rows).map(|row| row.map(|cell| printable(&cell))).collect();
    let mut width = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in width.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(columns).zip(width).map(|((cell, Column(_, is_number)), width)| match is_number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_as_wide_as_it_must_be() {
        let columns = [Column("NAME", false), Column("N", true)];
        let rows = vec![["é".to_owned(), "10".to_owned()], ["long\n".to_owned(), "7".to_owned()]];
        assert_eq!(table(&columns, rows), "NAME    N\né      10\nlong\u{fffd}   7\n");
        assert_eq!(table(&columns, Vec::new()), NOTHING);
    }

    #[test]
    fn moments_are_dates_in_utc() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (1_767_225_599, "2025-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(moment(seconds * 1_000), expected);
        }
        assert!(moment(u64::MAX).ends_with(" UTC"));
    }

    #[test]
    fn spans_have_two_units_at_most() {
        for (ms, expected) in [
            (999, "0 s"),
            (59_999, "59 s"),
            (300_000, "5 min"),
            (312_000, "5 min 12 s"),
            (7_260_000, "2 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(ms), expected);
        }
    }
}
