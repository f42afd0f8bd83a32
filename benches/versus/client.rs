//! A client for checks: one request, one answer, under a deadline. It measures nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Fallible;

/// How long an answer may keep silent.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// An answer whose body came whole.
pub(crate) struct Answer {
    /// Its status code.
    pub(crate) status: u16,
    /// Its body; only bodies with `Content-Length` are understood.
    pub(crate) body: Vec<u8>,
}

/// Asks once on a connection of its own.
pub(crate) fn ask(to: SocketAddr, method: &str, path: &str, body: &[u8]) -> Fallible<Answer> {
    ask_on(&mut connect(to)?, method, path, body)
}

/// Opens a connection.
pub(crate) fn connect(to: SocketAddr) -> Fallible<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, SILENCE_MAX)?;
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks on a connection that stays open.
pub(crate) fn ask_on(stream: &mut TcpStream, method: &str, path: &str, body: &[u8]) -> Fallible<Answer> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n");
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

/// The answer, once all of it is there.
pub(crate) fn whole(received: &[u8]) -> Fallible<Option<Answer>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = response.parse(received)? else { return Ok(None) };
    let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.ok_or("an answer without Content-Length")?;
    let length: usize = std::str::from_utf8(length.value)?.parse()?;
    let status = response.code.unwrap_or(0);
    let body = received.get(head_bytes..head_bytes.saturating_add(length));
    Ok(body.map(|body| Answer { status, body: body.to_vec() }))
}
