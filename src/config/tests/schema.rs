//! Tests of the JSON Schema: its content, and that it accepts the files that the proxy accepts.

use serde_json::Value;

use super::{EXAMPLE, LISTEN, example_in_full};
use crate::config::schema::schema;

fn parsed() -> Value {
    serde_json::from_str(&schema()).unwrap()
}

/// Why a value does not match a schema, for the keywords that this schema uses.
fn mismatch(schema: &Value, value: &Value, root: &Value) -> Option<String> {
    let wrong = |what: &str| Some(format!("{value} is not {what} of {schema}"));
    for (keyword, rule) in schema.as_object().unwrap() {
        let found = match keyword.as_str() {
            "$ref" => {
                let inner = &root["$defs"][rule.as_str().unwrap().strip_prefix("#/$defs/").unwrap()];
                assert!(inner.is_object(), "{rule} leads nowhere");
                mismatch(inner, value, root)
            }
            "type" => {
                let is_right = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_u64(),
                    "number" => value.is_number(),
                    other => panic!("{other}"),
                };
                if is_right { None } else { wrong("the type") }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => wrong("a word"),
            "minimum" if value.as_f64() < rule.as_f64() => wrong("above the minimum"),
            "maximum" if value.as_f64() > rule.as_f64() => wrong("below the maximum"),
            "pattern" => {
                let pattern = regex::Regex::new(rule.as_str().unwrap()).unwrap();
                if value.as_str().is_none_or(|text| pattern.is_match(text)) { None } else { wrong("the pattern") }
            }
            "anyOf" => {
                let mut each = rule.as_array().unwrap().iter().map(|one| mismatch(one, value, root));
                if each.any(|mismatch| mismatch.is_none()) { None } else { wrong("any") }
            }
            "items" => value.as_array().into_iter().flatten().find_map(|item| mismatch(rule, item, root)),
            "required" => {
                let mut keys = rule.as_array().unwrap().iter().map(|key| key.as_str().unwrap());
                keys.find(|key| value.get(key).is_none()).map(|key| format!("{key} is missing in {value}"))
            }
            "additionalProperties" => value.as_object().into_iter().flatten().find_map(|(key, value)| {
                let named = schema.get("properties").and_then(|properties| properties.get(key));
                match named.or_else(|| by_pattern(schema, key)).or(Some(rule).filter(|rule| rule.is_object())) {
                    Some(inner) => mismatch(inner, value, root),
                    None => Some(format!("{key} is unknown")),
                }
            }),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn by_pattern<'a>(schema: &'a Value, key: &str) -> Option<&'a Value> {
    let mut patterns = schema.get("patternProperties")?.as_object()?.iter();
    patterns.find(|(pattern, _)| regex::Regex::new(pattern).unwrap().is_match(key)).map(|(_, inner)| inner)
}

fn refusal(text: &str) -> Option<String> {
    let schema = parsed();
    mismatch(&schema, &toml::from_str(text).unwrap(), &schema)
}

#[test]
fn the_shipped_file_fits_with_every_key_switched_on_too() {
    assert_eq!(refusal(EXAMPLE), None);
    assert_eq!(refusal(&example_in_full()), None);
}

#[test]
fn what_is_wrong_in_shape_does_not_fit() {
    for (lines, words) in [
        ("[server]\nheader_timout = \"1s\"", "header_timout is unknown"),
        ("[server]\nheader_timeout = 10", "the type"),
        ("[server]\nheader_timeout = \"10\"", "the pattern"),
        ("[server]\nworkers = 0", "above the minimum"),
        ("[server]\nhalf_close = \"abrot\"", "any"),
        ("[server]\nbody_bytes_max = 1", "any"),
        ("[[upstream]]\nname = \"a\"", "backends is missing"),
        ("[[upstream]]\nname = \"a\"\nbackends = [5]", "any"),
        ("[[route]]\nhost = 5", "any"),
        ("[route]\n", "the type"),
    ] {
        let found = refusal(&format!("{LISTEN}{lines}"));
        assert!(found.as_ref().is_some_and(|found| found.contains(words)), "{lines}: {found:?}");
    }
    let fine = "[server]\nbody_bytes_max = 0\nhalf_close = \"${env:HALF}\"\ndrain_delay = \"${env:DELAY}\"";
    assert_eq!(refusal(&format!("{LISTEN}{fine}")), None);
}

#[test]
fn every_default_fits_its_own_key() {
    let schema = parsed();
    let tables = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for (key, property) in tables.flat_map(|table| table["properties"].as_object().unwrap()) {
        if let Some(default) = property.get("default") {
            assert_eq!(mismatch(property, default, &schema), None, "{key}");
        }
        assert!(property["description"].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
}
