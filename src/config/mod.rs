//! From `config.toml` to a [`plan::Plan`]: read as written, checked as a whole, resolved.
//!
//! The way: the text is parsed to a document with places; `document` reads it by the table of [`keys`]; `check` makes
//! the plan and finds every problem on the way. Nothing here opens a socket or resolves a name.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

use plan::Plan;
use problem::{Problems, Report};

mod check;
mod document;
pub mod keys;
pub mod plan;
pub mod problem;
pub mod reference;
pub mod secrets;
pub mod units;

/// The longest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The most syntax errors shown: after the first few, the rest mostly follow from them.
const SYNTAX_ERRORS_MAX: usize = 3;

/// Reads and checks a configuration file.
///
/// # Errors
/// Every problem of the file at once; a file that is missing, unreadable, no text or longer than 8 MiB is one too.
pub fn load(path: &Path) -> Result<Plan, Problems> {
    let name = path.display().to_string();
    let whole_file = |cause: String| {
        let hint = "name another with -c FILE or $FOREBAY_CONFIG";
        Problems::whole_file(&name, cause, Some(hint.to_owned()))
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| whole_file(format!("can't be opened: {error}")))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| whole_file(format!("can't be read: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(whole_file(format!("is longer than {}", units::size_text(FILE_BYTES_MAX))));
    }
    let text = String::from_utf8(bytes).map_err(|_| whole_file("is not UTF-8 text".to_owned()))?;
    parse(&name, &text)
}

/// Checks the text of a configuration; `name` is what problems call the file.
///
/// Reads the environment and files that `${env:…}` and `${file:…}` name.
///
/// # Errors
/// Every problem of the text at once, in the order of the text.
pub fn parse(name: &str, text: &str) -> Result<Plan, Problems> {
    let report = Report::new(name, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(SYNTAX_ERRORS_MAX) {
        report.note(error.span().unwrap_or_default(), format!("not TOML: {}", error.message()), None);
    }
    let plan = (report.count() == 0).then(|| check::plan(&report, document.get_ref()));
    report
        .finish()
        .and_then(|()| plan.ok_or_else(|| Problems::whole_file(name, "could not be checked".to_owned(), None)))
}

#[cfg(test)]
mod tests;
