//! Where a message's body ends (RFC 9112 §6).

use message::{Decimal, EditError, Known, KnownSet, Lines, Method, View};

use crate::Version;
use crate::error::Error;
use crate::request::RequestHead;
use crate::response::ResponseHead;

const FRAMING: KnownSet = KnownSet::of(&[Known::ContentLength, Known::TransferEncoding]);

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk and the trailer section.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// How a response's body ends, and what else its framing fields say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseFraming {
    /// How the body ends.
    pub framing: Framing,
    /// What the head is to declare when it is forwarded. For a response to HEAD and a 304 it is the length of a body
    /// that is not sent; a 1xx and a 204 declare nothing (RFC 9110 §8.6).
    pub declared: Length,
    /// Whether the connection may be used again once the body has ended, as far as framing is concerned. It may not if
    /// the body ends with it, if recipients could disagree about the end, or if the connection becomes a tunnel.
    pub is_reusable: bool,
}

/// What a head that is sent declares of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Nothing.
    Undeclared,
    /// `Content-Length`.
    Known(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// How a request's body ends. It does not depend on the method (RFC 9112 §6).
///
/// # Errors
/// [`Error`] if the framing fields are malformed, contradict each other, or recipients could disagree about them.
pub fn request_framing(head: &RequestHead, bytes: &[u8]) -> Result<Framing, Error> {
    let view = head.view(bytes);
    if !view.has(FRAMING) {
        return Ok(Framing::None);
    }
    if view.has(Known::TransferEncoding) {
        check_chunked(view)?;
        if view.has(Known::ContentLength) {
            return Err(Error::LengthAndCoding);
        }
        return match head.version() {
            Version::Http10 => Err(Error::CodingInHttp10),
            Version::Http11 => Ok(Framing::Chunked),
        };
    }
    // RFC 9110 §8.6 lets a recipient refuse repeated equal lengths, be it in lines or in a list. In a request they are
    // refused: peers read them differently.
    match lone_length(view).ok_or(Error::ContentLength)? {
        0 => Ok(Framing::None),
        length => Ok(Framing::Length(length)),
    }
}

/// How the body of a response to a request with this method ends.
///
/// # Errors
/// [`Error`] → 502 if the framing fields are malformed or contradict each other. `Content-Length` next to
/// `Transfer-Encoding` is no error: it has no meaning, and the connection can't be used again (RFC 9112 §6.3).
pub fn response_framing(head: &ResponseHead, bytes: &[u8], to: Method) -> Result<ResponseFraming, Error> {
    let (view, status) = (head.view(bytes), head.status());
    let is_tunnel = status.code() == 101 || (to == Method::Connect && status.is_success());
    if is_tunnel {
        return Ok(ResponseFraming { framing: Framing::None, declared: Length::Undeclared, is_reusable: false });
    }
    let is_chunked = view.has(Known::TransferEncoding);
    if is_chunked {
        check_chunked(view)?;
        if head.version() == Version::Http10 {
            return Err(Error::CodingInHttp10);
        }
    }
    // Equal lengths count as one (RFC 9112 §6.3): what is sent on is one line, whatever the backend has repeated.
    let length = match lone_length(view) {
        None if view.has(Known::ContentLength) => {
            agreed(view.tagged(Known::ContentLength).flat_map(|field| field.value.split(|byte| *byte == b',')))?
        }
        length => length,
    };
    let is_doubtful = is_chunked && length.is_some();
    if status.ends_with_head() || to == Method::Head {
        let may_declare = status.code() == 304 || !status.ends_with_head();
        let declared = match length {
            Some(length) if may_declare && !is_chunked => Length::Known(length),
            _ => Length::Undeclared,
        };
        // A 1xx or 204 that says it has a body may be followed by one.
        let has_body = !may_declare && (is_chunked || length.unwrap_or(0) > 0);
        return Ok(ResponseFraming { framing: Framing::None, declared, is_reusable: !is_doubtful && !has_body });
    }
    Ok(match (is_chunked, length) {
        (true, _) => {
            ResponseFraming { framing: Framing::Chunked, declared: Length::Chunked, is_reusable: !is_doubtful }
        }
        (false, Some(length)) => {
            let framing = if length == 0 { Framing::None } else { Framing::Length(length) };
            ResponseFraming { framing, declared: Length::Known(length), is_reusable: true }
        }
        (false, None) => {
            ResponseFraming { framing: Framing::UntilClose, declared: Length::Undeclared, is_reusable: false }
        }
    })
}

/// The length that the one `Content-Length` declares, if it is one number.
#[inline]
fn lone_length(view: View<'_>) -> Option<u64> {
    parse_length(view.only(Known::ContentLength)?)
}

/// The one length that all agree on.
fn agreed<'h>(lengths: impl Iterator<Item = &'h [u8]>) -> Result<Option<u64>, Error> {
    let mut agreed = None;
    for value in lengths {
        let length = parse_length(value.trim_ascii()).ok_or(Error::ContentLength)?;
        if *agreed.get_or_insert(length) != length {
            return Err(Error::ContentLength);
        }
    }
    Ok(agreed)
}

