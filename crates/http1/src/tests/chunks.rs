//! Bodies: chunks, extensions, trailers; the same result however the bytes are cut.

use message::Lines;
use proptest::prelude::*;

use crate::{
    BodyDecoder, BodyLimits, ChunkHeader, Error, Event, Framing, HeadLimits, RequestHead, request_framing,
    write_last_chunk,
};

/// What a body decoder made of some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    content: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
    /// What was left for the next message; `None` if the body has not ended.
    rest: Option<Vec<u8>>,
}

/// Decodes a body whose bytes arrive in pieces; the decoder's input is kept as a connection keeps it.
fn decode(framing: Framing, limits: BodyLimits, pieces: &[&[u8]]) -> Result<Decoded, Error> {
    let (mut decoder, mut fields) = (BodyDecoder::new(framing, limits), Lines::default());
    let (mut decoded, mut buffer) = (Decoded::default(), Vec::new());
    for piece in pieces {
        if let Some(rest) = &mut decoded.rest {
            rest.extend_from_slice(piece);
            continue;
        }
        buffer.extend_from_slice(piece);
        let mut input = buffer.as_slice();
        loop {
            match decoder.decode(&mut input, &mut fields)? {
                Event::Content(content) => {
                    assert!(!content.is_empty());
                    decoded.content.extend_from_slice(content);
                }
                Event::NeedsMore => break,
                Event::End { trailers } => {
                    let view = fields.view(trailers);
                    decoded.trailers = view.all().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
                    decoded.rest = Some(input.to_vec());
                    break;
                }
            }
        }
        buffer = input.to_vec();
    }
    assert_eq!(decoder.finish().is_ok(), decoded.rest.is_some() || framing == Framing::UntilClose);
    Ok(decoded)
}

fn chunked(bytes: &str) -> Result<Decoded, Error> {
    decode(Framing::Chunked, BodyLimits::default(), &[bytes.as_bytes()])
}

fn content(bytes: &str) -> String {
    let decoded = chunked(bytes).unwrap_or_else(|error| panic!("{bytes:?}: {error}"));
    assert!(decoded.rest.is_some(), "{bytes:?} has not ended");
    String::from_utf8(decoded.content).unwrap()
}

#[track_caller]
fn refused(bytes: &str, error: Error) {
    assert_eq!(chunked(bytes), Err(error), "{bytes:?}");
    let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
    assert_eq!(decode(Framing::Chunked, BodyLimits::default(), &single), Err(error), "{bytes:?} byte by byte");
}

#[test]
fn chunks_are_joined_and_what_follows_is_left() {
    let decoded = chunked("5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\nGET /").unwrap();
    assert_eq!(decoded.content, b"hello0123456789");
    assert_eq!(decoded.rest.as_deref(), Some(&b"GET /"[..]));
    assert_eq!(content("000\r\n\r\n"), "");
}

#[test]
fn content_is_not_copied() {
    let bytes = b"5\r\nhello\r\n0\r\n\r\n".as_slice();
    let (mut input, mut fields) = (bytes, Lines::default());
    let mut decoder = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
    let Ok(Event::Content(content)) = decoder.decode(&mut input, &mut fields) else { panic!() };
    assert_eq!(content.as_ptr(), bytes[3..].as_ptr());
}

#[test]
fn a_chunk_size_is_hexadecimal_digits_alone() {
    for bytes in [
        "zz\r\nab\r\n0\r\n\r\n",
        "-2\r\nab\r\n",
        "+2\r\nab\r\n",
        "0x2\r\nab\r\n",
        "\r\n",
        " 2\r\nab\r\n",
        ";a\r\n",
        "2\nab\r\n",
        "\n",
        "2\0\r\n",
    ] {
        refused(bytes, Error::ChunkSize);
    }
    refused("2 \r\nab\r\n0\r\n\r\n", Error::ChunkExtension);
    refused("2\r\r\nab\r\n0\r\n\r\n", Error::LineEnd);
}

#[test]
fn a_chunk_size_that_does_not_fit_is_refused() {
    refused("10000000000000000\r\n", Error::ChunkSize);
    refused("00000000000000001\r\n", Error::ChunkSize);
    let decoded = chunked("ffffffffffffffff\r\nabc").unwrap();
    assert_eq!((decoded.content.as_slice(), decoded.rest), (&b"abc"[..], None));
}

