//! The types of a declaration: a table of the file, its keys, and the kind of each value.

use std::time::Duration;

/// The declaration of a table of the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// The heading in the file, such as `[server]`; empty for the top of the file.
    pub heading: &'static str,
    /// The text of the reference.
    pub text: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
}

/// The declaration of a key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name within the table.
    pub name: &'static str,
    /// The kind of its value.
    pub kind: Kind,
    /// The key is required, and this is the hint for a file without it. `None`: it is optional.
    pub required: Option<&'static str>,
    /// Its default, without quotes; the entries of a list are separated by blanks. `None`: it has no default.
    pub default: Option<&'static str>,
    /// When a change takes effect. `None` for a table: its keys say it. `None` for a key of a table that a file may
    /// have several times: at once, for requests that begin after the reload.
    pub reload: Option<Reload>,
    /// The text of the reference.
    pub text: &'static str,
}

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// With the reload, for requests and connections that begin after it.
    Now,
    /// With the next start of the process.
    NextStart,
}

/// The kind of a key's value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A string.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// A whole number within these bounds.
    Count(u64, u64),
    /// A duration with a unit within these bounds; the number 0 needs no unit if it is within.
    Duration(Duration, Duration),
    /// A size in bytes with a unit within these bounds; the number 0 needs no unit if it is within.
    Size(u64, u64),
    /// A number, whole or with decimals, within these bounds.
    Decimal(f64, f64),
    /// A share of all requests: percent within these bounds, with up to three decimals.
    Percent(f64, f64),
    /// A list of strings.
    Texts,
    /// A list of strings, or a single string.
    TextOrTexts,
    /// A list of whole numbers within these bounds.
    Counts(u64, u64),
    /// A list of percentages within these bounds, each with up to three decimals.
    Percents(f64, f64),
    /// A table of strings with arbitrary names.
    Pairs,
    /// A table of status codes, each with a duration within these bounds.
    DurationByStatus(Duration, Duration),
    /// A table.
    Table(&'static Section),
    /// A list of tables.
    Tables(&'static Section),
    /// A list of tables. A string instead of a table is the value of its first key.
    TablesOrTexts(&'static Section),
}

impl Kind {
    /// The name of the kind in a sentence: "a duration".
    #[must_use]
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Choice(_) => "a word",
            Self::Flag => "true or false",
            Self::Count(..) => "a whole number",
            Self::Duration(..) => "a duration",
            Self::Size(..) => "a size",
            Self::Decimal(..) => "a number",
            Self::Percent(..) => "a percentage",
            Self::Texts => "a list of strings",
            Self::TextOrTexts => "a string or a list of strings",
            Self::Counts(..) => "a list of whole numbers",
            Self::Percents(..) => "a list of percentages",
            Self::Pairs => "a table of strings",
            Self::DurationByStatus(..) => "a table of durations",
            Self::Table(_) => "a table",
            Self::Tables(_) => "a list of tables",
            Self::TablesOrTexts(_) => "a list of strings or tables",
        }
    }

    /// The declaration of the table or tables in a value of this kind.
    #[must_use]
    pub(crate) fn inner(self) -> Option<&'static Section> {
        match self {
            Self::Table(inner) | Self::Tables(inner) | Self::TablesOrTexts(inner) => Some(inner),
            Self::Text
            | Self::Choice(_)
            | Self::Flag
            | Self::Count(..)
            | Self::Duration(..)
            | Self::Size(..)
            | Self::Decimal(..)
            | Self::Percent(..)
            | Self::Texts
            | Self::TextOrTexts
            | Self::Counts(..)
            | Self::Percents(..)
            | Self::Pairs
            | Self::DurationByStatus(..) => None,
        }
    }
}

impl Section {
    /// The key of this name.
    #[must_use]
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
