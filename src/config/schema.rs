//! Generates the JSON Schema (2020-12) of the configuration file, which `forebay config schema` prints.
//!
//! It has the declarations of `keys`. The ranges of durations and sizes are in the descriptions, because a pattern
//! can't express them. Rules that concern several keys are left to `forebay check`.

use serde_json::{Map, Value, json};

use super::keys::TOP;
use super::reference;
use super::table::{Key, Kind, Reload, Section};
use super::units;

/// Matches strings with `${env:NAME}` or `${file:/path}`, whose value the schema can't know.
const REFERENCE: &str = r"\$\{";

/// The schema, as JSON text.
#[must_use]
pub(crate) fn schema() -> String {
    let inner = reference::sections().into_iter().filter(|section| !section.heading.is_empty());
    let tables: Map<String, Value> = inner.map(|section| (name(section), table(section))).collect();
    let head = [
        ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
        ("title", json!("forebay's config.toml")),
        ("$defs", Value::Object(tables)),
    ];
    format!("{:#}\n", with(table(&TOP), head))
}

/// Adds members to an object.
fn with(mut object: Value, more: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    if let Value::Object(members) = &mut object {
        members.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    object
}

/// The name of a table's definition: `route.cache` for `[route.cache]`, `retry` for `retry = { … }`.
fn name(section: &Section) -> String {
    let heading = section.heading.split_once(" = ").map_or(section.heading, |(key, _)| key);
    heading.trim_matches(['[', ']']).to_owned()
}

fn table(section: &Section) -> Value {
    let properties: Map<String, Value> = section.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required = section.keys.iter().filter(|key| key.required.is_some()).map(|key| key.name);
    json!({
        "description": section.text.trim(),
        "type": "object",
        "properties": properties,
        "required": required.collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let waits = if key.reload == Some(Reload::NextStart) { " A change takes effect at the next start." } else { "" };
    let text = format!("{} Holds {}.{waits}", key.text.trim(), reference::holds(key.kind));
    let default = key.default.and_then(|bare| default(key.kind, bare)).map(|default| ("default", default));
    with(value(key.kind), [("description", json!(text))].into_iter().chain(default))
}

/// The schema of a value.
fn value(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Choice(words) => json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": REFERENCE }] }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Duration(least, _) => with_unit(&units::DURATIONS, least.is_zero()),
        Kind::Size(least, _) => with_unit(&units::SIZES, least == 0),
        Kind::Decimal(least, most) | Kind::Percent(least, most) => {
            json!({ "type": "number", "minimum": least, "maximum": most })
        }
        Kind::Texts => list(&value(Kind::Text)),
        Kind::TextOrTexts => json!({ "anyOf": [value(Kind::Text), value(Kind::Texts)] }),
        Kind::Counts(least, most) => list(&value(Kind::Count(least, most))),
        Kind::Percents(least, most) => list(&value(Kind::Percent(least, most))),
        Kind::Pairs => json!({ "type": "object", "additionalProperties": value(Kind::Text) }),
        Kind::DurationByStatus(least, most) => json!({
            "type": "object",
            "patternProperties": { "^[2-5][0-9][0-9]$": value(Kind::Duration(least, most)) },
            "additionalProperties": false,
        }),
        Kind::Table(inner) => json!({ "$ref": format!("#/$defs/{}", name(inner)) }),
        Kind::Tables(inner) => list(&value(Kind::Table(inner))),
        Kind::TablesOrTexts(inner) => list(&json!({ "anyOf": [value(Kind::Text), value(Kind::Table(inner))] })),
    }
}

fn list(item: &Value) -> Value {
    json!({ "type": "array", "items": item })
}

/// The schema of a whole number with a unit, or with `takes_zero` the number 0.
fn with_unit(units: &[(&str, u64)], takes_zero: bool) -> Value {
    let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    let pattern = format!("^[0-9]+({})$|{REFERENCE}", names.join("|"));
    let text = json!({ "type": "string", "pattern": pattern });
    if takes_zero { json!({ "anyOf": [text, { "enum": [0, "0"] }] }) } else { text }
}

/// A default as JSON; `None`: keys of this kind have no default.
fn default(kind: Kind, bare: &str) -> Option<Value> {
    let number = |word: &str| serde_json::from_str::<Value>(word).ok();
    match kind {
        Kind::Text | Kind::Choice(_) | Kind::Duration(..) | Kind::Size(..) => Some(json!(bare)),
        Kind::Flag | Kind::Count(..) | Kind::Decimal(..) | Kind::Percent(..) => number(bare),
        Kind::Texts | Kind::TextOrTexts => Some(bare.split_whitespace().collect()),
        Kind::Counts(..) | Kind::Percents(..) => bare.split_whitespace().map(number).collect(),
        Kind::Pairs | Kind::DurationByStatus(..) | Kind::Table(_) | Kind::Tables(_) | Kind::TablesOrTexts(_) => None,
    }
}