#[test]
fn content_must_end_where_its_size_says() {
    for bytes in
        ["2\r\nabc\r\n0\r\n\r\n", "2\r\nab0\r\n\r\n", "2\r\nab\n0\r\n\r\n", "2\r\nab\r0\r\n\r\n", "2\r\nab\r\r\n"]
    {
        refused(bytes, Error::ChunkEnd);
    }
}

#[test]
fn extensions_by_their_grammar_are_ignored() {
    for extension in [
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a=\"\"",
        " ;a",
        "\t; a",
        ";a = b",
        ";a =\"b c\" ;d",
        ";a;b;c=d",
        ";a=\"q\\\"\\\\\t;\u{e4}\"",
        ";a =b;c",
    ] {
        assert_eq!(content(&format!("2{extension}\r\nab\r\n0{extension}\r\n\r\n")), "ab", "{extension:?}");
    }
}

#[test]
fn extensions_that_break_their_grammar_are_refused() {
    for extension in [
        ";",
        ";;",
        "; ",
        ";a=",
        ";a= ",
        ";=b",
        ";a=b c",
        ";a b",
        ";a ",
        ";a=b ",
        ";a=\"b\"c",
        ";a=\"b\" ",
        " ",
        " a",
        ";a=\"b",
        ";\"a\"",
        ";a=(b)",
        ";a==b",
    ] {
        refused(&format!("2{extension}\r\nab\r\n0\r\n\r\n"), Error::ChunkExtension);
    }
}

#[test]
fn a_nul_or_line_feed_in_an_extension_is_refused() {
    let with = |place: &str, byte: &str| format!("2{}\r\nab\r\n0\r\n\r\n", place.replace('@', byte));
    for (place, fits) in [
        (";a@", "b"),
        (";@", "b"),
        (";a=@", "b"),
        (";a=b@", "b"),
        (";a=\"@\"", "b"),
        (";a=\"\\@\"", "b"),
        (";a=\"b\"@;c", " "),
        ("@;a", " "),
        (";a@=b", " "),
    ] {
        assert_eq!(content(&with(place, fits)), "ab", "{place}");
        for byte in ["\0", "\n", "\u{7f}", "\x0b"] {
            // Right behind the size, it is the size that is malformed.
            let error = if place.starts_with('@') { Error::ChunkSize } else { Error::ChunkExtension };
            refused(&with(place, byte), error);
        }
    }
    refused("2;a\rb\r\nab\r\n0\r\n\r\n", Error::LineEnd);
}

/// Whether the bytes are extensions, by the grammar of RFC 9112 §7.1.1 and nothing else.
fn are_extensions(bytes: &[u8]) -> bool {
    let blanks = |bytes: &[u8]| bytes.iter().take_while(|byte| b" \t".contains(byte)).count();
    let token = |bytes: &[u8]| bytes.iter().take_while(|byte| message::is_token_byte(**byte)).count();
    let quoted = |bytes: &[u8]| {
        let mut at = 1;
        loop {
            match bytes.get(at..)? {
                [b'"', ..] => return Some(at + 1),
                [b'\\', b'\t' | b' '..=b'~' | 0x80.., ..] => at += 2,
                [b'\t' | b' '..=b'[' | b']'..=b'~' | 0x80.., ..] => at += 1,
                _ => return None,
            }
        }
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let [b';', name @ ..] = &rest[blanks(rest)..] else { return false };
        let name = &name[blanks(name)..];
        rest = &name[token(name)..];
        if rest.len() == name.len() {
            return false;
        }
        if let [b'=', value @ ..] = &rest[blanks(rest)..] {
            let value = &value[blanks(value)..];
            let length = if value.first() == Some(&b'"') { quoted(value) } else { Some(token(value)) };
            rest = match length {
                None | Some(0) => return false,
                Some(length) => &value[length..],
            };
        }
    }
    true
}

#[test]
fn extensions_are_those_of_the_grammar_and_no_others() {
    const BYTES: &[u8] = b";=g \"\\\0(";
    let mut accepted = 0;
    for begin in [&b""[..], b";g", b";g=\""] {
        for length in 0..=5_u32 {
            for nth in 0..BYTES.len().pow(length) {
                let digits = (0..length).map(|digit| BYTES[nth / BYTES.len().pow(digit) % BYTES.len()]);
                let extension: Vec<u8> = begin.iter().copied().chain(digits).collect();
                let body = [b"1", extension.as_slice(), b"\r\nx\r\n0\r\n\r\n"].concat();
                let found = decode(Framing::Chunked, BodyLimits::default(), &[&body]).is_ok();
                assert_eq!(found, are_extensions(&extension), "{:?}", String::from_utf8_lossy(&extension));
                accepted += usize::from(found);
            }
        }
    }
    assert!(accepted > 500, "{accepted}");
}

