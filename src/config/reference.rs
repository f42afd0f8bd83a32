//! Generates `docs/config.md`, the reference of every key.

use std::fmt::Write;

use super::keys::{Key, Kind, Reload, Section, TOP};
use super::units;

/// The text before the tables.
const PREFACE: &str = "# config.toml, key by key

This page is generated from the declarations by which forebay reads the file; `UPDATE=1 cargo test --test
config_reference` renews it.

- Durations are a whole number and `ms`, `s`, `m`, `h` or `d`; sizes a whole number and `B`, `KiB`, `MiB` or `GiB`. A number
  without a unit is an error, except `0` where it is in range.
- An unknown key is an error. forebay reports all errors of a file at once.
- `forebay config schema` prints these keys as a JSON Schema, with which your editor completes and checks a file: save it
  as `forebay.schema.json`, and begin the file with `#:schema ./forebay.schema.json`.
- On SIGHUP forebay reads the file again. All keys take effect then, for requests and connections that begin after it,
  except those that a table marks with *next start*. The event log says what a reload has changed, and names each key that
  has changed and waits for the next start.
- In any string, `${env:NAME}` stands for an environment variable and `${file:/path}` for the content of a file, without
  its last line break; `$${` is a plain `${`.
";

/// The reference as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut page = PREFACE.to_owned();
    for section in sections() {
        write_section(&mut page, section);
    }
    page
}

/// Every table of the file, in the order of the reference.
pub(super) fn sections() -> Vec<&'static Section> {
    let mut sections = Vec::new();
    collect(&TOP, &mut sections);
    sections
}

/// Adds a section and those that can be reached from it, each once.
fn collect(section: &'static Section, sections: &mut Vec<&'static Section>) {
    if sections.iter().any(|known| known.heading == section.heading) {
        return;
    }
    sections.push(section);
    for inner in section.keys.iter().filter_map(|key| key.kind.inner()) {
        collect(inner, sections);
    }
}

fn write_section(page: &mut String, section: &Section) {
    let heading =
        if section.heading.is_empty() { "Top of the file".to_owned() } else { format!("`{}`", section.heading) };
    // Writing to a string can't fail.
    let _ = write!(page, "\n## {heading}\n\n{}\n\n", section.text.trim());
    page.push_str("| key | holds | default | meaning |\n|---|---|---|---|\n");
    for key in section.keys {
        let text = key.text.trim().replace('|', "\\|");
        let waits = if key.reload == Some(Reload::NextStart) { " *(next start)*" } else { "" };
        let _ = writeln!(page, "| `{}` | {} | {} | {text}{waits} |", key.name, holds(key.kind), default(key));
    }
}

/// The type and range of a key, in words.
pub(super) fn holds(kind: Kind) -> String {
    match kind {
        Kind::Choice(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Count(least, most) | Kind::Counts(least, most) => format!("{}, {least} to {most}", kind.noun()),
        Kind::Duration(least, most) | Kind::DurationByStatus(least, most) => {
            format!("{}, {} to {}", kind.noun(), units::duration_text(least), units::duration_text(most))
        }
        Kind::Size(least, most) => {
            format!("{}, {} to {}", kind.noun(), units::size_text(least), units::size_text(most))
        }
        Kind::Decimal(least, most) | Kind::Percent(least, most) | Kind::Percents(least, most) => {
            format!("{}, {least} to {most}", kind.noun())
        }
        Kind::Table(inner) | Kind::Tables(inner) => format!("{}: `{}`", kind.noun(), inner.heading),
        Kind::Text | Kind::Flag | Kind::Texts | Kind::TextOrTexts | Kind::Pairs | Kind::TablesOrTexts(_) => {
            kind.noun().to_owned()
        }
    }
}

/// The default in the syntax of the file; a dash if there is none.
fn default(key: &Key) -> String {
    if key.required.is_some() {
        return "*required*".to_owned();
    }
    let Some(bare) = key.default else { return "–".to_owned() };
    let listed = |quote: &str| {
        let words: Vec<_> = bare.split_whitespace().map(|word| format!("{quote}{word}{quote}")).collect();
        format!("`[{}]`", words.join(", "))
    };
    match key.kind {
        Kind::Count(..) | Kind::Decimal(..) | Kind::Percent(..) | Kind::Flag => format!("`{bare}`"),
        Kind::Text | Kind::Choice(_) | Kind::Duration(..) | Kind::Size(..) => format!("`\"{bare}\"`"),
        Kind::Texts | Kind::TextOrTexts => listed("\""),
        Kind::Counts(..) | Kind::Percents(..) => listed(""),
        Kind::Pairs | Kind::DurationByStatus(..) | Kind::Table(_) | Kind::Tables(_) | Kind::TablesOrTexts(_) => {
            "–".to_owned()
        }
    }
}
