//! Messages by the grammar, a third of them broken at up to three places.

pub(crate) struct Generator(fastrand::Rng);

const METHODS: &[&str] = &["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PROPFIND"];
const TARGETS: &[&str] = &[
    "/",
    "/a/b?c=d&e",
    "*",
    "http://h:80/x?y",
    "/%2e%2e/a",
    "//x/y",
    "/a#fragment",
    "/{a}|b^`",
    "/a\"b<c>",
    "/a\\b",
    "/\u{e4}",
    "http://user@h/",
    "http://h?y",
    "h",
];
const FIELDS: &[&str] = &[
    "Host: h",
    "host: h",
    "Accept:\t*/* ",
    "Cookie: a=b; c=d",
    "Cookie: e=f",
    "Empty:",
    "X_Under: 1",
    "Obs: \u{e4}",
    "Expect: 100-continue",
    "Connection: te",
];
/// Framing fields, and the body that fits to them.
const BODIES: &[(&str, &str)] = &[
    ("", ""),
    ("", ""),
    ("", "body"),
    ("Content-Length: 5\r\n", "hello"),
    ("Content-Length: 4\r\n", "\r\n\r\n"),
    ("Content-Length: 5\r\n", "helloGET / HTTP/1.1\r\n\r\n"),
    ("Content-Length: 5\r\n", "hell"),
    ("Content-Length: 05\r\n", "hello, and more"),
    ("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    ("Content-Length: 5\r\nContent-Length: 4\r\n", "hello"),
    ("Content-Length: 5, 5\r\n", "hello"),
    ("Content-Length: +5\r\n", "hello"),
    ("Content-Length: 0\r\n", ""),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "1\r\na\r\nA\r\n0123456789\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "0\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    ("Transfer-Encoding: Chunked\r\n", "00a\r\n0123456789\r\n1\r\na\r\n000\r\nX-Sum: 7\r\nx-sum: 8\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5;a=\"b;c\";d\r\nhello\r\n0;e\r\n\r\nnext"),
    ("Transfer-Encoding: chunked\r\n", "5 ; a = b\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5;a=(b)\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5 \r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "00000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\nX-Sum : 7\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
    ("Transfer-Encoding: gzip, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked, chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: , chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked;a=b\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: gzip\r\n", "hello"),
    ("Transfer-Encoding: identity\r\n", "hello"),
    ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "5\r\nhello\r\n0\r\n\r\n"),
];
const BREAKS: &[&str] = &[
    "\r",
    "\n",
    "\0",
    " ",
    "\t",
    ":",
    "\r\n",
    "\r\n ",
    "\x7f",
    "\u{e4}",
    "\x0b",
    "H",
    "1",
    "%",
    "\r\n\r\n",
    "(",
    ",",
    "/",
    ";",
    "\"",
    "0\r\n\r\n",
    "?",
    "#",
    "_",
    "f",
];

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(crate) fn request(&mut self) -> Vec<u8> {
        let begin = if self.0.u8(..16) == 0 { "\r\n" } else { "" };
        let version = self.pick(&["1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.0", "1.2"]);
        let line = format!("{begin}{} {} HTTP/{version}\r\n", self.pick(METHODS), self.pick(TARGETS));
        self.finish(line)
    }

    /// The response, and whether it answers HEAD.
    pub(crate) fn response(&mut self) -> (Vec<u8>, bool) {
        let version = self.pick(&["1.1", "1.1", "1.1", "1.1", "1.1", "1.1", "1.0", "1.2"]);
        let status = self.pick(&[
            "200 OK",
            "200 ",
            "200",
            "204 No Content",
            "304 Not Modified",
            "404 N\u{e4}",
            "103 Early Hints",
            "599 x",
            "600 x",
            "99 x",
        ]);
        let begin = if self.0.u8(..32) == 0 { "\r\n" } else { "" };
        let bytes = self.finish(format!("{begin}HTTP/{version} {status}\r\n"));
        (bytes, self.0.u8(..8) == 0)
    }

    /// Adds fields and a body, and breaks every third message.
    fn finish(&mut self, line: String) -> Vec<u8> {
        let mut head = line;
        let (framing, body) = BODIES[self.0.usize(..BODIES.len())];
        let place = self.0.usize(..4);
        for nth in 0..4 {
            if nth == place {
                head.push_str(framing);
            } else if self.0.bool() {
                head.push_str(self.pick(FIELDS));
                head.push_str("\r\n");
            }
        }
        let mut bytes = format!("{head}\r\n{body}").into_bytes();
        for _ in 0..if self.0.u8(..3) == 0 { self.0.usize(1..4) } else { 0 } {
            let at = self.0.usize(..=bytes.len());
            let end = (at + self.0.usize(..3)).min(bytes.len());
            let piece = if self.0.bool() { self.pick(BREAKS) } else { "" };
            bytes.splice(at..end, piece.bytes());
        }
        bytes
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.0.usize(..list.len())]
    }
}
