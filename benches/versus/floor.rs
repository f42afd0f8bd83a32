//! The floor: a proxy without features, which shows the minimum cost of this runtime and kernel.
//!
//! Each worker is a thread with a current-thread runtime and its own backend connections, buffers and stored responses.
//! `httparse` only finds the end of a head and the length of the body; heads are forwarded as received, and stored
//! responses sent as stored. Large bodies are moved with `splice`. There is no routing, checking, limit, time-out, log
//! or counter, and a client that pipelines is disconnected: it serves this benchmark only.

use std::cell::RefCell;
use std::env;
use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

use httparse::Header;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream};

use crate::Fallible;

/// The argument with which the benchmark runs as the floor, followed by the port, the backend's port, and the number of
/// workers.
pub(crate) const ARGUMENT: &str = "--serve-as-floor";

/// The path prefix of responses that are stored.
const STORED: &str = "/hit/";
/// The longest head, and the size of a read of a body.
const BUFFER_BYTES: usize = 16 << 10;
/// The remaining length from which a body is moved by the kernel.
const SPLICE_BYTES_MIN: usize = 64 << 10;
/// The capacity of a pipe: that many pages, regardless of how full each is.
const PIPE_BYTES: usize = 256 << 10;
/// The most bytes moved into a pipe at once.
const PIECE_BYTES_MAX: usize = 1 << 20;
const BACKLOG: i32 = 4096;
const FIELDS_MAX: usize = 64;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// State shared by a worker's connections.
#[derive(Default)]
struct Worker {
    buffers: Vec<Vec<u8>>,
    /// Idle connections to the backend.
    links: Vec<TcpStream>,
    pipes: Vec<Pipe>,
    /// Stored responses by path: one or two.
    stored: Vec<(Vec<u8>, Arc<[u8]>)>,
}

fn worker<T>(act: impl FnOnce(&mut Worker) -> T) -> T {
    WORKER.with_borrow_mut(act)
}

/// Runs as the floor until the process is ended.
pub(crate) fn serve() -> Fallible<()> {
    let mut arguments = env::args().skip(2);
    let mut number = || -> Fallible<u16> { Ok(arguments.next().ok_or("the floor lacks an argument")?.parse()?) };
    let (port, backend, workers) = (number()?, number()?, number()?);
    let local = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let threads: Vec<_> = (0..workers).map(|_| thread::spawn(move || work(local(port), local(backend)))).collect();
    for thread in threads {
        thread.join().map_err(|_| "a worker of the floor has panicked")??;
    }
    Ok(())
}

fn work(address: SocketAddr, backend: SocketAddr) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket.into())?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(converse(client, backend));
        }
    })
}

/// Serves a client until it leaves or an error occurs.
async fn converse(mut client: TcpStream, backend: SocketAddr) -> io::Result<()> {
    client.set_nodelay(true)?;
    loop {
        // Holds no buffer until the first byte arrives.
        client.readable().await?;
        let mut buffer = Buffer::take();
        let request = loop {
            if let Some(request) = Request::scan(buffer.received())? {
                break request;
            }
            if buffer.fill(&mut client).await? == 0 {
                return Ok(());
            }
        };
        match request.stored {
            Some(answer) if request.bytes == buffer.filled => client.write_all(&answer).await?,
            Some(_) => return Err(io::ErrorKind::InvalidData.into()),
            None => pass(&mut client, buffer, request, backend).await?,
        }
    }
}

/// Forwards a request and its response.
async fn pass(client: &mut TcpStream, mut buffer: Buffer, request: Request, backend: SocketAddr) -> io::Result<()> {
    let mut link = match worker(|worker| worker.links.pop()) {
        Some(link) => link,
        None => {
            let link = TcpStream::connect(backend).await?;
            link.set_nodelay(true)?;
            link
        }
    };
    link.write_all(buffer.received()).await?;
    let mut rest = request.bytes.checked_sub(buffer.filled).ok_or(io::ErrorKind::InvalidData)?;
    copy(client, &mut link, &mut buffer, &mut rest).await?;
    drop(buffer);

    link.readable().await?;
    let mut buffer = Buffer::take();
    let answer_bytes = loop {
        if let Some(bytes) = answer_bytes(buffer.received())? {
            break bytes;
        }
        some(buffer.fill(&mut link).await?)?;
    };
    let mut rest = answer_bytes.checked_sub(buffer.filled).ok_or(io::ErrorKind::InvalidData)?;
    if let Some(path) = request.to_store {
        let mut answer = buffer.received().to_vec();
        answer.resize(answer_bytes, 0);
        link.read_exact(answer.get_mut(buffer.filled..).unwrap_or_default()).await?;
        client.write_all(&answer).await?;
        worker(|worker| worker.stored.push((path, answer.into())));
    } else {
        client.write_all(buffer.received()).await?;
        if rest >= SPLICE_BYTES_MIN {
            drop(buffer);
            relay(&link, client, rest).await?;
        } else {
            copy(&mut link, client, &mut buffer, &mut rest).await?;
        }
    }
    worker(|worker| worker.links.push(link));
    Ok(())
}

