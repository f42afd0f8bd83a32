//! A request as the client draws it and the backend reads it back from its target, and what may come of it.

use fastrand::Rng;

use crate::wire;

/// The routes of the proxy: a plain one, one whose backend sends too late, one with a flaky backend beside a good one, a
/// Unix socket, a cache, a cache that stores writes.
const ROUTES: [&str; 6] = ["pass", "late", "two", "unix", "hit", "through"];
/// How many numbers the routes with a cache share.
const KEYS: u64 = 400;

/// What the backend does with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// A response with a length.
    Length,
    /// One in chunks.
    Chunked,
    /// One until close.
    UntilClose,
    /// Interim responses first.
    Hints,
    /// A response before the request's body is read.
    Early,
    /// An early refusal, and a polite close.
    Refuse,
    /// A body with a length breaks off.
    CutLength,
    /// A body in chunks breaks off.
    CutChunked,
    /// A body until close ends with a reset.
    CutUntilClose,
    /// A reset in place of a response.
    Reset,
    /// A second response right behind the first.
    Behind,
    /// Bytes or a close on the idle connection, a moment later.
    Late,
    /// A reset by one backend, a response by the other.
    Flaky,
}

use How::{
    Behind, Chunked, CutChunked, CutLength, CutUntilClose, Early, Flaky, Hints, Late, Length, Refuse, Reset, UntilClose,
};

const HOWS: [(&str, How); 13] = [
    ("length", Length),
    ("chunked", Chunked),
    ("close", UntilClose),
    ("hints", Hints),
    ("early", Early),
    ("refuse", Refuse),
    ("cut-length", CutLength),
    ("cut-chunked", CutChunked),
    ("cut-close", CutUntilClose),
    ("reset", Reset),
    ("behind", Behind),
    ("late", Late),
    ("flaky", Flaky),
];

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Its method.
    pub(crate) method: &'static str,
    /// The first segment of its target.
    pub(crate) route: &'static str,
    /// The number that belongs to it.
    pub(crate) nonce: u64,
    /// The length of the response's content.
    pub(crate) length: usize,
    /// What the backend is to do.
    pub(crate) how: How,
    /// The length of its own content.
    pub(crate) upload: Option<usize>,
    /// Whether it waits before its body.
    pub(crate) expects: bool,
    /// Whether it is one of HTTP/1.0, and the last on its connection.
    pub(crate) is_http_1_0: bool,
    /// Whether its client will leave before its end.
    pub(crate) is_left: bool,
}

fn length(rng: &mut Rng, most: usize) -> usize {
    let most = *rng.choice(&[0, 1, 50, 2000, 17_000, 150_000]).unwrap_or(&50).min(&most);
    rng.usize(..=most)
}

impl Ask {
    /// Draws one with no content longer than this.
    pub(crate) fn draw(rng: &mut Rng, most: usize) -> Self {
        let route = *rng.choice(&ROUTES).unwrap_or(&"pass");
        let how = match (route, rng.u8(..16)) {
            (_, 0..=3) => Length,
            (_, 4..=6) => Chunked,
            (_, 7) => UntilClose,
            (_, 8) => Hints,
            (_, 9) => CutLength,
            (_, 10) => CutChunked,
            // A Unix socket knows no reset.
            ("unix", 11) => CutChunked,
            (_, 11) => CutUntilClose,
            (_, 12) => Behind,
            ("late", _) => Late,
            ("two", _) => Flaky,
            ("hit" | "through", _) => Chunked,
            (_, 13) => Early,
            (_, 14) => Refuse,
            _ => Reset,
        };
        let method = match route {
            "hit" => "GET",
            "through" => *rng.choice(&["GET", "GET", "PUT"]).unwrap_or(&"GET"),
            _ if how == Length => *rng.choice(&["GET", "HEAD", "POST"]).unwrap_or(&"GET"),
            _ => *rng.choice(&["GET", "POST"]).unwrap_or(&"GET"),
        };
        let is_cached = matches!(route, "hit" | "through");
        let nonce = if is_cached { rng.u64(..KEYS) } else { rng.u64(..) };
        // What is written through is what will be read: of one length, which belongs to the number.
        let length = if is_cached { length(&mut Rng::with_seed(nonce), most) } else { length(rng, most) };
        let upload = match method {
            "PUT" => Some(length),
            "POST" => Some(self::length(rng, most)),
            _ => None,
        };
        let is_http_1_0 = upload.is_none() && rng.u8(..12) == 0;
        Self { method, route, nonce, length, how, upload, expects: false, is_http_1_0, is_left: false }
    }

    /// Its head and its body, in random framing.
    pub(crate) fn write(&self, rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
        let how = HOWS.iter().find(|(_, how)| *how == self.how).map_or("", |(word, _)| word);
        let version = if self.is_http_1_0 { "1.0" } else { "1.1" };
        let Self { method, route, nonce, length, .. } = self;
        let mut head = format!(
            "{method} /{route}/{nonce:016x}/{length}/{how} HTTP/{version}\r\nhost: hunt\r\nx-nonce: {nonce:016x}\r\n"
        );
        let mut body = Vec::new();
        if let Some(upload) = self.upload {
            head += &format!("x-length: {upload}\r\n");
            body = wire::content(*nonce, upload);
            if rng.bool() {
                body = wire::chunked(&body, rng);
                head += "transfer-encoding: chunked\r\n";
            } else {
                head += &format!("content-length: {upload}\r\n");
            }
        }
        if self.expects {
            head += "expect: 100-continue\r\n";
        }
        if self.is_left {
            head += "x-left: 1\r\n";
        }
        head += "\r\n";
        (head.into_bytes(), body)
    }

    /// What a target says: number, length of the response, what to do.
    pub(crate) fn read(target: &str) -> Option<(u64, usize, How)> {
        let mut segments = target.split('/').skip(2);
        let nonce = u64::from_str_radix(segments.next()?, 16).ok()?;
        let length = segments.next()?.parse().ok()?;
        let word = segments.next()?;
        Some((nonce, length, HOWS.iter().find(|(found, _)| *found == word)?.1))
    }

    /// Whether its body breaks off at the backend: it must never look whole.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.how, CutLength | CutChunked | CutUntilClose)
    }

    /// Whether it may be answered with an error of the proxy's own.
    pub(crate) fn may_fail(&self) -> bool {
        self.is_cut()
            || self.how == Reset
            || self.route == "late"
            || (self.how == Flaky && self.method == "POST")
            // What follows a refusal of a body that was still coming is up to the two.
            || (self.how == Refuse && self.upload.is_some())
    }
}
