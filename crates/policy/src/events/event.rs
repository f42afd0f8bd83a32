//! An event: its type, its subject, and its data.
//!
//! Decodes the plain form `{ "type", "aggregate_id", "data" }` and CloudEvents 1.0 (structured mode as JSON, binary
//! mode). The caller parses the JSON text.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The supported version of CloudEvents.
const SPEC_VERSION: &str = "1.0";

/// A JSON value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum JsonValue {
    /// `null`, or absent.
    #[default]
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// An integer.
    Whole(i128),
    /// A number with a fraction, or too large. Its text is ambiguous, so templates cannot use it.
    Fraction,
    /// A string.
    Text(String),
    /// An array.
    List(Vec<JsonValue>),
    /// An object.
    Table(BTreeMap<String, JsonValue>),
}

impl JsonValue {
    /// An object with these members.
    #[must_use]
    pub fn table<'a>(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Table(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The value at a path of member names and array indices (from 0).
    #[must_use]
    pub fn at<'s>(&self, steps: impl IntoIterator<Item = &'s str>) -> Option<&Self> {
        steps.into_iter().try_fold(self, |value, step| match value {
            Self::Table(members) => members.get(step),
            Self::List(entries) => step.parse::<usize>().ok().and_then(|place| entries.get(place)),
            Self::Null | Self::Flag(_) | Self::Whole(_) | Self::Fraction | Self::Text(_) => None,
        })
    }

    /// The text of a value that has an unambiguous one: a string, an integer, `true`, `false`.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Whole(number) => Some(Cow::Owned(number.to_string())),
            Self::Flag(true) => Some(Cow::Borrowed("true")),
            Self::Flag(false) => Some(Cow::Borrowed("false")),
            Self::Null | Self::Fraction | Self::List(_) | Self::Table(_) => None,
        }
    }

    /// Removes a member from an object; a `null` member counts as absent.
    fn take(&mut self, name: &str) -> Option<Self> {
        match self {
            Self::Table(members) => members.remove(name).filter(|value| *value != Self::Null),
            Self::Null | Self::Flag(_) | Self::Whole(_) | Self::Fraction | Self::Text(_) | Self::List(_) => None,
        }
    }
}

/// An event from another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its type: `OrderCreated`. Never empty.
    pub kind: Box<str>,
    /// The subject: `aggregate_id`, or `subject` in CloudEvents.
    pub subject: Option<Box<str>>,
    /// Further data.
    pub data: JsonValue,
}

