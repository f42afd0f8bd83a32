//! Messages that are put together by the grammar and then broken, held against the invariants of the codec.
//!
//! The seed is part of the test, so each run checks the same messages. A failure says which one it was. `./test long`
//! searches on, guided by coverage, with the same invariants (`crates/http1/fuzz`).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod invariants;

use std::ops::Range;

const SEED: u64 = 0x0911_2022;
const MESSAGES: u64 = 30_000;

/// What heads and bodies are put together from: each is taken as often as it stands here.
const LINES: &[&[u8]] = &[
    b"Host: h",
    b"host:shop.example.com:8080",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    b"Accept:\t*/* ",
    b"Content-Length: 5",
    b"Content-Length: 05",
    b"Content-Length: 18446744073709551616",
    b"content-length: 5, 5",
    b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Connection: close, te",
    b"X_Under: 1",
    b"X-Forwarded-Port: 1",
    b"If-Unmodified-Since: Mon, 30 Nov 2026 17:41:30 GMT",
    b"Proxy-Authentication-Info: a",
    b"Upgrade-Insecure-Requests: 1",
    b"!#$%&'*+-.^_`|~: token",
    b"Empty:",
    b"Blank: \t ",
    b"Obs: \xe4\xf6",
    b"A:b",
];
const TARGETS: &[&[u8]] = &[
    b"/",
    b"/a/b?c=d",
    b"*",
    b"http://h:80/x",
    b"h:443",
    b"/%2e%2e/a",
    b"//x",
    b"/a.b?x=\"{}\"",
    b"/?",
    b"/a/long/path/with/many/parts/and//two/slashes?and=a&long=query#with\\all",
    b"/0123456789abcd//f",
    b"/0123456789abcdef?%",
];
const STATUSES: &[&[u8]] =
    &[b"200 OK", b"200 ", b"204", b"304 Not Modified", b"100 Continue", b"101 S", b"599 \xe4", b"600 x", b"099 x"];
const CHUNKS: &[&[u8]] = &[
    b"1\r\na\r\n",
    b"5\r\nhello\r\n",
    b"00A\r\n0123456789\r\n",
    b"3;a=b\r\nabc\r\n",
    b"2 ; a = \"q\\\"\t\" ;b\r\nab\r\n",
    b"1;a;b\r\na\r\n",
    b"ffffffffffffffff\r\n",
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
    b";",
    b"\"",
    b"\\",
    b"=",
    b"0\r\n\r\n",
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"?",
    b".",
    b"#",
    b"_",
    b"f",
];

/// Says which message it was, if a check fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("message {} of the seed {SEED:#x}", self.0);
        }
    }
}

#[test]
fn what_is_generated_keeps_the_invariants() {
    let mut accepted = 0;
    for nth in 0..MESSAGES {
        let _named = Named(nth);
        accepted += u64::from(invariants::check(&message(&mut fastrand::Rng::with_seed(SEED ^ (nth << 32)))));
    }
    // Messages of which nearly all or nothing passes would show little.
    assert!((MESSAGES / 4..MESSAGES * 3 / 4).contains(&accepted), "{accepted} of {MESSAGES} pass");
}

fn message(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut message = vec![3, random.u8(..), random.u8(..)];
    match random.u8(..10) {
        0..4 => request(random, &mut message),
        4..6 => response(random, &mut message),
        6..9 => chunked(random, &mut message),
        _ => (0..random.usize(..40)).for_each(|_| message.push(random.u8(..))),
    }
    if random.bool() {
        broken(random, &mut message);
    }
    message
}

fn pick<'a>(random: &mut fastrand::Rng, list: &[&'a [u8]]) -> &'a [u8] {
    list[random.usize(..list.len())]
}

fn request(random: &mut fastrand::Rng, message: &mut Vec<u8>) {
    message[0] = 0;
    if random.u8(..8) == 0 {
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(pick(random, &[b"GET", b"POST", b"HEAD", b"OPTIONS", b"M-SEARCH", b"G!T"]));
    message.push(b' ');
    message.extend_from_slice(pick(random, TARGETS));
    message.extend_from_slice(pick(random, &[b" HTTP/1.1\r\n", b" HTTP/1.1\r\n", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n"]));
    lines(random, message, 0..10);
    message.extend_from_slice(pick(random, &[b"", b"", b"body", b"GET / HTTP/1.1\r\n\r\n"]));
}

fn response(random: &mut fastrand::Rng, message: &mut Vec<u8>) {
    message[0] = 1;
    message.extend_from_slice(pick(random, &[b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/1.0 "]));
    message.extend_from_slice(pick(random, STATUSES));
    message.extend_from_slice(b"\r\n");
    lines(random, message, 0..10);
}

fn chunked(random: &mut fastrand::Rng, message: &mut Vec<u8>) {
    message[0] = 2;
    for _ in 0..random.usize(..6) {
        message.extend_from_slice(pick(random, CHUNKS));
    }
    message.extend_from_slice(pick(random, &[b"0\r\n", b"0\r\n", b"000;a=b\r\n", b""]));
    lines(random, message, 0..3);
    message.extend_from_slice(pick(random, &[b"", b"next"]));
}

/// Field lines and the empty line.
fn lines(random: &mut fastrand::Rng, message: &mut Vec<u8>, count: Range<usize>) {
    for _ in 0..random.usize(count) {
        message.extend_from_slice(pick(random, LINES));
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
}

/// Overwrites, inserts or removes at up to three places behind the bytes that choose kind and cuts.
fn broken(random: &mut fastrand::Rng, message: &mut Vec<u8>) {
    for _ in 0..random.usize(1..4) {
        let at = random.usize(3..=message.len());
        let end = (at + random.usize(..3)).min(message.len());
        let piece: &[u8] = if random.bool() { pick(random, BREAKS) } else { b"" };
        message.splice(at..end, piece.iter().copied());
    }
}
