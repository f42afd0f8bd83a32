//! Heads that are generated, then broken: a seeded corpus and properties. Each head goes past the oracle, and is scanned
//! in pieces, too.

use proptest::prelude::*;

use super::oracle::{compare_request, compare_response};
use super::{prefixes, request, request_text, response_text};
use crate::{Error, Framing, request_framing, response_framing, write_request_head};

/// The seed of the corpus and how many heads it has.
const SEED: u64 = 0x0911_2022;
const HEADS: usize = 60_000;

const METHODS: &[&str] = &["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "M-SEARCH"];
const TARGETS: &[&str] = &["/", "/a/b?c=d", "*", "http://h:80/x", "/%2e%2e/a", "//x", "/a.b?x=\"{}\"", "/?"];
const FIELDS: &[&str] = &[
    "Host: h",
    "host:h",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)",
    "Accept:\t*/* ",
    "Content-Length: 5",
    "Content-Length: 05",
    "Transfer-Encoding: chunked",
    "X_Under: 1",
    "Cookie: a=b; c=d",
    "Empty:",
    "Obs: \u{e4}\u{f6}",
    "Connection: close, te",
    "X-Forwarded-For: 1.2.3.4",
    "If-None-Match: \"abc\"",
];
const BREAKS: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"\r\n",
    b"\r\n ",
    b"\x7f",
    b"\xff",
    b"\x0b",
    b"H",
    b"1",
    b"%",
    b"\r\n\r\n",
    b"(",
    b",",
    b"/",
];

fn pick<'a, T: ?Sized>(random: &mut fastrand::Rng, list: &[&'a T]) -> &'a T {
    list[random.usize(..list.len())]
}

fn any_request(random: &mut fastrand::Rng) -> Vec<u8> {
    let version = pick(random, &["1.1", "1.1", "1.1", "1.0"]);
    let mut head = format!("{} {} HTTP/{version}\r\n", pick(random, METHODS), pick(random, TARGETS)).into_bytes();
    add_fields(random, &mut head);
    head
}

fn any_response(random: &mut fastrand::Rng) -> Vec<u8> {
    let status = pick(random, &["200 OK", "204", "304 ", "404 Not Found", "101 Switching Protocols", "599 x", "777 y"]);
    let mut head = format!("HTTP/{} {status}\r\n", pick(random, &["1.1", "1.0"])).into_bytes();
    add_fields(random, &mut head);
    head
}

