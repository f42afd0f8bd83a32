//! Helpers for tests of splits and canaries: counts of responses by side, and the admin API.
//!
//! The body of a response names the side: each [`Origin`] answers with its name. Tests decide the expected share;
//! [`is_share`] computes the statistical tolerance.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value, json};

use crate::{Client, Config, DEADLINE, Ending, Forebay, Origin, Response, ok, split};

/// Two sides, `new` and `old`, which answer with their names.
#[derive(Debug)]
pub struct Sides {
    /// The new side.
    pub new: Origin,
    /// The old side.
    pub old: Origin,
}

impl Sides {
    /// Starts both.
    #[must_use]
    pub fn start() -> Self {
        Self { new: Origin::start(ok("new")), old: Origin::start(ok("old")) }
    }

    /// A split with this many percent for `new` and the rest for `old`.
    #[must_use]
    pub fn split(&self, percent: f64) -> Config {
        split(&[("new", &self.new, percent), ("old", &self.old, 100.0 - percent)])
    }
}

/// Whether `count` of `draws` matches this share in percent; wrong for one in a million correct counts.
#[must_use]
pub fn is_share(count: usize, draws: usize, percent: f64) -> bool {
    let (share, draws) = (percent / 100.0, draws as f64);
    let deviation = (draws * share * (1.0 - share)).sqrt();
    (count as f64 - draws * share).abs() <= 5.0 * deviation
}

/// Sends requests one after the other, on one connection as long as it lasts.
#[derive(Debug)]
pub struct Caller {
    address: SocketAddr,
    client: Option<Client>,
}

impl Caller {
    /// A caller of this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, client: None }
    }

    /// Sends `GET` for this target and the host `shop.test`, with these field lines, each ending in CRLF.
    ///
    /// # Panics
    /// If no response arrives in time, complete or recognisably truncated.
    #[track_caller]
    pub fn get(&mut self, target: &str, fields: &str) -> Response {
        let kept = self.client.take().filter(|client| !client.is_closed());
        let mut client = kept.unwrap_or_else(|| Client::to(self.address));
        client.send(format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n"));
        let response = client.read_response();
        self.client = Some(client).filter(|_| response.ending == Ending::Kept);
        response
    }

    /// Sends this many requests for `/` with these field lines, and counts the bodies; responses other than 200 by
    /// status, truncated ones as `broken`.
    ///
    /// # Panics
    /// If no response arrives in time, complete or recognisably truncated.
    #[track_caller]
    pub fn tally(&mut self, count: usize, fields: &str) -> BTreeMap<String, usize> {
        let mut tally = BTreeMap::new();
        for _ in 0..count {
            let response = self.get("/", fields);
            let said = match (response.ending, response.status) {
                (Ending::CutShort, _) => "broken".to_owned(),
                (_, 200) => response.text(),
                (_, status) => status.to_string(),
            };
            *tally.entry(said).or_default() += 1;
        }
        tally
    }
}

impl Response {
    /// The cookie in a response, in the form `name=value` of a request; the first if there are several.
    #[must_use]
    pub fn cookie(&self) -> Option<String> {
        let (pair, _) = self.field("set-cookie")?.split_once(';')?;
        Some(pair.to_owned())
    }
}

/// The API of an admin listener.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    address: SocketAddr,
}

impl Api {
    /// The API at this address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Sends a request; an empty body means none.
    ///
    /// # Panics
    /// If no complete response arrives in time.
    #[must_use]
    #[track_caller]
    pub fn ask(&self, method: &str, target: &str, body: &str) -> Response {
        let length = body.len();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {length}\r\n\r\n");
        Client::to(self.address).send(head + body).read_response_to(method)
    }

    /// The address of the admin listener.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Gets a resource.
    ///
    /// # Panics
    /// If the response is not 200 with JSON.
    #[must_use]
    #[track_caller]
    pub fn get(&self, target: &str) -> Value {
        told(&self.ask("GET", target, ""))
    }

    /// Posts to a resource.
    ///
    /// # Panics
    /// If the response is not 200 with JSON.
    #[track_caller]
    pub fn post(&self, target: &str, order: &Value) -> Value {
        told(&self.ask("POST", target, &order.to_string()))
    }

    /// A route's split.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    #[track_caller]
    pub fn split(&self, route: &str) -> Value {
        self.get(&format!("/api/v1/split/{}", segment(route)))
    }

    /// The current share of a side, in percent.
    ///
    /// # Panics
    /// If there is no such side.
    #[must_use]
    #[track_caller]
    pub fn weight(&self, route: &str, side: &str) -> f64 {
        side_of(&self.split(route), side)["weight"].as_f64().expect("a side has a weight")
    }

    /// The description of a side.
    ///
    /// # Panics
    /// If there is no such side.
    #[must_use]
    #[track_caller]
    pub fn side(&self, route: &str, side: &str) -> Value {
        side_of(&self.split(route), side)
    }

    /// Sets the weights of sides as alice; returns the split.
    ///
    /// # Panics
    /// If that is rejected.
    #[track_caller]
    pub fn set_weights(&self, route: &str, weights: &[(&str, f64)]) -> Value {
        let weights: BTreeMap<_, _> = weights.iter().copied().collect();
        self.post(&format!("/api/v1/split/{}", segment(route)), &json!({ "weights": weights, "by": "alice" }))
    }

