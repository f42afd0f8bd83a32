//! The steps with which an origin answers a request.
//!
//! A script is data; `origin` plays it. The request's body is read first, unless [`Script::before_body`] is used.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// A gate that an origin waits for and a test opens. It stays open.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for current and later waits.
    pub fn open(&self) {
        *self.0.0.lock().expect("no holder of the gate panics") = true;
        self.0.1.notify_all();
    }

    /// Waits at most `limit`; returns whether the gate is open.
    pub(crate) fn is_open_within(&self, limit: Duration) -> bool {
        let open = self.0.0.lock().expect("no holder of the gate panics");
        let waited = self.0.1.wait_timeout_while(open, limit, |open| !*open);
        *waited.expect("no holder of the gate panics").0
    }
}

/// A step of a script.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Writes these bytes unchanged.
    Send(Vec<u8>),
    /// Writes a well-formed response; without its body if the request or the status forbids one.
    Answer { status: u16, fields: Vec<(String, String)>, body: Vec<u8> },
    /// Writes 304 if the request's `If-None-Match` contains this tag, else 200 with the body; both with the fields.
    Validate { etag: String, fields: Vec<(String, String)>, body: Vec<u8> },
    /// Writes 206 with the single range of the request's `Range`, else 200 with the body; both with the fields. Ignores
    /// `If-Range`.
    Ranged { fields: Vec<(String, String)>, body: Vec<u8> },
    /// Writes byte by byte, with a pause after each.
    Drip(Vec<u8>, Duration),
    /// Writes these bytes repeatedly until the peer leaves.
    Flood(Vec<u8>),
    /// Waits until the gate opens; ends the connection if the peer leaves before.
    Wait(Gate),
    /// Reads the request's body.
    ReadBody,
    /// Answers with the request as received: head and body as on the wire.
    Echo,
    /// Does nothing until the peer leaves.
    Hang,
    /// Closes the connection cleanly.
    Close,
    /// Resets the connection.
    Reset,
    /// Echoes every byte until the peer ends.
    Tunnel,
}

/// The behaviour of an origin for a request.
#[derive(Clone, Debug)]
pub struct Script {
    pub(crate) steps: Vec<Step>,
}

/// A script that only reads the request; add steps to it.
#[must_use]
pub fn script() -> Script {
    Script { steps: vec![Step::ReadBody] }
}

/// Answers 200 with this body and its length.
#[must_use]
pub fn ok(body: &str) -> Script {
    answer(200, &[], body)
}

/// Answers with this status, these fields and this body, and adds its length.
#[must_use]
pub fn answer(status: u16, fields: &[(&str, &str)], body: &str) -> Script {
    script().step(Step::Answer { status, fields: owned(fields), body: body.as_bytes().to_vec() })
}

/// Answers with this `ETag` and these fields: 304 if the request's `If-None-Match` contains the tag (or `*`), else 200
/// with this body.
#[must_use]
pub fn validated(etag: &str, body: &str, fields: &[(&str, &str)]) -> Script {
    script().step(Step::Validate { etag: etag.to_owned(), fields: owned(fields), body: body.as_bytes().to_vec() })
}

/// Answers like an origin with this body: 206 with the requested range, else 200; both with the fields. Ignores
/// `If-Range`.
#[must_use]
pub fn ranged(body: &str, fields: &[(&str, &str)]) -> Script {
    script().step(Step::Ranged { fields: owned(fields), body: body.as_bytes().to_vec() })
}

/// Answers with these bytes unchanged.
#[must_use]
pub fn raw(bytes: impl AsRef<[u8]>) -> Script {
    script().send(bytes)
}

/// Answers 200 with a chunk for each piece, then these trailers.
#[must_use]
pub fn chunked(pieces: &[&str], trailers: &[(&str, &str)]) -> Script {
    let mut text = String::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n");
    if !trailers.is_empty() {
        let names: Vec<&str> = trailers.iter().map(|(name, _)| *name).collect();
        text += &format!("Trailer: {}\r\n", names.join(", "));
    }
    text += "\r\n";
    for piece in pieces {
        text += &format!("{:x}\r\n{piece}\r\n", piece.len());
    }
    text += "0\r\n";
    for (name, value) in trailers {
        text += &format!("{name}: {value}\r\n");
    }
    raw(text + "\r\n")
}

/// Answers 200 with the request as received on the wire, head and body.
#[must_use]
pub fn echo() -> Script {
    script().step(Step::Echo)
}

/// Reads the request and never answers.
#[must_use]
pub fn hang() -> Script {
    script().hang()
}

/// Reads the request and resets the connection.
#[must_use]
pub fn reset() -> Script {
    script().reset()
}

/// Reads the request and closes the connection.
#[must_use]
pub fn close() -> Script {
    script().close()
}

impl Script {
    /// Leaves the request's body unread; [`Script::read_body`] may read it later.
    #[must_use]
    pub fn before_body(mut self) -> Self {
        self.steps.retain(|step| !matches!(step, Step::ReadBody));
        self
    }

    /// Reads the request's body.
    #[must_use]
    pub fn read_body(self) -> Self {
        self.step(Step::ReadBody)
    }

    /// Writes these bytes unchanged.
    #[must_use]
    pub fn send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.step(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Writes these bytes one by one, with this pause after each.
    #[must_use]
    pub fn drip(self, bytes: impl AsRef<[u8]>, pause: Duration) -> Self {
        self.step(Step::Drip(bytes.as_ref().to_vec(), pause))
    }

    /// Waits until the test opens the gate.
    #[must_use]
    pub fn wait(self, gate: &Gate) -> Self {
        self.step(Step::Wait(gate.clone()))
    }

    /// Does nothing more until the peer leaves.
    #[must_use]
    pub fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// Closes the connection.
    #[must_use]
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Resets the connection.
    #[must_use]
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    /// Echoes every byte from now on.
    #[must_use]
    pub fn tunnel(self) -> Self {
        self.step(Step::Tunnel)
    }

    /// Appends the steps of another script, without its reading of the body.
    #[must_use]
    pub fn then(mut self, other: Script) -> Self {
        self.steps.extend(other.before_body().steps);
        self
    }

    pub(crate) fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}
