//! Small HTTP backends on loopback for `forebay demo`: starts and stops them.
//!
//! Their responses are in `backend` and `people`; `fault` has the faults that two of them simulate on request. The
//! proxy does not depend on this folder.

mod backend;
mod body;
mod fault;
mod people;
mod store;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use backend::{Backend, Kind};
use fault::Fault;
use store::Store;

/// The most connections of one backend at once; further ones wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 4096;

/// The pause after a failed `accept`: without it a lack of descriptors would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The ports of the backends on 127.0.0.1. For port 0 the system chooses one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Three document stores, which share their documents, so that all of them give the same responses.
    pub documents: [u16; 3],
    /// A backend that takes 200 ms for each response.
    pub slow: u16,
    /// A backend that simulates faults on request.
    pub faulty: u16,
    /// The old service of the migration.
    pub legacy: u16,
    /// The new service of the migration, which simulates faults on request, too.
    pub successor: u16,
}

impl Ports {
    /// The ports that the repository's `config.toml` names: 9001 to 9007.
    pub const STANDARD: Self =
        Self { documents: [9001, 9002, 9003], slow: 9004, faulty: 9005, legacy: 9006, successor: 9007 };
}

/// Why the backends could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is in use, or not allowed.
    #[error("port {port} of 127.0.0.1 can't be used for a demo backend")]
    Port {
        /// The port.
        port: u16,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The thread or its runtime could not be started.
    #[error("the demo backends' thread can't be started")]
    Thread(#[source] io::Error),
}

/// The running backends. Dropping it stops them and frees their ports.
#[derive(Debug)]
pub struct Backends {
    addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Backends {
    /// The addresses, in the order of the fields of [`Ports`].
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails if the thread has ended already, which is what the drop wants.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts all backends on one separate thread. Returns when they accept connections.
///
/// # Errors
///
/// When a port is in use, or the system has no thread or descriptor left.
pub fn start(ports: Ports) -> Result<Backends, StartError> {
    let store = Arc::new(parking_lot::Mutex::new(Store::default()));
    let [first, second, third] = ports.documents;
    let mut listeners = Vec::new();
    let mut addresses = Vec::new();
    for (port, kind) in [
        (first, Kind::Plain),
        (second, Kind::Plain),
        (third, Kind::Plain),
        (ports.slow, Kind::Slow),
        (ports.faulty, Kind::Faulty(Fault::default())),
        (ports.legacy, Kind::Legacy),
        (ports.successor, Kind::Successor(Fault::default())),
    ] {
        let (listener, address) = bind(port).map_err(|source| StartError::Port { port, source })?;
        addresses.push(address);
        listeners.push((listener, Backend::new(address.port(), kind, Arc::clone(&store))));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("demo-backends".to_owned())
        .spawn(move || runtime.block_on(serve(listeners, stopped)))
        .map_err(StartError::Thread)?;
    Ok(Backends { addresses, stop: Some(stop), thread: Some(thread) })
}

fn bind(port: u16) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve(listeners: Vec<(std::net::TcpListener, Backend)>, stopped: oneshot::Receiver<()>) {
    for (listener, backend) in listeners {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::spawn(accept(listener, Arc::new(backend)));
            }
            Err(error) => tracing::error!(%error, "a demo backend can't listen"),
        }
    }
    // Also ends when the sender is dropped without a message.
    let _ = stopped.await;
}

async fn accept(listener: TcpListener, backend: Arc<Backend>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let backend = Arc::clone(&backend);
                tokio::spawn(async move {
                    serve_connection(socket, backend).await;
                    drop(permit);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Serves one connection.
async fn serve_connection(socket: TcpStream, backend: Arc<Backend>) {
    // Nagle's algorithm would delay small responses. A failure means that the connection is closed already.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| backend::answer(Arc::clone(&backend), request));
    let mut connection = http1::Builder::new()
        // No time-out for heads: only loopback can connect, and `CONNECTIONS_MAX` bounds slow clients.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let result = Pin::new(&mut connection).await;
    if let (Err(error), Some(parts)) = (result, connection.into_parts())
        && backend::wants_reset(&error)
    {
        // With a linger time of 0, closing the socket sends RST instead of FIN.
        let _ = socket2::SockRef::from(parts.io.inner()).set_linger(Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests;