#[test]
fn extensions_of_a_whole_body_are_bounded() {
    let limits = BodyLimits::new(8, 100, 100);
    let decode =
        |bytes: &str| decode(Framing::Chunked, limits, &[bytes.as_bytes()]).map(|decoded| decoded.content.len());
    assert_eq!(decode("1;aaa\r\nx\r\n1;aa\r\nx\r\n0\r\n\r\n"), Err(Error::ChunkExtensionsTooLarge));
    assert_eq!(decode("1;aa\r\nx\r\n1;aa\r\nx\r\n0\r\n\r\n"), Ok(2));
    refused(&format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(20 * 1024)), Error::ChunkExtensionsTooLarge);
}

#[test]
fn trailers_are_handed_out_apart_and_in_order() {
    let decoded = chunked("1\r\na\r\n0\r\nHost: evil\r\nX-Sum:  7 \r\nhost: x\r\n\r\nrest").unwrap();
    let expected = [("Host", "evil"), ("X-Sum", "7"), ("host", "x")];
    let expected: Vec<_> =
        expected.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
    assert_eq!(decoded.trailers, expected);
    assert_eq!(decoded.rest.as_deref(), Some(&b"rest"[..]));
}

#[test]
fn trailers_are_judged_by_the_rules_for_fields() {
    refused("0\r\nA: b\n\r\n", Error::LineEnd);
    refused("0\r\nA: b\0\r\n\r\n", Error::FieldValue);
    refused("0\r\nA : b\r\n\r\n", Error::FieldName);
    refused("0\r\n A: b\r\n\r\n", Error::FoldedLine);
    refused("0\r\n\rX", Error::LineEnd);
    refused("0\r\n\n", Error::LineEnd);
}

#[test]
fn trailers_are_bounded() {
    refused(&format!("0\r\n{}\r\n", "A: b\r\n".repeat(101)), Error::TooManyFields);
    refused(&format!("0\r\nA: {}\r\n\r\n", "a".repeat(9 * 1024)), Error::TrailersTooLarge);
    let limits = BodyLimits::new(0, 8, 100);
    assert!(decode(Framing::Chunked, limits, &[b"0\r\nA: b\r\n\r\n"]).unwrap().rest.is_some());
    assert_eq!(decode(Framing::Chunked, limits, &[b"0\r\nA: bc\r\n\r\n"]), Err(Error::TrailersTooLarge));
    // More bytes than fit are not waited for.
    assert_eq!(decode(Framing::Chunked, limits, &[b"0\r\nA: bc\r\n\r"]), Err(Error::TrailersTooLarge));
    assert_eq!(decode(Framing::Chunked, limits, &[b"0\r\nA: bcd\r\n"]), Err(Error::TrailersTooLarge));
}

#[test]
fn a_body_that_breaks_off_is_never_complete() {
    let whole = b"2;a=\"b\"\r\nab\r\n0\r\nA: b\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(decode(Framing::Chunked, BodyLimits::default(), &[&whole[..end]]).unwrap().rest, None, "{end}");
    }
    let short = decode(Framing::Length(5), BodyLimits::default(), &[b"abcd"]).unwrap();
    assert_eq!((short.content.len(), short.rest), (4, None));
    assert_eq!(BodyDecoder::Length(1).finish(), Err(Error::Incomplete));
}

#[test]
fn a_body_of_known_length_takes_no_byte_more() {
    let decoded = decode(Framing::Length(5), BodyLimits::default(), &[b"ab", b"cdeGET", b" /"]).unwrap();
    assert_eq!((decoded.content.as_slice(), decoded.rest.as_deref()), (&b"abcde"[..], Some(&b"GET /"[..])));
    let decoded = decode(Framing::None, BodyLimits::default(), &[b"GET /"]).unwrap();
    assert_eq!((decoded.content.len(), decoded.rest.as_deref()), (0, Some(&b"GET /"[..])));
}