/// Why an event cannot be decoded (422).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEvent {
    /// The JSON is an array or a scalar.
    #[error("an event is one JSON object")]
    NotAnObject,
    /// `type` is missing, empty, or not a string.
    #[error("type is missing, empty or no string")]
    NoType,
    /// `aggregate_id` or `subject` has no unambiguous text.
    #[error("{0} is no text or whole number")]
    NoSubject(&'static str),
    /// The version of CloudEvents is missing where required, or not supported.
    #[error("specversion is not \"1.0\"")]
    Version,
    /// `data_base64` is not supported, because it is not JSON.
    #[error("data_base64 is not read: send data as JSON")]
    Base64,
    /// A header of the binary mode cannot be decoded.
    #[error("{0} is not percent-encoded UTF-8")]
    Encoding(&'static str),
}

impl Event {
    /// Decodes an object: as the structured mode of CloudEvents if it has a `specversion`, else as the plain form.
    /// Unknown members are ignored.
    ///
    /// # Errors
    /// [`NoEvent`] → 422.
    pub fn of_object(object: JsonValue) -> Result<Self, NoEvent> {
        if object.at(["specversion"]).is_some() { Self::structured(object) } else { Self::plain(object) }
    }

    /// Decodes `{ "type", "aggregate_id", "data" }`; `subject` replaces a missing `aggregate_id`.
    fn plain(mut object: JsonValue) -> Result<Self, NoEvent> {
        let kind = kind(&mut object)?;
        let subject = match subject(&mut object, "aggregate_id")? {
            Some(subject) => Some(subject),
            None => subject(&mut object, "subject")?,
        };
        Ok(Self { kind, subject, data: object.take("data").unwrap_or_default() })
    }

    /// Decodes an event in the structured mode of CloudEvents. `id` and `source` are not required, because they are not
    /// used.
    ///
    /// Source: CloudEvents 1.0.2, JSON event format, §3.
    ///
    /// # Errors
    /// [`NoEvent`] → 422.
    pub fn structured(mut object: JsonValue) -> Result<Self, NoEvent> {
        if !matches!(object, JsonValue::Table(_)) {
            return Err(NoEvent::NotAnObject);
        }
        if object.take("specversion") != Some(JsonValue::Text(SPEC_VERSION.to_owned())) {
            return Err(NoEvent::Version);
        }
        if object.take("data_base64").is_some() {
            return Err(NoEvent::Base64);
        }
        let (kind, subject) = (kind(&mut object)?, subject(&mut object, "subject")?);
        Ok(Self { kind, subject, data: object.take("data").unwrap_or_default() })
    }

    /// Builds an event in the binary mode of CloudEvents from the values of `ce-specversion`, `ce-type` and
    /// `ce-subject`, and the body.
    ///
    /// Source: CloudEvents 1.0.2, HTTP protocol binding, §3.1.
    ///
    /// # Errors
    /// [`NoEvent`] → 422.
    pub fn binary(version: &[u8], kind: &[u8], subject: Option<&[u8]>, data: JsonValue) -> Result<Self, NoEvent> {
        if version != SPEC_VERSION.as_bytes() {
            return Err(NoEvent::Version);
        }
        let kind = decoded(kind).ok_or(NoEvent::Encoding("ce-type"))?;
        if kind.is_empty() {
            return Err(NoEvent::NoType);
        }
        let subject = match subject {
            Some(subject) => Some(decoded(subject).ok_or(NoEvent::Encoding("ce-subject"))?),
            None => None,
        };
        Ok(Self { kind, subject, data })
    }
}

fn kind(object: &mut JsonValue) -> Result<Box<str>, NoEvent> {
    if !matches!(object, JsonValue::Table(_)) {
        return Err(NoEvent::NotAnObject);
    }
    match object.take("type") {
        Some(JsonValue::Text(kind)) if !kind.is_empty() => Ok(kind.into()),
        Some(_) | None => Err(NoEvent::NoType),
    }
}

fn subject(object: &mut JsonValue, name: &'static str) -> Result<Option<Box<str>>, NoEvent> {
    let Some(value) = object.take(name) else { return Ok(None) };
    value.text().map(|text| Some(text.into())).ok_or(NoEvent::NoSubject(name))
}

/// A header value with its percent-encoding removed.
fn decoded(value: &[u8]) -> Option<Box<str>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut text = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        text.push(if byte == b'%' { digit(bytes.next()?)? << 4 | digit(bytes.next()?)? } else { byte });
    }
    String::from_utf8(text).ok().map(String::into_boxed_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> JsonValue {
        JsonValue::Text(text.to_owned())
    }

    #[test]
    fn the_plain_form_is_read() {
        let data = JsonValue::table([("x", JsonValue::Whole(1))]);
        for (name, id) in [("aggregate_id", text("7")), ("aggregate_id", JsonValue::Whole(7)), ("subject", text("7"))] {
            let object =
                JsonValue::table([("type", text("T")), (name, id), ("data", data.clone()), ("more", JsonValue::Null)]);
            let expected = Event { kind: "T".into(), subject: Some("7".into()), data: data.clone() };
            assert_eq!(Event::of_object(object), Ok(expected));
        }
        let bare = Event { kind: "T".into(), subject: None, data: JsonValue::Null };
        assert_eq!(Event::of_object(JsonValue::table([("type", text("T"))])), Ok(bare));
    }

    #[test]
    fn structured_cloud_events_are_read() {
        let object = JsonValue::table([
            ("specversion", text("1.0")),
            ("type", text("com.example.order")),
            ("source", text("/orders")),
            ("id", text("1")),
            ("subject", text("o-1")),
            ("data", JsonValue::List(vec![JsonValue::Flag(true)])),
        ]);
        let event = Event::of_object(object).unwrap();
        assert_eq!((&*event.kind, event.subject.as_deref()), ("com.example.order", Some("o-1")));
        assert_eq!(event.data, JsonValue::List(vec![JsonValue::Flag(true)]));
    }

    #[test]
    fn binary_cloud_events_are_read_with_their_escapes() {
        let event = Event::binary(b"1.0", b"Gr%C3%b6%25", Some(b"a%20b"), JsonValue::Null).unwrap();
        assert_eq!((&*event.kind, event.subject.as_deref()), ("Grö%", Some("a b")));
        for (version, kind, subject, expected) in [
            (&b"0.3"[..], &b"T"[..], None, NoEvent::Version),
            (b"1.0", b"", None, NoEvent::NoType),
            (b"1.0", b"%C3", None, NoEvent::Encoding("ce-type")),
            (b"1.0", b"%4", None, NoEvent::Encoding("ce-type")),
            (b"1.0", b"T", Some(&b"%zz"[..]), NoEvent::Encoding("ce-subject")),
        ] {
            assert_eq!(Event::binary(version, kind, subject, JsonValue::Null), Err(expected));
        }
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let cloud = |members: &[(&'static str, JsonValue)]| {
            JsonValue::table([("specversion", text("1.0"))].into_iter().chain(members.iter().cloned()))
        };
        for (object, expected) in [
            (JsonValue::List(Vec::new()), NoEvent::NotAnObject),
            (text("T"), NoEvent::NotAnObject),
            (JsonValue::table([]), NoEvent::NoType),
            (JsonValue::table([("type", text(""))]), NoEvent::NoType),
            (JsonValue::table([("type", JsonValue::Whole(1))]), NoEvent::NoType),
            (
                JsonValue::table([("type", text("T")), ("aggregate_id", JsonValue::Fraction)]),
                NoEvent::NoSubject("aggregate_id"),
            ),
            (JsonValue::table([("type", text("T")), ("specversion", text("0.3"))]), NoEvent::Version),
            (cloud(&[]), NoEvent::NoType),
            (cloud(&[("type", text("T")), ("data_base64", text("eA=="))]), NoEvent::Base64),
        ] {
            assert_eq!(Event::of_object(object), Err(expected));
        }
        assert_eq!(Event::structured(JsonValue::table([("type", text("T"))])), Err(NoEvent::Version));
    }

    #[test]
    fn a_path_leads_through_objects_and_arrays() {
        let items = JsonValue::List(vec![JsonValue::table([("id", JsonValue::Whole(-5))])]);
        let data = JsonValue::table([("items", items), ("0", text("zero"))]);
        for (steps, expected) in [
            (&["items", "0", "id"][..], Some("-5")),
            (&["0"], Some("zero")),
            (&["items", "1", "id"], None),
            (&["items", "-1"], None),
            (&["items", "x"], None),
            (&["items"], None),
            (&["0", "0"], None),
        ] {
            assert_eq!(data.at(steps.iter().copied()).and_then(JsonValue::text).as_deref(), expected, "{steps:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_value_panics(value in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = Event::binary(b"1.0", &value, Some(&value), JsonValue::Null);
        }
    }
}
