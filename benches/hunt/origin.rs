//! The backends: one thread per connection, which follows the target and checks what it receives.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::Fallible;
use crate::ask::{Ask, How};
use crate::tally::Tally;
use crate::wire::{self, Framing, Head, Reader};

/// A response without a request.
const UNASKED: &[u8] = b"HTTP/1.1 299 Unasked\r\nx-nonce: unasked\r\ncontent-length: 7\r\n\r\nunasked";
/// The accept backlog of a backend.
const BACKLOG: i32 = 1024;
/// A response up to this length surely arrives together with the bytes after it.
const TOGETHER_BYTES_MAX: usize = 10_000;

/// The kind of a backend.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Behaves as the target says.
    Sound,
    /// Resets where the good backend responds.
    Flaky,
}

/// Starts a backend on a free port. It ends with the process.
pub(crate) fn start_tcp(kind: Kind, tally: &Arc<Tally>) -> Fallible<SocketAddr> {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let any: SocketAddr = "127.0.0.1:0".parse()?;
    listener.bind(&any.into())?;
    let address = listener.local_addr()?.as_socket().ok_or("no address")?;
    start(listener, kind, tally)?;
    Ok(address)
}

/// Starts a backend on a Unix socket.
pub(crate) fn start_unix(path: &Path, tally: &Arc<Tally>) -> Fallible<String> {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    listener.bind(&SockAddr::unix(path)?)?;
    start(listener, Kind::Sound, tally)?;
    Ok(path.display().to_string())
}

fn start(listener: Socket, kind: Kind, tally: &Arc<Tally>) -> Fallible<()> {
    listener.listen(BACKLOG)?;
    let tally = Arc::clone(tally);
    std::thread::spawn(move || {
        while let Ok((socket, _)) = listener.accept() {
            let tally = Arc::clone(&tally);
            std::thread::spawn(move || serve(socket, kind, &tally));
        }
    });
    Ok(())
}

/// Answers requests until the proxy closes, or a response is the last one.
fn serve(socket: Socket, kind: Kind, tally: &Tally) -> io::Result<()> {
    let _only_tcp = socket.set_tcp_nodelay(true);
    let mut reader = wire::reader(socket)?;
    loop {
        let head = match wire::head(&mut reader) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(()),
            Err(error) => {
                if error.kind() == io::ErrorKind::Other {
                    tally.fault(&format!("a request's head: {error}"));
                }
                return Err(error);
            }
        };
        let Some(request) = Request::read(&head, kind) else {
            tally.fault(&format!("a request that nobody has sent: {:?}", head.first));
            return Ok(());
        };
        if head.field("x-nonce") != Some(format!("{:016x}", request.nonce).as_str()) {
            tally.fault(&format!("{:?} has the number {:?}", head.first, head.field("x-nonce")));
        }
        if !request.serve(&mut reader, &head, tally)? {
            if request.is_reset() {
                wire::reset(reader);
            }
            return Ok(());
        }
    }
}

/// A decoded target, and what is drawn from its number.
struct Request {
    nonce: u64,
    length: usize,
    how: How,
    is_flaky: bool,
    is_head: bool,
    is_cached: bool,
    rng: std::cell::RefCell<Rng>,
}

impl Request {
    fn read(head: &Head, kind: Kind) -> Option<Self> {
        let mut words = head.first.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let (nonce, length, how) = Ask::read(target)?;
        (version == "HTTP/1.1").then(|| Self {
            nonce,
            length,
            how,
            is_flaky: kind == Kind::Flaky && how == How::Flaky,
            is_head: method == "HEAD",
            is_cached: target.starts_with("/hit/") || target.starts_with("/through/"),
            rng: Rng::with_seed(nonce).into(),
        })
    }

