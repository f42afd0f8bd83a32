//! Reads and writes HTTP/1.1 for both ends: heads, bodies with all framings, in random pieces.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

use fastrand::Rng;
use socket2::Socket;

/// The longest duration of a read or write.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A connection of either end.
pub(crate) type Reader = BufReader<Socket>;

/// A head, with field names in lower case.
pub(crate) struct Head {
    /// Its first line.
    pub(crate) first: String,
    fields: Vec<(String, String)>,
}

/// The framing of a body.
#[derive(Clone, Copy)]
pub(crate) enum Framing {
    /// This many bytes.
    Length(usize),
    /// In chunks.
    Chunked,
    /// Until the connection is closed.
    UntilClose,
}

impl Head {
    /// The value of the first field with this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The framing according to the fields; `None` if they declare none. Two framings are an error.
    pub(crate) fn framing(&self) -> io::Result<Option<Framing>> {
        let told: Vec<_> = self
            .fields
            .iter()
            .filter(|(name, _)| name == "content-length" || name == "transfer-encoding")
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        match told.as_slice() {
            [] => Ok(None),
            [("transfer-encoding", "chunked")] => Ok(Some(Framing::Chunked)),
            [("content-length", length)] if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().map(|length| Some(Framing::Length(length))).map_err(io::Error::other)
            }
            told => Err(io::Error::other(format!("framing {told:?}"))),
        }
    }
}

/// Configures a connection of either end.
pub(crate) fn reader(socket: Socket) -> io::Result<Reader> {
    socket.set_read_timeout(Some(WAIT_MAX))?;
    socket.set_write_timeout(Some(WAIT_MAX))?;
    Ok(BufReader::new(socket))
}

/// Closes with a reset.
pub(crate) fn reset(reader: Reader) {
    let _closed = reader.get_ref().set_linger(Some(Duration::ZERO));
}

/// The next head; `None`: the connection ends before.
pub(crate) fn head(reader: &mut Reader) -> io::Result<Option<Head>> {
    let first = line(reader)?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut head = Head { first: first.trim_end().to_owned(), fields: Vec::new() };
    loop {
        let line = line(reader)?;
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err(io::Error::other(format!("a head breaks off at {line:?}")));
        };
        if line.is_empty() {
            return Ok(Some(head));
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(io::Error::other(format!("a line of a head: {line:?}")));
        };
        head.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn line(reader: &mut Reader) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line)
}

/// A complete body; an error if it is truncated.
pub(crate) fn body(reader: &mut Reader, framing: Framing) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => part(reader, length, &mut body)?,
        Framing::UntilClose => {
            reader.read_to_end(&mut body)?;
        }
        Framing::Chunked => loop {
            let head = line(reader)?;
            let size = head.strip_suffix("\r\n").and_then(|head| head.split(';').next());
            let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.ok_or_else(|| io::Error::other(format!("chunk size {head:?}")))?;
            if size == 0 {
                trailers(reader)?;
                break;
            }
            part(reader, size, &mut body)?;
            if line(reader)? != "\r\n" {
                return Err(io::Error::other("a chunk without an end"));
            }
        },
    }
    Ok(body)
}

fn part(reader: &mut Reader, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
    let before = body.len();
    reader.take(length as u64).read_to_end(body)?;
    let got = body.len() - before;
    if got < length { Err(io::Error::other(format!("{got} bytes of {length}"))) } else { Ok(()) }
}

fn trailers(reader: &mut Reader) -> io::Result<()> {
    loop {
        match line(reader)?.strip_suffix("\r\n") {
            Some("") => return Ok(()),
            Some(_) => {}
            None => return Err(io::Error::other("trailers break off")),
        }
    }
}

/// The content for a number: its text repeated up to this length.
pub(crate) fn content(nonce: u64, length: usize) -> Vec<u8> {
    format!("{nonce:016x}\n").into_bytes().into_iter().cycle().take(length).collect()
}

/// Content in chunks of random sizes, including the last chunk.
pub(crate) fn chunked(content: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut out = Vec::new();
    let size_max = *rng.choice(&[1, 17, 500, 9000, 70_000]).unwrap_or(&17);
    let mut rest = content;
    // One-byte chunks only at the start, because large bodies would take too long.
    while !rest.is_empty() {
        let size_max = if out.len() > 4000 { size_max.max(4000) } else { size_max };
        let (chunk, left) = rest.split_at(rng.usize(1..=size_max).min(rest.len()));
        let extension = *rng.choice(&["", "", "", ";a", ";a=b", ";a=\"b;\\\"c\""]).unwrap_or(&"");
        out.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
        rest = left;
    }
    out.extend_from_slice(if rng.u8(..4) == 0 { b"0\r\nx-end: 1\r\n\r\n" } else { b"0\r\n\r\n" });
    out
}

/// Writes at once, or in pieces.
pub(crate) fn write(reader: &Reader, bytes: &[u8], rng: &mut Rng) -> io::Result<()> {
    let mut socket = reader.get_ref();
    let mut rest = bytes;
    // At some point the rest is written at once.
    for _piece in 0..*rng.choice(&[0, 0, 1, 2, 12]).unwrap_or(&0) {
        let (piece, left) = rest.split_at(rng.usize(..=rest.len().min(300)));
        socket.write_all(piece)?;
        rest = left;
        match rng.u8(..8) {
            0 => std::thread::sleep(Duration::from_micros(rng.u64(..2000))),
            1..=3 => std::thread::yield_now(),
            _ => {}
        }
    }
    socket.write_all(rest)
}
