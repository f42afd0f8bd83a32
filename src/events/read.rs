//! Parses the event of an HTTP request: the plain form, or CloudEvents 1.0 in structured or binary mode.
//!
//! `Content-Type` and the `ce-` fields select one of the three; `policy::events` says what each must contain.

use http::StatusCode;
use message::Fields;
use policy::events::{Event, JsonValue, NoEvent};

/// The longest body of an event, in bytes.
pub(crate) const EVENT_BYTES_MAX: usize = 1 << 20;

/// The media type of CloudEvents' structured mode.
const STRUCTURED: &str = "application/cloudevents+json";
/// The field that marks CloudEvents' binary mode (HTTP protocol binding §3.1.1).
const VERSION: &str = "ce-specversion";

/// Why a request can't be parsed as an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// The body is longer than [`EVENT_BYTES_MAX`].
    #[error("an event has at most {EVENT_BYTES_MAX} bytes")]
    TooLong,
    /// `Content-Type` is not JSON, or is a batch of events.
    #[error("an event is application/json or application/cloudevents+json, and no batch")]
    MediaType,
    /// A `ce-` field or `Content-Type` occurs twice.
    #[error("{0} stands twice")]
    Twice(&'static str),
    /// The body is not JSON, or nested too deeply.
    #[error("no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The JSON lacks what an event must have.
    #[error(transparent)]
    Event(#[from] NoEvent),
}

impl Unreadable {
    /// The status of the response to the sender (RFC 9110 §15.5).
    #[must_use]
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Twice(_) | Self::Json(_) => StatusCode::BAD_REQUEST,
            Self::Event(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }
}

/// Parses the event of a request with these fields and this body.
///
/// `Content-Type` must be JSON, so that no web page can send an event: a form can't set that type, and a script needs
/// a CORS preflight, which the admin listener never grants.
///
/// # Errors
/// [`Unreadable`], with the status to answer.
pub(crate) fn read(fields: &Fields, body: &[u8]) -> Result<Event, Unreadable> {
    if body.len() > EVENT_BYTES_MAX {
        return Err(Unreadable::TooLong);
    }
    let media_type = media_type(fields)?;
    if media_type == STRUCTURED {
        return Ok(Event::structured(value(serde_json::from_slice(body)?))?);
    }
    let is_json = media_type == "application/json"
        || (media_type.ends_with("+json") && !media_type.starts_with("application/cloudevents"));
    let Some(version) = field(fields, VERSION)? else {
        let is_plain = media_type == "application/json";
        return if is_plain {
            Ok(Event::of_object(value(serde_json::from_slice(body)?))?)
        } else {
            Err(Unreadable::MediaType)
        };
    };
    let is_bare = media_type.is_empty() && body.is_empty();
    if !(is_json || is_bare) {
        return Err(Unreadable::MediaType);
    }
    let data = if body.is_empty() { JsonValue::Null } else { value(serde_json::from_slice(body)?) };
    let kind = field(fields, "ce-type")?.unwrap_or_default();
    let subject = field(fields, "ce-subject")?;
    Ok(Event::binary(version, kind, subject, data)?)
}

/// The media type without its parameters, in lower case; empty without `Content-Type`.
fn media_type(fields: &Fields) -> Result<String, Unreadable> {
    let line = std::str::from_utf8(field(fields, "content-type")?.unwrap_or_default());
    let line = line.ok().filter(|line| line.is_ascii()).ok_or(Unreadable::MediaType)?;
    Ok(line.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// The value of a field that may occur once; `None`: the request lacks it.
fn field<'a>(fields: &'a Fields, name: &'static str) -> Result<Option<&'a [u8]>, Unreadable> {
    let mut lines = fields.values(name);
    let first = lines.next();
    if lines.next().is_some() { Err(Unreadable::Twice(name)) } else { Ok(first) }
}

/// Converts JSON to the value type of `policy`. The recursion is bounded, because the parser limits the depth.
fn value(json: serde_json::Value) -> JsonValue {
    match json {
        serde_json::Value::Null => JsonValue::Null,
        serde_json::Value::Bool(flag) => JsonValue::Flag(flag),
        serde_json::Value::Number(number) => number.as_i128().map_or(JsonValue::Fraction, JsonValue::Whole),
        serde_json::Value::String(text) => JsonValue::Text(text),
        serde_json::Value::Array(entries) => JsonValue::List(entries.into_iter().map(value).collect()),
        serde_json::Value::Object(members) => {
            JsonValue::Table(members.into_iter().map(|(name, member)| (name, value(member))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> Fields {
        lines.iter().copied().collect()
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    fn refused(lines: &[(&'static str, &'static str)], body: &[u8]) -> u16 {
        read(&fields(lines), body).unwrap_err().status().as_u16()
    }

    #[test]
    fn the_plain_form_is_read() {
        let body =
            br#"{"type":"OrderCreated","aggregate_id":"o-1","data":{"user":7,"total":1.5,"big":18446744073709551615}}"#;
        let event = read(&fields(&[JSON]), body).unwrap();
        assert_eq!((&*event.kind, event.subject.as_deref()), ("OrderCreated", Some("o-1")));
        assert_eq!(event.data.at(["user"]), Some(&JsonValue::Whole(7)));
        assert_eq!(event.data.at(["total"]), Some(&JsonValue::Fraction));
        assert_eq!(event.data.at(["big"]), Some(&JsonValue::Whole(i128::from(u64::MAX))));
    }

    #[test]
    fn structured_cloud_events_are_read_under_either_type() {
        let body = br#"{"specversion":"1.0","type":"T","source":"/s","id":"1","subject":"o","data":[true]}"#;
        for media_type in ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=utf-8", JSON.1] {
            let event = read(&fields(&[("content-type", media_type)]), body).unwrap();
            assert_eq!((&*event.kind, event.data.at(["0"])), ("T", Some(&JsonValue::Flag(true))));
        }
        assert_eq!(refused(&[("content-type", STRUCTURED)], br#"{"type":"T"}"#), 422);
        assert_eq!(refused(&[JSON], br#"{"specversion":"1.0","type":"T","data_base64":"eA=="}"#), 422);
    }

    #[test]
    fn binary_cloud_events_are_read() {
        let lines = [("ce-specversion", "1.0"), ("ce-type", "T"), ("ce-subject", "a%20b"), JSON];
        let event = read(&fields(&lines), br#"{"x":"y"}"#).unwrap();
        assert_eq!((&*event.kind, event.subject.as_deref()), ("T", Some("a b")));
        assert_eq!(event.data.at(["x"]), Some(&JsonValue::Text("y".to_owned())));
        assert_eq!(read(&fields(&lines[..3]), b"").unwrap().data, JsonValue::Null);
        assert_eq!(refused(&lines[..3], b"{}"), 415);
        assert_eq!(refused(&[("ce-specversion", "1.0"), JSON], b"{}"), 422);
        assert_eq!(refused(&[("ce-specversion", "0.3"), ("ce-type", "T"), JSON], b"{}"), 422);
        assert_eq!(refused(&[("ce-specversion", "1.0"), ("ce-type", "T"), ("ce-type", "U"), JSON], b"{}"), 400);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for (lines, body, status) in [
            (&[][..], &br#"{"type":"T"}"#[..], 415),
            (&[("content-type", "text/plain")], br#"{"type":"T"}"#, 415),
            (&[("content-type", "application/problem+json")], br#"{"type":"T"}"#, 415),
            (&[("content-type", "application/cloudevents-batch+json")], b"[]", 415),
            (&[("ce-specversion", "1.0"), ("content-type", "application/cloudevents-batch+json")], b"[]", 415),
            (&[JSON, JSON], br#"{"type":"T"}"#, 400),
            (&[JSON], b"", 400),
            (&[JSON], b"{", 400),
            (&[JSON], br#"{"type":"T"} x"#, 400),
            (&[JSON], b"\"\xff\"", 400),
            (&[JSON], b"[]", 422),
            (&[JSON], b"{}", 422),
        ] {
            assert_eq!(refused(lines, body), status, "{lines:?} {body:?}");
        }
        assert_eq!(refused(&[JSON], "[".repeat(100_000).as_bytes()), 400);
        assert_eq!(refused(&[JSON], &vec![b' '; EVENT_BYTES_MAX + 1]), 413);
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", "\"type\"", "\"T\"", ":", ",", "1", "-1e999", "null", "\"data\"", "\"\\ud800\"", " ",
        ]), 0..30)) {
            let _ = read(&fields(&[JSON]), body.concat().as_bytes());
        }
    }
}
