//! A message head as received, and the framing of the body after it.
//!
//! Deliberately naive: parses well-formed messages and checks nothing.

use crate::wire::Framing;

/// A field's name and value.
type Field = (String, String);

/// The start line and the fields of a message, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    text: String,
}

impl Head {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { text: String::from_utf8_lossy(bytes).into_owned() }
    }

    /// The complete head with its line ends.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The request line or the status line.
    #[must_use]
    pub fn start_line(&self) -> &str {
        self.text.split("\r\n").next().unwrap_or_default()
    }

    /// The value of the first field with this name, ignoring case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.pairs().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The values of all fields with this name, in order.
    #[must_use]
    pub fn fields(&self, name: &str) -> Vec<&str> {
        self.pairs().filter(|(candidate, _)| candidate.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// Whether there is a field of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// The status, fields and content of a response to a request with this head: 206 for the single range that it
    /// requests, else 200.
    pub(crate) fn ranged<'a>(&self, fields: &[Field], body: &'a [u8]) -> (u16, Vec<Field>, &'a [u8]) {
        let Some((first, end)) = self.asked_range(body.len()) else { return (200, fields.to_vec(), body) };
        let place = format!("bytes {first}-{}/{}", end - 1, body.len());
        (206, [fields, &[("Content-Range".to_owned(), place)]].concat(), &body[first..end])
    }

    /// The single range that it requests from this many bytes, with an exclusive end; `None`: it requests none, or
    /// several.
    fn asked_range(&self, length: usize) -> Option<(usize, usize)> {
        let (first, last) = self.field("range")?.strip_prefix("bytes=")?.split_once('-')?;
        let (first, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first, length.min(last + 1)),
            (Ok(first), Err(_)) if last.is_empty() => (first, length),
            (Err(_), Ok(last)) if first.is_empty() => (length.saturating_sub(last), length),
            _ => return None,
        };
        (first < end).then_some((first, end))
    }

    /// Whether one of the comma-separated elements of this field is `token`, ignoring case.
    #[must_use]
    pub fn names(&self, name: &str, token: &str) -> bool {
        self.fields(name).iter().flat_map(|value| value.split(',')).any(|each| each.trim().eq_ignore_ascii_case(token))
    }

    /// The words of the start line.
    pub(crate) fn words(&self) -> impl Iterator<Item = &str> {
        self.start_line().split(' ')
    }

    /// The framing of a request's body (RFC 9112 §6.3).
    pub(crate) fn request_framing(&self) -> Framing {
        self.declared_framing().unwrap_or(Framing::None)
    }

    /// The framing of the body of a response to `method` (RFC 9112 §6.3).
    pub(crate) fn response_framing(&self, method: &str, status: u16) -> Framing {
        if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
            return Framing::None;
        }
        self.declared_framing().unwrap_or(Framing::UntilClosed)
    }

    fn declared_framing(&self) -> Option<Framing> {
        if self.names("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        self.field("content-length").and_then(|value| value.trim().parse().ok()).map(Framing::Length)
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name, value.trim()))
    }
}
