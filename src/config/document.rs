//! Typed access to the TOML document, by the declarations of `keys`.
//!
//! A [`Section`] is one table of the document. Opening it reports unknown keys. Each read of a value reports a wrong
//! type or a value out of range and returns the default, so that one pass finds every problem. `check` has the rules
//! that concern several values.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use policy::route::split::Share;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Report, did_you_mean};
use super::table::{self, Key, Kind};
use super::{renamed, secrets, units};

/// The most tables in a list: each is compared with the others, which costs the square.
const TABLES_MAX: usize = 10_000;

/// A string of the file. `Display` shows it as written, with `${…}` unexpanded, so that no message shows a secret.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// The value, with `${…}` expanded.
    pub(super) value: String,
    /// Its place in the file, in bytes.
    pub(super) span: Range<usize>,
    written: String,
}

impl Text {
    /// Whether `${…}` was expanded, so that the value may contain a secret.
    pub(super) fn holds_secret(&self) -> bool {
        self.value != self.written
    }
}

impl fmt::Display for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.written)
    }
}

/// An entry of a list that takes tables and strings.
pub(super) enum Entry<'a> {
    /// A string.
    Text(Text),
    /// A table.
    Section(Section<'a>),
}

/// One table of the document, and its declared keys.
#[derive(Clone)]
pub(super) struct Section<'a> {
    /// Collects the problems.
    pub(super) report: &'a Report<'a>,
    /// The place of the table in the file, in bytes.
    pub(super) span: Range<usize>,
    keys: &'static table::Section,
    table: Option<&'a DeTable<'a>>,
}

/// Warns of a key that the file has by its old name, and reports one that it has by both.
fn report_renamed(report: &Report<'_>, table: &DeTable<'_>, old: &Spanned<Cow<'_, str>>, new: &str) {
    let name = old.get_ref();
    if table.contains_key(new) {
        report.add(
            old.span(),
            format!("{name} is the old name of {new}, which is also set"),
            format!("leave {name} out"),
        );
    } else {
        let cause = format!("{name} is now called {new}; the next release knows only the new name");
        report.warn(old.span(), cause, format!("write {new}"));
    }
}

impl<'a> Section<'a> {
    /// Opens a table, and reports unknown keys, and required keys that are missing or empty.
    pub(super) fn open(
        report: &'a Report<'a>,
        keys: &'static table::Section,
        table: &'a DeTable<'a>,
        span: Range<usize>,
    ) -> Self {
        for name in table.keys().filter(|name| keys.key(name.get_ref()).is_none()) {
            if let Some(new) = renamed::new_name(keys.heading, name.get_ref()) {
                report_renamed(report, table, name, new);
                continue;
            }
            let place = if keys.heading.is_empty() { "the top of the file" } else { keys.heading };
            let known = || keys.keys.iter().map(|key| key.name);
            let all = || format!("known here: {}", known().collect::<Vec<_>>().join(", "));
            let hint = did_you_mean(name.get_ref(), known()).unwrap_or_else(all);
            report.add(name.span(), format!("unknown key {:?} in {place}", name.get_ref()), hint);
        }
        for (key, hint) in keys.keys.iter().filter_map(|key| Some((key, key.required?))) {
            match table.get(key.name) {
                None => report.add(span.clone(), format!("{} is missing", key.name), hint),
                Some(value) if value.get_ref().as_array().is_some_and(|list| list.is_empty()) => {
                    report.add(value.span(), format!("{} is empty", key.name), hint);
                }
                Some(_) => {}
            }
        }
        Self { report, span, keys, table: Some(table) }
    }

    /// A table that the file does not have: every read returns the default, and problems point to `span`.
    pub(super) fn left_out(report: &'a Report<'a>, keys: &'static table::Section, span: Range<usize>) -> Self {
        Self { report, span, keys, table: None }
    }

    /// Whether the value of the key is `[]`.
    pub(super) fn is_empty_list(&self, name: &str) -> bool {
        self.value(name).and_then(|value| value.get_ref().as_array()).is_some_and(|list| list.is_empty())
    }