fn add_fields(random: &mut fastrand::Rng, head: &mut Vec<u8>) {
    for _ in 0..random.usize(..8) {
        head.extend_from_slice(pick(random, FIELDS).as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\nbody");
}

/// Overwrites, inserts or removes at up to three places.
fn broken(random: &mut fastrand::Rng, mut head: Vec<u8>) -> Vec<u8> {
    for _ in 0..random.usize(..4) {
        let at = random.usize(..head.len());
        let end = (at + random.usize(..3)).min(head.len());
        let piece = if random.bool() { pick(random, BREAKS) } else { b"" };
        head.splice(at..end, piece.iter().copied());
        if head.is_empty() {
            head.push(b'G');
        }
    }
    head
}

#[test]
fn the_corpus_reads_as_httparse_reads_it_however_it_is_cut() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let (mut requests, mut responses) = (0, 0);
    for _ in 0..HEADS / 2 {
        let cuts: Vec<usize> = (0..random.usize(..5)).map(|_| random.usize(..)).collect();
        let head = any_request(&mut random);
        let head = broken(&mut random, head);
        requests += usize::from(compare_request(&head));
        assert_eq!(request_text(&head, &prefixes(&head, &cuts)), request_text(&head, &[&head]));
        let head = any_response(&mut random);
        let head = broken(&mut random, head);
        responses += usize::from(compare_response(&head));
        assert_eq!(response_text(&head, &prefixes(&head, &cuts)), response_text(&head, &[&head]));
    }
    // A corpus of which nearly all or nothing passes would show little.
    for passed in [requests, responses] {
        assert!((HEADS / 10..HEADS * 2 / 5).contains(&passed), "{requests} and {responses} of {HEADS} pass");
    }
}

#[test]
fn every_cut_of_a_head_gives_the_same_result() {
    let request = b"\r\nPOST /a//b?%c HTTP/1.1\r\nHost: h\r\nX-Long-Name: \t v \r\nEmpty:\r\n\r\n";
    let response = b"HTTP/1.1 404 Not Found\r\nServer: s\r\nX-A:b\r\n\r\n";
    for first in 0..=request.len() {
        for second in first..=request.len() {
            let cut = [&request[..first], &request[..second], &request[..]];
            assert_eq!(request_text(request, &cut), request_text(request, &[request]));
        }
    }
    for cut in 0..=response.len() {
        assert_eq!(response_text(response, &[&response[..cut], response]), response_text(response, &[response]));
    }
}

#[test]
fn byte_by_byte_is_as_good_as_at_once() {
    let mut random = fastrand::Rng::with_seed(SEED ^ 1);
    for _ in 0..500 {
        let head = any_request(&mut random);
        let head = broken(&mut random, head);
        let every: Vec<&[u8]> = (0..=head.len()).map(|end| &head[..end]).collect();
        assert_eq!(request_text(&head, &every), request_text(&head, &[&head]));
        let head = any_response(&mut random);
        let head = broken(&mut random, head);
        let every: Vec<&[u8]> = (0..=head.len()).map(|end| &head[..end]).collect();
        assert_eq!(response_text(&head, &every), response_text(&head, &[&head]));
    }
}

#[test]
fn what_is_written_reads_as_what_was_read() {
    let mut random = fastrand::Rng::with_seed(SEED ^ 2);
    for _ in 0..2_000 {
        let bytes = any_request(&mut random);
        let (head, _) = request(&bytes).unwrap().unwrap();
        let mut out = Vec::new();
        write_request_head(&mut out, head.method_span().of(&bytes), &[head.target().of(&bytes)], head.view(&bytes))
            .unwrap();
        let (again, end) = request(&out).unwrap().unwrap();
        assert_eq!(end, out.len());
        assert_eq!(again.target().of(&out), head.target().of(&bytes));
        assert!(again.view(&out).all().eq(head.view(&bytes).all()));
    }
}

#[test]
fn a_request_that_is_framed_by_both_fields_never_passes() {
    let mut random = fastrand::Rng::with_seed(SEED ^ 3);
    let mut both = 0;
    for _ in 0..20_000 {
        let bytes = any_request(&mut random);
        let (head, _) = request(&bytes).unwrap().unwrap();
        let names: Vec<_> = head.view(&bytes).all().map(|field| field.name.to_ascii_lowercase()).collect();
        let count = |name: &[u8]| names.iter().filter(|other| *other == name).count();
        let framing = request_framing(&head, &bytes);
        match (count(b"content-length"), count(b"transfer-encoding")) {
            (0, 0) => assert_eq!(framing, Ok(Framing::None)),
            (0, _) => assert!(matches!(framing, Ok(Framing::Chunked) | Err(_))),
            (1, 0) => assert_eq!(framing, Ok(Framing::Length(5))),
            (_, 0) => assert_eq!(framing, Err(Error::ContentLength)),
            (_, _) => {
                assert!(framing.is_err());
                both += 1;
            }
        }
    }
    assert!(both > 100, "{both}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn garbage_is_scanned_without_a_panic_and_alike_however_it_is_cut(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        begins in proptest::sample::select(vec!["", "GET / HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n", "GET /"]),
        cuts in proptest::collection::vec(any::<usize>(), 0..6),
    ) {
        let bytes = [begins.as_bytes(), &bytes].concat();
        compare_request(&bytes);
        compare_response(&bytes);
        prop_assert_eq!(request_text(&bytes, &prefixes(&bytes, &cuts)), request_text(&bytes, &[&bytes]));
        prop_assert_eq!(response_text(&bytes, &prefixes(&bytes, &cuts)), response_text(&bytes, &[&bytes]));
        if let Ok(Some((head, _))) = super::response(&bytes) {
            let _ = response_framing(&head, &bytes, message::Method::Get);
        }
    }
}
