//! Helpers for mirrors: a route with a mirror, its counters, and the copies that arrive.
//!
//! Tests decide what a copy must look like.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::script::Step;
use crate::{BodyEnd, Config, DEADLINE, Forebay, Origin, Request, Response, Script};

/// The interval of polling counters.
const PAUSE: Duration = Duration::from_millis(2);

impl Config {
    /// Calls the route `all` and mirrors it to this origin in the upstream `shadow`, with these keys of
    /// `[route.mirror]`. Turns on the admin listener. [`Config::more`] may add keys of the upstream `shadow`
    /// afterwards; no routes may precede.
    #[must_use]
    pub fn mirrored(self, shadow: &Origin, keys: &str) -> Self {
        let url = shadow.url();
        self.route("name = \"all\"").admin().more(&format!(
            "[route.mirror]\nupstream = \"shadow\"\n{keys}\n[[upstream]]\nname = \"shadow\"\nbackends = [\"{url}\"]"
        ))
    }

    /// Turns on the admin listener, on its own port.
    #[must_use]
    pub fn admin(self) -> Self {
        self.more("[admin]\nlisten = \"127.0.0.1:0\"")
    }
}

impl Forebay {
    /// The response of the admin API for mirrors: `forebay.mirror_api("POST", "/all/reset")`.
    ///
    /// # Panics
    /// If it does not respond.
    #[must_use]
    #[track_caller]
    pub fn mirror_api(&self, method: &str, rest: &str) -> Response {
        let head = format!("{method} /api/v1/mirror{rest} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        self.admin().send(head).read_response_to(method)
    }

    /// The current counters of this route's mirror. The route's name is percent-encoded.
    ///
    /// # Panics
    /// If there is no such mirror.
    #[must_use]
    #[track_caller]
    pub fn mirror(&self, route: &str) -> Value {
        told(&self.mirror_api("GET", &format!("/{route}")))
    }

    /// Waits until the counters of this route's mirror meet a condition, and returns them.
    ///
    /// # Panics
    /// If they do not in time; shows the last ones.
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

    /// Resets the comparison report of this route.
    ///
    /// # Panics
    /// If responses are not compared.
    #[track_caller]
    pub fn reset_mirror(&self, route: &str) -> Value {
        told(&self.mirror_api("POST", &format!("/{route}/reset")))
    }
}

impl Origin {
    /// Waits until this many requests have arrived with their bodies, and returns them.
    ///
    /// # Panics
    /// If they do not arrive in time.
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
    /// Writes these bytes repeatedly until the peer leaves.
    #[must_use]
    pub fn flood(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Flood(bytes.as_ref().to_vec()))
    }
}

/// The JSON body of a response.
#[track_caller]
fn told(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error} in {}", response.text()))
}
