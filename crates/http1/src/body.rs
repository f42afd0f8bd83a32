//! Bodies of any framing, decoded as their bytes arrive.

use message::Lines;

use crate::chunked::ChunkDecoder;
use crate::error::Error;
use crate::framing::Framing;
use crate::limits::BodyLimits;

/// What a decoder has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'b> {
    /// Content, at least one byte.
    Content(&'b [u8]),
    /// The input holds no more events. Bytes that are left in it must be given again, with more behind them.
    NeedsMore,
    /// The body has ended. What is left in the input belongs to the next message.
    End {
        /// The bytes of the trailer section, with its empty line; empty unless the body was chunked. The trailer fields
        /// are offsets into these bytes.
        trailers: &'b [u8],
    },
}

/// Finds the content and the end of one body.
#[derive(Clone, Copy, Debug)]
pub enum BodyDecoder {
    /// So many bytes are left.
    Length(u64),
    /// In chunks.
    Chunked(ChunkDecoder),
    /// Up to the end of the connection.
    UntilClose,
}

impl BodyDecoder {
    /// A decoder at the beginning of a body.
    #[must_use]
    pub fn new(framing: Framing, limits: BodyLimits) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkDecoder::new(limits)),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Decodes up to the next event, and takes from the input what belongs to it. Trailer fields are pushed to
    /// `trailers`, which is expected to be empty at the beginning of the body.
    ///
    /// # Errors
    /// [`Error`] if a chunked body is broken or exceeds a limit. How the bytes were cut does not change which one. The
    /// decoder can't be used after it.
    pub fn decode<'b>(&mut self, input: &mut &'b [u8], trailers: &mut Lines) -> Result<Event<'b>, Error> {
        match self {
            Self::Length(0) => Ok(Event::End { trailers: &[] }),
            Self::Chunked(decoder) => decoder.decode(input, trailers),
            Self::Length(_) | Self::UntilClose if input.is_empty() => Ok(Event::NeedsMore),
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                let (content, rest) = input.split_at_checked(count).unwrap_or((input, &[]));
                *input = rest;
                *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                Ok(Event::Content(content))
            }
            Self::UntilClose => Ok(Event::Content(std::mem::take(input))),
        }
    }

    /// How many bytes of content follow before anything else: what the kernel may move without the decoder.
    #[must_use]
    pub fn content_left(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(decoder) => decoder.content_left(),
            Self::UntilClose => u64::MAX,
        }
    }

    /// Takes note of content that was moved without the decoder: at most [`BodyDecoder::content_left`] bytes.
    pub fn skip(&mut self, count: u64) {
        match self {
            Self::Length(left) => *left = left.saturating_sub(count),
            Self::Chunked(decoder) => decoder.skip(count),
            Self::UntilClose => {}
        }
    }

    /// Whether the body is complete if the connection ends here (RFC 9112 §8).
    ///
    /// # Errors
    /// [`Error::Incomplete`] if it is not.
    pub fn finish(&self) -> Result<(), Error> {
        match self {
            Self::Length(0) | Self::UntilClose => Ok(()),
            Self::Chunked(decoder) if decoder.has_ended() => Ok(()),
            Self::Length(_) | Self::Chunked(_) => Err(Error::Incomplete),
        }
    }
}
