//! Formats an access log line as JSON.
//!
//! `format` has the text form, `access_log` the output.

use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;

use super::access_record::{AccessRecord, Outcome, Request, Try};
use super::request_id::RequestId;
use super::second::Second;
use super::text;

/// The status logged when the client left before a response, as in nginx.
const CLIENT_LEFT: u16 = 499;

/// Text that lines share with earlier ones.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) second: Second,
    pub(super) client: Client,
}

impl Known {
    /// Updates the text for the next line.
    pub(super) fn set(&mut self, wall: Duration, client: IpAddr) {
        self.second.set(wall);
        self.client.set(client);
    }
}

/// The client's address as text, because consecutive lines often have the same client.
#[derive(Debug, Default)]
pub(super) struct Client {
    address: Option<IpAddr>,
    pub(super) text: Vec<u8>,
}

impl Client {
    fn set(&mut self, address: IpAddr) {
        if self.address != Some(address) {
            self.address = Some(address);
            self.text.clear();
            text::address(&mut self.text, address);
        }
    }
}

/// An exchange to be logged.
pub(super) struct LogLine<'a> {
    pub(super) record: &'a AccessRecord,
    pub(super) known: &'a Known,
    /// When it ended, on the wall clock.
    pub(super) wall: Duration,
    pub(super) took: Duration,
}

impl LogLine<'_> {
    /// Writes one JSON object. Keys are the names of nginx's variables where one exists.
    pub(super) fn json(&self, out: &mut Vec<u8>) {
        let record = self.record;
        let mut object = Object(out);
        object.put(b"{\"time\":\"");
        object.0.extend_from_slice(self.known.second.iso.as_bytes());
        let [a, b, c] = text::padded(self.wall.subsec_millis());
        object.put(&[b'.', a, b, c, b'Z', b'"']);
        object.put(b",\"remote_addr\":\"");
        object.0.extend_from_slice(&self.known.client.text);
        object.put(b"\"");
        if let Some(request) = &record.request {
            object.request(request);
        }
        object.status(b",\"status\":", record.status);
        object.number(b",\"body_bytes_sent\":", record.body_bytes_sent);
        object.seconds(b",\"request_time\":", Some(self.took));
        match &record.id {
            Some(RequestId::Drawn(digits)) => {
                object.put(b",\"request_id\":\"");
                object.put(digits);
                object.put(b"\"");
            }
            Some(RequestId::Given(id)) => object.text(b",\"request_id\":\"", id),
            None => {}
        }
        object.name(b",\"route\":\"", record.route.as_ref().map(|route| &*route.name));
        if let Some((side, by)) = &record.side {
            object.name(b",\"side\":\"", Some(side));
            object.name(b",\"side_by\":\"", Some(by));
        }
        object.name(b",\"upstream\":\"", record.upstream.as_deref());
        object.name(b",\"backend\":\"", record.backend.as_deref());
        object.name(b",\"upstream_addr\":\"", record.address.as_deref());
        if record.backend_status.is_some() {
            object.status(b",\"upstream_status\":", record.backend_status);
        }
        object.seconds(b",\"upstream_connect_time\":", record.connect_time);
        object.seconds(b",\"upstream_header_time\":", record.header_time);
        object.tries(&record.history);
        object.name(b",\"cache\":\"", record.cache);
        object.name(b",\"cache_reason\":\"", record.cache_reason);
        if let Some(tunnel) = record.tunnel.as_deref() {
            object.seconds(b",\"tunnel_time\":", Some(tunnel.time));
            object.number(b",\"tunnel_bytes_in\":", tunnel.bytes_in);
            object.number(b",\"tunnel_bytes_out\":", tunnel.bytes_out);
            object.name(b",\"tunnel_end\":\"", Some(tunnel.end));
        }
        object.name(b",\"fault\":\"", record.fault.as_deref());
        object.put(b"}\n");
    }
}

/// The three digits of a status.
pub(super) fn digits(status: Option<StatusCode>) -> [u8; 3] {
    text::padded(status.map_or(CLIENT_LEFT, |status| status.as_u16()).into())
}

/// A JSON object being written. Keys include the surrounding characters (the comma before, the colon after, and the
/// opening quote of a string), because bytes of constant length are written without a call.
struct Object<'a>(&'a mut Vec<u8>);

impl Object<'_> {
    fn put<const BYTES: usize>(&mut self, bytes: &[u8; BYTES]) {
        self.0.extend_from_slice(bytes);
    }

    fn text<const BYTES: usize>(&mut self, key: &[u8; BYTES], value: &[u8]) {
        self.put(key);
        text::escaped(self.0, value);
        self.0.push(b'"');
    }

    fn field<const BYTES: usize>(&mut self, key: &[u8; BYTES], value: Option<&[u8]>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn name<const BYTES: usize>(&mut self, key: &[u8; BYTES], value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value.as_bytes());
        }
    }

    fn number<const BYTES: usize>(&mut self, key: &[u8; BYTES], value: u64) {
        self.put(key);
        text::decimal(self.0, value);
    }

    fn status<const BYTES: usize>(&mut self, key: &[u8; BYTES], value: Option<StatusCode>) {
        self.put(key);
        self.put(&digits(value));
    }

    fn seconds<const BYTES: usize>(&mut self, key: &[u8; BYTES], value: Option<Duration>) {
        if let Some(value) = value {
            self.put(key);
            text::seconds(self.0, value);
        }
    }

    /// Writes the attempts, if there was more than one.
    fn tries(&mut self, history: &[Try]) {
        if history.len() < 2 {
            return;
        }
        self.put(b",\"tries\":");
        for (index, made) in history.iter().enumerate() {
            self.put(if index == 0 { b"[" } else { b"," });
            self.text(b"{\"backend\":\"", made.backend.as_bytes());
            self.name(b",\"upstream_addr\":\"", made.address.as_deref());
            match &made.outcome {
                Outcome::Status(status) => self.status(b",\"status\":", Some(*status)),
                Outcome::ProxyError(fault) => self.text(b",\"fault\":\"", fault.as_bytes()),
            }
            self.number(b",\"ms\":", u64::try_from(made.took.as_millis()).unwrap_or(u64::MAX));
            self.put(b"}");
        }
        self.put(b"]");
    }

    fn request(&mut self, request: &Request) {
        self.put(b",\"request_method\":\"");
        // A token.
        self.0.extend_from_slice(request.method.as_str().as_bytes());
        self.put(b"\",\"request_uri\":\"");
        text::target(self.0, &request.target);
        self.put(b"\",\"server_protocol\":\"");
        self.put(text::version(request.version));
        self.put(b"\"");
        self.field(b",\"http_host\":\"", request.host.as_deref());
        self.field(b",\"http_referer\":\"", request.referer.as_deref());
        self.field(b",\"http_user_agent\":\"", request.user_agent.as_deref());
        self.field(b",\"http_x_forwarded_for\":\"", request.forwarded_for.as_deref());
        self.field(b",\"content_length\":\"", request.content_length.as_deref());
    }
}
