//! Words for mirrors: a route that copies, what its numbers say, and the copies as they came.
//!
//! Does not say what a copy has to look like; that is for the tests.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::script::Step;
use crate::{BodyEnd, Config, DEADLINE, Forebay, Origin, Request, Response, Script};

/// How long lies between two questions for the same numbers.
const PAUSE: Duration = Duration::from_millis(2);

impl Config {
    /// Calls the route `all` and copies it to this origin, as the upstream `shadow`, by these keys of `[route.mirror]`.
    /// Brings the admin listener. Keys of the upstream `shadow` may follow by [`Config::more`], routes may not precede.
    #[must_use]
    pub fn mirrored(self, shadow: &Origin, keys: &str) -> Self {
        let url = shadow.url();
        self.route("name = \"all\"").admin().more(&format!(
            "[route.mirror]\nupstream = \"shadow\"\n{keys}\n[[upstream]]\nname = \"shadow\"\nbackends = [\"{url}\"]"
        ))
    }

    /// Brings the admin listener, on a port of its own.
    #[must_use]
    pub fn admin(self) -> Self {
        self.more("[admin]\nlisten = \"127.0.0.1:0\"")
    }
}

impl Forebay {
    /// What the admin listener answers about mirrors: `forebay.mirror_api("POST", "/all/reset")`.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    #[must_use]
    #[track_caller]
    pub fn mirror_api(&self, method: &str, rest: &str) -> Response {
        let head = format!("{method} /api/v1/mirror{rest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        self.admin().send(head).read_response_to(method)
    }

    /// The numbers of this route's mirror, now. The route's name stands as in a path, percent-encoded.
    ///
    /// # Panics
    ///
    /// When there is no such mirror.
    #[must_use]
    #[track_caller]
    pub fn mirror(&self, route: &str) -> Value {
        told(&self.mirror_api("GET", &format!("/{route}")))
    }

    /// Waits until the numbers of this route's mirror satisfy this, and returns them.
    ///
    /// # Panics
    ///
    /// When they do not in time; shows the last ones.
    #[track_caller]
    pub fn mirror_until(&self, route: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let numbers = self.mirror(route);
            if condition(&numbers) {
                return numbers;
            }
            assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}, but:\n{numbers:#}");
            std::thread::sleep(PAUSE);
        }
    }

    /// Begins to count anew what comparing on this route shows.
    ///
    /// # Panics
    ///
    /// When nothing is compared there.
    #[track_caller]
    pub fn reset_mirror(&self, route: &str) -> Value {
        told(&self.mirror_api("POST", &format!("/{route}/reset")))
    }
}

impl Origin {
    /// Waits until so many requests have come with their bodies, and returns them.
    ///
    /// # Panics
    ///
    /// When they do not come in time.
    #[track_caller]
    pub fn after(&self, count: usize) -> Vec<Request> {
        crate::eventually(&format!("{count} requests have come"), || {
            let requests = self.requests();
            requests.len() >= count && requests.iter().all(|request| request.body_end != BodyEnd::Unread)
        });
        self.requests()
    }
}

impl Script {
    /// Writes these bytes again and again until the peer leaves.
    #[must_use]
    pub fn flood(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Flood(bytes.as_ref().to_vec()))
    }
}

/// The JSON of an answer.
#[track_caller]
fn told(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error} in {}", response.text()))
}
