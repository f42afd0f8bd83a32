//! A client for checks: one request, one response, under a deadline.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Fallible;

/// The longest pause within a response.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The longest response.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A complete response.
pub(crate) struct Answer {
    /// Its status code.
    pub(crate) status: u16,
    /// The names of its fields, in lower case.
    pub(crate) names: BTreeSet<String>,
    /// Its body; only `Content-Length` is supported.
    pub(crate) body: Vec<u8>,
}

/// The parts of a request besides the path.
#[derive(Debug, Default)]
pub(crate) struct More {
    /// Field lines, each with its line end.
    pub(crate) fields: String,
    /// If not empty, the request is a POST.
    pub(crate) body: Vec<u8>,
}

/// Sends a GET on a new connection.
pub(crate) fn ask(to: SocketAddr, path: &str) -> Fallible<Answer> {
    ask_on(&mut connect(to)?, path, &More::default())
}

/// Opens a connection.
pub(crate) fn connect(to: SocketAddr) -> Fallible<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, SILENCE_MAX)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request on a connection that stays open.
pub(crate) fn ask_on(stream: &mut TcpStream, path: &str, more: &More) -> Fallible<Answer> {
    let More { fields, body } = more;
    let (method, length) = match body.len() {
        0 => ("GET", String::new()),
        bytes => ("POST", format!("Content-Length: {bytes}\r\n")),
    };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}{fields}\r\n");
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut received = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        if let Some(answer) = whole(&received)? {
            return Ok(answer);
        }
        let count = stream.read(&mut piece)?;
        if count == 0 || received.len() > ANSWER_BYTES_MAX {
            return Err("the answer was cut short".into());
        }
        received.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
}

/// The response, when it is complete.
pub(crate) fn whole(received: &[u8]) -> Fallible<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = response.parse(received)? else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.ok_or("an answer without Content-Length")?;
    let length: usize = std::str::from_utf8(length.value)?.parse()?;
    let status = response.code.unwrap_or(0);
    let body = received.get(head_bytes..head_bytes.saturating_add(length));
    let Some(body) = body.map(<[u8]>::to_vec) else { return Ok(None) };
    Ok(Some(Answer { status, names: names(response.headers), body }))
}

/// The field names, in lower case.
pub(crate) fn names(fields: &[httparse::Header<'_>]) -> BTreeSet<String> {
    fields.iter().map(|field| field.name.to_ascii_lowercase()).collect()
}