/// Digits alone (RFC 9110 §8.6). Zeros in front are read, and never written.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, byte| {
        let digit = byte.is_ascii_digit().then_some(u64::from(byte & 0x0f))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether `Transfer-Encoding` is `chunked`, once and alone, over all lines.
///
/// Empty list elements are refused, though the list grammar lets recipients skip them: peers disagree about them.
fn check_chunked(view: View<'_>) -> Result<(), Error> {
    let (mut is_chunked, mut is_unknown) = (false, false);
    let elements = view.tagged(Known::TransferEncoding).flat_map(|field| field.value.split(|byte| *byte == b','));
    for element in elements.map(<[u8]>::trim_ascii) {
        let name = element.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is_named = |coding: &[u8]| name.eq_ignore_ascii_case(coding);
        if is_chunked || !message::is_token(name) || is_named(b"identity") {
            return Err(Error::TransferEncoding);
        }
        match is_named(b"chunked") {
            // The coding has no parameters (RFC 9112 §7.1).
            true if element.len() > name.len() => return Err(Error::TransferEncoding),
            true => is_chunked = true,
            false => is_unknown = true,
        }
    }
    match (is_unknown, is_chunked) {
        (true, _) => Err(Error::UnknownTransferCoding),
        (false, true) => Ok(()),
        (false, false) => Err(Error::TransferEncoding),
    }
}

/// Makes the fields declare this length and nothing else: one `Content-Length` in its canonical form, one
/// `Transfer-Encoding: chunked`, or neither. A line that already says exactly this stays where it is.
///
/// # Errors
/// [`EditError::TooLarge`] if the appended lines exceed 64 KiB.
pub fn declare_length(fields: &mut Lines, bytes: &[u8], length: Length) -> Result<(), EditError> {
    let (kept, is_declared) = match length {
        Length::Undeclared => {
            fields.drop_known(FRAMING);
            return Ok(());
        }
        Length::Known(length) => {
            let line = fields.view(bytes).only(Known::ContentLength);
            (Known::ContentLength, line.is_some_and(|value| Decimal::is_written(value, length)))
        }
        Length::Chunked => {
            let line = fields.view(bytes).only(Known::TransferEncoding);
            (Known::TransferEncoding, line == Some(b"chunked"))
        }
    };
    if is_declared {
        fields.drop_known(FRAMING.without(kept.into()));
        return Ok(());
    }
    fields.drop_known(FRAMING);
    match length {
        Length::Undeclared => Ok(()),
        Length::Known(length) => fields.append(kept, Decimal::new(length).as_bytes()),
        Length::Chunked => fields.append(kept, b"chunked"),
    }
}
