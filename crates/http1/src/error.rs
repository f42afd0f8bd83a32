//! What is wrong with a message, and the status that tells a client so.

use message::Status;

/// Why a message is refused. The connection that it came on can't be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first line of a request is not `method SP target SP HTTP-version CRLF` (RFC 9112 §3).
    #[error("malformed request line")]
    RequestLine,
    /// The target exceeds its limit.
    #[error("request target is too long")]
    TargetTooLong,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    #[error("HTTP version is not supported")]
    Version,
    /// The first line of a response is not `HTTP-version SP status-code [SP reason-phrase] CRLF` (RFC 9112 §4), or its
    /// status is not from 100 to 599.
    #[error("malformed status line")]
    StatusLine,
    /// A field name is empty or no token, or whitespace is between it and the colon (RFC 9112 §5.1).
    #[error("malformed field name")]
    FieldName,
    /// A field value holds a control character (RFC 9110 §5.5).
    #[error("control character in a field value")]
    FieldValue,
    /// A line begins with whitespace: the one before it is folded (RFC 9112 §5.2).
    #[error("folded field line")]
    FoldedLine,
    /// A line does not end in CRLF.
    #[error("CR and LF do not stand together")]
    LineEnd,
    /// The head exceeds its limit.
    #[error("head is too large")]
    HeadTooLarge,
    /// A head or trailer section has more lines than allowed.
    #[error("too many fields")]
    TooManyFields,
    /// `Content-Length` is no number, or its lines disagree (RFC 9112 §6.3).
    #[error("malformed Content-Length")]
    ContentLength,
    /// `Transfer-Encoding` is malformed, or `chunked` is not its last coding (RFC 9112 §6.1).
    #[error("malformed Transfer-Encoding")]
    TransferEncoding,
    /// `Transfer-Encoding` names a coding other than `chunked` (RFC 9112 §6.1).
    #[error("unknown transfer coding")]
    UnknownTransferCoding,
    /// A request has both `Content-Length` and `Transfer-Encoding` (RFC 9112 §6.1).
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message (RFC 9112 §6.1).
    #[error("Transfer-Encoding in HTTP/1.0")]
    CodingInHttp10,
    /// A chunk does not begin with its size in hexadecimal digits (RFC 9112 §7.1).
    #[error("malformed chunk size")]
    ChunkSize,
    /// A chunk extension breaks its grammar (RFC 9112 §7.1.1).
    #[error("malformed chunk extension")]
    ChunkExtension,
    /// The chunk extensions of a body exceed their limit.
    #[error("chunk extensions are too large")]
    ChunkExtensionsTooLarge,
    /// A chunk's content is not followed by CRLF.
    #[error("chunk does not end where its size says")]
    ChunkEnd,
    /// The trailer section exceeds its limit.
    #[error("trailer section is too large")]
    TrailersTooLarge,
    /// The connection ended within a message.
    #[error("message is incomplete")]
    Incomplete,
}

/// Who sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client sent a request.
    Client,
    /// A server sent a response.
    Server,
}

impl Error {
    /// The status that a client is answered with: 502 if the message is a server's.
    #[must_use]
    pub const fn status(self, sender: Sender) -> Status {
        match sender {
            Sender::Server => Status::BAD_GATEWAY,
            Sender::Client => match self {
                Self::TargetTooLong => Status::URI_TOO_LONG,
                Self::HeadTooLarge | Self::TooManyFields | Self::TrailersTooLarge => Status::FIELDS_TOO_LARGE,
                Self::UnknownTransferCoding => Status::NOT_IMPLEMENTED,
                Self::Version => Status::VERSION_NOT_SUPPORTED,
                Self::RequestLine
                | Self::StatusLine
                | Self::FieldName
                | Self::FieldValue
                | Self::FoldedLine
                | Self::LineEnd
                | Self::ContentLength
                | Self::TransferEncoding
                | Self::LengthAndCoding
                | Self::CodingInHttp10
                | Self::ChunkSize
                | Self::ChunkExtension
                | Self::ChunkExtensionsTooLarge
                | Self::ChunkEnd
                | Self::Incomplete => Status::BAD_REQUEST,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_what_is_wrong_with_its_request() {
        for (error, code) in [
            (Error::FieldName, 400),
            (Error::Incomplete, 400),
            (Error::TargetTooLong, 414),
            (Error::HeadTooLarge, 431),
            (Error::TooManyFields, 431),
            (Error::TrailersTooLarge, 431),
            (Error::UnknownTransferCoding, 501),
            (Error::Version, 505),
        ] {
            assert_eq!(error.status(Sender::Client).code(), code, "{error}");
        }
    }

    #[test]
    fn whatever_is_wrong_with_a_response_is_a_bad_gateway() {
        for error in [Error::StatusLine, Error::HeadTooLarge, Error::UnknownTransferCoding, Error::Version] {
            assert_eq!(error.status(Sender::Server), Status::BAD_GATEWAY);
        }
    }
}