#[test]
fn a_body_until_close_takes_everything() {
    let decoded = decode(Framing::UntilClose, BodyLimits::default(), &[b"ab", b"", b"cd"]).unwrap();
    assert_eq!((decoded.content.as_slice(), decoded.rest), (&b"abcd"[..], None));
}

#[test]
fn content_that_is_moved_past_the_decoder_is_counted() {
    let mut fields = Lines::default();
    let mut decoder = BodyDecoder::new(Framing::Chunked, BodyLimits::default());
    assert_eq!(decoder.content_left(), 0);
    let mut input = b"ff\r\na".as_slice();
    assert_eq!(decoder.decode(&mut input, &mut fields), Ok(Event::Content(b"a")));
    assert_eq!(decoder.content_left(), 0xfe);
    decoder.skip(0xfe);
    assert_eq!(decoder.content_left(), 0);
    let mut input = b"\r\n0\r\n\r\n".as_slice();
    assert!(matches!(decoder.decode(&mut input, &mut fields), Ok(Event::End { .. })));
    let mut decoder = BodyDecoder::new(Framing::Length(5), BodyLimits::default());
    decoder.skip(3);
    assert_eq!(decoder.content_left(), 2);
    assert_eq!(BodyDecoder::UntilClose.content_left(), u64::MAX);
}

#[test]
fn an_upgrade_leaves_the_bytes_behind_its_head_alone() {
    let bytes = b"GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n\0\x01\x02";
    let mut head = RequestHead::default();
    let end = head.scan(bytes, &HeadLimits::default()).unwrap().unwrap();
    assert_eq!((&bytes[end..], request_framing(&head, bytes)), (&b"\0\x01\x02"[..], Ok(Framing::None)));
}

/// The bytes in pieces that end at the cuts.
fn pieces<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).chain([bytes.len()]).collect();
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(any::<usize>(), 0..12)
}

/// Bytes that look like a chunked body more often than not.
fn any_chunked() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => Just(&b"\r\n"[..]), 6 => Just(&b"1\r\na\r\n"[..]), 3 => Just(&b"3;a=b\r\nabc\r\n"[..]), 4 => Just(&b"0\r\n"[..]),
        2 => Just(&b";a"[..]), 1 => Just(&b"=\"b\\\"\""[..]), 1 => Just(&b" "[..]), 2 => Just(&b"A: b\r\n"[..]), 1 => Just(&b"\n"[..]),
        1 => Just(&b"\0"[..]), 1 => Just(&b"\r"[..]), 2 => Just(&b"2"[..]), 1 => Just(&b"xyz"[..]),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_was_chunked_is_decoded_however_it_is_cut(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8),
        with_trailers in any::<bool>(),
        cuts in cuts(),
    ) {
        let mut wire = Vec::new();
        for part in &parts {
            wire.extend_from_slice(ChunkHeader::new(u64::try_from(part.len()).unwrap().try_into().unwrap()).as_bytes());
            wire.extend_from_slice(part);
            wire.extend_from_slice(crate::CRLF);
        }
        let mut trailers = Lines::default();
        trailers.append(b"X-Sum", b"7").unwrap();
        write_last_chunk(&mut wire, with_trailers.then(|| trailers.view(&[])));
        wire.extend_from_slice(b"next");
        let decoded = decode(Framing::Chunked, BodyLimits::default(), &pieces(&wire, &cuts)).unwrap();
        prop_assert_eq!(decoded.content, parts.concat());
        prop_assert_eq!(decoded.rest.as_deref(), Some(&b"next"[..]));
        prop_assert_eq!(decoded.trailers.len(), usize::from(with_trailers));
    }

    #[test]
    fn a_body_is_decoded_alike_however_it_is_cut(bytes in any_chunked(), cuts in cuts()) {
        let whole = decode(Framing::Chunked, BodyLimits::default(), &[&bytes]);
        prop_assert_eq!(decode(Framing::Chunked, BodyLimits::default(), &pieces(&bytes, &cuts)), whole);
    }

    #[test]
    fn garbage_is_decoded_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), cuts in cuts()) {
        for framing in [Framing::Chunked, Framing::Length(100), Framing::UntilClose, Framing::None] {
            let whole = decode(framing, BodyLimits::default(), &[&bytes]);
            prop_assert_eq!(decode(framing, BodyLimits::default(), &pieces(&bytes, &cuts)), whole);
        }
    }
}
