//! The backend of all measurements: prepared responses, each sent with one write. With [`Reach::AllOfLoopback`] it
//! stands for thousands of backends, on every address of 127.0.0.0/8.
//!
//! One thread, keep-alive connections, and only as much HTTP as the proxies and the load generator need. It runs as a
//! child process, so that its processor time can be measured separately.

use std::cell::Cell;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::Fallible;
use crate::client;
use crate::process::{Child, Place};

/// The argument with which the benchmark runs as the backend.
pub(crate) const ARGUMENT: &str = "--serve-as-backend";
/// The path of the request counter, which does not count itself.
const COUNT_PATH: &str = "/count";
/// The path whose response has the request's head as its body.
pub(crate) const HEAD_PATH: &str = "/pass/head";
/// The further argument to listen on all of loopback.
const ALL_OF_LOOPBACK: &str = "all-of-loopback";
/// The loopback device.
const LOOPBACK_DEVICE: &[u8] = b"lo";
/// The accept backlog: ten thousand connections may arrive at once.
const BACKLOG: i32 = 16_384;
/// The prefix of an unlimited number of small cacheable responses.
pub(crate) const SMALL_HITS: &str = "/small/";
/// The length of each.
pub(crate) const SMALL_BYTES: usize = 100;
/// The prefix of paths with the uncacheable response of 1 KiB.
pub(crate) const MANY_PATHS: &str = "/many/";
/// The longest request head or body; a longer one ends the connection.
const REQUEST_BYTES_MAX: usize = 1 << 20;
const HEADERS_MAX: usize = 64;
const HEAD_END: &[u8] = b"\r\n\r\n";

/// The addresses that a backend listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// 127.0.0.1.
    One,
    /// All of 127.0.0.0/8 and nothing else, by binding the socket to the loopback device.
    AllOfLoopback,
}

/// A running backend.
pub(crate) struct Backend {
    address: SocketAddr,
    process: Child,
}

impl Backend {
    /// Starts a backend and waits until it reports its port.
    ///
    /// # Errors
    /// If it cannot listen: the system may not allow [`Reach::AllOfLoopback`].
    pub(crate) fn start(place: &Place, reach: Reach) -> Fallible<Self> {
        let program = std::env::current_exe()?;
        let mut command = place.command(&program);
        command.arg(ARGUMENT).stdin(Stdio::null()).stdout(Stdio::piped());
        if reach == Reach::AllOfLoopback {
            command.arg(ALL_OF_LOOPBACK);
        }
        let mut process = Child::start(command)?;
        let output = process.take_output().ok_or("the backend has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let port: u16 = line.trim().parse().map_err(|_| "the backend did not start")?;
        Ok(Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), process })
    }

    /// Its address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its processor time so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.process.cpu()
    }

    /// The number of requests that it has received.
    pub(crate) fn count(&self) -> Fallible<u64> {
        let answer = client::ask(self.address, COUNT_PATH)?;
        Ok(String::from_utf8_lossy(&answer.body).trim().parse()?)
    }
}

/// A body of this length whose bytes depend on their position, so that a shifted or repeated piece is detected.
pub(crate) fn body(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at / 256 + at) % 251).unwrap_or(0)).collect()
}

/// Runs as the backend until the process is ended. Prints its port first.
pub(crate) fn serve() -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let listener = TcpListener::from_std(listening()?)?;
        println!("{}", listener.local_addr()?.port());
        io::stdout().flush()?;
        let shelf = Rc::new(Shelf::filled());
        loop {
            let (stream, _) = listener.accept().await?;
            let shelf = Rc::clone(&shelf);
            tasks.spawn_local(async move { shelf.converse(stream).await });
        }
    })
}

