//! Client and backend in one thread: each sends only when the proxy is idle.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use crate::Outcome;
use crate::proxy::{PATIENCE, Proxy};
use crate::works::{self, Work};

/// The longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// One client connection and one backend connection, both kept open.
pub(crate) struct Talk {
    listener: TcpListener,
    address: SocketAddr,
    /// The response of the backend.
    answer: Vec<u8>,
    client: Option<TcpStream>,
    backend: Option<TcpStream>,
}

impl Talk {
    /// Opens the backend's socket.
    ///
    /// # Errors
    /// If the system has no free port.
    pub(crate) fn open() -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, answer: works::answer(), client: None, backend: None })
    }

    /// The backend's address.
    pub(crate) fn backend(&self) -> SocketAddr {
        self.address
    }

    /// Connects the client.
    ///
    /// # Errors
    /// If the proxy does not accept the connection.
    pub(crate) fn reach(&mut self, proxy: &Proxy) -> Outcome<()> {
        proxy.rests()?;
        self.client = Some(ready(TcpStream::connect(proxy.address)?)?);
        proxy.rests()
    }

    /// Sends the `nth` request of this connection, and checks its response.
    ///
    /// # Errors
    /// If the proxy does not behave as the workload requires.
    pub(crate) fn exchange(&mut self, proxy: &Proxy, work: &Work, nth: u32) -> Outcome<()> {
        self.client()?.write_all(&work.request)?;
        if work.asks_backend(nth) {
            self.serve(proxy)?;
        }
        let (head, body) = read_message(self.client()?)?;
        if !work.is_answered(&head, &body) {
            return Err(format!("{}: the answer is not what it should be:\n{head}", work.name).into());
        }
        proxy.rests()
    }

    /// Handles one request as the backend.
    fn serve(&mut self, proxy: &Proxy) -> Outcome<()> {
        let backend = match &mut self.backend {
            Some(backend) => backend,
            none => none.insert(accepted(&self.listener)?),
        };
        read_message(backend)?;
        proxy.rests()?;
        Ok(backend.write_all(&self.answer)?)
    }

    fn client(&mut self) -> Outcome<&mut TcpStream> {
        self.client.as_mut().ok_or_else(|| "no client is connected".into())
    }

    /// Closes the client connection.
    pub(crate) fn hang_up(&mut self) {
        self.client = None;
    }
}

/// Accepts the proxy's connection to the backend.
fn accepted(listener: &TcpListener) -> Outcome<TcpStream> {
    let begun = Instant::now();
    loop {
        match listener.accept() {
            Ok((socket, _)) => return ready(socket),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
            Err(_) if begun.elapsed() > PATIENCE => return Err("the proxy does not ask the backend".into()),
            Err(_) => std::thread::yield_now(),
        }
    }
}

fn ready(socket: TcpStream) -> Outcome<TcpStream> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// A message with `Content-Length` or without content: its head in lower case, and its body. Nothing may follow it.
fn read_message(socket: &mut TcpStream) -> Outcome<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut piece = [0; 8 * 1024];
    loop {
        if let Some(message) = whole(&bytes)? {
            return Ok(message);
        }
        let count = socket.read(&mut piece).map_err(|error| format!("the proxy says nothing: {error}"))?;
        if count == 0 || bytes.len() > MESSAGE_BYTES_MAX {
            return Err("the proxy breaks off, or does not stop".into());
        }
        bytes.extend(piece.iter().take(count));
    }
}

/// The message, when it is complete.
fn whole(bytes: &[u8]) -> Outcome<Option<(String, Vec<u8>)>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = bytes.split_at(end + 4);
    let head = std::str::from_utf8(head)?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(Ok(0), |text| text.trim().parse())?;
    Ok((body.len() == length).then(|| (head, body.to_vec())))
}
