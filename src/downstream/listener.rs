//! Opens the sockets that clients connect to: one for each worker and address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {source}{}", hint(source))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    const HINTS: [(io::ErrorKind, &str); 3] = [
        (io::ErrorKind::AddrInUse, "; another process has this port"),
        (io::ErrorKind::PermissionDenied, "; ports below 1024 need a privilege (CAP_NET_BIND_SERVICE)"),
        (io::ErrorKind::AddrNotAvailable, "; this machine has no such address"),
    ];
    HINTS.iter().find(|(kind, _)| *kind == error.kind()).map_or("", |(_, hint)| hint)
}

/// Opens `count` sockets on one address, among which the kernel shares out connections (`SO_REUSEPORT`). Port 0: one
/// that is free, the same for all.
///
/// # Errors
/// [`ListenError`], also when another process listens there with `SO_REUSEPORT` too.
pub fn open(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, ListenError> {
    let failed = |source| ListenError { address, source };
    if address.port() != 0 {
        // A socket that does not share is refused where anyone listens already.
        bind(address, false).map_err(failed)?;
    }
    let mut sockets: Vec<TcpListener> = Vec::with_capacity(count);
    for _ in 0..count.max(1) {
        let address = match sockets.first() {
            Some(first) => first.local_addr().map_err(failed)?,
            None => address,
        };
        let socket = bind(address, true).map_err(failed)?;
        socket.listen(BACKLOG).map_err(failed)?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
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
