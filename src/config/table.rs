//! What the file may hold: its tables, their keys, and all that is known of each key.

use std::time::Duration;

/// A table of the file and the keys it may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section {
    /// How the table is opened: `[server]`; empty for the top of the file.
    pub heading: &'static str,
    /// What the table is for.
    pub text: &'static str,
    /// Its keys, in the order of the reference.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name within the section.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// The hint for a file that leaves it out. `None`: it may be left out.
    pub required: Option<&'static str>,
    /// Its value when left out, bare: a list is words with blanks between them. `None`: left out is left out.
    pub default: Option<&'static str>,
    /// When a change takes effect. `None`: of a table, its keys say it; of a key in a table that a file may have several
    /// of, at once, since each request is answered under one plan.
    pub reload: Option<Reload>,
    /// What it means.
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

/// What a key may hold.
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
    /// A time with its unit within these bounds; the bare number 0 is taken when it is within.
    Duration(Duration, Duration),
    /// Bytes with their unit within these bounds; the bare number 0 is taken when it is within.
    Size(u64, u64),
    /// A number, whole or with decimals, within these bounds.
    Decimal(f64, f64),
    /// A share of all requests: percent within these bounds, with up to three decimals.
    Percent(f64, f64),
    /// A list of strings.
    Texts,
    /// A list of strings, or one string alone.
    TextOrTexts,
    /// A list of whole numbers within these bounds.
    Counts(u64, u64),
    /// A list of percentages within these bounds, each with up to three decimals.
    Percents(f64, f64),
    /// A table of names that the file makes up, each with a string.
    Pairs,
    /// A table of status codes, each with a duration within these bounds.
    DurationByStatus(Duration, Duration),
    /// A table.
    Table(&'static Section),
    /// A list of tables.
    Tables(&'static Section),
    /// A list of tables, each of which may be a string that stands for its first key.
    TablesOrTexts(&'static Section),
}

impl Kind {
    /// What it is called in a sentence: "a duration".
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

    /// The section that a value of this kind is read by.
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
