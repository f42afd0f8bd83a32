//! Opens connections to backends.

use std::io;
use std::sync::Arc;

use policy::proxy_protocol;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

use super::connection::Connection;
use super::counted::Counted;
use super::pool;
use super::socket::Socket;
use crate::config::plan::Protocol;
use crate::exchange::ClientConnection;
use crate::telemetry::counters::Counters;
use crate::upstream::endpoint::{Endpoint, Peer};
use crate::upstream::shared::SharedUpstream;

/// Opens a stream to an endpoint, which begins with a PROXY header for this client where the upstream says so; `None`: for
/// the proxy itself. Over TLS the backend may choose among the versions of HTTP that `protocol` allows. The caller limits the
/// time. When this process has no descriptor left, a connection that
/// waits for a request is closed, and it is tried once more.
///
/// # Errors
/// What the system says.
pub(crate) async fn open(
    endpoint: &Endpoint,
    group: &SharedUpstream,
    client: Option<&ClientConnection>,
    protocol: Protocol,
) -> io::Result<Socket> {
    let mut socket = match open_once(endpoint).await {
        Err(error) if lacks_descriptor(&error) && pool::close_oldest() => open_once(endpoint).await?,
        opened => opened?,
    };
    if let Some(version) = group.plan.send_proxy {
        let (header, tls_version) = client.map(ClientConnection::introduction).unwrap_or_default();
        socket.write_all(&proxy_protocol::write(version, &header, tls_version)).await?;
    }
    match &endpoint.server_name {
        Some(name) => Box::pin(group.tls()?.secure(socket, name, protocol)).await,
        None => Ok(socket),
    }
}

fn lacks_descriptor(error: &io::Error) -> bool {
    const LACKS: [rustix::io::Errno; 2] = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    rustix::io::Errno::from_io_error(error).is_some_and(|errno| LACKS.contains(&errno))
}

async fn open_once(endpoint: &Endpoint) -> io::Result<Socket> {
    match &endpoint.peer {
        Peer::Unix(path) => UnixStream::connect(path).await.map(Socket::Unix),
        Peer::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Socket::Tcp(stream))
        }
    }
}

/// Opens a connection of HTTP/1.1 to an endpoint, which is counted as long as it is open.
///
/// # Errors
/// As [`open`].
pub(crate) async fn connect(
    endpoint: &Endpoint,
    group: &SharedUpstream,
    client: &ClientConnection,
    counters: &Arc<Counters>,
) -> io::Result<Connection> {
    let socket = open(endpoint, group, Some(client), Protocol::Http1).await?;
    Ok(Connection::new(socket, Some(Counted::begin(counters))))
}

/// Whether it is this machine that has run out of something, rather than the backend that can't be reached.
#[must_use]
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL
    const OURS: [rustix::io::Errno; 5] = [
        rustix::io::Errno::MFILE,
        rustix::io::Errno::NFILE,
        rustix::io::Errno::NOBUFS,
        rustix::io::Errno::NOMEM,
        rustix::io::Errno::ADDRNOTAVAIL,
    ];
    rustix::io::Errno::from_io_error(error).is_some_and(|errno| OURS.contains(&errno))
}
