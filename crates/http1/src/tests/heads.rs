//! Request lines, status lines and field lines: what passes, and what is refused with which error.

use message::Method;

use super::{prefixes, request, response};
use crate::{Error, HeadLimits, RequestHead, ResponseHead, Sender, Version};

#[track_caller]
fn refused(head: &str, error: Error, status: u16) {
    refused_bytes(head.as_bytes(), error, status);
}

#[track_caller]
fn refused_bytes(head: &[u8], error: Error, status: u16) {
    let found = request(head).map(|head| head.is_some());
    assert_eq!(found, Err(error), "{:?}", String::from_utf8_lossy(head));
    assert_eq!(error.status(Sender::Client).code(), status);
}

#[track_caller]
fn refused_response(head: &str, error: Error) {
    assert_eq!(response(head.as_bytes()).map(|head| head.is_some()), Err(error), "{head:?}");
    assert_eq!(error.status(Sender::Server).code(), 502);
}

#[test]
fn a_head_is_read_into_its_parts() {
    let bytes = b"POST /a/b?c=d HTTP/1.1\r\nHost: h\r\nX-A: \t one two \t\r\nEmpty:\r\n\r\nbody";
    let (head, end) = request(bytes).unwrap().unwrap();
    assert_eq!(&bytes[end..], b"body");
    assert_eq!((head.method(), head.version()), (Method::Post, Version::Http11));
    assert_eq!(head.method_span().of(bytes), b"POST");
    assert_eq!(head.target().of(bytes), b"/a/b?c=d");
    assert_eq!(head.path().of(bytes), b"/a/b");
    let fields: Vec<_> = head.view(bytes).all().map(|field| (field.name, field.value)).collect();
    assert_eq!(fields, [(&b"Host"[..], &b"h"[..]), (b"X-A", b"one two"), (b"Empty", b"")]);
}

