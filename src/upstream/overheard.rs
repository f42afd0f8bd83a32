//! Overhears 1xx responses on a backend's connection, before hyper's client throws them away.
//!
//! hyper can call back for them, but that costs every request five allocations for what hardly any response has. Here
//! the first bytes of each answer are looked at: only if they say 1xx is anything parsed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use message::{Fields, Known};
use policy::message::hop;

use crate::exchange::ClientConnection;

/// The longest 1xx response looked at, in bytes; hyper gives up on longer ones.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most fields in one.
const FIELDS_MAX: usize = 100;

/// Who listens on a backend's connection for 1xx responses: the client connection whose request is on it.
#[derive(Debug, Default)]
pub struct Ear {
    listener: RefCell<Option<Listener>>,
    is_open: Cell<bool>,
    /// The beginning of a head that is not whole.
    partial: RefCell<Vec<u8>>,
}

#[derive(Debug)]
struct Listener {
    client: Rc<ClientConnection>,
    /// Whether the client may be sent 1xx responses: HTTP/1.0 knows none.
    passes: bool,
}

/// Stops listening when dropped.
#[derive(Debug)]
pub struct Listening<'a>(&'a Ear);

impl Ear {
    /// Listens for the responses before the final one, for as long as the guard is kept.
    pub fn listen(&self, client: &Rc<ClientConnection>, passes: bool) -> Listening<'_> {
        client.interim.begin();
        *self.listener.borrow_mut() = Some(Listener { client: Rc::clone(client), passes });
        self.is_open.set(true);
        Listening(self)
    }

    /// The backend has sent these bytes.
    pub fn hear(&self, bytes: &[u8]) {
        if !self.is_open.get() {
            return;
        }
        let mut partial = self.partial.borrow_mut();
        // "HTTP/1.1 2": the digit tells.
        if partial.is_empty() && bytes.get(9).is_some_and(|digit| *digit != b'1') {
            self.is_open.set(false);
            return;
        }
        partial.extend_from_slice(bytes);
        let mut done = 0;
        while let Some(Head { length, status, fields }) = partial.get(done..).and_then(parse) {
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                self.is_open.set(false);
                break;
            }
            done += length;
            self.tell(status, fields);
        }
        let done = done.min(partial.len());
        partial.drain(..done);
        let is_final = partial.get(9).is_some_and(|digit| *digit != b'1');
        if !self.is_open.get() || is_final || partial.len() > HEAD_BYTES_MAX {
            self.is_open.set(false);
            *partial = Vec::new();
        }
    }

    fn tell(&self, status: StatusCode, fields: HeaderMap) {
        let listener = self.listener.borrow();
        let Some(Listener { client, passes }) = &*listener else { return };
        if status == StatusCode::CONTINUE {
            client.interim.set_continued();
        } else if *passes {
            client.interim.push(&in_wire_form(status, fields));
        } else {
            client.interim.count();
        }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.is_open.set(false);
        self.0.listener.borrow_mut().take();
        self.0.partial.borrow_mut().clear();
    }
}

struct Head {
    length: usize,
    status: StatusCode,
    fields: HeaderMap,
}

/// The head that these bytes begin with, if it is whole. What hyper's parser would refuse is left to it.
fn parse(bytes: &[u8]) -> Option<Head> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(length)) = response.parse(bytes) else { return None };
    let status = StatusCode::from_u16(response.code?).ok()?;
    let mut map = HeaderMap::new();
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        map.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    Some(Head { length, status, fields: map })
}

/// A 1xx response as it goes to the client: without the fields of the backend's connection (RFC 9110 §7.6.1).
fn in_wire_form(status: StatusCode, fields: HeaderMap) -> Vec<u8> {
    let mut fields = Fields::from(fields);
    let own = hop::find(&fields, hop::Direction::Response).unwrap_or_default();
    fields.apply_all(own.edits());
    fields.drop_known(Known::ContentLength);
    let reason = status.canonical_reason().unwrap_or("Informational");
    let mut wire = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in &*fields {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"\r\n");
    wire
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn client() -> Rc<ClientConnection> {
        let address = "127.0.0.1:1".parse().unwrap();
        Rc::new(ClientConnection::new(address, address, Duration::ZERO))
    }

    const EARLY: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    const STREAM: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
                          HTTP/1.1 102 Processing\r\nconnection: x-a\r\nx-a: 1\r\n\r\nHTTP/1.1 200 OK\r\n\r\nHTTP/1.1 103 body\r\n\r\n";

    #[test]
    fn wherever_the_bytes_are_cut_each_1xx_is_heard_once() {
        for cut in 0..STREAM.len() {
            let (ear, client) = (Ear::default(), client());
            let listening = ear.listen(&client, true);
            let (first, second) = STREAM.as_bytes().split_at(cut);
            ear.hear(first);
            ear.hear(second);
            drop(listening);
            let heard = String::from_utf8(client.interim.take().unwrap()).unwrap();
            assert_eq!(heard, format!("{EARLY}HTTP/1.1 102 Processing\r\n\r\n"), "cut at {cut}");
            assert!(client.interim.is_continued());
        }
    }

    #[test]
    fn byte_by_byte_too() {
        let (ear, client) = (Ear::default(), client());
        let _listening = ear.listen(&client, true);
        STREAM.bytes().for_each(|byte| ear.hear(&[byte]));
        assert!(client.interim.take().unwrap().starts_with(EARLY.as_bytes()));
        assert!(ear.partial.borrow().is_empty());
    }

    #[test]
    fn a_client_that_knows_no_1xx_gets_none() {
        let (ear, client) = (Ear::default(), client());
        let _listening = ear.listen(&client, false);
        ear.hear(STREAM.as_bytes());
        assert_eq!(client.interim.take(), None);
    }

    #[test]
    fn nobody_is_told_when_nobody_listens() {
        let (ear, client) = (Ear::default(), client());
        drop(ear.listen(&client, true));
        ear.hear(EARLY.as_bytes());
        assert_eq!(client.interim.take(), None);
    }

    #[test]
    fn too_many_are_noticed() {
        let (ear, client) = (Ear::default(), client());
        let _listening = ear.listen(&client, true);
        ear.hear(EARLY.repeat(33).as_bytes());
        assert!(client.interim.has_overflowed());
    }
}
