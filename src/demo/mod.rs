//! Small, real HTTP backends on loopback, so that a proxy can be tried with nothing else on the machine.
//!
//! Answers: which backends there are, and how they are started and stopped. What they say is in `site` and
//! `people`, how two of them fail on request is in `mood`. Nothing on the way of a proxied request depends on this
//! room.

mod body;
mod mood;
mod people;
mod site;
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

use mood::Mood;
use site::{Character, Site};
use store::Store;

/// Connections that one backend serves at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 4096;

/// How long a backend waits before it accepts again after the system refused it a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the backends listen on 127.0.0.1. Port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The document stores: three that share one memory, so that any of them answers the same.
    pub documents: [u16; 3],
    /// The one that takes 200 ms for each answer.
    pub slow: u16,
    /// The one that can be told to fail.
    pub moody: u16,
    /// The old service of a migration.
    pub legacy: u16,
    /// The new one, which can be told to fail, too.
    pub successor: u16,
}

impl Ports {
    /// The ports that the repository's `config.toml` names: 9001 to 9007.
    pub const STANDARD: Self =
        Self { documents: [9001, 9002, 9003], slow: 9004, moody: 9005, legacy: 9006, successor: 9007 };
}

/// Why the backends could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken, or may not be used.
    #[error("port {port} of 127.0.0.1 can't be used for a demo backend")]
    Port {
        /// The port asked for.
        port: u16,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The thread or its runtime could not be made.
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
    /// Where they listen: the three document stores, the slow one, the one that can be told to fail, the
    /// old service, the new one.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Backends {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself; then nobody listens, and that is what is wanted.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts all backends on one thread of their own; they listen when this returns.
///
/// # Errors
///
/// A port that is taken, or a system that has no thread or descriptors left.
pub fn start(ports: Ports) -> Result<Backends, StartError> {
    let store = Arc::new(parking_lot::Mutex::new(Store::default()));
    let [first, second, third] = ports.documents;
    let mut doors = Vec::new();
    let mut addresses = Vec::new();
    for (port, character) in [
        (first, Character::Steady),
        (second, Character::Steady),
        (third, Character::Steady),
        (ports.slow, Character::Slow),
        (ports.moody, Character::Moody(Mood::default())),
        (ports.legacy, Character::Legacy),
        (ports.successor, Character::Successor(Mood::default())),
    ] {
        let (listener, address) = bind(port).map_err(|source| StartError::Port { port, source })?;
        addresses.push(address);
        doors.push((listener, Site::new(address.port(), character, Arc::clone(&store))));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Thread)?;
    let (stop, stopped) = oneshot::channel();
    let thread = thread::Builder::new()
        .name("demo-backends".to_owned())
        .spawn(move || runtime.block_on(serve(doors, stopped)))
        .map_err(StartError::Thread)?;
    Ok(Backends { addresses, stop: Some(stop), thread: Some(thread) })
}

fn bind(port: u16) -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve(doors: Vec<(std::net::TcpListener, Site)>, stopped: oneshot::Receiver<()>) {
    for (listener, site) in doors {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                tokio::spawn(accept(listener, Arc::new(site)));
            }
            Err(error) => tracing::error!(%error, "a demo backend can't listen"),
        }
    }
    // A dropped sender asks for the end as well as a sent word.
    let _ = stopped.await;
}

async fn accept(listener: TcpListener, site: Arc<Site>) {
    let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, _)) => {
                let site = Arc::clone(&site);
                tokio::spawn(async move {
                    converse(socket, site).await;
                    drop(seat);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// One connection from its first request to its end.
async fn converse(socket: TcpStream, site: Arc<Site>) {
    // Without it small answers would wait for acknowledgements; where it fails the connection is gone anyway.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| site::answer(Arc::clone(&site), request));
    let mut connection = http1::Builder::new()
        // No clock for heads: only loopback reaches this, and `CONNECTIONS_MAX` bounds what a slow one can hold.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    let result = Pin::new(&mut connection).await;
    if let (Err(error), Some(parts)) = (result, connection.into_parts())
        && site::wants_reset(&error)
    {
        // Without lingering, closing sends RST instead of an orderly end; nothing else can be done where it fails.
        let _ = socket2::SockRef::from(parts.io.inner()).set_linger(Some(Duration::ZERO));
    }
}

#[cfg(test)]
mod tests;