#[test]
fn a_scanned_name_has_the_tag_that_it_has_alone() {
    let names = [
        "Host",
        "Client-Cert",
        "client-cert-chain",
        "X-Client-Cert-Subject",
        "Forebay-Side",
        "X-Forebay-Side",
        "Sec-Fetch-Mode",
        "X-Forwarded-Port",
        "Front-End-Https",
        "X-HTTP-Method-Override",
        "x_forwarded_for",
        "CF-Ray",
        "Unknown",
        "a_b",
    ];
    for name in names {
        // Short and long lines, since not all are scanned the same way; and one behind others.
        for value in
            ["v", "a value that is longer than any block of bytes that is looked at in one go, and so on and on"]
        {
            let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{name}: {value}\r\nAccept: */*\r\n\r\n");
            let (head, _) = request(text.as_bytes()).unwrap().unwrap();
            let field = head.view(text.as_bytes()).all().nth(1).unwrap();
            assert_eq!(field.known, message::Known::of(name.as_bytes()), "{name}");
        }
    }
}

#[test]
fn a_head_without_fields_ends_with_its_empty_line() {
    let (head, end) = request(b"GET / HTTP/1.0\r\n\r\n").unwrap().unwrap();
    assert_eq!((end, head.version(), head.fields.received_count()), (18, Version::Http10, 0));
}

#[test]
fn a_complete_head_stays_what_it_is() {
    let bytes = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let (mut head, end) = request(bytes).unwrap().unwrap();
    assert_eq!(head.scan(bytes, &HeadLimits::default()), Ok(Some(end)));
    assert_eq!(head.fields.received_count(), 1);
    let bytes = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    let (mut head, end) = response(bytes).unwrap().unwrap();
    assert_eq!(head.scan(bytes, &HeadLimits::default()), Ok(Some(end)));
    assert_eq!(head.fields.received_count(), 1);
}

#[test]
fn an_incomplete_head_is_waited_for() {
    let whole = b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n";
    for end in 0..whole.len() {
        assert!(request(&whole[..end]).unwrap().is_none(), "{end}");
    }
    let whole = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for end in 0..whole.len() {
        assert!(response(&whole[..end]).unwrap().is_none(), "{end}");
    }
}

#[test]
fn a_bare_line_feed_ends_no_line() {
    refused("GET / HTTP/1.1\nHost: h\n\n", Error::RequestLine, 400);
    refused("GET / HTTP/1.1\r\nHost: h\n\r\n", Error::LineEnd, 400);
    refused("GET / HTTP/1.1\r\nHost: h\r\n\n", Error::LineEnd, 400);
    refused("\nGET / HTTP/1.1\r\n\r\n", Error::RequestLine, 400);
    refused_response("HTTP/1.1 200 OK\nA: b\r\n\r\n", Error::LineEnd);
    refused_response("HTTP/1.1 200\nA: b\r\n\r\n", Error::StatusLine);
}

#[test]
fn a_bare_carriage_return_is_refused() {
    refused("GET / HTTP/1.1\r\nA: b\rc: d\r\n\r\n", Error::LineEnd, 400);
    refused("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", Error::LineEnd, 400);
    refused("GET / HTTP/1.1\r\nA\r: b\r\n\r\n", Error::LineEnd, 400);
    refused("GET / HTTP/1.1\r\nA: b\r\n\rX", Error::LineEnd, 400);
    refused("GET / HTTP/1.1\rHost: h\r\n\r\n", Error::RequestLine, 400);
    refused("\rGET / HTTP/1.1\r\n\r\n", Error::LineEnd, 400);
    refused_response("HTTP/1.1 200 OK\rA: b\r\n\r\n", Error::LineEnd);
}

#[test]
fn nul_and_other_control_characters_are_refused() {
    for byte in (0..0x20).chain([0x7f]).filter(|byte| !b"\t\r\n".contains(byte)) {
        refused_bytes(&[b"GET / HTTP/1.1\r\nA: b".as_slice(), &[byte], b"\r\n\r\n"].concat(), Error::FieldValue, 400);
        refused_bytes(&[b"GET / HTTP/1.1\r\nA".as_slice(), &[byte], b": b\r\n\r\n"].concat(), Error::FieldName, 400);
        refused_bytes(&[b"GET /".as_slice(), &[byte], b" HTTP/1.1\r\n\r\n"].concat(), Error::RequestLine, 400);
        refused_bytes(&[b"G".as_slice(), &[byte], b"T / HTTP/1.1\r\n\r\n"].concat(), Error::RequestLine, 400);
    }
    refused_response("HTTP/1.1 200 O\0K\r\n\r\n", Error::StatusLine);
    refused_response("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", Error::FieldValue);
}

#[test]
fn whitespace_around_a_name_and_folded_lines_are_refused() {
    refused("GET / HTTP/1.1\r\nA : b\r\n\r\n", Error::FieldName, 400);
    refused("GET / HTTP/1.1\r\nContent-Length\t: 5\r\n\r\n", Error::FieldName, 400);
    refused("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Error::FoldedLine, 400);
    refused("GET / HTTP/1.1\r\nA: b\r\n\tc: d\r\n\r\n", Error::FoldedLine, 400);
    refused("GET / HTTP/1.1\r\n A: b\r\n\r\n", Error::FoldedLine, 400);
    refused_response("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", Error::FieldName);
    refused_response("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", Error::FoldedLine);
}

#[test]
fn a_line_without_a_name_or_a_colon_is_refused() {
    refused("GET / HTTP/1.1\r\n: b\r\n\r\n", Error::FieldName, 400);
    refused("GET / HTTP/1.1\r\nno-colon\r\n\r\n", Error::LineEnd, 400);
    refused("GET / HTTP/1.1\r\nno colon\r\n\r\n", Error::FieldName, 400);
    refused("GET / HTTP/1.1\r\nn\u{e4}me: b\r\n\r\n", Error::FieldName, 400);
    refused("GET / HTTP/1.1\r\n(A): b\r\n\r\n", Error::FieldName, 400);
}

#[test]
fn a_value_may_hold_tabs_and_bytes_past_ascii() {
    let bytes = b"GET / HTTP/1.1\r\nA: b\tc \xe4\r\n\r\n";
    let (head, _) = request(bytes).unwrap().unwrap();
    assert_eq!(head.view(bytes).named(b"a").next().unwrap().value, b"b\tc \xe4");
}

#[test]
fn blanks_around_a_value_are_no_part_of_it() {
    for (line, value) in [
        ("Name: v", "v"),
        ("Name:v", "v"),
        ("Name:  v", "v"),
        ("Name:\tv", "v"),
        ("Name: \t v w", "v w"),
        ("Name: v ", "v"),
        ("Name:v\t", "v"),
        ("Name: ", ""),
        ("Name:", ""),
        ("Name: \t ", ""),
        ("N:  v", "v"),
        ("N: !", "!"),
    ] {
        let bytes = format!("GET / HTTP/1.1\r\n{line}\r\nNext: x\r\n\r\n").into_bytes();
        for cuts in [&[][..], &[18], &[20], &[22]] {
            let mut head = RequestHead::default();
            let found =
                prefixes(&bytes, cuts).into_iter().find_map(|cut| head.scan(cut, &HeadLimits::default()).unwrap());
            assert_eq!(found, Some(bytes.len()));
            let values: Vec<_> = head.view(&bytes).all().map(|field| field.value).collect();
            assert_eq!(values, [value.as_bytes(), b"x"], "{line:?}");
        }
    }
}

#[test]
fn a_request_line_has_three_parts_and_two_blanks() {
    for head in [
        "GET  / HTTP/1.1\r\n\r\n",
        "GET /  HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        " GET / HTTP/1.1\r\n\r\n",
        "GET\t/ HTTP/1.1\r\n\r\n",
        "GET /\tHTTP/1.1\r\n\r\n",
        "GET / a HTTP/1.1\r\n\r\n",
        "GET HTTP/1.1\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        "GET / http/1.1\r\n\r\n",
        "GET / HTTP/1.1x\r\n\r\n",
        "GET / HTTP/11\r\n\r\n",
        "GET / HTTP/1.10\r\n\r\n",
    ] {
        refused(head, Error::RequestLine, 400);
    }
}

#[test]
fn http_0_9_is_refused() {
    refused("GET /\r\n\r\n", Error::RequestLine, 400);
    refused("GET / \r\n\r\n", Error::RequestLine, 400);
}

#[test]
fn other_versions_are_not_supported() {
    for version in ["1.2", "1.9", "2.0", "0.9", "3.1", "9.9"] {
        refused(&format!("GET / HTTP/{version}\r\n\r\n"), Error::Version, 505);
        refused_response(&format!("HTTP/{version} 200 OK\r\n\r\n"), Error::Version);
    }
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Error::Version, 505);
    refused("GET / HTTP/2.0\r\n", Error::Version, 505);
}

#[test]
fn a_request_line_of_http_0_9_is_refused() {
    refused("GET /\r\n", Error::RequestLine, 400);
    refused("GET /\r\n\r\n", Error::RequestLine, 400);
    refused("GET / \r\n\r\n", Error::RequestLine, 400);
}

#[test]
fn raw_bytes_past_ascii_in_a_target_are_refused() {
    refused("GET /\u{e9} HTTP/1.1\r\n\r\n", Error::RequestLine, 400);
    refused("GET /a?\u{e9} HTTP/1.1\r\n\r\n", Error::RequestLine, 400);
    refused("GET /a\u{7f} HTTP/1.1\r\n\r\n", Error::RequestLine, 400);
}

#[test]
fn what_scripts_send_raw_in_a_target_passes_unchanged() {
    let bytes = br#"GET /a?filter={"a":[1]}|<b>^`'\ HTTP/1.1
"#;
    let bytes = [bytes.strip_suffix(b"\n").unwrap(), b"\r\n\r\n"].concat();
    let (head, _) = request(&bytes).unwrap().unwrap();
    assert_eq!(head.target().of(&bytes), br#"/a?filter={"a":[1]}|<b>^`'\"#);
    assert!(head.path_is_plain() && !head.query_is_plain());
}

#[test]
fn a_path_that_is_in_no_normal_form_is_marked() {
    for (target, path_is_plain, query_is_plain) in [
        ("/", true, true),
        ("/a/b?x=./../y//z", true, true),
        ("/a.b", true, true),
        ("/.b", false, true),
        ("/23456789abcdef/.b", false, true),
        ("/a/../b", false, true),
        ("/%41", false, true),
        ("/%00", false, true),
        ("/%2f", false, true),
        ("//evil.example/x", false, true),
        ("/a//b?c", false, true),
        ("/a#b", false, true),
        ("/a\\b", false, true),
        ("/a?%41", true, false),
        ("/a?b#c", true, false),
        ("/a?b?/c", true, true),
        ("http://h/a", false, true),
        ("*", true, true),
    ] {
        let bytes = format!("GET {target} HTTP/1.1\r\n\r\n");
        let (head, _) = request(bytes.as_bytes()).unwrap().unwrap();
        assert_eq!((head.path_is_plain(), head.query_is_plain()), (path_is_plain, query_is_plain), "{target}");
        assert_eq!(head.path().of(bytes.as_bytes()), target.split('?').next().unwrap().as_bytes());
    }
}

#[test]
fn every_form_of_target_is_read_as_bytes() {
    for target in ["*", "h:443", "http://h/", "/"] {
        let bytes = format!("OPTIONS {target} HTTP/1.1\r\n\r\n");
        assert_eq!(request(bytes.as_bytes()).unwrap().unwrap().0.target().of(bytes.as_bytes()), target.as_bytes());
    }
}

#[test]
fn empty_lines_before_a_request_are_skipped_and_do_not_begin_it() {
    let bytes = b"\r\n\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let (head, end) = request(bytes).unwrap().unwrap();
    assert_eq!((head.target().of(bytes), end), (&b"/a"[..], bytes.len()));
    let mut head = RequestHead::default();
    assert_eq!(head.scan(b"\r\n\r", &HeadLimits::default()), Ok(None));
    assert!(!head.has_begun());
    assert_eq!(head.scan(b"\r\n\r\nG", &HeadLimits::default()), Ok(None));
    assert!(head.has_begun());
    refused_response("\r\nHTTP/1.1 200 OK\r\n\r\n", Error::StatusLine);
}

#[test]
fn endless_empty_lines_are_refused() {
    refused(&"\r\n".repeat(20 * 1024), Error::RequestLine, 400);
}

#[test]
fn a_second_head_is_judged_as_the_first_was() {
    let pipelined = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost : h\r\n\r\n";
    let (mut head, end) = request(pipelined).unwrap().unwrap();
    head.reset();
    assert_eq!(head.scan(&pipelined[end..], &HeadLimits::default()), Err(Error::FieldName));
}

#[test]
fn a_reset_head_is_as_new() {
    let (mut head, _) = request(b"POST /a//%41?b HTTP/1.0\r\nA: b\r\n\r\n").unwrap().unwrap();
    head.reset();
    assert_eq!(format!("{head:?}"), format!("{:?}", RequestHead::default()));
    let (mut head, _) = response(b"HTTP/1.0 404 No\r\nA: b\r\n\r\n").unwrap().unwrap();
    head.reset();
    assert_eq!(format!("{head:?}"), format!("{:?}", ResponseHead::default()));
}

#[test]
fn the_hundredth_line_passes_and_the_next_does_not() {
    let lines = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
    assert_eq!(request(lines(100).as_bytes()).unwrap().unwrap().0.fields.received_count(), 100);
    refused(&lines(101), Error::TooManyFields, 431);
}

#[test]
fn a_head_may_have_as_many_bytes_as_allowed_and_not_one_more() {
    let head = "GET / HTTP/1.1\r\nA: b\r\n\r\n";
    for (bytes_max, expected) in
        [(head.len(), Ok(Some(head.len()))), (head.len() - 1, Err(Error::HeadTooLarge)), (0, Err(Error::RequestLine))]
    {
        let limits = HeadLimits::new(bytes_max, 100, 100);
        assert_eq!(RequestHead::default().scan(head.as_bytes(), &limits), expected);
        let body = format!("{head}and a body");
        assert_eq!(RequestHead::default().scan(body.as_bytes(), &limits), expected);
    }
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(40 * 1024));
    refused(&long, Error::HeadTooLarge, 431);
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "a".repeat(40 * 1024));
    refused_response(&long, Error::HeadTooLarge);
}

#[test]
fn a_head_that_can_not_fit_is_refused_as_soon_as_it_fills_its_limit() {
    let limits = HeadLimits::new(20, 100, 100);
    let request = b"GET / HTTP/1.1\r\nA: b";
    assert_eq!(RequestHead::default().scan(&request[..19], &limits), Ok(None));
    assert_eq!(RequestHead::default().scan(request, &limits), Err(Error::HeadTooLarge));
    let response = b"HTTP/1.1 200 OK\r\nA: ";
    assert_eq!(ResponseHead::default().scan(&response[..19], &limits), Ok(None));
    assert_eq!(ResponseHead::default().scan(response, &limits), Err(Error::HeadTooLarge));
}

#[test]
fn no_limit_lets_a_head_outgrow_its_offsets() {
    let limits = HeadLimits::new(usize::MAX, usize::MAX, usize::MAX);
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(70_000));
    assert_eq!(RequestHead::default().scan(long.as_bytes(), &limits), Err(Error::HeadTooLarge));
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000));
    assert_eq!(RequestHead::default().scan(long.as_bytes(), &limits), Err(Error::TargetTooLong));
    let fits = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(65_535 - 23));
    assert_eq!(RequestHead::default().scan(fits.as_bytes(), &limits), Ok(Some(65_535)));
}

#[test]
fn a_target_may_have_16_kib_and_not_one_byte_more() {
    let head = |count: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(count - 1));
    assert!(request(head(16 * 1024).as_bytes()).unwrap().is_some());
    refused(&head(16 * 1024 + 1), Error::TargetTooLong, 414);
    // In pieces, too.
    for (count, expected) in [(16 * 1024, Ok(None)), (16 * 1024 + 1, Err(Error::TargetTooLong))] {
        let (bytes, mut head) = (head(count), RequestHead::default());
        assert_eq!(head.scan(&bytes.as_bytes()[..100], &HeadLimits::default()), Ok(None));
        assert_eq!(head.scan(&bytes.as_bytes()[..count + 10], &HeadLimits::default()), expected);
    }
    // Before its end is there, too.
    refused_bytes(&head(16 * 1024 + 1).as_bytes()[..16 * 1024 + 6], Error::TargetTooLong, 414);
}

#[test]
fn a_method_may_be_any_token_and_not_endless() {
    let bytes = b"PROPFIND / HTTP/1.1\r\n\r\n";
    let (head, _) = request(bytes).unwrap().unwrap();
    assert_eq!((head.method(), head.method_span().of(bytes)), (Method::Extension, &b"PROPFIND"[..]));
    refused(&"A".repeat(40 * 1024), Error::RequestLine, 400);
}

#[test]
fn a_status_line_is_read_into_its_parts() {
    let bytes = b"HTTP/1.1 404 Not \xe4\tFound\r\nA: b\r\n\r\n";
    let (head, end) = response(bytes).unwrap().unwrap();
    assert_eq!((head.status().code(), head.version(), end), (404, Version::Http11, bytes.len()));
    assert_eq!(head.reason().of(bytes), b"Not \xe4\tFound");
    assert_eq!(response(b"HTTP/1.0 200 OK\r\n\r\n").unwrap().unwrap().0.version(), Version::Http10);
}

#[test]
fn a_reason_may_be_empty_and_the_blank_before_it_missing() {
    for head in ["HTTP/1.1 204 \r\n\r\n", "HTTP/1.1 204\r\n\r\n"] {
        let (head, end) = response(head.as_bytes()).unwrap().unwrap_or_else(|| panic!("{head:?}"));
        assert_eq!((head.status().code(), head.reason().of(b"").len()), (204, 0));
        assert!(end >= 16);
    }
}

#[test]
fn a_status_line_must_be_one() {
    for head in [
        "HTTP/1.1 2OO OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 099 Low\r\n\r\n",
        "HTTP/1.1 1000 High\r\n\r\n",
        "HTTP/1.1 600 High\r\n\r\n",
        "HTTP/1.1 999 High\r\n\r\n",
        "HTTP/1.1 -20 Low\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/1.1 200\tOK\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "garbage, no head at all\r\n\r\n",
        "<html>HTTP/0.9</html>",
        " HTTP/1.1 200 OK\r\n\r\n",
    ] {
        refused_response(head, Error::StatusLine);
    }
}