/// The socket, according to the program's arguments.
fn listening() -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let address = match std::env::args().nth(2).as_deref() {
        Some(ALL_OF_LOOPBACK) => {
            socket.bind_device(Some(LOOPBACK_DEVICE))?;
            Ipv4Addr::UNSPECIFIED
        }
        Some(_) | None => Ipv4Addr::LOCALHOST,
    };
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The prepared responses.
struct Shelf {
    answers: Vec<(&'static [u8], Vec<u8>)>,
    /// Each for all paths with this prefix.
    beneath: Vec<(&'static [u8], Vec<u8>)>,
    date: String,
    requests: Cell<u64>,
}

impl Shelf {
    fn filled() -> Self {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let ready = |path: &'static str, bytes, cache: &str| (path.as_bytes(), answer(&date, cache, &body(bytes)));
        let answers = vec![
            ready("/pass/1k", 1 << 10, "no-store"),
            ready("/hit/1k", 1 << 10, "max-age=86400"),
            ready("/pass/100k", 100 << 10, "no-store"),
            ready("/hit/100k", 100 << 10, "max-age=86400"),
            ready("/pass/10m", 10 << 20, "no-store"),
        ];
        let beneath = vec![ready(SMALL_HITS, SMALL_BYTES, "max-age=86400"), ready(MANY_PATHS, 1 << 10, "no-store")];
        Self { answers, beneath, date, requests: Cell::new(0) }
    }

    /// The response for a path.
    fn find(&self, path: &[u8]) -> Option<&[u8]> {
        let exact = self.answers.iter().find(|(known, _)| *known == path);
        let found = exact.or_else(|| self.beneath.iter().find(|(known, _)| path.starts_with(known)));
        found.map(|(_, ready)| ready.as_slice())
    }

    /// Answers one connection until the peer closes it or sends an invalid request.
    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut received = Vec::with_capacity(4096);
        loop {
            let head_bytes = loop {
                if let Some(at) = head_end(&received) {
                    break at;
                }
                more(&mut stream, &mut received).await?;
            };
            let total = head_bytes + received.get(..head_bytes).map_or(0, content_length);
            while received.len() < total {
                more(&mut stream, &mut received).await?;
            }
            let (head, body) =
                received.get(..total).and_then(|all| all.split_at_checked(head_bytes)).unwrap_or_default();
            let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
            match self.find(path) {
                Some(ready) if body.is_empty() => {
                    self.requests.set(self.requests.get() + 1);
                    stream.write_all(ready).await?;
                }
                _ if path == HEAD_PATH.as_bytes() => stream.write_all(&answer(&self.date, "no-store", head)).await?,
                _ if path == COUNT_PATH.as_bytes() => {
                    let count = self.requests.get().to_string();
                    stream.write_all(&answer(&self.date, "no-store", count.as_bytes())).await?;
                }
                _ => {
                    self.requests.set(self.requests.get() + 1);
                    stream.write_all(&answer(&self.date, "no-store", body)).await?;
                }
            }
            received.drain(..total);
        }
    }
}

/// Reads more; an end, or too long a request, is an error.
async fn more(stream: &mut TcpStream, received: &mut Vec<u8>) -> io::Result<()> {
    if received.len() > REQUEST_BYTES_MAX || stream.read_buf(received).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// The start of the body. Usually the input is exactly one head.
fn head_end(received: &[u8]) -> Option<usize> {
    if received.ends_with(HEAD_END) && received.starts_with(b"GET") {
        return Some(received.len());
    }
    received.windows(HEAD_END.len()).position(|four| four == HEAD_END).map(|at| at + HEAD_END.len())
}

/// The length of the body announced by a head; a GET has none here.
fn content_length(head: &[u8]) -> usize {
    if head.starts_with(b"GET") {
        return 0;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    if request.parse(head).is_err() {
        return 0;
    }
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0).min(REQUEST_BYTES_MAX)
}

/// A complete response as bytes.
fn answer(date: &str, cache: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nDate: {date}\r\nServer: backend\r\nContent-Type: application/octet-stream\r\n\
         Cache-Control: {cache}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
