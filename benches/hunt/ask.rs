//! A random request, its encoding in the target for the backend, and its possible outcomes.

use fastrand::Rng;

use crate::wire;

/// The routes of the proxy: plain, a backend that sends too late, a flaky backend next to a good one, a Unix socket, a
/// cache, a cache with write-through.
const ROUTES: [&str; 6] = ["pass", "late", "two", "unix", "hit", "through"];
/// The number of distinct keys on the routes with a cache.
const KEYS: u64 = 400;

/// The behaviour of the backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum How {
    /// A response with `Content-Length`.
    Length,
    /// A chunked response.
    Chunked,
    /// A response that ends with the connection.
    UntilClose,
    /// Interim responses first.
    Hints,
    /// A response before the request's body is read.
    Early,
    /// A rejection before the request's body is read, and a clean close.
    Refuse,
    /// A body with `Content-Length` is truncated.
    CutLength,
    /// A chunked body is truncated.
    CutChunked,
    /// A body that ends with the connection is reset.
    CutUntilClose,
    /// A reset instead of a response.
    Reset,
    /// A second response directly after the first.
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
    /// Its unique number.
    pub(crate) nonce: u64,
    /// The length of the response's content.
    pub(crate) length: usize,
    /// The behaviour of the backend.
    pub(crate) how: How,
    /// The length of the request's content.
    pub(crate) upload: Option<usize>,
    /// Whether it uses `Expect: 100-continue`.
    pub(crate) expects: bool,
    /// Whether it uses HTTP/1.0, and is the last on its connection.
    pub(crate) is_http_1_0: bool,
    /// Whether its client leaves before the end.
    pub(crate) is_left: bool,
}

fn length(rng: &mut Rng, most: usize) -> usize {
    let most = *rng.choice(&[0, 1, 50, 2000, 17_000, 150_000]).unwrap_or(&50).min(&most);
    rng.usize(..=most)
}

impl Ask {
    /// Draws a request with content of at most this length.
    pub(crate) fn draw(rng: &mut Rng, most: usize) -> Self {
        let route = *rng.choice(&ROUTES).unwrap_or(&"pass");
        let how = match (route, rng.u8(..16)) {
            (_, 0..=3) => Length,
            (_, 4..=6) => Chunked,
            (_, 7) => UntilClose,
            (_, 8) => Hints,
            (_, 9) => CutLength,
            (_, 10) => CutChunked,
            // A Unix socket has no reset.
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
        // Written content is read back later, so its length depends on the number alone.
        let length = if is_cached { length(&mut Rng::with_seed(nonce), most) } else { length(rng, most) };
        let upload = match method {
            "PUT" => Some(length),
            "POST" => Some(self::length(rng, most)),
            _ => None,
        };
        let is_http_1_0 = upload.is_none() && rng.u8(..12) == 0;
        Self { method, route, nonce, length, how, upload, expects: false, is_http_1_0, is_left: false }
    }

    /// Its head and body, in random framing.
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

    /// Decodes a target: number, length of the response, behaviour.
    pub(crate) fn read(target: &str) -> Option<(u64, usize, How)> {
        let mut segments = target.split('/').skip(2);
        let nonce = u64::from_str_radix(segments.next()?, 16).ok()?;
        let length = segments.next()?.parse().ok()?;
        let word = segments.next()?;
        Some((nonce, length, HOWS.iter().find(|(found, _)| *found == word)?.1))
    }

    /// Whether the backend truncates the body: the response must never look complete.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.how, CutLength | CutChunked | CutUntilClose)
    }

    /// Whether the proxy may answer with an error of its own.
    pub(crate) fn may_fail(&self) -> bool {
        self.is_cut()
            || self.how == Reset
            || self.route == "late"
            || (self.how == Flaky && self.method == "POST")
            // After a rejection during the upload, either outcome is valid.
            || (self.how == Refuse && self.upload.is_some())
    }
}
