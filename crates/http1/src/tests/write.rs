//! What is written: heads that read as what they were made of, chunk headers, the last chunk.

use std::num::NonZeroU64;

use message::{Known, Lines, Status};

use super::{request, response};
use crate::{ChunkHeader, InvalidRequestLine, write_last_chunk, write_request_head, write_response_head};

#[test]
fn a_request_is_written_from_its_parts() {
    let bytes = b"get /a?b HTTP/1.0\r\nhOST:h\r\nTE: x\r\nA:  b \r\n\r\n";
    let (mut head, _) = request(bytes).unwrap().unwrap();
    head.fields.drop_known(Known::Te.into());
    head.fields.append(b"Via", b"1.0 forebay").unwrap();
    let mut out = Vec::new();
    let target: [&[u8]; 2] = [b"/c", b"?b"];
    write_request_head(&mut out, head.method_span().of(bytes), &target, head.view(bytes)).unwrap();
    assert_eq!(out, b"get /c?b HTTP/1.1\r\nhOST:h\r\nA:  b \r\nVia: 1.0 forebay\r\n\r\n");
}

#[test]
fn a_target_or_method_that_would_split_the_request_is_not_written() {
    let (mut out, fields) = (Vec::new(), Lines::default());
    for target in ["/a b", "/a\r\nHost: x", "/\0", "", "/\u{e4}"] {
        let written = write_request_head(&mut out, b"GET", &[target.as_bytes()], fields.view(&[]));
        assert_eq!(written, Err(InvalidRequestLine), "{target:?}");
    }
    for method in ["", "G T", "GET\r\n", "G:T"] {
        let written = write_request_head(&mut out, method.as_bytes(), &[b"/"], fields.view(&[]));
        assert_eq!(written, Err(InvalidRequestLine), "{method:?}");
    }
    assert_eq!(write_request_head(&mut out, b"GET", &[], fields.view(&[])), Err(InvalidRequestLine));
    assert!(out.is_empty());
}

#[test]
fn a_response_is_written_with_the_reason_of_the_registry() {
    let bytes = b"HTTP/1.0 404 Nope\r\nA: b\r\n\r\n";
    let (head, _) = response(bytes).unwrap().unwrap();
    let mut out = Vec::new();
    write_response_head(&mut out, head.status(), head.view(bytes));
    assert_eq!(out, b"HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n");
    out.clear();
    write_response_head(&mut out, Status::new(299).unwrap(), Lines::default().view(&[]));
    assert_eq!(out, b"HTTP/1.1 299 \r\n\r\n");
}

#[test]
fn chunk_headers_are_hexadecimal_without_zeros_in_front() {
    for size in [1, 9, 10, 15, 16, 255, 256, 0x1234, 65_536, u64::MAX] {
        let header = ChunkHeader::new(NonZeroU64::new(size).unwrap());
        assert_eq!(header.as_bytes(), format!("{size:x}\r\n").as_bytes());
    }
}

#[test]
fn the_last_chunk_carries_the_trailers() {
    let mut out = Vec::new();
    write_last_chunk(&mut out, None);
    assert_eq!(out, b"0\r\n\r\n");
    let mut trailers = Lines::default();
    trailers.append(b"X-Sum", b"7").unwrap();
    out.clear();
    write_last_chunk(&mut out, Some(trailers.view(&[])));
    assert_eq!(out, b"0\r\nX-Sum: 7\r\n\r\n");
}
