//! The classes of messages that the codec and hyper read differently, and why.

use super::Message;

/// A reason to differ from hyper. All but the last four are rules of ours that hyper does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// A line that ends in a bare LF. A recipient may take it (RFC 9112 §2.2); kept lines are forwarded as received, and
    /// the next recipient may not.
    BareLineFeed,
    /// A byte past ASCII in a target: a URI is ASCII (RFC 3986 §2).
    NotAscii,
    /// An empty line before a response: only a server skips those before a request (RFC 9112 §2.2).
    EmptyLine,
    /// A status below 100 or above 599 (RFC 9110 §15).
    Status,
    /// A `Transfer-Encoding` other than `chunked`, once and alone. A coding that would stay undecoded is refused
    /// (RFC 9112 §6.1: 501), `chunked` twice is forbidden (§6.1), it has no parameters (§7.1), and recipients disagree
    /// about empty list elements.
    TransferCoding,
    /// `Transfer-Encoding` beside `Content-Length` in a request: an attempt to smuggle one (RFC 9112 §6.1, §6.3).
    LengthAndCoding,
    /// `Transfer-Encoding` in HTTP/1.0: the framing is faulty (RFC 9112 §6.1).
    CodingInHttp10,
    /// `Content-Length` of a response that is no number, or lines that disagree: an unrecoverable error (RFC 9112 §6.3). In
    /// a request also lines that agree: a recipient may refuse them (RFC 9110 §8.6).
    ContentLength,
    /// A chunk extension that breaks its grammar, or whitespace behind a chunk size (RFC 9112 §7.1.1).
    ChunkExtension,
    /// A chunk size of more than 16 digits, zeros in front among them: recipients must bound them (RFC 9112 §7.1).
    ChunkSize,
    /// hyper refuses targets that the crate `http` can't hold as a URI. To the codec a target is printable ASCII; its
    /// grammar is checked where the request is routed.
    Target,
    /// hyper cuts a fragment off the target. The codec keeps it, so that it can be refused (RFC 9112 §3.2).
    Fragment,
    /// hyper writes the path of an absolute-form target that has none as `/`. The codec keeps bytes.
    EmptyPath,
    /// hyper's client reads on after an interim response; the codec hands each out, to be forwarded (RFC 9110 §15.2).
    Interim,
}

pub(crate) const OF_REQUESTS: &[Class] = &[
    Class::BareLineFeed,
    Class::NotAscii,
    Class::TransferCoding,
    Class::LengthAndCoding,
    Class::ContentLength,
    Class::ChunkExtension,
    Class::ChunkSize,
    Class::Target,
    Class::Fragment,
    Class::EmptyPath,
];

pub(crate) const OF_RESPONSES: &[Class] = &[
    Class::BareLineFeed,
    Class::EmptyLine,
    Class::Status,
    Class::TransferCoding,
    Class::CodingInHttp10,
    Class::ContentLength,
    Class::ChunkExtension,
    Class::ChunkSize,
    Class::Interim,
];

impl Class {
    /// The class of a message that is read differently. That the message belongs to it is found in its bytes, not only in
    /// what the codec says.
    pub(crate) fn of(bytes: &[u8], ours: &Result<Message, String>, theirs: Option<&Message>) -> Option<Self> {
        let error = match (ours, theirs) {
            (Ok(ours), None) => {
                return match ours.line.parse::<u16>() {
                    Ok(status) => (status < 200).then_some(Self::Interim),
                    Err(_) => Some(Self::Target),
                };
            }
            (Ok(ours), Some(theirs)) => return Self::of_target(ours, theirs),
            (Err(error), _) => error.as_str(),
        };
        let text: String = bytes.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect();
        let values = |name: &'static str| {
            let lines = text.split('\n').filter_map(move |line| line.strip_prefix(name)?.strip_prefix(':'));
            lines.map(|value| value.trim_ascii().to_owned()).collect::<Vec<_>>()
        };
        let (codings, lengths) = (values("transfer-encoding"), values("content-length"));
        let has_bare_line_feed = text.replace("\r\n", "").contains('\n');
        match error {
            "malformed request line" | "malformed status line" | "CR and LF do not stand together"
                if has_bare_line_feed =>
            {
                Some(Self::BareLineFeed)
            }
            "malformed request line" => {
                let target = text.split(' ').nth(1).unwrap_or_default();
                (!target.is_ascii()).then_some(Self::NotAscii)
            }
            "malformed status line" if text.starts_with("\r\n") => Some(Self::EmptyLine),
            "malformed status line" => {
                let status = text.get(9..12).and_then(|digits| digits.parse().ok());
                status.is_some_and(|status| !(100..=599).contains(&status)).then_some(Self::Status)
            }
            "malformed Transfer-Encoding" | "unknown transfer coding" => {
                (codings != ["chunked"]).then_some(Self::TransferCoding)
            }
            "both Content-Length and Transfer-Encoding" => {
                (!codings.is_empty() && !lengths.is_empty()).then_some(Self::LengthAndCoding)
            }
            "Transfer-Encoding in HTTP/1.0" => text.starts_with("http/1.0").then_some(Self::CodingInHttp10),
            "malformed Content-Length" => (lengths != ["5"]).then_some(Self::ContentLength),
            "malformed chunk extension" => Some(Self::ChunkExtension),
            "malformed chunk size" => text.contains("\r\n00000000000000005").then_some(Self::ChunkSize),
            _ => None,
        }
    }

    /// The class of messages that are the same but for the target.
    fn of_target(ours: &Message, theirs: &Message) -> Option<Self> {
        let is_same = (ours.is_http_1_1, &ours.fields, &ours.content, &ours.trailers)
            == (theirs.is_http_1_1, &theirs.fields, &theirs.content, &theirs.trailers);
        let (method, target) = ours.line.split_once(' ')?;
        let (before, theirs) = (target.split('#').next()?, theirs.line.strip_prefix(method)?.strip_prefix(' ')?);
        let authority = before.find('?').unwrap_or(before.len());
        let with_path = format!("{}/{}", &before[..authority], &before[authority..]);
        match is_same {
            true if target.contains('#') && before == theirs => Some(Self::Fragment),
            true if before.contains("://") && with_path == theirs => Some(Self::EmptyPath),
            _ => None,
        }
    }
}