    /// Whether the key is in the file or has a default.
    pub(super) fn has_value(&self, name: &str) -> bool {
        self.has(name) || self.default(name).is_some()
    }

    /// Whether the key is in the file.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The place of the key's value; of the table, if the file lacks the key.
    pub(super) fn at(&self, name: &str) -> Range<usize> {
        self.value(name).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// Reports a required key that is missing.
    pub(super) fn missing(&self, name: &str, hint: &str) {
        if !self.has(name) {
            self.report.add(self.span.clone(), format!("{name} is missing"), hint);
        }
    }

    /// The declared keys.
    pub(super) fn declared(&self) -> &'static [Key] {
        self.keys.keys
    }

    /// The raw value of a key; `None`: the file lacks it.
    pub(super) fn written(&self, name: &str) -> Option<&'a DeValue<'a>> {
        self.value(name).map(Spanned::get_ref)
    }

    /// The raw entries of a key's list.
    pub(super) fn items(&self, name: &str) -> impl Iterator<Item = &'a DeValue<'a>> {
        let list = self.written(name).and_then(DeValue::as_array);
        list.into_iter().flat_map(|list| list.iter()).map(Spanned::get_ref)
    }

    /// Reads a string; `None`: missing without a default, or wrong.
    pub(super) fn text(&self, name: &str) -> Option<Text> {
        match self.value(name) {
            Some(value) => self.as_text(name, value),
            None => self.default(name).map(|word| self.default_text(word)),
        }
    }

    /// Reads a list of strings, or a single string if the declaration allows it.
    pub(super) fn texts(&self, name: &str) -> Vec<Text> {
        let lone = self.key(name).is_some_and(|key| matches!(key.kind, Kind::TextOrTexts));
        match self.value(name) {
            Some(value) if lone && value.get_ref().is_str() => self.as_text(name, value).into_iter().collect(),
            Some(value) => self.as_list(name, value).filter_map(|entry| self.as_text(name, entry)).collect(),
            None => self.default_words(name).map(|word| self.default_text(word)).collect(),
        }
    }

    /// Reads one of the words of a choice, and returns its meaning.
    pub(super) fn choice<T: Clone>(&self, name: &str, meanings: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let meaning = meanings.iter().find(|(word, _)| *word == text.value).map(|(_, meaning)| meaning.clone());
        if meaning.is_none() {
            let words = || meanings.iter().map(|(word, _)| *word);
            let all = || format!("one of {}", words().collect::<Vec<_>>().join(", "));
            let hint = did_you_mean(&text.written, words()).unwrap_or_else(all);
            self.report.add(text.span.clone(), format!("{name} can't be {text}"), hint);
        }
        meaning
    }

    /// Reads `true` or `false`.
    pub(super) fn flag(&self, name: &str) -> bool {
        let given = self.value(name).and_then(|value| {
            let flag = value.get_ref().as_bool();
            flag.or_else(|| self.wrong_kind(name, value))
        });
        given.unwrap_or_else(|| self.default(name) == Some("true"))
    }

    /// Reads an optional whole number.
    pub(super) fn count<N: TryFrom<u64>>(&self, name: &str) -> Option<Spanned<N>> {
        let count = match self.value(name) {
            Some(value) => self.as_count(name, value)?,
            None => Spanned::new(self.span.clone(), self.default(name)?.parse().ok()?),
        };
        let span = count.span();
        N::try_from(count.into_inner()).ok().map(|count| Spanned::new(span, count))
    }

    /// Reads a whole number that has a default, or a size in bytes.
    pub(super) fn number<N: TryFrom<u64> + Default>(&self, name: &str) -> N {
        if let Some(Kind::Size(..)) = self.key(name).map(|key| key.kind) {
            return N::try_from(self.size(name)).unwrap_or_default();
        }
        self.count(name).map(Spanned::into_inner).unwrap_or_default()
    }

