//! Removes the content codings of a body (RFC 9110 §8.4): gzip, deflate and br, also combined.
//!
//! The output is bounded in length and in its ratio to the input, so that a small body cannot exhaust the memory.

use std::borrow::Cow;
use std::io::Read;

use brotli_decompressor::{BrotliDecoderParameter, Decompressor};
use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use message::{Fields, Known};

use crate::message::list;

/// The longest decoded body, in bytes.
pub const DECODED_BYTES_MAX: usize = 8 << 20;
/// The largest ratio of decoded to encoded length.
pub const RATIO_MAX: usize = 100;
/// The decoded length that is allowed for any body, whatever its ratio.
pub const DECODED_BYTES_FLOOR: usize = 64 << 10;
/// The most content codings of one body.
pub const CODINGS_MAX: usize = 4;

/// The size of a decoder's input and output buffer, in bytes.
const CHUNK_BYTES: usize = 16 << 10;

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// A coding is not supported, or there are too many.
    #[error("the content coding is not known")]
    Unknown,
    /// The body is truncated, has trailing bytes, or does not use this coding.
    #[error("the body is not what its content coding says")]
    Broken,
    /// The decoded body exceeds a limit.
    #[error("the decoded body is too long")]
    TooLong,
}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

/// Decodes a body according to `Content-Encoding`. An empty body is empty in every coding.
///
/// Limits: [`DECODED_BYTES_MAX`], and [`RATIO_MAX`] above [`DECODED_BYTES_FLOOR`]; a body without a coding is not
/// limited. `deflate` is the zlib format (RFC 1950); gzip may have several members (RFC 1952 §2.2).
///
/// # Errors
/// The coding is not supported, the body does not match it, or a limit is exceeded.
pub fn decode<'a>(headers: &Fields, body: &'a [u8]) -> Result<Cow<'a, [u8]>, Undecodable> {
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