    /// `false`: close the connection.
    fn serve(&self, reader: &mut Reader, head: &Head, tally: &Tally) -> io::Result<bool> {
        let framing = head.framing().inspect_err(|error| tally.fault(&format!("{:?}: {error}", head.first)))?;
        if head.field("expect").is_some() && self.how != How::Refuse {
            self.write(reader, b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if self.how == How::Refuse {
            return self.refuse(reader);
        }
        let is_early = self.how == How::Early;
        if is_early {
            self.answer(reader)?;
        }
        if let Some(framing) = framing {
            self.take_body(reader, head, framing, tally)?;
        }
        Ok(is_early || self.answer(reader)?)
    }

    /// Checks that a complete body is what its client has sent.
    fn take_body(&self, reader: &mut Reader, head: &Head, framing: Framing, tally: &Tally) -> io::Result<()> {
        let body = wire::body(reader, framing).inspect_err(|_| tally.count("backend: an upload broke off"))?;
        let length = head.field("x-length").and_then(|length| length.parse().ok());
        if head.field("x-left").is_some() {
            tally.fault(&format!("{:?}: an upload that was left looks whole", head.first));
        }
        if length != Some(body.len()) || body != wire::content(self.nonce, body.len()) {
            tally.fault(&format!("{:?}: {} bytes for {length:?}, or others", head.first, body.len()));
        }
        tally.count("backend: a whole upload");
        Ok(())
    }

    fn refuse(&self, reader: &mut Reader) -> io::Result<bool> {
        let nonce = self.nonce;
        let head =
            format!("HTTP/1.1 413 No\r\nx-nonce: {nonce:016x}\r\nconnection: close\r\ncontent-length: 10\r\n\r\n");
        self.write(reader, &[head.into_bytes(), wire::content(nonce, 10)].concat())?;
        reader.get_ref().shutdown(Shutdown::Write)?;
        io::copy(reader, &mut io::sink())?;
        Ok(false)
    }

    fn is_reset(&self) -> bool {
        match self.how {
            How::CutUntilClose | How::Reset | How::Flaky => true,
            How::CutLength | How::CutChunked => self.rng.borrow_mut().bool(),
            How::Length
            | How::Chunked
            | How::UntilClose
            | How::Hints
            | How::Early
            | How::Refuse
            | How::Behind
            | How::Late => false,
        }
    }

    fn answer(&self, reader: &mut Reader) -> io::Result<bool> {
        if self.how == How::Reset || self.is_flaky {
            return Ok(false);
        }
        let nonce = self.nonce;
        if self.how == How::Hints {
            let count = self.rng.borrow_mut().u8(1..4);
            for _hint in 0..count {
                self.write(reader, format!("HTTP/1.1 103 Hints\r\nx-nonce: {nonce:016x}\r\n\r\n").as_bytes())?;
            }
        }
        let content = wire::content(nonce, self.length);
        let mut response = format!("HTTP/1.1 200 OK\r\nx-nonce: {nonce:016x}\r\n").into_bytes();
        if self.is_cached {
            response.extend_from_slice(b"cache-control: max-age=1\r\n");
        }
        let head_only = response.len();
        let is_chunked = matches!(self.how, How::Chunked | How::CutChunked);
        let is_until_close = matches!(self.how, How::UntilClose | How::CutUntilClose);
        if is_chunked {
            response.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        } else if is_until_close {
            response.extend_from_slice(b"\r\n");
        } else {
            response.extend_from_slice(format!("content-length: {}\r\n\r\n", content.len()).as_bytes());
        }
        let body = if is_chunked { wire::chunked(&content, &mut self.rng.borrow_mut()) } else { content };
        if !self.is_head {
            response.extend_from_slice(&body);
        }
        if matches!(self.how, How::CutLength | How::CutChunked) {
            let whole = response.len().saturating_sub(1);
            response.truncate(self.rng.borrow_mut().usize(head_only.min(whole)..=whole));
        }
        self.finish(reader, response, is_until_close)
    }

    fn finish(&self, reader: &mut Reader, mut response: Vec<u8>, is_until_close: bool) -> io::Result<bool> {
        if self.how == How::Behind && response.len() <= TOGETHER_BYTES_MAX {
            response.extend_from_slice(UNASKED);
            let mut socket = reader.get_ref();
            socket.write_all(&response)?;
            // Sends nothing more, and waits for the proxy to close.
            let mut more = Vec::new();
            reader.take(1).read_to_end(&mut more)?;
            return Ok(false);
        }
        self.write(reader, &response)?;
        if self.how == How::Late {
            std::thread::sleep(Duration::from_micros(self.rng.borrow_mut().u64(..3000)));
            if self.rng.borrow_mut().bool() {
                self.write(reader, b"\r\nnothing that anybody has asked for\r\n")?;
            }
            return Ok(false);
        }
        Ok(!is_until_close && !matches!(self.how, How::CutLength | How::CutChunked))
    }

    fn write(&self, reader: &Reader, bytes: &[u8]) -> io::Result<()> {
        wire::write(reader, bytes, &mut self.rng.borrow_mut())
    }
}
