//! The chunked transfer coding, decoded as its bytes arrive (RFC 9112 §7.1).
//!
//! Content is handed out as slices of what was received; nothing is copied. Extensions are checked by their grammar and
//! ignored. The trailer section is scanned like a head and handed out apart from the header fields.

use message::Lines;

use crate::body::Event;
use crate::error::Error;
use crate::extension::{Extension, Step};
use crate::limits::BodyLimits;
use crate::lines::Cursor;

/// Decodes one chunked body.
#[derive(Clone, Copy, Debug)]
pub struct ChunkDecoder {
    expects: Expects,
    /// The size as far as it was read, then how much content of the chunk is left.
    left: u64,
    digits: u8,
    /// Bytes of extensions so far.
    extension_bytes: usize,
    /// In the trailer section, from its first byte.
    cursor: Cursor,
    limits: BodyLimits,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expects {
    Size,
    Extension(Extension),
    SizeLineFeed,
    Content,
    ContentEnd,
    ContentLineFeed,
    Trailers,
    Nothing,
}

impl ChunkDecoder {
    /// A decoder at the beginning of a body.
    #[must_use]
    pub fn new(limits: BodyLimits) -> Self {
        let (cursor, expects) = (Cursor::default(), Expects::Size);
        Self { expects, left: 0, digits: 0, extension_bytes: 0, cursor, limits }
    }

    /// Decodes up to the next content or the end; see [`BodyDecoder::decode`](crate::BodyDecoder::decode).
    ///
    /// # Errors
    /// [`Error`] if the coding is broken or a limit is exceeded. It is then broken for good.
    pub fn decode<'b>(&mut self, input: &mut &'b [u8], trailers: &mut Lines) -> Result<Event<'b>, Error> {
        loop {
            match self.expects {
                Expects::Content => {
                    let available = u64::try_from(input.len()).unwrap_or(u64::MAX);
                    if available == 0 {
                        return Ok(Event::NeedsMore);
                    }
                    let count = usize::try_from(self.left.min(available)).unwrap_or(input.len());
                    let (content, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
                    *input = rest;
                    self.skip(self.left.min(available));
                    return Ok(Event::Content(content));
                }
                Expects::Trailers => return self.scan_trailers(input, trailers),
                Expects::Nothing => return Ok(Event::End { trailers: &[] }),
                Expects::Size
                | Expects::Extension(_)
                | Expects::SizeLineFeed
                | Expects::ContentEnd
                | Expects::ContentLineFeed => {
                    let Some((byte, rest)) = input.split_first() else { return Ok(Event::NeedsMore) };
                    self.expects = self.step(*byte)?;
                    *input = rest;
                }
            }
        }
    }

    /// How many bytes of content follow before anything else.
    pub(crate) fn content_left(&self) -> u64 {
        if self.expects == Expects::Content { self.left } else { 0 }
    }

    /// Takes note of content that was moved past the decoder: at most [`ChunkDecoder::content_left`] bytes.
    pub(crate) fn skip(&mut self, count: u64) {
        if self.expects == Expects::Content {
            self.left = self.left.saturating_sub(count);
            if self.left == 0 {
                self.expects = Expects::ContentEnd;
            }
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.expects == Expects::Nothing
    }

    fn step(&mut self, byte: u8) -> Result<Expects, Error> {
        match self.expects {
            Expects::Size => self.step_size(byte),
            Expects::Extension(extension) => self.step_extension(extension, byte),
            Expects::SizeLineFeed if byte == b'\n' => {
                self.digits = 0;
                Ok(if self.left == 0 { Expects::Trailers } else { Expects::Content })
            }
            Expects::SizeLineFeed => Err(Error::LineEnd),
            Expects::ContentEnd if byte == b'\r' => Ok(Expects::ContentLineFeed),
            Expects::ContentLineFeed if byte == b'\n' => Ok(Expects::Size),
            Expects::ContentEnd | Expects::ContentLineFeed => Err(Error::ChunkEnd),
            Expects::Content | Expects::Trailers | Expects::Nothing => Ok(self.expects),
        }
    }

    fn step_size(&mut self, byte: u8) -> Result<Expects, Error> {
        const DIGITS_MAX: u8 = 16;
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(Expects::SizeLineFeed),
            b';' | b' ' | b'\t' if self.digits > 0 => return self.step_extension(Extension::Semicolon, byte),
            _ => return Err(Error::ChunkSize),
        };
        if self.digits == DIGITS_MAX {
            return Err(Error::ChunkSize);
        }
        self.left = self.left << 4 | u64::from(digit);
        self.digits += 1;
        Ok(Expects::Size)
    }

    fn step_extension(&mut self, extension: Extension, byte: u8) -> Result<Expects, Error> {
        self.extension_bytes += 1;
        if self.extension_bytes > self.limits.extension_bytes_max {
            return Err(Error::ChunkExtensionsTooLarge);
        }
        match extension.step(byte) {
            Step::On(extension) => Ok(Expects::Extension(extension)),
            Step::LineEnd => Ok(Expects::SizeLineFeed),
            Step::Broken => Err(Error::ChunkExtension),
        }
    }

    fn scan_trailers<'b>(&mut self, input: &mut &'b [u8], trailers: &mut Lines) -> Result<Event<'b>, Error> {
        let window = input.get(..self.limits.trailer_bytes_max).unwrap_or(input);
        let Some(end) = self.cursor.scan(window, self.limits.trailers_max, trailers)? else {
            let is_full = input.len() >= self.limits.trailer_bytes_max;
            return if is_full { Err(Error::TrailersTooLarge) } else { Ok(Event::NeedsMore) };
        };
        let (section, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
        *input = rest;
        self.expects = Expects::Nothing;
        Ok(Event::End { trailers: section })
    }
}