/// The codings, the last applied one first.
fn codings(headers: &Fields) -> Result<Vec<Coding>, Undecodable> {
    let mut codings = Vec::new();
    for name in list::elements_from_right(headers.values(Known::ContentEncoding)) {
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
    // The decoder reads bytes after a member as the next one, and fails if they are none.
    read_within(&mut MultiGzDecoder::new(body), bytes_max)
}

fn brotli(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Undecodable> {
    let mut decoder = Decompressor::new(body, CHUNK_BYTES);
    // Windows of up to 1 GiB are an extension that `br` does not include (RFC 7932 §9.1).
    decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
    let decoded = read_within(&mut decoder, bytes_max)?;
    // Only a read after the end shows whether bytes are left in the decoder.
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

/// Uses the decoder directly, because flate2's reader takes the end of the input for the end of the stream.
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::read::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    /// `hello ` fifty times, encoded with br.
    const BROTLI: &[u8] = b"\x1b\x2b\x01\xf8\x8d\x94\x6e\xde\x44\x55\x86\x96\x6c\x20\x6f\x31\x5b\x1c\x00\x1c\x07";
    /// The same with a larger window than RFC 7932 allows.
    const BROTLI_LARGE_WINDOW: &[u8] =
        b"\x11\x5c\xac\x04\xe0\x37\x52\xba\x79\x13\x55\x19\x5a\xb2\x81\xbc\xc5\x6c\x71\x00\xe0\x38";
    /// `a` 16,777,216 times, encoded with br.
    const BROTLI_BOMB: &[u8] =
        b"\xcb\xff\xff\x3f\xf8\x25\xc2\xe2\xb1\x40\x20\xf7\xfe\x2f\xff\xff\xff\xf0\x4b\x00\xc4\x61\x11\x80\xee\xfd\x1f";

    pub(in super::super) fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut coded = Vec::new();
        GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut coded).unwrap();
        coded
    }

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut coded = Vec::new();
        ZlibEncoder::new(bytes, Compression::fast()).read_to_end(&mut coded).unwrap();
        coded
    }

    fn decoded(codings: &[&str], body: &[u8]) -> Result<Vec<u8>, Undecodable> {
        decode(&codings.iter().map(|line| ("content-encoding", line)).collect(), body).map(Cow::into_owned)
    }

    fn hello() -> Vec<u8> {
        b"hello ".repeat(50)
    }

    #[test]
    fn each_coding_is_undone() {
        assert_eq!(decoded(&[], b"hi").unwrap(), b"hi");
        assert_eq!(decoded(&["identity"], b"hi").unwrap(), b"hi");
        assert_eq!(decoded(&["gzip"], &gzipped(b"hi")).unwrap(), b"hi");
        assert_eq!(decoded(&["X-GZip"], &gzipped(b"hi")).unwrap(), b"hi");
        assert_eq!(decoded(&["deflate"], &deflated(b"hi")).unwrap(), b"hi");
        assert_eq!(decoded(&["br"], BROTLI).unwrap(), hello());
        assert_eq!(decoded(&["br"], b"\x3b").unwrap(), b"", "an empty stream");
        assert_eq!(decoded(&["gzip"], &gzipped(b"")).unwrap(), b"");
        assert_eq!(decoded(&["deflate"], &deflated(b"")).unwrap(), b"");
    }

    #[test]
    fn several_codings_are_undone_from_the_last_to_the_first() {
        assert_eq!(decoded(&["deflate, gzip"], &gzipped(&deflated(b"hi"))).unwrap(), b"hi");
        assert_eq!(decoded(&["br", "identity, gzip"], &gzipped(BROTLI)).unwrap(), hello());
        assert_eq!(decoded(&["gzip, deflate"], &gzipped(&deflated(b"hi"))), Err(Undecodable::Broken));
    }

    #[test]
    fn gzip_may_have_several_members() {
        let members = [gzipped(b"one "), gzipped(b"two")].concat();
        assert_eq!(decoded(&["gzip"], &members).unwrap(), b"one two");
    }

    #[test]
    fn an_empty_body_is_empty_in_every_coding() {
        for coding in ["gzip", "deflate", "br", "gzip, br"] {
            assert_eq!(decoded(&[coding], b"").unwrap(), b"");
        }
    }

    #[test]
    fn unknown_codings_and_too_many_are_refused() {
        assert_eq!(decoded(&["zstd"], b"hi"), Err(Undecodable::Unknown));
        assert_eq!(decoded(&["gzip, compress"], b"hi"), Err(Undecodable::Unknown));
        assert_eq!(decoded(&["gzip, gzip, gzip", "gzip, gzip"], b"hi"), Err(Undecodable::Unknown));
    }

    #[test]
    fn a_body_that_ends_anywhere_before_its_end_is_broken() {
        for (coding, body) in [("gzip", gzipped(&hello())), ("deflate", deflated(&hello())), ("br", BROTLI.to_vec())] {
            for end in 1..body.len() {
                assert_eq!(decoded(&[coding], &body[..end]), Err(Undecodable::Broken), "{coding} {end}");
            }
        }
    }

    #[test]
    fn a_body_that_goes_on_after_its_end_is_broken() {
        for (coding, body) in [("gzip", gzipped(b"hi")), ("deflate", deflated(b"hi")), ("br", BROTLI.to_vec())] {
            for garbage in [vec![0; 1], vec![0; 40_000], b"more".to_vec()] {
                let longer = [body.clone(), garbage].concat();
                assert_eq!(decoded(&[coding], &longer), Err(Undecodable::Broken), "{coding}");
            }
        }
    }

    #[test]
    fn a_checksum_that_is_wrong_is_seen() {
        let mut body = gzipped(b"hi");
        let checksum = body.len() - 8;
        body[checksum] ^= 1;
        assert_eq!(decoded(&["gzip"], &body), Err(Undecodable::Broken));
        let mut body = deflated(b"hi");
        *body.last_mut().unwrap() ^= 1;
        assert_eq!(decoded(&["deflate"], &body), Err(Undecodable::Broken));
    }

    #[test]
    fn bombs_are_not_blown_up() {
        let zeros = vec![0; DECODED_BYTES_MAX + 1];
        assert_eq!(decoded(&["gzip"], &gzipped(&zeros)), Err(Undecodable::TooLong));
        assert_eq!(decoded(&["deflate"], &deflated(&zeros)), Err(Undecodable::TooLong));
        assert_eq!(decoded(&["br"], BROTLI_BOMB), Err(Undecodable::TooLong));
        assert_eq!(decoded(&["gzip, gzip"], &gzipped(&gzipped(&zeros))), Err(Undecodable::TooLong));
    }

    #[test]
    fn a_window_that_br_does_not_know_is_refused() {
        assert_eq!(decoded(&["br"], BROTLI_LARGE_WINDOW), Err(Undecodable::Broken));
    }

    #[test]
    fn short_bodies_may_expand_more_than_long_ones() {
        let floor = vec![0; DECODED_BYTES_FLOOR];
        assert_eq!(decoded(&["gzip"], &gzipped(&floor)).unwrap().len(), DECODED_BYTES_FLOOR);
        let over = vec![0; DECODED_BYTES_FLOOR + 1];
        let coded = gzipped(&over);
        let allowed = coded.len() * RATIO_MAX > DECODED_BYTES_FLOOR;
        assert_eq!(decoded(&["gzip"], &coded).is_ok(), allowed);
    }

    proptest! {
        #[test]
        fn what_was_coded_comes_back(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
            prop_assert_eq!(decoded(&["gzip"], &gzipped(&bytes)).unwrap(), bytes.clone());
            prop_assert_eq!(decoded(&["deflate"], &deflated(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..21_usize) {
            for coding in ["gzip", "deflate", "br", "br, deflate, gzip"] {
                let _ = decoded(&[coding], &bytes);
            }
            let _ = decoded(&["br"], &[BROTLI.get(..at).unwrap_or_default(), &bytes].concat());
            let _ = decoded(&["deflate"], &[b"\x78\x9c".as_slice(), &bytes].concat());
        }
    }
}
