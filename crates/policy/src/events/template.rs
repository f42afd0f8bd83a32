//! Text templates that are filled from an event: `"user:{data.user_id}"`.
//!
//! Escaping depends on the use: tags take values unchanged, for URLs see `place`.

use std::borrow::Cow;

use super::errors::{BadEventTemplate, Unfit};
use super::event::{Event, JsonValue};

/// The longest tag that an event can name, in bytes; no stored response has a longer one.
pub const TAG_BYTES_MAX: usize = 1024;

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventTemplate {
    pieces: Vec<EventPiece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum EventPiece {
    Text(String),
    Field(DataPath),
}

/// The path of a value in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct DataPath {
    written: Box<str>,
    root: Root,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Root {
    Type,
    Subject,
    Data,
}

impl EventTemplate {
    /// Parses a template: text with paths in braces. `{{` and `}}` stand for literal braces.
    ///
    /// A path is `type`, `aggregate_id` or `subject` (synonyms), `data`, or a path into the data: `data.items.0.id`,
    /// member names and array indices from 0. A member whose name contains a dot or a brace cannot be addressed.
    ///
    /// # Errors
    /// [`BadEventTemplate`], reported with the configuration.
    pub fn parse(text: &str) -> Result<Self, BadEventTemplate> {
        Self::parse_within(text, TAG_BYTES_MAX)
    }

    /// Like [`Self::parse`], with another limit on the literal text.
    pub(super) fn parse_within(text: &str, bytes_max: usize) -> Result<Self, BadEventTemplate> {
        let template = Self { pieces: pieces(text)? };
        let fits = template.with_each_field_as("").len() <= bytes_max;
        fits.then_some(template).ok_or(BadEventTemplate::TooLong { bytes_max })
    }

    /// The text for an event, at most `bytes_max` bytes, with values unchanged.
    ///
    /// # Errors
    /// [`Unfit`] with the path that does not match.
    pub fn fill(&self, event: &Event, bytes_max: usize) -> Result<String, Unfit> {
        self.fill_escaped(event, bytes_max, |value, into| into.push_str(value))
    }

    /// Like [`Self::fill`], with each value written by `escape`, which never shortens it.
    pub(super) fn fill_escaped(
        &self,
        event: &Event,
        bytes_max: usize,
        escape: impl Fn(&str, &mut String),
    ) -> Result<String, Unfit> {
        let mut filled = String::new();
        let mut last: &str = "";
        for piece in &self.pieces {
            match piece {
                EventPiece::Text(text) => filled.push_str(text),
                EventPiece::Field(path) => {
                    let text = path.text(event)?;
                    last = &path.written;
                    // Checked before escaping, so that a huge value is not copied first.
                    if text.len() > bytes_max {
                        return Err(Unfit::TooLong { path: last.into(), bytes_max });
                    }
                    escape(&text, &mut filled);
                }
            }
            if filled.len() > bytes_max {
                return Err(Unfit::TooLong { path: last.into(), bytes_max });
            }
        }
        Ok(filled)
    }

    /// The literal text with `value` in place of every field.
    pub(super) fn with_each_field_as(&self, value: &str) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            text.push_str(match piece {
                EventPiece::Text(own) => own,
                EventPiece::Field(_) => value,
            });
        }
        text
    }
}

impl DataPath {
    fn parse(written: &str) -> Result<Self, BadEventTemplate> {
        let (first, rest) = written.split_once('.').map_or((written, None), |(first, rest)| (first, Some(rest)));
        let root = match (first, rest) {
            ("type", None) => Root::Type,
            ("aggregate_id" | "subject", None) => Root::Subject,
            ("data", _) => Root::Data,
            _ => return Err(BadEventTemplate::Unknown { path: written.into() }),
        };
        if written.split('.').any(str::is_empty) {
            return Err(BadEventTemplate::EmptyStep { path: written.into() });
        }
        Ok(Self { written: written.into(), root })
    }

    fn text<'e>(&self, event: &'e Event) -> Result<Cow<'e, str>, Unfit> {
        let path = || self.written.clone();
        let text = match self.root {
            Root::Type => event.kind.as_ref().into(),
            Root::Subject => event.subject.as_deref().ok_or_else(|| Unfit::Missing { path: path() })?.into(),
            Root::Data => {
                let value = event.data.at(self.written.split('.').skip(1));
                let value = value.ok_or_else(|| Unfit::Missing { path: path() })?;
                JsonValue::text(value).ok_or_else(|| Unfit::NoText { path: path() })?
            }
        };
        if text.is_empty() { Err(Unfit::Empty { path: path() }) } else { Ok(text) }
    }
}

