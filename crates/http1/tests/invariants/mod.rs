//! What must hold for any bytes that the codec is given. The test of generated messages and the fuzz targets check it.
//!
//! Each message is scanned as a whole and in pieces, held against a plain reading of the RFC and against httparse, written,
//! and read again.

use http1::{
    BodyDecoder, BodyLimits, CRLF, Error, Event, Framing, HeadLimits, Length, RequestHead, ResponseHead, Version,
    declare_length, request_framing, response_framing, write_request_head, write_response_head,
};
use message::{Field, Known, KnownSet, Lines, Method, View, is_token};

/// Checks a message of the kind that the first byte chooses, cut at places that the next two choose. Returns whether the
/// message is whole and accepted.
pub(crate) fn check(data: &[u8]) -> bool {
    let [kind, first, second, bytes @ ..] = data else { return false };
    let place = |at: u8| usize::from(at) * bytes.len().max(1) / 256;
    let cuts = [place(*first).min(place(*second)), place(*first).max(place(*second))];
    match kind % 4 {
        0 => request(bytes, cuts),
        1 => response(bytes, cuts),
        2 => chunked(bytes, cuts),
        _ => length(bytes, cuts),
    }
}

/// What is known of a head, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
struct Scanned {
    end: usize,
    start_line: String,
    fields: Vec<(Vec<u8>, Vec<u8>, Known)>,
}

fn fields(view: View<'_>) -> Vec<(Vec<u8>, Vec<u8>, Known)> {
    view.all().map(|Field { name, value, known }| (name.to_vec(), value.to_vec(), known)).collect()
}

fn scan_request(bytes: &[u8], ends: &[usize]) -> (RequestHead, Result<Option<Scanned>, Error>) {
    let mut head = RequestHead::default();
    for end in ends {
        match head.scan(&bytes[..*end], &HeadLimits::default()) {
            Ok(None) => {}
            Ok(Some(end)) => {
                let start_line = format!(
                    "{:?} {:?} {:?} {:?} {:?} {} {}",
                    head.method(),
                    head.method_span(),
                    head.target(),
                    head.path(),
                    head.version(),
                    head.path_is_plain(),
                    head.query_is_plain()
                );
                let fields = fields(head.view(bytes));
                return (head, Ok(Some(Scanned { end, start_line, fields })));
            }
            Err(error) => return (head, Err(error)),
        }
    }
    (head, Ok(None))
}

fn scan_response(bytes: &[u8], ends: &[usize]) -> (ResponseHead, Result<Option<Scanned>, Error>) {
    let mut head = ResponseHead::default();
    for end in ends {
        match head.scan(&bytes[..*end], &HeadLimits::default()) {
            Ok(None) => {}
            Ok(Some(end)) => {
                let start_line = format!("{:?} {:?} {:?}", head.status(), head.reason(), head.version());
                let fields = fields(head.view(bytes));
                return (head, Ok(Some(Scanned { end, start_line, fields })));
            }
            Err(error) => return (head, Err(error)),
        }
    }
    (head, Ok(None))
}