    /// Reads a list of whole numbers.
    pub(super) fn counts(&self, name: &str) -> Vec<u64> {
        match self.value(name) {
            Some(value) => self
                .as_list(name, value)
                .filter_map(|entry| self.as_count(name, entry).map(Spanned::into_inner))
                .collect(),
            None => self.default_words(name).filter_map(|word| word.parse().ok()).collect(),
        }
    }

    /// Reads a number that may have decimals; `None`: missing without a default, or wrong.
    pub(super) fn decimal(&self, name: &str) -> Option<Spanned<f64>> {
        match self.value(name) {
            Some(value) => self.as_decimal(name, value).map(|number| Spanned::new(value.span(), number)),
            None => Some(Spanned::new(self.span.clone(), self.default(name)?.parse().ok()?)),
        }
    }

    /// Reads a percentage; `None`: missing without a default, or wrong.
    pub(super) fn share(&self, name: &str) -> Option<Spanned<Share>> {
        match self.value(name) {
            Some(value) => self.as_share(name, value),
            None => {
                let share = Share::from_percent(self.default(name)?.parse().ok()?)?;
                Some(Spanned::new(self.span.clone(), share))
            }
        }
    }

    /// Reads a list of percentages.
    pub(super) fn shares(&self, name: &str) -> Vec<Spanned<Share>> {
        let default = |word: &str| Share::from_percent(word.parse().ok()?);
        match self.value(name) {
            Some(value) => self.as_list(name, value).filter_map(|entry| self.as_share(name, entry)).collect(),
            None => {
                let shares = self.default_words(name).filter_map(default);
                shares.map(|share| Spanned::new(self.span.clone(), share)).collect()
            }
        }
    }

    /// Reads a duration.
    pub(super) fn duration(&self, name: &str) -> Duration {
        let Some(Kind::Duration(least, most)) = self.key(name).map(|key| key.kind) else { return Duration::ZERO };
        let given = self.value(name).and_then(|value| self.as_duration(name, value, least..=most));
        given.or_else(|| units::duration(self.default(name)?).ok()).unwrap_or(least)
    }

    /// Reads a table of durations by status code. The codes are returned as written.
    pub(super) fn durations(&self, name: &str) -> Vec<(Spanned<&'a str>, Duration)> {
        let Some(Kind::DurationByStatus(least, most)) = self.key(name).map(|key| key.kind) else { return Vec::new() };
        self.table(name)
            .filter_map(|(key, value)| self.as_duration(name, value, least..=most).map(|time| (key, time)))
            .collect()
    }

    /// Reads a size, in bytes.
    pub(super) fn size(&self, name: &str) -> u64 {
        let Some(Kind::Size(least, most)) = self.key(name).map(|key| key.kind) else { return 0 };
        let given = self.value(name).and_then(|value| {
            let size = self.with_unit(name, value, "KiB", units::size)?;
            let fine = (least..=most).contains(&size);
            if !fine {
                self.out_of_range(name, value.span(), units::size_text(least), units::size_text(most));
            }
            fine.then_some(size)
        });
        given.or_else(|| units::size(self.default(name)?).ok()).unwrap_or(least)
    }

    /// Reads a table of strings with arbitrary names: each name with its place, and its string.
    pub(super) fn pairs(&self, name: &str) -> Vec<(Spanned<&'a str>, Text)> {
        self.table(name).filter_map(|(key, value)| self.as_text(name, value).map(|text| (key, text))).collect()
    }

    /// Opens a table; an empty one if it is missing or wrong.
    pub(super) fn section(&self, name: &str) -> Self {
        let Some(Kind::Table(keys)) = self.key(name).map(|key| key.kind) else { return self.clone() };
        let written = self.value(name).and_then(|value| {
            let table = value.get_ref().as_table().or_else(|| self.wrong_kind(name, value))?;
            Some(Self::open(self.report, keys, table, value.span()))
        });
        written.unwrap_or_else(|| Self::left_out(self.report, keys, self.span.clone()))
    }

