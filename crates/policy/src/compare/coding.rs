//! A body without its content codings (RFC 9110 §8.4): gzip, deflate and br, several on top of each other.
//!
//! What comes out is bounded in length and in its ratio to what went in, so that a small body cannot fill the memory.

use std::borrow::Cow;
use std::io::Read;

use brotli_decompressor::{BrotliDecoderParameter, Decompressor};
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use crate::message::list;

/// The longest decoded body, in bytes.
pub const DECODED_BYTES_MAX: usize = 8 << 20;
/// A body may become so many times as long as it came.
pub const RATIO_MAX: usize = 100;
/// So many bytes may come of any body, however short it is.
pub const DECODED_BYTES_FLOOR: usize = 64 << 10;
/// The most codings of one body.
pub const CODINGS_MAX: usize = 4;

/// What a decoder is given at once, and takes, in bytes.
const CHUNK_BYTES: usize = 16 << 10;

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A coding that is not known, or too many of them.
    #[error("the content coding is not known")]
    Unknown,
    /// It ends too early, goes on after its end, or is not in this coding at all.
    #[error("the body is not what its content coding says")]
    Broken,
    /// It becomes longer than it may.
    #[error("the decoded body is too long")]
    TooLong,
}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

/// The body as it was before it was coded, by `Content-Encoding`. An empty body is empty in every coding.
///
/// Bounds: [`DECODED_BYTES_MAX`], and [`RATIO_MAX`] unless it stays under [`DECODED_BYTES_FLOOR`]; what is not coded is
/// not bounded. `deflate` is the zlib format (RFC 1950); gzip may have several members (RFC 1952 §2.2).
///
/// # Errors
/// The coding is not known, the body is not in it, or a bound is passed.
pub fn decode<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Undecodable> {
    let codings = codings(headers)?;
    let bytes_max = body.len().saturating_mul(RATIO_MAX).clamp(DECODED_BYTES_FLOOR, DECODED_BYTES_MAX);
    let mut decoded = Cow::Borrowed(body);
    if body.is_empty() {
        return Ok(decoded);
    }
    for coding in codings {
        decoded = Cow::Owned(match coding {
            Coding::Gzip => gzip(&decoded, bytes_max)?,
            Coding::Deflate => deflate(&decoded, bytes_max)?,
            Coding::Brotli => brotli(&decoded, bytes_max)?,
        });
    }
    Ok(decoded)
}

/// The codings, the one that was applied last first.
fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, Undecodable> {
    let mut codings = Vec::new();
    for name in list::elements_from_right(&headers.get_all(CONTENT_ENCODING)) {
        match name.to_ascii_lowercase().as_slice() {
            b"identity" => continue,
            b"gzip" | b"x-gzip" => codings.push(Coding::Gzip),
            b"deflate" => codings.push(Coding::Deflate),
            b"br" => codings.push(Coding::Brotli),
            _ => return Err(Undecodable::Unknown),
        }
        if codings.len() > CODINGS_MAX {
            return Err(Undecodable::Unknown);
        }
    }
    Ok(codings)
}

fn gzip(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undecodable> {
    // The decoder takes what follows a member for the next one: what is none is an error.
    read_within(&mut MultiGzDecoder::new(body), bytes_max)
}

fn brotli(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undecodable> {
    let mut decoder = Decompressor::new(body, CHUNK_BYTES);
    // Windows of up to 1 GiB are an extension that `br` does not know (RFC 7932 §9.1).
    decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
    let decoded = read_within(&mut decoder, bytes_max)?;
    // Only the read after the end tells of bytes that are left over in the decoder.
    let ended = matches!(decoder.read(&mut [0]), Ok(0)) && decoder.get_ref().is_empty();
    if ended { Ok(decoded) } else { Err(Undecodable::Broken) }
}

fn read_within(decoder: &mut impl Read, bytes_max: usize) -> Result<Vec<u8>, Undecodable> {
    let mut decoded = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = decoder.take(limit).read_to_end(&mut decoded);
    match read {
        Ok(_) | Err(_) if decoded.len() > bytes_max => Err(Undecodable::TooLong),
        Ok(_) => Ok(decoded),
        Err(_) => Err(Undecodable::Broken),
    }
}

/// By hand, as the reader of flate2 takes the end of the input for the end of the stream.
fn deflate(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undecodable> {
    let mut decoder = Decompress::new(true);
    let mut decoded = Vec::new();
    loop {
        let taken = usize::try_from(decoder.total_in()).unwrap_or(usize::MAX);
        let rest = body.get(taken..).unwrap_or_default();
        let before = decoded.len();
        decoded.reserve(CHUNK_BYTES);
        let status = decoder.decompress_vec(rest, &mut decoded, FlushDecompress::None);
        let taken_now = decoder.total_in() > u64::try_from(taken).unwrap_or(u64::MAX);
        let rest_len = body.len().saturating_sub(usize::try_from(decoder.total_in()).unwrap_or(usize::MAX));
        match status {
            Ok(_) if decoded.len() > bytes_max => return Err(Undecodable::TooLong),
            Ok(Status::StreamEnd) if rest_len == 0 => return Ok(decoded),
            Ok(Status::Ok | Status::BufError) if taken_now || decoded.len() > before => {}
            Ok(Status::Ok | Status::BufError | Status::StreamEnd) | Err(_) => return Err(Undecodable::Broken),
        }
    }
}
