//! A blocking socket read by HTTP/1.1's framing, under a deadline.
//!
//! Keeps both what a body says and the bytes it was said in. Does not judge either.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use socket2::SockRef;

use crate::head::Head;

/// Why reading went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The peer closed in an orderly way.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// Nothing came before the deadline.
    Late,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClosed,
}

/// A body as far as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    /// As it was on the wire: with chunk sizes and trailers.
    pub(crate) wire: Vec<u8>,
    /// What it says.
    pub(crate) bytes: Vec<u8>,
    /// The trailer section, if it was chunked.
    pub(crate) trailers: Vec<(String, String)>,
    /// Why it is not complete; `None`: it is.
    pub(crate) stop: Option<Stop>,
}

/// What a client speaks over.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
            Self::Tls(stream) => SockRef::from(&stream.sock),
        }
    }

    fn read(&mut self, piece: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(piece),
            Self::Unix(stream) => stream.read(piece),
            Self::Tls(stream) => stream.read(piece),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

/// A socket and what was read from it but not yet taken.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    unread: Vec<u8>,
}

impl Wire {
    pub(crate) fn new(stream: Stream) -> Self {
        if let Stream::Tcp(stream) = &stream {
            let _ = stream.set_nodelay(true);
        }
        Self { stream, unread: Vec::new() }
    }

    /// Our end of a TCP connection.
    pub(crate) fn local_address(&self) -> Option<std::net::SocketAddr> {
        self.stream.socket().local_addr().ok()?.as_socket()
    }

    /// Ends this side of the socket.
    pub(crate) fn cut(&self) {
        let _ = self.stream.socket().shutdown(Shutdown::Write);
    }

    /// What a TLS connection was agreed to be.
    pub(crate) fn tls(&self) -> Option<&ClientConnection> {
        match &self.stream {
            Stream::Tls(stream) => Some(&stream.conn),
            Stream::Tcp(_) | Stream::Unix(_) => None,
        }
    }

    /// Says that nothing more will be sent: over TLS with a `close_notify`, and nothing else.
    pub(crate) fn half_close(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            let _ = stream.flush();
            return;
        }
        let _ = self.stream.socket().shutdown(Shutdown::Write);
    }

    /// What was received and not yet taken, for messages.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.socket().set_write_timeout(Some(crate::DEADLINE))?;
        self.stream.write_all(bytes)
    }

    /// Closes with a reset instead of an orderly end.
    pub(crate) fn reset(self) {
        let _ = self.stream.socket().set_linger(Some(Duration::ZERO));
    }

    /// Whether the peer has closed or reset the connection. Bytes that wait to be read hide it.
    pub(crate) fn peer_is_gone(&self) -> bool {
        let socket = self.stream.socket();
        let _ = socket.set_nonblocking(true);
        let gone = match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        let _ = socket.set_nonblocking(false);
        gone
    }

    /// Takes everything up to and with the next empty line.
    pub(crate) fn head(&mut self, deadline: Instant) -> Result<Head, Stop> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                let head = Head::new(&self.unread[..end]);
                self.unread.drain(..end);
                return Ok(head);
            }
            self.fill(deadline)?;
        }
    }

    /// Takes a body as far as it comes.
    pub(crate) fn body(&mut self, framing: Framing, deadline: Instant) -> Body {
        let mut body = Body::default();
        body.stop = match framing {
            Framing::None => Ok(()),
            Framing::Length(length) => self.take_length(length, deadline, &mut body),
            Framing::Chunked => self.take_chunks(deadline, &mut body),
            Framing::UntilClosed => self.take_rest(deadline, &mut body),
        }
        .err();
        body
    }

    /// Takes at least one byte: all that there are.
    pub(crate) fn some(&mut self, deadline: Instant) -> Result<Vec<u8>, Stop> {
        if self.unread.is_empty() {
            self.fill(deadline)?;
        }
        Ok(std::mem::take(&mut self.unread))
    }

    fn take_length(&mut self, length: usize, deadline: Instant, body: &mut Body) -> Result<(), Stop> {
        let mut left = length;
        loop {
            let now = left.min(self.unread.len());
            body.bytes.extend_from_slice(&self.unread[..now]);
            body.wire.extend_from_slice(&self.unread[..now]);
            self.unread.drain(..now);
            left -= now;
            if left == 0 {
                return Ok(());
            }
            self.fill(deadline)?;
        }
    }

    fn take_chunks(&mut self, deadline: Instant, body: &mut Body) -> Result<(), Stop> {
        loop {
            let line = self.take_line(deadline, body)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let Ok(length) = usize::from_str_radix(digits, 16) else { return Err(Stop::Closed) };
            if length == 0 {
                break;
            }
            self.take_length(length, deadline, body)?;
            self.take_line(deadline, body)?;
        }
        loop {
            let line = self.take_line(deadline, body)?;
            match line.split_once(':') {
                Some((name, value)) => body.trailers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
                None => return Ok(()),
            }
        }
    }

    fn take_line(&mut self, deadline: Instant, body: &mut Body) -> Result<String, Stop> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line = String::from_utf8_lossy(&self.unread[..end - 2]).into_owned();
                body.wire.extend(self.unread.drain(..end));
                return Ok(line);
            }
            self.fill(deadline)?;
        }
    }

    fn take_rest(&mut self, deadline: Instant, body: &mut Body) -> Result<(), Stop> {
        loop {
            body.bytes.extend_from_slice(&self.unread);
            body.wire.append(&mut self.unread);
            match self.fill(deadline) {
                Ok(()) => {}
                Err(Stop::Closed) => return Ok(()),
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Waits for more bytes and keeps them.
    fn fill(&mut self, deadline: Instant) -> Result<(), Stop> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Stop::Late);
        }
        let _ = self.stream.socket().set_read_timeout(Some(left));
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Stop::Closed),
            Ok(count) => {
                self.unread.extend_from_slice(&piece[..count]);
                Ok(())
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Stop::Late),
                ErrorKind::Interrupted => Ok(()),
                _ => Err(Stop::Reset),
            },
        }
    }
}

/// Where the first `needle` in `hay` ends.
fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle).map(|start| start + needle.len())
}