    /// Opens a list of tables. Tables beyond the limit are reported and ignored.
    pub(super) fn sections(&self, name: &str) -> Vec<Self> {
        let count = self.items(name).count();
        if count > TABLES_MAX {
            let hint = format!("at most {TABLES_MAX}");
            self.report.add(self.span.clone(), format!("there are {count} tables of {name}"), hint);
        }
        let only_sections = |entry| match entry {
            Entry::Section(section) => Some(section),
            Entry::Text(_) => None,
        };
        self.entries(name).into_iter().filter_map(only_sections).take(TABLES_MAX).collect()
    }

    /// Opens a list of tables, or of tables and strings if the declaration allows it.
    pub(super) fn entries(&self, name: &str) -> Vec<Entry<'a>> {
        let kind = self.key(name).map(|key| key.kind);
        let Some(Kind::Tables(keys) | Kind::TablesOrTexts(keys)) = kind else { return Vec::new() };
        let texts = matches!(kind, Some(Kind::TablesOrTexts(_)));
        let entry = |value: &'a Spanned<DeValue<'a>>| {
            if let Some(table) = value.get_ref().as_table() {
                Some(Entry::Section(Self::open(self.report, keys, table, value.span())))
            } else if texts && value.get_ref().is_str() {
                self.as_text(name, value).map(Entry::Text)
            } else {
                self.wrong_kind(name, value)
            }
        };
        self.value(name).into_iter().flat_map(|value| self.as_list(name, value)).filter_map(entry).collect()
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.key(name)
    }

    fn value(&self, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        let table = self.table?;
        let renamed = || table.get(renamed::old_name(self.keys.heading, name)?);
        table.get(name).or_else(renamed)
    }

    fn default(&self, name: &str) -> Option<&'static str> {
        self.key(name)?.default
    }

    fn default_words(&self, name: &str) -> impl Iterator<Item = &'static str> {
        self.default(name).into_iter().flat_map(str::split_whitespace)
    }

    fn default_text(&self, word: &str) -> Text {
        Text { value: word.to_owned(), written: word.to_owned(), span: self.span.clone() }
    }

    /// The names and values of a table that has no declaration.
    fn table(&self, name: &str) -> impl Iterator<Item = (Spanned<&'a str>, &'a Spanned<DeValue<'a>>)> {
        let table =
            self.value(name).and_then(|value| value.get_ref().as_table().or_else(|| self.wrong_kind(name, value)));
        let entries = table.into_iter().flat_map(|table| table.iter());
        entries.map(|(key, value)| (Spanned::new(key.span(), key.get_ref().as_ref()), value))
    }

    fn as_text(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<Text> {
        let Some(written) = value.get_ref().as_str() else { return self.wrong_kind(name, value) };
        match secrets::expand(written, |variable| std::env::var(variable).ok()) {
            Ok(text) => Some(Text { value: text, written: written.to_owned(), span: value.span() }),
            Err(error) => {
                let hint = "secrets are ${env:NAME} or ${file:/path}; $${ is a plain ${";
                self.report.add(value.span(), error.to_string(), hint);
                None
            }
        }
    }

    fn as_list(&self, name: &str, value: &'a Spanned<DeValue<'a>>) -> impl Iterator<Item = &'a Spanned<DeValue<'a>>> {
        let list: Option<&DeArray<'a>> = value.get_ref().as_array().or_else(|| self.wrong_kind(name, value));
        list.into_iter().flat_map(|list| list.iter())
    }

    fn as_count(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<Spanned<u64>> {
        let kind = self.key(name)?.kind;
        let (Kind::Count(least, most) | Kind::Counts(least, most)) = kind else { return None };
        let Some(integer) = value.get_ref().as_integer() else { return self.wrong_kind(name, value) };
        let count = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let fine = count.filter(|count| (least..=most).contains(count));
        if fine.is_none() {
            self.out_of_range(name, value.span(), least, most);
        }
        fine.map(|count| Spanned::new(value.span(), count))
    }

    fn as_decimal(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<f64> {
        let kind = self.key(name)?.kind;
        let (Kind::Decimal(least, most) | Kind::Percent(least, most) | Kind::Percents(least, most)) = kind else {
            return None;
        };
        let (integer, float) = (value.get_ref().as_integer(), value.get_ref().as_float());
        let number = match (integer, float) {
            // Exact: every bound is far below 2^53.
            (Some(integer), _) => {
                u64::from_str_radix(integer.as_str(), integer.radix()).ok().map(|number| number as f64)
            }
            (None, Some(float)) => float.as_str().parse().ok(),
            (None, None) => return self.wrong_kind(name, value),
        };
        let fine = number.filter(|number| (least..=most).contains(number));
        if fine.is_none() {
            self.out_of_range(name, value.span(), least, most);
        }
        fine
    }

    fn as_share(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<Spanned<Share>> {
        let share = Share::from_percent(self.as_decimal(name, value)?);
        if share.is_none() {
            let hint = "at most three decimals: 33.333";
            self.report.add(value.span(), format!("{name} is finer than a thousandth"), hint);
        }
        share.map(|share| Spanned::new(value.span(), share))
    }

    fn as_duration(
        &self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        bounds: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let time = self.with_unit(name, value, "s", units::duration)?;
        let fine = bounds.contains(&time);
        if !fine {
            let (least, most) = (units::duration_text(*bounds.start()), units::duration_text(*bounds.end()));
            self.out_of_range(name, value.span(), least, most);
        }
        fine.then_some(time)
    }

    /// Reads a duration or size: a string with a unit, or the number 0.
    fn with_unit<T>(
        &self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        unit: &str,
        read: impl Fn(&str) -> Result<T, units::UnitError>,
    ) -> Option<T> {
        if let Some(integer) = value.get_ref().as_integer() {
            let zero = read(integer.as_str()).ok();
            if zero.is_none() {
                let hint = format!("write it as \"{}{unit}\"", integer.as_str());
                self.report.add(value.span(), format!("{name} has no unit"), hint);
            }
            return zero;
        }
        let text = self.as_text(name, value)?;
        read(&text.value)
            .map_err(|error| {
                let hint = match unit {
                    "s" => "durations are a whole number and ms, s, m or h: \"250ms\", \"5s\"",
                    _ => "sizes are a whole number and B, KiB, MiB or GiB: \"64KiB\", \"10MiB\"",
                };
                self.report.add(text.span, format!("{name} {error}"), hint);
            })
            .ok()
    }

    fn out_of_range(&self, name: &str, span: Range<usize>, least: impl fmt::Display, most: impl fmt::Display) {
        self.report.add(span, format!("{name} is out of range"), format!("from {least} to {most}"));
    }

    fn wrong_kind<T>(&self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<T> {
        let kind = self.key(name)?.kind;
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let hint = match kind {
            Kind::Text | Kind::Choice(_) => format!("write {name} = \"…\""),
            Kind::Flag => format!("write {name} = true or {name} = false"),
            Kind::Count(..) => format!("write {name} = 5"),
            Kind::Duration(..) => format!("write {name} = \"5s\""),
            Kind::Size(..) => format!("write {name} = \"64KiB\""),
            Kind::Decimal(..) | Kind::Percent(..) => format!("write {name} = 2.5"),
            Kind::Texts | Kind::TextOrTexts => format!("write {name} = [\"…\", \"…\"]"),
            Kind::Counts(..) => format!("write {name} = [5, 6]"),
            Kind::Percents(..) => format!("write {name} = [1, 2.5, 100]"),
            Kind::Pairs => format!("write {name} = {{ name = \"value\" }}"),
            Kind::DurationByStatus(..) => format!("write {name} = {{ 404 = \"10s\" }}"),
            Kind::Table(section) | Kind::Tables(section) => format!("write {}", section.heading),
            Kind::TablesOrTexts(_) => format!("write {name} = [\"http://10.0.0.1:8080\", …]"),
        };
        self.report.add(value.span(), format!("{name} is {}, not {found}", kind.noun()), hint);
        None
    }
}
