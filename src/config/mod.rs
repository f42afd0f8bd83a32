//! Parses and checks `config.toml`, and builds a [`plan::Plan`] from it.
//!
//! The TOML parser gives a document with places; `document` reads its values by the declarations of `keys`; `check`
//! builds the Plan and reports every problem. Nothing here opens a socket or resolves a name.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use plan::Plan;
use problem::{Problems, Report};

pub(crate) mod changes;
mod check;
mod declare;
mod document;
mod grammar;
pub(crate) mod keys;
pub mod plan;
pub mod problem;
pub mod reference;
mod renamed;
pub(crate) mod schema;
pub(crate) mod secrets;
pub(crate) mod settings;
mod table;
pub(crate) mod units;
mod value;

/// The longest configuration file, in bytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The most syntax errors that are reported: later ones mostly follow from the first.
const SYNTAX_ERRORS_MAX: usize = 3;

/// A configuration without errors, and its warnings.
#[derive(Debug)]
pub struct Checked {
    /// The Plan.
    pub plan: Plan,
    /// The warnings, in the order of the file.
    pub warnings: Problems,
}

/// The source of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// Standard input, which can be read only once, so that there is no reload.
    Stdin,
}

impl Source {
    /// The source for a path of the command line: `-` is standard input.
    #[must_use]
    pub fn named(path: &Path) -> Self {
        if path.as_os_str() == "-" { Self::Stdin } else { Self::File(path.to_owned()) }
    }

    /// Reads and checks the configuration.
    ///
    /// # Errors
    /// All problems of the text. A file that is missing, unreadable, not UTF-8 or longer than 8 MiB is one problem.
    pub fn check(&self) -> Result<Checked, Problems> {
        let name = self.to_string();
        let whole_file = |cause: String| {
            let hint = "name another with -c FILE or $FOREBAY_CONFIG";
            Problems::whole_file(&name, cause, Some(hint.to_owned()))
        };
        let input: Box<dyn Read> = match self {
            Self::File(path) => {
                Box::new(File::open(path).map_err(|error| whole_file(format!("can't be opened: {error}")))?)
            }
            Self::Stdin => Box::new(io::stdin()),
        };
        let mut bytes = Vec::new();
        input
            .take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| whole_file(format!("can't be read: {error}")))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
            return Err(whole_file(format!("is longer than {}", units::size_text(FILE_BYTES_MAX))));
        }
        let text = String::from_utf8(bytes).map_err(|_| whole_file("is not UTF-8 text".to_owned()))?;
        check_text(&name, &text)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(out),
            Self::Stdin => out.write_str("standard input"),
        }
    }
}

/// Reads and checks a configuration file, or standard input for `-`. Warnings are dropped.
///
/// # Errors
/// As [`Source::check`].
pub fn load(path: &Path) -> Result<Plan, Problems> {
    Source::named(path).check().map(|checked| checked.plan)
}

/// Checks the text of a configuration. `name` is the name of the file in problems. Warnings are dropped.
///
/// # Errors
/// As [`check_text`].
pub fn parse(name: &str, text: &str) -> Result<Plan, Problems> {
    check_text(name, text).map(|checked| checked.plan)
}

/// Checks the text of a configuration. `name` is the name of the file in problems.
///
/// Reads the environment and files that `${env:…}` and `${file:…}` name.
///
/// # Errors
/// All problems, in the order of the text.
pub fn check_text(name: &str, text: &str) -> Result<Checked, Problems> {
    let report = Report::new(name, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(SYNTAX_ERRORS_MAX) {
        report.note(error.span().unwrap_or_default(), format!("not TOML: {}", error.message()), None);
    }
    let plan = (report.count() == 0).then(|| check::plan(&report, document.get_ref()));
    let warnings = report.finish()?;
    let plan = plan.ok_or_else(|| Problems::whole_file(name, "could not be checked".to_owned(), None))?;
    Ok(Checked { plan, warnings })
}

#[cfg(test)]
mod tests;