fn request(bytes: &[u8], [first, second]: [usize; 2]) -> bool {
    let (head, scanned) = scan_request(bytes, &[bytes.len()]);
    assert_eq!(scan_request(bytes, &[first, second, bytes.len()]).1, scanned, "in three pieces");
    if bytes.len() < 200 {
        let each: Vec<usize> = (0..=bytes.len()).collect();
        assert_eq!(scan_request(bytes, &each).1, scanned, "byte by byte");
    }
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut oracle = httparse::Request::new(&mut headers);
    let theirs = oracle.parse(bytes);
    let Ok(Some(scanned)) = scanned else { return false };
    assert_eq!(theirs, Ok(httparse::Status::Complete(scanned.end)));
    let of_oracle = oracle.headers.iter().map(|field| (field.name.as_bytes(), field.value));
    assert!(of_oracle.eq(scanned.fields.iter().map(|(name, value, _)| (name.as_slice(), value.as_slice()))));
    let (method, target) = (head.method_span().of(bytes), head.target().of(bytes));
    assert_eq!((oracle.method, oracle.path), (std::str::from_utf8(method).ok(), std::str::from_utf8(target).ok()));
    head_is_sound(&bytes[..scanned.end], &scanned);
    target_is_marked(&head, target, bytes);
    assert_eq!(request_framing(&head, bytes).ok(), plain_request_framing(&scanned, head.version()));

    let mut written = Vec::new();
    write_request_head(&mut written, method, &[target], head.view(bytes)).unwrap();
    let again = scan_request(&written, &[written.len()]).1.unwrap().unwrap();
    assert_eq!((again.end, &again.fields), (written.len(), &scanned.fields));
    let line = [method, b" ", target, b" HTTP/1.1\r\n"].concat();
    assert!(written.starts_with(&line) && bytes[..scanned.end].ends_with(&written[line.len()..]));
    edits_are_exact(head.fields, &bytes[..scanned.end], &scanned);
    true
}

fn response(bytes: &[u8], [first, second]: [usize; 2]) -> bool {
    let (head, scanned) = scan_response(bytes, &[bytes.len()]);
    assert_eq!(scan_response(bytes, &[first, second, bytes.len()]).1, scanned, "in three pieces");
    if bytes.len() < 200 {
        let each: Vec<usize> = (0..=bytes.len()).collect();
        assert_eq!(scan_response(bytes, &each).1, scanned, "byte by byte");
    }
    let Ok(Some(scanned)) = scanned else { return false };
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut oracle = httparse::Response::new(&mut headers);
    assert_eq!(oracle.parse(bytes), Ok(httparse::Status::Complete(scanned.end)));
    assert_eq!(oracle.code, Some(head.status().code()));
    head_is_sound(&bytes[..scanned.end], &scanned);

    let mut written = Vec::new();
    write_response_head(&mut written, head.status(), head.view(bytes));
    let again = scan_response(&written, &[written.len()]).1.unwrap().unwrap();
    assert_eq!((again.end, &again.fields), (written.len(), &scanned.fields));
    for method in [Method::Get, Method::Head, Method::Connect] {
        let Ok(found) = response_framing(&head, bytes, method) else { continue };
        let (mut framed, status) = (head.fields.clone(), head.status());
        declare_length(&mut framed, bytes, found.declared).unwrap();
        let mut written = Vec::new();
        write_response_head(&mut written, status, framed.view(bytes));
        let (again, _) = scan_response(&written, &[written.len()]);
        let after = response_framing(&again, &written, method).unwrap();
        if !status.ends_with_head() || status.code() == 304 {
            assert_eq!((after.framing, after.declared), (found.framing, found.declared));
        }
        assert_ne!((found.framing, found.is_reusable), (Framing::UntilClose, true));
        if method == Method::Head || status.ends_with_head() {
            assert_eq!(found.framing, Framing::None);
        }
    }
    edits_are_exact(head.fields, &bytes[..scanned.end], &scanned);
    true
}

/// A head that was accepted holds no control character where it could be read otherwise, and its fields are what their
/// lines say.
fn head_is_sound(head: &[u8], scanned: &Scanned) {
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(head.get(at + 1), Some(&b'\n')),
            b'\n' => assert!(at > 0 && head[at - 1] == b'\r'),
            b'\t' => {}
            _ => assert!(*byte >= 0x20 && *byte != 0x7f),
        }
    }
    let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines = lines.skip_while(|line| line.is_empty()).skip(1);
    for (name, value, known) in &scanned.fields {
        let line = lines.next().unwrap();
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        assert_eq!((name.as_slice(), value.as_slice()), (&line[..colon], line[colon + 1..].trim_ascii()));
        assert!(is_token(name));
        assert_eq!(*known, Known::of(name));
    }
    assert!(lines.eq([&b""[..], b""]));
}