/// Splits a text at its braces.
fn pieces(text: &str) -> Result<Vec<EventPiece>, BadEventTemplate> {
    let (mut pieces, mut plain) = (Vec::new(), String::new());
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let Some((before, brace)) = rest.split_at_checked(at) else { break };
        plain.push_str(before);
        if let Some((doubled, after)) = [("{{", '{'), ("}}", '}')]
            .into_iter()
            .find_map(|(doubled, plain)| brace.strip_prefix(doubled).map(|after| (plain, after)))
        {
            plain.push(doubled);
            rest = after;
            continue;
        }
        let inner = brace.strip_prefix('{').ok_or(BadEventTemplate::NotOpened)?;
        let (path, after) = inner.split_once('}').ok_or(BadEventTemplate::NotClosed)?;
        if path.contains('{') {
            return Err(BadEventTemplate::NotClosed);
        }
        if !plain.is_empty() {
            pieces.push(EventPiece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(EventPiece::Field(DataPath::parse(path)?));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(EventPiece::Text(plain));
    }
    if pieces.is_empty() { Err(BadEventTemplate::Empty) } else { Ok(pieces) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(data: JsonValue) -> Event {
        Event { kind: "T".into(), subject: Some("s".into()), data }
    }

    fn filled(template: &str, data: JsonValue) -> Result<String, Unfit> {
        EventTemplate::parse(template).unwrap().fill(&event(data), TAG_BYTES_MAX)
    }

    #[test]
    fn braces_hold_paths_and_doubled_braces_are_plain() {
        let data = || {
            JsonValue::table([
                ("x", JsonValue::table([("y", JsonValue::Text("é{}".into()))])),
                ("n", JsonValue::Whole(3)),
            ])
        };
        for (template, expected) in [
            ("plain", "plain"),
            ("{type}:{aggregate_id}:{subject}", "T:s:s"),
            ("a{data.x.y}b{data.n}", "aé{}b3"),
            ("{{{data.n}}}", "{3}"),
            ("{{data.n}}", "{data.n}"),
            ("}}{{", "}{"),
        ] {
            assert_eq!(filled(template, data()).as_deref(), Ok(expected), "{template}");
        }
        assert_eq!(filled("{data}", JsonValue::Flag(false)).as_deref(), Ok("false"));
    }

    #[test]
    fn what_is_no_template_is_told() {
        for (text, expected) in [
            ("", "is empty"),
            ("a{data.x", "has an open brace; {{ stands for a plain one"),
            ("a{da{ta}", "has an open brace; {{ stands for a plain one"),
            ("a}b", "has a closing brace alone; }} stands for a plain one"),
            ("{}", "names \"\"; known are type, aggregate_id, subject and data.…"),
            ("{user}", "names \"user\"; known are type, aggregate_id, subject and data.…"),
            ("{type.x}", "names \"type.x\"; known are type, aggregate_id, subject and data.…"),
            ("{data.}", "names \"data.\", which has an empty step"),
            ("{data..x}", "names \"data..x\", which has an empty step"),
        ] {
            assert_eq!(EventTemplate::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        assert_eq!(EventTemplate::parse(&"x".repeat(1025)), Err(BadEventTemplate::TooLong { bytes_max: 1024 }));
        assert!(EventTemplate::parse(&"x".repeat(1024)).is_ok());
    }

    #[test]
    fn an_event_that_does_not_fit_is_told_where() {
        for (data, expected) in [
            (JsonValue::Null, "data.x is missing"),
            (JsonValue::table([("x", JsonValue::Null)]), "data.x is no text, whole number, true or false"),
            (JsonValue::table([("x", JsonValue::Fraction)]), "data.x is no text, whole number, true or false"),
            (JsonValue::table([("x", JsonValue::List(Vec::new()))]), "data.x is no text, whole number, true or false"),
            (JsonValue::table([("x", JsonValue::Text(String::new()))]), "data.x is empty"),
            (JsonValue::table([("x", JsonValue::Text("x".repeat(1024)))]), "data.x makes more than 1024 bytes"),
            (JsonValue::table([("x", JsonValue::Text("x".repeat(9999)))]), "data.x makes more than 1024 bytes"),
        ] {
            assert_eq!(filled("t:{data.x}", data).unwrap_err().to_string(), expected);
        }
        let nobody = Event { kind: "T".into(), subject: None, data: JsonValue::Null };
        let unfit = EventTemplate::parse("{subject}").unwrap().fill(&nobody, 10).unwrap_err();
        assert_eq!(unfit, Unfit::Missing { path: "subject".into() });
    }

    proptest! {
        #[test]
        fn any_text_is_a_template_once_its_braces_are_doubled(text in ".{1,40}") {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(filled(&doubled, JsonValue::Null), Ok(text));
        }

        #[test]
        fn no_text_panics(text in "[a-z.{}é]{0,20}", value in ".{0,20}") {
            if let Ok(template) = EventTemplate::parse(&text) {
                let _ = template.fill(&event(JsonValue::Text(value)), 16);
            }
        }

        #[test]
        fn a_value_is_taken_as_it_is(value in ".{1,60}") {
            prop_assert_eq!(filled("<{data}>", JsonValue::Text(value.clone())), Ok(format!("<{value}>")));
        }
    }
}