    /// Restores the file's weights.
    ///
    /// # Panics
    /// If that is rejected.
    #[track_caller]
    pub fn reset_weights(&self, route: &str) -> Value {
        told(&self.ask("POST", &format!("/api/v1/split/{}/reset", segment(route)), ""))
    }

    /// A route's canary.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    #[track_caller]
    pub fn canary(&self, route: &str) -> Value {
        self.get(&format!("/api/v1/canary/{}", segment(route)))
    }

    /// Sends a command to a canary; returns it.
    ///
    /// # Panics
    /// If that is rejected.
    #[track_caller]
    pub fn direct(&self, route: &str, order: &str) -> Value {
        told(&self.try_direct(route, order))
    }

    /// Sends a command to a canary, which may reject it.
    ///
    /// # Panics
    /// If no complete response arrives in time.
    #[must_use]
    #[track_caller]
    pub fn try_direct(&self, route: &str, order: &str) -> Response {
        self.ask("POST", &format!("/api/v1/canary/{}/{order}", segment(route)), "")
    }

    /// Waits until the canary meets a condition, and returns it.
    ///
    /// # Panics
    /// If it does not in time.
    #[track_caller]
    pub fn canary_until(&self, route: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        self.canary_while(route, what, is_so, || std::thread::sleep(std::time::Duration::from_millis(5)))
    }

    /// Repeats an action until the canary meets a condition, and returns it.
    ///
    /// # Panics
    /// If it does not in time.
    #[track_caller]
    pub fn canary_while(
        &self,
        route: &str,
        what: &str,
        is_so: impl Fn(&Value) -> bool,
        mut meanwhile: impl FnMut(),
    ) -> Value {
        let begun = Instant::now();
        loop {
            let canary = self.canary(route);
            if is_so(&canary) {
                return canary;
            }
            assert!(begun.elapsed() < 4 * DEADLINE, "not in time: {what}\n{canary:#}");
            meanwhile();
        }
    }
}

impl Forebay {
    /// Its API.
    ///
    /// # Panics
    ///
    /// When it has no admin listener on a TCP address.
    #[must_use]
    #[track_caller]
    pub fn api(&self) -> Api {
        Api::at(self.admin_address())
    }

    /// A client that sends requests one after the other.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(self.address())
    }

    /// Sends this many requests for `/`, and counts the bodies like [`Caller::tally`].
    ///
    /// # Panics
    /// If no response arrives in time, complete or recognisably truncated.
    #[must_use]
    #[track_caller]
    pub fn tally(&self, count: usize) -> BTreeMap<String, usize> {
        self.caller().tally(count, "")
    }

    /// Asserts that all responses come from this side.
    ///
    /// # Panics
    /// If not; shows the counts.
    #[track_caller]
    pub fn is_all(&self, side: &str) {
        assert_eq!(self.tally(40), BTreeMap::from([(side.to_owned(), 40)]));
    }

    /// Sends requests until the canary of the route `all` meets a condition, and returns it.
    ///
    /// # Panics
    /// If it does not in time.
    #[track_caller]
    pub fn feed_until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut caller = self.caller();
        self.api().canary_while("all", what, is_so, || drop(caller.tally(20, "")))
    }
}

#[track_caller]
fn told(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}{}", response.head.text(), response.text());
    serde_json::from_str(&response.text()).unwrap_or_else(|error| panic!("{error}: {}", response.text()))
}

#[track_caller]
fn side_of(split: &Value, name: &str) -> Value {
    let sides = split["sides"].as_array().expect("a split has sides");
    let found = sides.iter().find(|side| side["upstream"] == name);
    found.unwrap_or_else(|| panic!("no side {name} in {split:#}")).clone()
}

/// A route's name as a path segment (RFC 3986 §2.1).
fn segment(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let written = if is_plain { write!(segment, "{}", char::from(byte)) } else { write!(segment, "%{byte:02X}") };
        written.expect("a string takes what is written to it");
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_one_segment() {
        assert_eq!(segment("/api/users ä"), "%2Fapi%2Fusers%20%C3%A4");
        assert_eq!(segment("users-v2_a.b~"), "users-v2_a.b~");
    }

    #[test]
    fn chance_may_stray_but_not_far() {
        assert!(is_share(420, 2000, 20.0) && !is_share(500, 2000, 20.0));
        assert!(is_share(0, 50, 0.0) && !is_share(1, 50, 0.0) && is_share(50, 50, 100.0) && !is_share(49, 50, 100.0));
    }

    #[test]
    fn answers_are_counted_by_what_they_say() {
        let origin = Origin::start(ok("one"));
        origin.once(crate::answer(503, &[], "no"));
        origin.once(crate::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none").close());
        let tally = Caller::new(origin.address()).tally(5, "");
        let wanted = [("503", 1), ("broken", 1), ("one", 3)];
        assert_eq!(tally, wanted.map(|(said, count)| (said.to_owned(), count)).into());
    }
}