/// Copies the rest of a body.
async fn copy(from: &mut TcpStream, to: &mut TcpStream, buffer: &mut Buffer, rest: &mut usize) -> io::Result<()> {
    while *rest > 0 {
        buffer.filled = 0;
        let count = some(buffer.fill(from).await?)?;
        to.write_all(buffer.received()).await?;
        *rest = rest.checked_sub(count).ok_or(io::ErrorKind::InvalidData)?;
    }
    Ok(())
}

/// Moves the rest of a body through a pipe.
async fn relay(from: &TcpStream, to: &TcpStream, mut rest: usize) -> io::Result<()> {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let pipe = worker(|worker| worker.pipes.pop()).map_or_else(Pipe::new, Ok)?;
    while rest > 0 {
        let most = rest.min(PIECE_BYTES_MAX);
        let into = || Ok(splice(from, None, &pipe.writer, None, most, flags)?);
        let mut held = some(from.async_io(Interest::READABLE, into).await?)?;
        rest -= held;
        while held > 0 {
            let out = || Ok(splice(&pipe.reader, None, to, None, held, flags)?);
            held -= some(to.async_io(Interest::WRITABLE, out).await?)?;
        }
    }
    worker(|worker| worker.pipes.push(pipe));
    Ok(())
}

/// An end within a body is an error.
fn some(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(count) }
}

/// A request whose head has arrived.
struct Request {
    /// Its length, head and body.
    bytes: usize,
    /// The stored response.
    stored: Option<Arc<[u8]>>,
    /// Its path, if the response is to be stored.
    to_store: Option<Vec<u8>>,
}

impl Request {
    fn scan(received: &[u8]) -> io::Result<Option<Self>> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let status = request.parse_with_uninit_headers(received, &mut fields).map_err(io::Error::other)?;
        let httparse::Status::Complete(head_bytes) = status else { return Ok(None) };
        let path = request.path.unwrap_or_default();
        let mut found = Self { bytes: head_bytes + length(request.headers)?, stored: None, to_store: None };
        if path.starts_with(STORED) {
            let is_it = |(stored, _): &&(Vec<u8>, _)| stored == path.as_bytes();
            found.stored = worker(|worker| worker.stored.iter().find(is_it).map(|(_, answer)| Arc::clone(answer)));
            found.to_store = found.stored.is_none().then(|| path.as_bytes().to_vec());
        }
        Ok(Some(found))
    }
}

/// The total length of a response whose head has arrived.
fn answer_bytes(received: &[u8]) -> io::Result<Option<usize>> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let status =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, received, &mut fields);
    let httparse::Status::Complete(head_bytes) = status.map_err(io::Error::other)? else { return Ok(None) };
    Ok(Some(head_bytes + length(response.headers)?))
}

/// The value of `Content-Length`; 0 without one.
fn length(fields: &[Header<'_>]) -> io::Result<usize> {
    let Some(field) = fields.iter().find(|field| field.name.eq_ignore_ascii_case("content-length")) else {
        return Ok(0);
    };
    std::str::from_utf8(field.value).ok().and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidData.into())
}

/// Received bytes. Returned to the worker when dropped.
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    /// An empty one.
    fn take() -> Self {
        let bytes = worker(|worker| worker.buffers.pop()).unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        Self { bytes, filled: 0 }
    }

    fn received(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// Reads once; 0: the peer has ended.
    async fn fill(&mut self, from: &mut TcpStream) -> io::Result<usize> {
        let room = self.bytes.get_mut(self.filled..).filter(|room| !room.is_empty());
        let count = from.read(room.ok_or(io::ErrorKind::OutOfMemory)?).await?;
        self.filled += count;
        Ok(count)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // The worker is gone when the thread ends.
        let _ended = WORKER.try_with(|worker| worker.borrow_mut().buffers.push(bytes));
    }
}

/// An empty pipe.
struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        fcntl_setpipe_size(&writer, PIPE_BYTES)?;
        Ok(Self { reader, writer })
    }
}
