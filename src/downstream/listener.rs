//! Opens the sockets that clients connect to, and accepts from them.
//!
//! A TCP address has a socket for each worker. A Unix socket, or one that a service manager has opened, is one that all
//! workers accept from.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpStream, UnixStream};

use super::inherited;
use super::proxy_protocol;
use super::socket::Socket;
use super::tls::Tls;
use crate::config::plan::ListenAddress;
use crate::socket_file::{SocketFile, SocketFileError};

/// How many connections may wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {source}{}", hint(source))]
pub struct ListenError {
    /// The address.
    pub address: ListenAddress,
    /// What the system says.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    const HINTS: [(io::ErrorKind, &str); 3] = [
        (io::ErrorKind::AddrInUse, "; another process has this port"),
        (io::ErrorKind::PermissionDenied, "; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE)"),
        (io::ErrorKind::AddrNotAvailable, "; this machine has no such address"),
    ];
    let system = error.raw_os_error().is_some();
    HINTS.iter().find(|(kind, _)| system && *kind == error.kind()).map_or("", |(_, hint)| hint)
}

/// What a listener's connections begin with.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) tls: Option<Tls>,
    pub(crate) proxy_headers: Option<proxy_protocol::Rule>,
}

/// An address where clients connect, as all workers have it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: Arc<ListenAddress>,
    /// What handshakes that begin from now on go by; `None`: clients speak without TLS.
    pub(crate) tls: ArcSwapOption<Tls>,
    /// The rule for PROXY headers of connections accepted from now on; `None`: no header is read.
    pub(crate) proxy_headers: ArcSwapOption<proxy_protocol::Rule>,
}

impl Listener {
    pub(crate) fn new(address: &ListenAddress, settings: Settings) -> Self {
        let listener = Self {
            address: Arc::new(address.clone()),
            tls: ArcSwapOption::empty(),
            proxy_headers: ArcSwapOption::empty(),
        };
        listener.adopt(settings);
        listener
    }

    /// Takes up new settings for connections that are accepted from now on.
    pub(crate) fn adopt(&self, settings: Settings) {
        self.tls.store(settings.tls.map(Arc::new));
        self.proxy_headers.store(settings.proxy_headers.map(Arc::new));
    }
}

/// A socket that is listened on.
#[derive(Debug)]
pub(crate) enum ListenSocket {
    /// At a TCP address.
    Tcp(TcpListener),
    /// In the file system.
    Unix(UnixListener),
}

/// The sockets of one address, one for each worker.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) sockets: Vec<ListenSocket>,
    /// The TCP address; for port 0 with the port that the system chose.
    pub(crate) local: Option<SocketAddr>,
    /// The socket in the file system, which is there for as long as this is.
    pub(crate) file: Option<SocketFile>,
}

/// Opens sockets on an address for `count` workers.
///
/// # Errors
/// [`ListenError`], also when another process listens there with `SO_REUSEPORT` too.
pub(crate) fn open(address: &ListenAddress, count: usize) -> Result<Opened, ListenError> {
    let opened = match address {
        ListenAddress::Ip(address) => open_tcp(*address, count),
        ListenAddress::Unix(path) => open_unix(path, count),
        ListenAddress::Inherited(name) => open_inherited(name, count),
    };
    opened.map_err(|source| ListenError { address: address.clone(), source })
}

/// Opens `count` sockets on one address, among which the kernel shares out connections (`SO_REUSEPORT`). Port 0: one
/// that is free, the same for all.
fn open_tcp(address: SocketAddr, count: usize) -> io::Result<Opened> {
    if address.port() != 0 {
        // A socket that does not share is refused where anyone listens already.
        bind(address, false)?;
    }
    let (mut sockets, mut local) = (Vec::with_capacity(count), None);
    for _ in 0..count.max(1) {
        let socket = bind(local.unwrap_or(address), true)?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        local = Some(socket.local_addr()?);
        sockets.push(ListenSocket::Tcp(socket));
    }
    Ok(Opened { sockets, local, file: None })
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn open_unix(path: &Path, count: usize) -> io::Result<Opened> {
    let opened = SocketFile::listen(path, None, BACKLOG);
    let (socket, file) = opened.map_err(|error| match error {
        SocketFileError::System(error) => error,
        SocketFileError::InUse | SocketFileError::NotASocket => io::Error::other(error),
    })?;
    let mut sockets = Vec::with_capacity(count);
    for _ in 1..count {
        sockets.push(ListenSocket::Unix(socket.try_clone()?));
    }
    sockets.push(ListenSocket::Unix(socket));
    Ok(Opened { sockets, local: None, file: Some(file) })
}

fn open_inherited(name: &str, count: usize) -> io::Result<Opened> {
    let socket = inherited::socket(name)?;
    let local = socket.local_addr()?.as_socket();
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let socket = socket.try_clone()?;
        sockets.push(match local {
            Some(_) => ListenSocket::Tcp(socket.into()),
            None => ListenSocket::Unix(socket.into()),
        });
    }
    Ok(Opened { sockets, local, file: None })
}

/// A socket that one worker accepts from.
pub(super) enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    pub(super) fn from_std(socket: ListenSocket) -> io::Result<Self> {
        Ok(match socket {
            ListenSocket::Tcp(socket) => Self::Tcp(tokio::net::TcpListener::from_std(socket)?),
            ListenSocket::Unix(socket) => Self::Unix(tokio::net::UnixListener::from_std(socket)?),
        })
    }

    pub(super) fn into_std(self) -> io::Result<ListenSocket> {
        Ok(match self {
            Self::Tcp(socket) => ListenSocket::Tcp(socket.into_std()?),
            Self::Unix(socket) => ListenSocket::Unix(socket.into_std()?),
        })
    }

    pub(super) async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(socket) => Ok(Socket::Tcp(socket.accept().await?.0)),
            Self::Unix(socket) => Ok(Socket::Unix(socket.accept().await?.0)),
        }
    }
}

impl ListenSocket {
    /// Accepts a connection that a client has opened already.
    pub(super) fn accept_now(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(socket) => {
                let (stream, _peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                TcpStream::from_std(stream).map(Socket::Tcp)
            }
            Self::Unix(socket) => {
                let (stream, _peer) = socket.accept()?;
                stream.set_nonblocking(true)?;
                UnixStream::from_std(stream).map(Socket::Unix)
            }
        }
    }
}
