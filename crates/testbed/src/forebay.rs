//! forebay in the test process, on its own port.
//!
//! Starts and reloads from configuration text, like the binary. Stops when dropped.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;

use forebay::config::parse;
use forebay::config::plan::Plan;
use forebay::supervisor::{Gauges, Running, start, start_with};
use forebay::telemetry::counters::Counters;

use crate::{Client, Names, Response};

/// A running proxy.
pub struct Forebay {
    running: Running,
    address: SocketAddr,
}

impl Forebay {
    /// Starts with this configuration; returns when it listens.
    ///
    /// # Panics
    ///
    /// When the configuration is refused, or the proxy does not start.
    #[must_use]
    #[track_caller]
    pub fn start(config: impl Display) -> Self {
        Self::of(start(plan(&config)).unwrap_or_else(|error| panic!("forebay does not start: {error}")))
    }

    /// Like [`Forebay::start`], with this resolver for the names of backends.
    ///
    /// # Panics
    ///
    /// When the configuration is refused, or the proxy does not start.
    #[must_use]
    #[track_caller]
    pub fn start_with(names: &Names, config: impl Display) -> Self {
        let running = start_with(plan(&config), Arc::new(names.clone()));
        Self::of(running.unwrap_or_else(|error| panic!("forebay does not start: {error}")))
    }

    fn of(running: Running) -> Self {
        let address = *running.addresses().first().expect("forebay listens somewhere");
        Self { running, address }
    }

    /// The address of its listener; the first one if there are several.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The TCP addresses of its listeners, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.running.addresses()
    }

    /// Reloads this configuration. Keeps its listeners if the text has `127.0.0.1:0` again.
    ///
    /// # Panics
    ///
    /// When the configuration is refused.
    #[track_caller]
    pub fn reload(&self, config: impl Display) {
        let _told = self.reload_told(config);
    }

    /// Like [`Self::reload`]; returns what has changed, and what takes effect at the next start.
    ///
    /// # Panics
    ///
    /// When the configuration is refused.
    #[track_caller]
    pub fn reload_told(&self, config: impl Display) -> (String, Option<String>) {
        let reloaded = self.running.reload(plan(&config));
        let changes = reloaded.unwrap_or_else(|error| panic!("forebay does not reload: {error}"));
        (changes.to_string(), changes.next_start())
    }

    /// Reloads a configuration that the proxy must not apply; returns the reason.
    ///
    /// # Errors
    /// If it is applied.
    ///
    /// # Panics
    ///
    /// When the configuration is refused.
    #[track_caller]
    pub fn try_reload(&self, config: impl Display) -> Result<(), String> {
        self.running.reload(plan(&config)).map(drop).map_err(|error| error.to_string())
    }

    /// The counters of each worker.
    #[must_use]
    pub fn counters(&self) -> &[Arc<Counters>] {
        self.running.counters()
    }

    /// Begins to drain: accepts no new connections, and lets requests in progress finish.
    pub fn drain(&self) {
        self.running.drain();
    }

    /// Whether the drain is over.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.running.is_drained()
    }

    /// Waits until the drain is over.
    pub fn wait(self) {
        self.running.wait();
    }

    /// The current gauges.
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        self.running.gauges()
    }

    /// Waits until the gauges meet a condition.
    ///
    /// # Panics
    /// If they do not in time.
    #[track_caller]
    pub fn eventually(&self, what: &str, condition: impl Fn(&Gauges) -> bool) {
        crate::eventually(what, || condition(&self.gauges()));
    }

    /// Waits until there are no requests and no client connections.
    ///
    /// # Panics
    /// If some remain.
    #[track_caller]
    pub fn is_idle(&self) {
        self.eventually("no request and no client connection is left", |gauges| {
            gauges.connections == 0 && gauges.in_flight == 0 && gauges.queued == 0
        });
    }

    /// A new connection to it.
    #[must_use]
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::to(self.address)
    }

    /// A new connection to its admin listener.
    ///
    /// # Panics
    ///
    /// When there is none on a TCP address.
    #[must_use]
    #[track_caller]
    pub fn admin(&self) -> Client {
        Client::to(self.admin_address())
    }

    /// The address of its admin listener.
    ///
    /// # Panics
    ///
    /// When there is none on a TCP address.
    #[must_use]
    #[track_caller]
    pub fn admin_address(&self) -> SocketAddr {
        self.running.admin_address().expect("[admin] listens on a TCP address")
    }

    /// Sends these bytes on a new connection and reads the response.
    ///
    /// # Panics
    /// If no response arrives in time, complete or recognisably truncated.
    #[must_use]
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        let bytes = request.as_ref();
        let method = if bytes.starts_with(b"HEAD ") { "HEAD" } else { "GET" };
        self.client().try_send(bytes).read_response_to(method)
    }

    /// Sends `GET` for this target on a new connection, with these field lines besides `Host`, each ending in CRLF.
    ///
    /// # Panics
    /// If no response arrives in time, complete or recognisably truncated.
    #[must_use]
    #[track_caller]
    pub fn get_with(&self, target: &str, fields: &str) -> Response {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: shop.test\r\n{fields}\r\n"))
    }

    /// Sends `GET` for this target on a new connection, for the host `shop.test`.
    ///
    /// # Panics
    /// If no response arrives in time, complete or recognisably truncated.
    #[must_use]
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.get_with(target, "")
    }

    /// Sends `POST` with this text to this target on a new connection.
    ///
    /// # Panics
    /// If no response arrives in time, complete or recognisably truncated.
    #[must_use]
    #[track_caller]
    pub fn post(&self, target: &str, body: &str) -> Response {
        let length = body.len();
        self.ask(format!("POST {target} HTTP/1.1\r\nHost: shop.test\r\nContent-Length: {length}\r\n\r\n{body}"))
    }
}

#[track_caller]
fn plan(config: &impl Display) -> Plan {
    let text = config.to_string();
    parse("test.toml", &text).unwrap_or_else(|problems| panic!("the configuration is refused:\n{problems}\n{text}"))
}