fn target_is_marked(head: &RequestHead, target: &[u8], bytes: &[u8]) {
    assert!(!target.is_empty() && target.iter().all(u8::is_ascii_graphic));
    let path = target.split(|byte| *byte == b'?').next().unwrap();
    assert_eq!(head.path().of(bytes), path);
    let holds = |text: &[u8], marks: &[u8]| text.iter().any(|byte| marks.contains(byte));
    let has_odd_segment = path.windows(2).any(|two| matches!(two, b"//" | b"/."));
    assert_eq!(head.path_is_plain(), !holds(path, b"%#\\") && !has_odd_segment);
    assert_eq!(head.query_is_plain(), !holds(&target[path.len()..], b"%#\\"));
}

/// How a request is framed, read off its fields as plainly as can be; `None` if it must be refused.
fn plain_request_framing(scanned: &Scanned, version: Version) -> Option<Framing> {
    let values = |name: &[u8]| -> Vec<String> {
        let named = scanned.fields.iter().filter(|field| field.0.eq_ignore_ascii_case(name));
        named.map(|field| field.1.iter().map(|byte| char::from(*byte)).collect()).collect()
    };
    let (lengths, codings) = (values(b"Content-Length"), values(b"Transfer-Encoding"));
    if !codings.is_empty() {
        let is_chunked = codings.len() == 1 && codings[0].eq_ignore_ascii_case("chunked");
        return (is_chunked && lengths.is_empty() && version == Version::Http11).then_some(Framing::Chunked);
    }
    let mut numbers = Vec::new();
    for length in &lengths {
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        numbers.push(length.parse::<u64>().ok()?);
    }
    match numbers.as_slice() {
        [] | [0] => Some(Framing::None),
        [number] => Some(Framing::Length(*number)),
        _ => None,
    }
}

/// Lines that are dropped are gone, appended ones come last, and everything else stays as it was.
fn edits_are_exact(mut lines: Lines, head: &[u8], scanned: &Scanned) {
    let tags = KnownSet::of(&[Known::Connection, Known::Host, Known::Other, Known::Underscore]);
    lines.drop_known(tags);
    lines.append(b"X-Request-ID", b"7").unwrap();
    let mut written = b"HTTP/1.1 200 OK\r\n".to_vec();
    lines.view(head).write(&mut written);
    written.extend_from_slice(CRLF);
    let mut expected: Vec<_> = scanned.fields.iter().filter(|field| !tags.contains(field.2)).cloned().collect();
    expected.push((b"X-Request-ID".to_vec(), b"7".to_vec(), Known::XRequestId));
    let mut again = ResponseHead::default();
    let end = again.scan(&written, &HeadLimits::new(usize::MAX, 0, usize::MAX)).unwrap();
    assert_eq!((end, fields(again.view(&written))), (Some(written.len()), expected));
    for length in [Length::Undeclared, Length::Known(10), Length::Chunked] {
        declare_length(&mut lines, head, length).unwrap();
        let declared = lines.view(head).tagged(KnownSet::of(&[Known::ContentLength, Known::TransferEncoding]));
        let declared: Vec<_> = declared.map(|field| (field.known, field.value)).collect();
        match length {
            Length::Undeclared => assert!(declared.is_empty()),
            Length::Known(_) => assert_eq!(declared, [(Known::ContentLength, &b"10"[..])]),
            Length::Chunked => assert_eq!(declared, [(Known::TransferEncoding, &b"chunked"[..])]),
        }
    }
}

/// What a decoder made of a body.
#[derive(Debug, Default, PartialEq, Eq)]
struct Decoded {
    content: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>, Known)>,
    /// Where the next message begins; `None` if the body has not ended.
    end: Option<usize>,
}

