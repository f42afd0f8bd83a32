//! What gRPC puts into HTTP/2: which requests are calls, how long they may take, how they end.
//!
//! Source: the gRPC project's `PROTOCOL-HTTP2.md`, `http-grpc-status-mapping.md` and `statuscodes.md`.

use std::fmt::Write as _;
use std::time::Duration;

use http::{Method, StatusCode};
use message::{Fields, Known};

/// The field that says how a call has ended: in the head of a response without content, else in its trailers.
pub const STATUS: &str = "grpc-status";
/// The field that says why, percent-encoded.
pub const MESSAGE: &str = "grpc-message";
/// The media type of a message.
pub const CONTENT_TYPE: &str = "application/grpc";

const TIMEOUT: &str = "grpc-timeout";

/// A call, as the head of its request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// How long it may take; `None`: it does not say.
    pub timeout: Option<Duration>,
}

impl Call {
    /// The call that a request is; `None`: it is none. gRPC-Web is not gRPC: its trailers are content.
    #[must_use]
    pub fn of(method: &Method, fields: &Fields) -> Option<Self> {
        if *method != Method::POST || !is_grpc(fields.first(Known::ContentType)?) {
            return None;
        }
        Some(Self { timeout: fields.first(TIMEOUT).and_then(timeout) })
    }
}

fn is_grpc(content_type: &[u8]) -> bool {
    let Some((kind, rest)) = content_type.split_at_checked(CONTENT_TYPE.len()) else { return false };
    kind.eq_ignore_ascii_case(CONTENT_TYPE.as_bytes()) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

/// At most eight digits and a unit.
fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3_600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// How a call has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u8);

impl Status {
    /// It went well.
    pub const OK: Self = Self(0);
    /// It took longer than its client allows.
    pub const DEADLINE_EXCEEDED: Self = Self(4);

    const UNKNOWN: Self = Self(2);
    const PERMISSION_DENIED: Self = Self(7);
    const UNIMPLEMENTED: Self = Self(12);
    const INTERNAL: Self = Self(13);
    const UNAVAILABLE: Self = Self(14);
    const DATA_LOSS: Self = Self(15);
    const UNAUTHENTICATED: Self = Self(16);

    /// The value of `grpc-status`; `UNKNOWN` where it is none of those that there are.
    #[must_use]
    pub fn parse(value: &[u8]) -> Self {
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        number.filter(|number| *number <= Self::UNAUTHENTICATED.0).map_or(Self::UNKNOWN, Self)
    }

    /// That of a response without trailers, if its head says one.
    #[must_use]
    pub fn of_head(fields: &Fields) -> Option<Self> {
        fields.first(STATUS).map(Self::parse)
    }

    /// What a response of HTTP without `grpc-status` means.
    #[must_use]
    pub fn of_http(status: StatusCode) -> Self {
        match status.as_u16() {
            400 => Self::INTERNAL,
            401 => Self::UNAUTHENTICATED,
            403 => Self::PERMISSION_DENIED,
            404 => Self::UNIMPLEMENTED,
            429 | 502 | 503 | 504 => Self::UNAVAILABLE,
            _ => Self::UNKNOWN,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Whether the backend could not take the call.
    #[must_use]
    pub fn is_unavailable(self) -> bool {
        self == Self::UNAVAILABLE
    }

    /// Whether the server has failed, rather than refused: as a status of 5xx does.
    #[must_use]
    pub fn is_server_error(self) -> bool {
        [
            Self::UNKNOWN,
            Self::DEADLINE_EXCEEDED,
            Self::UNIMPLEMENTED,
            Self::INTERNAL,
            Self::UNAVAILABLE,
            Self::DATA_LOSS,
        ]
        .contains(&self)
    }
}

/// A text as `grpc-message` has it: what is not printable ASCII, and `%`, is percent-encoded.
#[must_use]
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, fields: &[(&'static str, &'static str)]) -> Option<Call> {
        Call::of(&method, &fields.iter().copied().collect())
    }

    #[test]
    fn a_post_of_grpc_content_is_a_call() {
        for kind in ["application/grpc", "Application/gRPC", "application/grpc+proto", "application/grpc;charset=x"] {
            assert_eq!(call(Method::POST, &[("content-type", kind)]), Some(Call { timeout: None }), "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto", "application/json", "application/grp", ""] {
            assert_eq!(call(Method::POST, &[("content-type", kind)]), None, "{kind}");
        }
        assert_eq!(call(Method::GET, &[("content-type", "application/grpc")]), None);
        assert_eq!(call(Method::POST, &[]), None);
    }

    #[test]
    fn a_timeout_is_at_most_eight_digits_and_a_unit() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3_600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("100m", Some(Duration::from_millis(100))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3_600))),
            ("123456789n", None),
            ("1", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1s", None),
        ] {
            assert_eq!(timeout(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn a_status_is_a_number_that_is_known() {
        let parsed = |text: &str| Status::parse(text.as_bytes()).number();
        assert_eq!(["0", "14", "16", "17", "x", ""].map(parsed), [0, 14, 16, 2, 2, 2]);
        assert!(Status::parse(b"14").is_unavailable() && Status::parse(b"14").is_server_error());
        assert!(!Status::parse(b"5").is_server_error() && !Status::parse(b"13").is_unavailable());
    }

    #[test]
    fn statuses_of_http_are_mapped_as_grpc_says() {
        for (http, grpc) in
            [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (502, 14), (503, 14), (504, 14), (501, 2)]
        {
            assert_eq!(Status::of_http(StatusCode::from_u16(http).unwrap()).number(), grpc, "{http}");
        }
    }

    #[test]
    fn a_message_is_percent_encoded() {
        assert_eq!(encoded("50% of\nü"), "50%25 of%0A%C3%BC");
    }
}
