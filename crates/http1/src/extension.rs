//! The grammar of chunk extensions (RFC 9112 §7.1.1), byte by byte.
//!
//! `chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`, where a value is a token or a quoted
//! string. Whitespace that no semicolon follows is refused, behind the size too.

use crate::bytes::is_token;

/// Where in the extensions of a chunk a decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    /// Whitespace behind the size or an extension: a semicolon must follow.
    Semicolon,
    /// Behind a semicolon.
    NameStart,
    Name,
    /// Whitespace behind a name: an equals sign or semicolon must follow.
    Equals,
    /// Behind an equals sign.
    ValueStart,
    Value,
    Quoted,
    /// Behind a backslash in a quoted string.
    QuotedPair,
    /// Behind a closing quote.
    QuoteEnd,
}

/// What a byte means to the extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    On(Extension),
    /// The byte is the CR that ends the line.
    LineEnd,
    /// The byte breaks the grammar.
    Broken,
}

impl Extension {
    pub(crate) fn step(self, byte: u8) -> Step {
        let (is_blank, is_token) = (matches!(byte, b' ' | b'\t'), is_token(byte));
        let is_text = is_blank || matches!(byte, 0x21..=0x7e | 0x80..);
        match self {
            Self::Semicolon => match byte {
                b';' => Step::On(Self::NameStart),
                _ if is_blank => Step::On(Self::Semicolon),
                _ => Step::Broken,
            },
            Self::NameStart if is_blank => Step::On(Self::NameStart),
            Self::NameStart if is_token => Step::On(Self::Name),
            Self::NameStart => Step::Broken,
            Self::Name => match byte {
                b';' => Step::On(Self::NameStart),
                b'=' => Step::On(Self::ValueStart),
                b'\r' => Step::LineEnd,
                _ if is_token => Step::On(Self::Name),
                _ if is_blank => Step::On(Self::Equals),
                _ => Step::Broken,
            },
            Self::Equals => match byte {
                b';' => Step::On(Self::NameStart),
                b'=' => Step::On(Self::ValueStart),
                _ if is_blank => Step::On(Self::Equals),
                _ => Step::Broken,
            },
            Self::ValueStart => match byte {
                b'"' => Step::On(Self::Quoted),
                _ if is_token => Step::On(Self::Value),
                _ if is_blank => Step::On(Self::ValueStart),
                _ => Step::Broken,
            },
            Self::Value | Self::QuoteEnd => match byte {
                b';' => Step::On(Self::NameStart),
                b'\r' => Step::LineEnd,
                _ if is_blank => Step::On(Self::Semicolon),
                _ if is_token && self == Self::Value => Step::On(Self::Value),
                _ => Step::Broken,
            },
            Self::Quoted => match byte {
                b'"' => Step::On(Self::QuoteEnd),
                b'\\' => Step::On(Self::QuotedPair),
                _ if is_text => Step::On(Self::Quoted),
                _ => Step::Broken,
            },
            Self::QuotedPair if is_text => Step::On(Self::Quoted),
            Self::QuotedPair => Step::Broken,
        }
    }
}
