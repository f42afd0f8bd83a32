//! A digest of each key of a configuration, to compare two of them. Values are not kept, because some are secrets.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use toml::de::DeValue;

use super::document::Section;
use super::keys::{Kind, Reload};
use super::secrets;

/// The digests of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The keys of tables that a file has once, by their full names: `server.workers`.
    pub(super) keys: BTreeMap<String, Setting>,
    /// The digest of each route, in the order of the file.
    pub(super) routes: Vec<u64>,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// When a change takes effect.
    pub(super) reload: Reload,
    /// The digest of its value, or of its default.
    pub(super) digest: u64,
}

impl Settings {
    /// The digests of a document without errors.
    pub(super) fn of(top: &Section<'_>) -> Self {
        let mut settings = Self { keys: BTreeMap::new(), routes: top.items("route").map(digest).collect() };
        settings.collect(top, "");
        settings
    }

    fn collect(&mut self, section: &Section<'_>, prefix: &str) {
        for key in section.declared() {
            let name = format!("{prefix}{}", key.name);
            let is_table = matches!(key.kind, Kind::Table(_));
            if is_table {
                self.collect(&section.section(key.name), &format!("{name}."));
            }
            let Some(reload) = key.reload else { continue };
            let written = section.written(key.name);
            // For a table only whether the file has it: its keys have their own digests.
            let digest = match is_table {
                true => u64::from(written.is_some()),
                false => written.map_or_else(|| of_default(key.kind, key.default), digest),
            };
            self.keys.insert(name, Setting { reload, digest });
        }
    }
}

/// The digest of a default: the same as if the file had this value.
fn of_default(kind: Kind, default: Option<&str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    let Some(default) = default else { return hasher.finish() };
    match kind {
        Kind::Texts | Kind::TextOrTexts | Kind::Counts(..) | Kind::Percents(..) => {
            let words = default.split_whitespace();
            words.clone().count().hash(&mut hasher);
            words.for_each(|word| word.hash(&mut hasher));
        }
        Kind::Text
        | Kind::Choice(_)
        | Kind::Flag
        | Kind::Count(..)
        | Kind::Duration(..)
        | Kind::Size(..)
        | Kind::Decimal(..)
        | Kind::Percent(..)
        | Kind::Pairs
        | Kind::DurationByStatus(..)
        | Kind::Table(_)
        | Kind::Tables(_)
        | Kind::TablesOrTexts(_) => default.hash(&mut hasher),
    }
    hasher.finish()
}

/// The digest of a value with `${…}` expanded. Its place in the file does not matter.
fn digest(value: &DeValue<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    hash_value(value, &mut hasher);
    hasher.finish()
}

fn hash_value(value: &DeValue<'_>, hasher: &mut DefaultHasher) {
    match value {
        DeValue::String(text) => match secrets::expand(text, |variable| std::env::var(variable).ok()) {
            Ok(text) => text.hash(hasher),
            Err(_) => text.hash(hasher),
        },
        DeValue::Integer(integer) => integer.as_str().hash(hasher),
        DeValue::Float(float) => float.as_str().hash(hasher),
        DeValue::Boolean(flag) => if *flag { "true" } else { "false" }.hash(hasher),
        DeValue::Datetime(time) => time.to_string().hash(hasher),
        DeValue::Array(list) => {
            list.len().hash(hasher);
            list.iter().for_each(|entry| hash_value(entry.get_ref(), hasher));
        }
        DeValue::Table(table) => {
            table.len().hash(hasher);
            for (name, value) in table.iter() {
                name.get_ref().hash(hasher);
                hash_value(value.get_ref(), hasher);
            }
        }
    }
}