/// Decodes a body of which each end is one more arrival. Every other content is moved past the decoder.
fn decode(framing: Framing, bytes: &[u8], ends: &[usize], moves: bool) -> Result<Decoded, Error> {
    let limits = BodyLimits::new(64, 256, 8);
    let (mut decoder, mut lines, mut decoded) =
        (BodyDecoder::new(framing, limits), Lines::default(), Decoded::default());
    let mut at = 0;
    for end in ends {
        loop {
            let mut input = &bytes[at..*end];
            let left = decoder.content_left();
            if moves && left > 0 && !input.is_empty() {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                decoded.content.extend_from_slice(&input[..count]);
                decoder.skip(count as u64);
                at += count;
                continue;
            }
            let available = input.len();
            let event = decoder.decode(&mut input, &mut lines)?;
            at += available - input.len();
            match event {
                Event::Content(content) => {
                    assert!(!content.is_empty());
                    decoded.content.extend_from_slice(content);
                }
                Event::NeedsMore => break,
                Event::End { trailers } => {
                    assert!(decoder.finish().is_ok());
                    decoded.trailers = fields(lines.view(trailers));
                    decoded.end = Some(at);
                    return Ok(decoded);
                }
            }
        }
    }
    assert_eq!(decoder.finish().is_ok(), framing == Framing::UntilClose);
    Ok(decoded)
}

fn chunked(bytes: &[u8], [first, second]: [usize; 2]) -> bool {
    let whole = decode(Framing::Chunked, bytes, &[bytes.len()], false);
    assert_eq!(decode(Framing::Chunked, bytes, &[first, second, bytes.len()], false), whole, "in three pieces");
    let each: Vec<usize> = (0..=bytes.len()).collect();
    if bytes.len() < 200 {
        assert_eq!(decode(Framing::Chunked, bytes, &each, false), whole, "byte by byte");
    }
    assert_eq!(decode(Framing::Chunked, bytes, &[second, bytes.len()], true), whole, "moved past the decoder");
    let Ok(whole) = whole else { return false };
    assert!(whole.content.len() <= bytes.len());
    if let Some(end) = whole.end {
        assert_eq!(plain_chunks(&bytes[..end]), whole.content);
    }
    let mut wire = Vec::new();
    for part in bytes.chunks(1 + first) {
        let size = std::num::NonZeroU64::new(part.len() as u64).unwrap();
        wire.extend_from_slice(http1::ChunkHeader::new(size).as_bytes());
        wire.extend_from_slice(part);
        wire.extend_from_slice(CRLF);
    }
    http1::write_last_chunk(&mut wire, None);
    let again = decode(Framing::Chunked, &wire, &[wire.len().min(second), wire.len()], false).unwrap();
    assert_eq!((again.content.as_slice(), again.end), (bytes, Some(wire.len())));
    whole.end.is_some()
}

/// The content of a chunked body that is known to be well-formed.
fn plain_chunks(body: &[u8]) -> Vec<u8> {
    let (mut rest, mut content) = (body, Vec::new());
    loop {
        let line = rest.windows(2).position(|two| two == CRLF).unwrap();
        let digits = rest[..line].iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(line);
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..digits]).unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            assert!(rest == CRLF || rest.ends_with(b"\r\n\r\n"));
            return content;
        }
        content.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], CRLF);
        rest = &rest[size + 2..];
    }
}

fn length(bytes: &[u8], [first, second]: [usize; 2]) -> bool {
    let declared = second;
    for moves in [false, true] {
        let decoded = decode(Framing::Length(declared as u64), bytes, &[first, bytes.len()], moves).unwrap();
        assert_eq!((decoded.content.as_slice(), decoded.end), (&bytes[..declared], Some(declared)));
    }
    let decoded = decode(Framing::UntilClose, bytes, &[first, bytes.len()], false).unwrap();
    assert_eq!((decoded.content.as_slice(), decoded.end), (bytes, None));
    let short = decode(Framing::Length(bytes.len() as u64 + 1), bytes, &[first, bytes.len()], false).unwrap();
    assert_eq!((short.content.as_slice(), short.end), (bytes, None));
    true
}
